//! [`Device`]: the kinds of interface by which a host may be attached to the internet.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::addresses::Addresses;
use crate::awaited::within;
use crate::namespace::Namespace;
use crate::process::Agent;
use crate::processors::pin;
use crate::site::{PBX_V4, PBX_V6, SIP, Site, WAN, next};

const MODEM: Duration = Duration::from_secs(30);

/// How the host of a [`Site`] meets the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// A tunnel without Ethernet, with a process at its end.
    Tun,
    /// A bridge with a card in it.
    Bridge,
    /// A second card upon a card.
    Macvlan,
    /// A VLAN of its own. Its tags come apart from the frame, or in it.
    Vlan {
        /// Apart from it, as cards do that take them off.
        offload: bool,
    },
    /// A dialled line, by pppd.
    Ppp,
}

/// A device that was laid; what keeps it there.
#[derive(Debug)]
pub struct Laid<'a> {
    /// The interface.
    pub name: &'static str,
    site: &'a Site,
    pumps: Vec<JoinHandle<()>>,
    modem: Option<Child>,
}

impl Device {
    /// Lays it between host and internet, in place of the plain wire.
    ///
    /// # Errors
    /// If the kernel does not know such a device, or a program is missing.
    pub fn lay(self, site: &Site) -> Result<Laid<'_>> {
        let (host, net) = (&site.host, &site.internet);
        host.ip(&format!("addr flush dev {WAN}"))?;
        let plain = |name| Laid { name, site, pumps: Vec::new(), modem: None };
        let laid = match self {
            Self::Tun => {
                let (near, far) = (tun(host, "tun0")?, tun(net, "tun1")?);
                net.ip("link set tun1 up")?;
                reach(net, "tun1")?;
                let pumps = vec![pump(near.try_clone()?, far.try_clone()?), pump(far, near)];
                Laid { name: "tun0", site, pumps, modem: None }
            }
            Self::Bridge => {
                host.ip("link add br0 type bridge")?;
                host.ip(&format!("link set {WAN} master br0"))?;
                plain("br0")
            }
            Self::Macvlan => {
                // Else the card below says that the address is its own.
                host.set("net.ipv4.conf.all.arp_ignore", "1")?;
                host.ip(&format!("link add mac0 link {WAN} type macvlan mode bridge"))?;
                plain("mac0")
            }
            Self::Vlan { offload } => {
                let offload = if offload { "on" } else { "off" };
                for (namespace, below, vlan) in [(host, WAN, "vlan0"), (net, "net0", "vlan1")] {
                    let words = ["-K", below, "txvlan", offload, "rxvlan", offload];
                    namespace.command("ethtool", &words)?;
                    namespace.ip(&format!("link add link {below} name {vlan} type vlan id 100"))?;
                }
                net.ip("addr flush dev net0")?;
                net.ip("addr add 203.0.113.1/24 dev vlan1")?;
                net.ip("addr add 2001:db8:5060::1/64 dev vlan1 nodad")?;
                net.ip("link set vlan1 up")?;
                reach(net, "vlan1")?;
                plain("vlan0")
            }
            Self::Ppp => {
                let modem = Some(dial(site)?);
                let dialled = Laid { name: "ppp0", site, pumps: Vec::new(), modem };
                let is_up = || {
                    let state = host.ip("-o addr show dev ppp0").unwrap_or_default();
                    state.contains(&PBX_V4.to_string()) && net.ip("link show ppp1").is_ok()
                };
                within(MODEM, Instant::now(), is_up, || "no line was dialled".to_owned());
                reach(net, "ppp1")?;
                dialled
            }
        };
        let name = laid.name;
        host.set(&format!("net.ipv6.conf.{name}.accept_dad"), "0")?;
        host.ip(&format!("link set {name} up"))?;
        host.ip(&format!("addr replace {PBX_V4}/24 dev {name}"))?;
        host.ip(&format!("addr replace {PBX_V6}/64 dev {name} nodad"))?;
        let gateway = |address: &str| match self {
            Self::Tun | Self::Ppp => String::new(),
            Self::Bridge | Self::Macvlan | Self::Vlan { .. } => format!("via {address} "),
        };
        host.ip(&format!("route replace default {}dev {name}", gateway("203.0.113.1")))?;
        host.ip(&format!("-6 route replace default {}dev {name}", gateway("2001:db8:5060::1")))?;
        Ok(laid)
    }
}

impl Device {
    /// Sends to a host with this device, from inside of a selection and from outside, by IPv4 and IPv6, before this data plane
    /// filters there, while it does and afterwards. Says which kind took it, and what `status` says of that.
    ///
    /// # Errors
    /// If anything else arrives than should.
    pub fn filters(self, backend: &str, addresses: &Addresses<'_>) -> Result<(String, Value)> {
        self.filters_on(None, backend, addresses)
    }

    /// The same where the card below the device is protected in its place.
    ///
    /// # Errors
    /// If anything else arrives than should.
    pub fn filters_below(
        self,
        backend: &str,
        addresses: &Addresses<'_>,
    ) -> Result<(String, Value)> {
        self.filters_on(Some(WAN), backend, addresses)
    }

