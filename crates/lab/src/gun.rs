//! [`Gun`]: sends prepared frames onto a wire as fast as it takes them, for benchmarks. [`Draw`] names their
//! sources, [`frame`] and [`datagram`] make them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};
use geofilter_core::country::CountryId;
use geofilter_core::world::World;

use crate::namespace::Namespace;
use crate::site::{PBX_V4, PBX_V6, SIP};

/// Frames handed over in one system call.
const BATCH: usize = 64;
const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
const PACKET_QDISC_BYPASS: libc::c_int = 20;

/// Addresses from all over the space that the world table knows, the same in every run.
#[derive(Debug)]
pub struct Draw<'a> {
    world: &'a World,
    state: u64,
}

impl<'a> Draw<'a> {
    /// Begins.
    pub fn new(world: &'a World) -> Self {
        Self { world, state: 0x2545_f491_4f6c_dd1d }
    }

    fn bits(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    /// The next one of IPv4.
    pub fn v4(&mut self) -> Ipv4Addr {
        loop {
            let address = Ipv4Addr::from(self.bits() as u32);
            if self.is_known(address.into()) {
                return address;
            }
        }
    }

    /// The next one of IPv6, the first of a /64 within 2000::/3.
    pub fn v6(&mut self) -> Ipv6Addr {
        loop {
            let address = Ipv6Addr::from_bits(u128::from(self.bits() >> 3 | 1 << 61) << 64 | 1);
            if self.is_known(address.into()) {
                return address;
            }
        }
    }

    fn is_known(&self, address: IpAddr) -> bool {
        self.world.lookup(address).primary != CountryId::UNKNOWN
    }
}

/// A guess of 442 bytes from an address to the PBX of a site.
pub fn frame(source: IpAddr) -> Vec<u8> {
    let mut guess =
        b"REGISTER sip:pbx.example SIP/2.0\r\nUser-Agent: friendly-scanner\r\n\r\n".to_vec();
    guess.resize(400, b' ');
    datagram(source, &guess)
}

/// A frame with a datagram from an address to the PBX of a site, such as a kernel takes for real.
pub fn datagram(source: IpAddr, payload: &[u8]) -> Vec<u8> {
    let length = (UDP_HEADER + payload.len()) as u16;
    let (kind, mut header, addresses) = match source {
        IpAddr::V4(source) => {
            let total = (20 + length).to_be_bytes();
            let header = vec![0x45, 0, total[0], total[1], 0, 1, 0, 0, 64, UDP, 0, 0];
            ([8, 0], header, [source.octets(), PBX_V4.octets()].concat())
        }
        IpAddr::V6(source) => {
            let length = length.to_be_bytes();
            let header = vec![0x60, 0, 0, 0, length[0], length[1], UDP, 64];
            ([0x86, 0xdd], header, [source.octets(), PBX_V6.octets()].concat())
        }
    };
    if source.is_ipv4() {
        let sum = checksum(&[&header, &addresses]);
        header[10..].copy_from_slice(&sum);
    }
    let ports = [SIP.to_be_bytes(), SIP.to_be_bytes()].concat();
    let length = length.to_be_bytes();
    let sum = checksum(&[&addresses, &[0, UDP], &length, &ports, &length, payload]);
    // To everybody, so that no address has to be known.
    let ethernet = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 2, 2, 2, 2, 2];
    [&ethernet[..], &kind, &header, &addresses, &ports, &length, &sum, payload].concat()
}

/// The checksum of the internet (RFC 1071) over parts of which all but the last are of even length.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |low| u32::from(*low)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    // Zero would say that there is none.
    match !(folded as u16) {
        0 => [0xff, 0xff],
        sum => sum.to_be_bytes(),
    }
}

/// A packet socket on an interface.
#[derive(Debug)]
pub struct Gun(OwnedFd);

impl Gun {
    /// Opens it.
    ///
    /// # Errors
    /// If the kernel refuses: it needs root.
    pub fn new(namespace: &Namespace, interface: &str) -> Result<Self> {
        namespace.inside(|| open(interface))?.context("open a packet socket")
    }

    /// Sends every frame once, in order.
    ///
    /// # Errors
    /// If the kernel refuses one.
    pub fn fire(&self, frames: &[Vec<u8>]) -> io::Result<()> {
        frames.chunks(BATCH).try_for_each(|batch| self.send(batch))
    }

    #[expect(unsafe_code, reason = "sendmmsg(2)")]
    fn send(&self, mut frames: &[Vec<u8>]) -> io::Result<()> {
        while !frames.is_empty() {
            let mut parts: Vec<libc::iovec> = frames
                .iter()
                .map(|frame| libc::iovec {
                    iov_base: frame.as_ptr().cast_mut().cast(),
                    iov_len: frame.len(),
                })
                .collect();
            let mut messages: Vec<libc::mmsghdr> = parts
                .iter_mut()
                .map(|part| {
                    // SAFETY: all fields may be zero.
                    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                    message.msg_hdr.msg_iov = part;
                    message.msg_hdr.msg_iovlen = 1;
                    message
                })
                .collect();
            // SAFETY: the messages point at the parts and those at the frames; all live until it returns, and
            // the kernel writes nothing but the messages' lengths.
            let sent = unsafe {
                let count = messages.len() as libc::c_uint;
                libc::sendmmsg(self.0.as_raw_fd(), messages.as_mut_ptr(), count, 0)
            };
            match usize::try_from(sent) {
                Ok(sent) => frames = &frames[sent..],
                Err(_) => match io::Error::last_os_error() {
                    // The wire is full.
                    error if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                    error => return Err(error),
                },
            }
        }
        Ok(())
    }
}

#[expect(unsafe_code, reason = "packet sockets: no library here wraps them")]
fn open(interface: &str) -> io::Result<Gun> {
    let name = std::ffi::CString::new(interface)?;
    // SAFETY: plain system calls; the descriptor is ours, and what is pointed at lives until each returns.
    unsafe {
        let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(socket);
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
        let length = size_of_val(&address) as libc::socklen_t;
        let yes: libc::c_int = 1;
        let bound = libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) == 0
            && libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                PACKET_QDISC_BYPASS,
                (&raw const yes).cast(),
                size_of_val(&yes) as libc::socklen_t,
            ) == 0;
        if bound { Ok(Gun(socket)) } else { Err(io::Error::last_os_error()) }
    }
}
