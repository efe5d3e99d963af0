//! [`Phones`]: what reaches the PBX of a [`Site`], and what leaves it. For tests: it fails by panicking.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use std::{io, thread};

use geofilter_core::geodata::embedded;

use crate::addresses::Addresses;
use crate::process::Agent;
use crate::sip;
use crate::site::{PBX_V4, SIP, Site, WAN, next, pbx_of};

/// The ways to attach.
pub const BACKENDS: [&str; 4] = ["xdp", "tc", "clsact", "nft"];

/// What somebody calls with.
pub const INVITE: &str = "INVITE sip:100@pbx.example SIP/2.0\r\n\r\n";
/// What a PBX logs in to a trunk with.
pub const REGISTER: &str = "REGISTER sip:trunk.example SIP/2.0\r\n\r\n";
/// What a PBX says to a call without a password.
pub const CHALLENGE: &str = "SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n\r\n";

/// A PBX's socket, somebody at home in Spain who is always let in, and how to reach both.
#[derive(Debug)]
pub struct Phones<'a> {
    /// Where they are.
    pub site: &'a Site,
    pbx: UdpSocket,
    home: UdpSocket,
}

impl<'a> Phones<'a> {
    /// A PBX that listens on the host of this site.
    pub fn new(site: &'a Site, addresses: &Addresses<'_>) -> Self {
        let pbx = site.listen(Ipv6Addr::UNSPECIFIED, SIP).unwrap();
        Self { site, pbx, home: site.anywhere(addresses.v4("ES"), SIP).unwrap() }
    }

    /// Whether a packet from there reaches the PBX: what is sent from home after it tells when it would have.
    pub fn reaches(&self, from: &UdpSocket, payload: &str) -> bool {
        let source = from.local_addr().unwrap();
        from.send_to(payload.as_bytes(), pbx_of(source.ip())).unwrap();
        self.home.send_to(b"marker", (PBX_V4, SIP)).unwrap();
        let (first, from) = next(&self.pbx).unwrap();
        if first == "marker" {
            return false;
        }
        assert_eq!((first.as_str(), from.ip().to_canonical()), (payload, source.ip()));
        assert_eq!(next(&self.pbx).unwrap().0, "marker");
        true
    }

    /// When the PBX was sent something last, until told to end.
    ///
    /// # Errors
    /// If it can't listen.
    pub fn last_heard(&self, ends: &AtomicBool) -> io::Result<Option<SystemTime>> {
        let pbx = self.pbx.try_clone()?;
        pbx.set_nonblocking(true)?;
        let (mut last, mut packet) = (None, [0; 2048]);
        while !ends.load(Ordering::Relaxed) {
            match pbx.recv(&mut packet) {
                Ok(_) => last = Some(SystemTime::now()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_micros(100));
                }
                Err(error) => return Err(error),
            }
        }
        pbx.set_nonblocking(false)?;
        Ok(last)
    }

    /// Whether a call from some port of this address reaches the PBX.
    pub fn lets_in(&self, address: impl Into<IpAddr>) -> bool {
        self.reaches(&self.somebody(address, 0), INVITE)
    }

    /// The PBX sends something, and it arrives there.
    pub fn pbx_sends(&self, to: &UdpSocket, payload: &str) {
        self.pbx_tells(to.local_addr().unwrap(), payload);
        assert_eq!(next(to).unwrap().0, payload);
    }

    /// The PBX sends something to whoever is there.
    pub fn pbx_tells(&self, to: SocketAddr, payload: &str) {
        let to = match to.ip() {
            IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), to.port()),
            IpAddr::V6(_) => to,
        };
        self.pbx.send_to(payload.as_bytes(), to).unwrap();
    }

    /// Anybody.
    pub fn somebody(&self, address: impl Into<IpAddr>, port: u16) -> UdpSocket {
        self.site.anywhere(address, port).unwrap()
    }
}

/// A device at this address registers, and goes on listening.
pub fn register(site: &Site, address: impl Into<IpAddr>, extension: u32) -> UdpSocket {
    let address = address.into();
    let phone = site.anywhere(address, 5066).unwrap();
    let request = sip::register(phone.local_addr().unwrap(), "UDP", extension);
    phone.send_to(request.as_bytes(), pbx_of(address)).unwrap();
    let (answer, _) = next(&phone).unwrap();
    assert!(sip::is_success(answer.as_bytes()), "{answer}");
    phone
}

/// With an agent that lets in Spain alone, once for each way to attach.
pub fn with_agents(test: impl Fn(&Phones<'_>, &mut Agent<'_>, &Addresses<'_>)) {
    with_agents_by(&BACKENDS, test);
}

/// The same, once for each of these ways.
pub fn with_agents_by(
    backends: &[&str],
    test: impl Fn(&Phones<'_>, &mut Agent<'_>, &Addresses<'_>),
) {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    for backend in backends {
        println!("backend {backend}");
        let site = Site::new().unwrap();
        let phones = Phones::new(&site, &addresses);
        let mut agent =
            Agent::start(&site.host, &["--backend", backend, "--interface", WAN]).unwrap();
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        test(&phones, &mut agent, &addresses);
    }
}