    fn filters_on(
        self,
        interface: Option<&str>,
        backend: &str,
        addresses: &Addresses<'_>,
    ) -> Result<(String, Value)> {
        let site = Site::new()?;
        let laid = self.lay(&site)?;
        let pbx = site.listen(Ipv6Addr::UNSPECIFIED, SIP)?;
        let home: [IpAddr; 2] = [addresses.v4("ES").into(), addresses.v6("ES").into()];
        let abroad = [addresses.v4("CN").into(), addresses.v6("CN").into()];
        let expect = |what: &str, passing: &[IpAddr]| {
            let arrived = arrived(&site, &pbx, &home, &[home, abroad].concat())?;
            let passing: BTreeSet<IpAddr> = passing.iter().copied().collect();
            ensure!(arrived == passing, "{self:?} by {backend}, {what}: {arrived:?} arrived");
            Ok(())
        };
        expect("before", &[home, abroad].concat())?;
        let interface = interface.unwrap_or(laid.name);
        let agent = Agent::start(&site.host, &["--backend", backend, "--interface", interface])?;
        agent.json(&["allow", "ES", "--yes"])?;
        expect("while it filters", &home)?;
        let status = agent.json(&["status"])?;
        agent.json(&["off"])?;
        expect("after that", &[home, abroad].concat())?;
        let kind = status["attachments"][0]["kind"].as_str().context("nothing is attached")?;
        Ok((kind.to_owned(), status))
    }
}

/// Which of these reach the PBX. What surely does comes behind them, of each family: neither waits for the other.
fn arrived(
    site: &Site,
    pbx: &UdpSocket,
    markers: &[IpAddr],
    probes: &[IpAddr],
) -> Result<BTreeSet<IpAddr>> {
    probes.iter().try_for_each(|probe| site.send(*probe, SIP, b"OPTIONS"))?;
    markers.iter().try_for_each(|marker| site.send(*marker, SIP, b"marker"))?;
    let (mut arrived, mut ended) = (BTreeSet::new(), 0);
    while ended < markers.len() {
        match next(pbx)? {
            (payload, _) if payload == "marker" => ended += 1,
            (_, from) => {
                arrived.insert(from.ip().to_canonical());
            }
        }
    }
    Ok(arrived)
}

/// The way from the internet to the host.
fn reach(net: &Namespace, device: &str) -> Result<()> {
    net.ip(&format!("route replace {PBX_V4}/32 dev {device} table local"))?;
    net.ip(&format!("-6 route replace {PBX_V6}/128 dev {device} table local"))?;
    Ok(())
}

/// A new tunnel, and the end of it that is not in the kernel.
fn tun(namespace: &Namespace, name: &'static str) -> Result<File> {
    namespace.inside(|| open_tun(name))?.with_context(|| format!("make {name}"))
}

#[expect(unsafe_code, reason = "a tunnel: no library here wraps its ioctl")]
fn open_tun(name: &str) -> io::Result<File> {
    // SAFETY: plain system calls; the descriptor is ours, and the request lives until the call returns.
    unsafe {
        let fd = libc::open(c"/dev/net/tun".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let tun = OwnedFd::from_raw_fd(fd);
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = byte as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        match libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw mut request) {
            0 => Ok(File::from(tun)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Carries packets from one tunnel to the other, until one of them is gone.
fn pump(mut from: File, mut to: File) -> JoinHandle<()> {
    thread::spawn(move || {
        // What two processors bring in comes in no order.
        let _ = pin(0);
        let mut packet = vec![0; 1 << 16];
        while let Ok(length) = from.read(&mut packet) {
            // A tunnel that is not up yet takes nothing.
            let _ = to.write(&packet[..length]);
        }
    })
}

/// A line between two pppds.
fn dial(site: &Site) -> Result<Child> {
    let options = "nodetach noauth local nodefaultroute noipdefault novj noccp +ipv6";
    // By its path: a busybox has an `ip` of its own.
    let enter = format!("/sbin/ip netns exec {}", site.internet.name());
    let far = format!("{enter} pppd notty unit 1 {options} 203.0.113.1:{PBX_V4}");
    let mut pppd = Command::new("pppd");
    pppd.args(["unit", "0"]).args(options.split(' ')).arg(format!("{PBX_V4}:203.0.113.1"));
    pppd.args(["pty", &far]).stdin(Stdio::null());
    site.host.inside(move || pppd.spawn())?.context("run pppd (package ppp)")
}

impl Drop for Laid<'_> {
    fn drop(&mut self) {
        if let Some(modem) = &mut self.modem {
            // It hangs up, and the far end with it.
            let _ = modem.kill();
            let _ = modem.wait();
        }
        if !self.pumps.is_empty() {
            let _ = self.site.host.ip("link del tun0");
            let _ = self.site.internet.ip("link del tun1");
        }
        self.pumps.drain(..).for_each(|pump| drop(pump.join()));
    }
}
