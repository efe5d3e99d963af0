//! [`Guarded`]: a host that lets in Spain alone, whatever others on it do. For tests: it fails by panicking.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::time::{Duration, Instant};

use geofilter_core::geodata::embedded;
use serde_json::{Value, json};

use crate::addresses::Addresses;
use crate::process::Agent;
use crate::site::{SIP, Site, WAN, next, pbx_of};

/// By then a packet that passes has arrived.
const ARRIVES: Duration = Duration::from_millis(300);
/// By then a packet that was dropped is counted.
const COUNTED: Duration = Duration::from_secs(5);

/// The ways to attach that a kernel of today has.
pub const KINDS: [&str; 2] = ["xdp", "tc"];

/// A PBX's socket, who is let in, and who is not.
#[derive(Debug)]
pub struct Guarded<'a> {
    site: &'a Site,
    agent: &'a Agent<'a>,
    /// Where the calls of [`Guarded::serves`] arrive.
    pbx: UdpSocket,
    home: Vec<IpAddr>,
    abroad: Vec<IpAddr>,
    attachments: Value,
    calls: Cell<u64>,
    /// What `status` is to warn of.
    warning: Cell<Option<&'static str>>,
}

impl<'a> Guarded<'a> {
    /// Has the agent let in Spain.
    pub fn new(site: &'a Site, agent: &'a Agent<'a>) -> Self {
        let pbx = site.listen(Ipv6Addr::UNSPECIFIED, SIP).unwrap();
        Self::with_pbx(site, agent, pbx)
    }

    /// The same with a PBX that listens on this socket.
    pub fn with_pbx(site: &'a Site, agent: &'a Agent<'a>, pbx: UdpSocket) -> Self {
        let world = embedded::world().unwrap().world;
        let addresses = Addresses::new(&world);
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        let attachments = agent.json(&["status"]).unwrap()["attachments"].clone();
        assert_eq!(attachments.as_array().map(Vec::len), Some(1), "{attachments}");
        pbx.set_read_timeout(Some(ARRIVES)).unwrap();
        let of = |country| vec![addresses.v4(country).into(), addresses.v6(country).into()];
        let (home, abroad) = (of("ES"), of("CN"));
        Self {
            site,
            agent,
            pbx,
            home,
            abroad,
            attachments,
            calls: Cell::new(0),
            warning: Cell::new(None),
        }
    }

    /// Only over IPv4: a PBX that has no other address.
    #[must_use]
    pub fn v4_alone(mut self) -> Self {
        self.home.retain(IpAddr::is_ipv4);
        self.abroad.retain(IpAddr::is_ipv4);
        self
    }

    /// From now on `status` warns of this, and of nothing else.
    pub fn is_warned_of(&self, warning: &'static str) {
        self.warning.set(Some(warning));
    }

    /// Whoever is blocked is dropped by the filter, over each family, and `status` says what is so.
    pub fn keeps_out(&self) {
        let before = self.status();
        assert_eq!(before["state"], "enforcing");
        assert_eq!(before["attachments"], self.attachments);
        assert_eq!(before["countries"], json!(["ES"]));
        let warnings = before["warnings"].as_array().unwrap();
        let expected =
            |it: &Value| it.as_str().unwrap().contains(self.warning.get().unwrap_or("\n"));
        assert!(warnings.iter().all(expected), "{warnings:?}");
        assert_eq!(warnings.is_empty(), self.warning.get().is_none(), "{warnings:?}");
        let dropped = |status: &Value| status["dropped"]["packets"].as_u64().unwrap();
        for source in &self.abroad {
            self.call(*source);
        }
        let expected = dropped(&before) + self.abroad.len() as u64;
        let since = Instant::now();
        while dropped(&self.status()) < expected {
            assert!(since.elapsed() < COUNTED, "the filter did not drop it");
        }
        assert_eq!(dropped(&self.status()), expected);
    }

    /// Whoever is let in is served: over each family a call reaches the PBX and its answer the phone. Whatever keeps
    /// him out keeps him out over both.
    pub fn serves(&self) -> bool {
        let served: Vec<bool> = self.home.iter().map(|source| self.arrives(*source)).collect();
        assert!(served.iter().all(|it| *it == served[0]), "one family alone is served: {served:?}");
        served[0]
    }

    /// Whether a call from there arrives, and its answer there.
    pub fn arrives(&self, source: IpAddr) -> bool {
        let (phone, call) = self.call(source);
        loop {
            let Ok((payload, from)) = next(&self.pbx) else { return false };
            // Who was late before does not count.
            if payload == call {
                assert_eq!(from.ip().to_canonical(), source);
                self.pbx.send_to(b"SIP/2.0 401 Unauthorized\r\n\r\n", from).unwrap();
                let (answer, pbx) = next(&phone).unwrap();
                assert!(answer.starts_with("SIP/2.0 401 "), "{answer}");
                assert_eq!(pbx, pbx_of(source));
                return true;
            }
        }
    }

    /// Somebody calls, from a port of its own each time: to conntrack it is nobody who was there before.
    fn call(&self, source: IpAddr) -> (UdpSocket, String) {
        self.calls.set(self.calls.get() + 1);
        let call = format!("INVITE sip:{}@pbx.example SIP/2.0\r\n\r\n", self.calls.get());
        let phone = self.site.anywhere(source, 0).unwrap();
        phone.send_to(call.as_bytes(), pbx_of(source)).unwrap();
        (phone, call)
    }

    /// Turns the filter off, which must be clean and leave what others have as it is. Returns the proof.
    pub fn off(&self) -> Value {
        let theirs = || {
            let ruleset = self.site.host.command("nft", &["-s", "list", "ruleset"]).unwrap();
            let tables = ruleset.split_inclusive("\n}\n");
            tables
                .filter(|it| !it.trim_start().starts_with("table inet geofilter"))
                .collect::<String>()
        };
        let before = theirs();
        let proof = self.agent.json(&["off"]).unwrap()["proof"].clone();
        assert_eq!(proof["clean"], true, "{proof}");
        assert_eq!(theirs(), before);
        proof
    }

    fn status(&self) -> Value {
        self.agent.json(&["status"]).unwrap()
    }
}

/// Starts an agent that attaches in this way.
pub fn agent_of<'a>(site: &'a Site, backend: &str) -> Agent<'a> {
    Agent::start(&site.host, &["--backend", backend, "--interface", WAN]).unwrap()
}
