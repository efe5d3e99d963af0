//! [`Site`]: a PBX host and the internet it is attached to, a namespace each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use crate::namespace::{Namespace, succeed};

/// The host's interface towards the internet.
pub const WAN: &str = "wan0";
/// The host's public addresses.
pub const PBX_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// See [`PBX_V4`].
pub const PBX_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x5060, 0, 0, 0, 0, 10);
/// The port the PBX listens on.
pub const SIP: u16 = 5060;

const PATIENCE: Duration = Duration::from_secs(5);

/// Two namespaces and the wire between them. Every address there is answers from the internet's side.
#[derive(Debug)]
pub struct Site {
    /// Where the PBX runs.
    pub host: Namespace,
    /// Everybody else.
    pub internet: Namespace,
}

impl Site {
    /// Builds it.
    ///
    /// # Errors
    /// If a namespace or a wire can't be made.
    pub fn new() -> Result<Self> {
        let site = Self::unwired()?;
        site.wire()?;
        Ok(site)
    }

    /// The same with a queue on the wire for each of the first processors, as network cards have: what one processor
    /// sends waits for nothing that another one does.
    ///
    /// # Errors
    /// If a namespace or a wire can't be made, or a queue can't be given to a processor.
    pub fn with_queues(queues: usize) -> Result<Self> {
        let site = Self::unwired()?;
        site.lay(queues)?;
        for queue in 0..queues {
            let file = format!("/sys/class/net/net0/queues/tx-{queue}/xps_cpus");
            let line = format!("echo {:x} >{file}", 1_u32 << queue);
            // This shows the namespace's own /sys.
            let mut command = Command::new("ip");
            succeed(command.args(["netns", "exec", site.internet.name(), "sh", "-c", &line]))?;
        }
        Ok(site)
    }

    /// An internet to a host that is laid out by others.
    pub(crate) fn around(host: Namespace) -> Result<Self> {
        let site = Self { host, internet: Namespace::new("net")? };
        site.make_internet()?;
        Ok(site)
    }

    fn unwired() -> Result<Self> {
        Self::around(Namespace::new("host")?)
    }

    fn make_internet(&self) -> Result<()> {
        for namespace in [&self.host, &self.internet] {
            namespace.set("net.ipv4.conf.all.rp_filter", "0")?;
            namespace.set("net.ipv4.conf.default.rp_filter", "0")?;
        }
        self.internet.set("net.ipv6.ip_nonlocal_bind", "1")?;
        self.internet.ip("route add local 0.0.0.0/0 dev lo")?;
        self.internet.ip("-6 route add local ::/0 dev lo")?;
        Ok(())
    }

    /// Lays a wire between the two, with addresses and routes; again after it was taken away.
    ///
    /// # Errors
    /// If there is one already.
    pub fn wire(&self) -> Result<()> {
        self.lay(1)
    }

    fn lay(&self, queues: usize) -> Result<()> {
        let (host, net) = (&self.host, &self.internet);
        let queues = format!("numtxqueues {queues} numrxqueues {queues}");
        let peer = format!("peer name net0 {queues} netns {}", net.name());
        host.ip(&format!("link add {WAN} {queues} type veth {peer}"))?;
        for (namespace, interface) in [(host, WAN), (net, "net0")] {
            namespace.set(&format!("net.ipv6.conf.{interface}.accept_dad"), "0")?;
            namespace.ip(&format!("link set {interface} up"))?;
        }
        host.ip(&format!("addr replace {PBX_V4}/24 dev {WAN}"))?;
        host.ip(&format!("addr replace {PBX_V6}/64 dev {WAN} nodad"))?;
        host.ip("route replace default via 203.0.113.1 dev wan0")?;
        host.ip("-6 route replace default via 2001:db8:5060::1 dev wan0")?;
        net.ip("addr replace 203.0.113.1/24 dev net0")?;
        net.ip("addr replace 2001:db8:5060::1/64 dev net0 nodad")?;
        net.ip(&format!("route replace {PBX_V4}/32 dev net0 table local"))?;
        net.ip(&format!("-6 route replace {PBX_V6}/128 dev net0 table local"))?;
        Ok(())
    }

    /// A UDP socket on the host.
    ///
    /// # Errors
    /// If it can't be opened.
    pub fn listen(&self, address: impl Into<IpAddr>, port: u16) -> Result<UdpSocket> {
        let address = SocketAddr::new(address.into(), port);
        let socket = self.host.inside(|| UdpSocket::bind(address))?.context("listen")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    }

    /// A UDP socket anywhere on the internet.
    ///
    /// # Errors
    /// If it can't be opened.
    pub fn anywhere(&self, source: impl Into<IpAddr>, port: u16) -> Result<UdpSocket> {
        let address = SocketAddr::new(source.into(), port);
        let socket = self.internet.inside(|| UdpSocket::bind(address))?;
        let socket = socket.with_context(|| format!("send from {address}"))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    }

    /// A TCP connection from an address to the SIP port of the host, if it comes about in time.
    ///
    /// # Errors
    /// If it does not.
    pub fn connect(&self, source: impl Into<IpAddr>, patience: Duration) -> Result<TcpStream> {
        self.connect_from(SocketAddr::new(source.into(), 0), patience)
    }

    /// The same from an address and port.
    ///
    /// # Errors
    /// If it does not.
    pub fn connect_from(&self, source: SocketAddr, patience: Duration) -> Result<TcpStream> {
        self.connect_to(SIP, source, patience)
    }

    /// The same to another port of the host.
    ///
    /// # Errors
    /// If it does not.
    pub fn connect_to(
        &self,
        port: u16,
        source: SocketAddr,
        patience: Duration,
    ) -> Result<TcpStream> {
        let (family, host): (_, IpAddr) = match source {
            SocketAddr::V4(_) => (AddressFamily::INET, PBX_V4.into()),
            SocketAddr::V6(_) => (AddressFamily::INET6, PBX_V6.into()),
        };
        let connect = || {
            // A process that another test starts must not keep it open, nor go on connecting.
            let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
            // The kernel gives up connecting when it would give up sending.
            sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(patience))?;
            sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
            net::bind(&socket, &source)?;
            net::connect(&socket, &SocketAddr::new(host, port))?;
            Ok::<_, Errno>(TcpStream::from(socket))
        };
        self.internet.inside(connect)?.with_context(|| format!("connect from {source}"))
    }

    /// Sends a datagram from an address to a port of the host.
    ///
    /// # Errors
    /// If it can't be sent.
    pub fn send(&self, source: impl Into<IpAddr>, port: u16, payload: &[u8]) -> Result<()> {
        let source = source.into();
        let host = pbx_of(source).ip();
        self.anywhere(source, 0)?.send_to(payload, (host, port)).context("send a datagram")?;
        Ok(())
    }
}

/// Where the PBX is for who sends from this address: of the same family.
pub fn pbx_of(source: IpAddr) -> SocketAddr {
    match source {
        IpAddr::V4(_) => (PBX_V4, SIP).into(),
        IpAddr::V6(_) => (PBX_V6, SIP).into(),
    }
}

/// The next datagram, as text.
///
/// # Errors
/// If none comes in time.
pub fn next(socket: &UdpSocket) -> Result<(String, SocketAddr)> {
    let mut buffer = [0; 65_536];
    let (length, from) = socket.recv_from(&mut buffer).context("no datagram came")?;
    Ok((String::from_utf8_lossy(&buffer[..length]).into_owned(), from))
}
