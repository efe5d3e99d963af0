//! [`Tracker`]: who becomes a peer, pure. It is the oracle of what the kernel learns from the packets that
//! pass and from those that leave.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use crate::counters::Reason;
use crate::decide::{self, Timed};
use crate::desired::BootTime;
use crate::overrides::AddressKey;
use crate::packet::Departure;
use crate::policy::{Scope, Transport};

/// How long a peer stays one after the last request to it, in nanoseconds: two hours, longer than any
/// usual interval of registering or qualifying.
pub const LIFETIME: u64 = 2 * 3600 * 1_000_000_000;
/// How many peers fit.
pub const MAX_PEERS: usize = 1 << 14;

/// What a SIP request says of who asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The PBX logs in: its own wish, whoever contacted whom before.
    Register,
    /// A request that may be the first between two parties.
    Opening,
    /// A request that only follows another one, which may have come from outside: it keeps a peer, and
    /// makes none.
    Following,
}

impl Method {
    /// Longest name of a method.
    const LONGEST: usize = 13;
    const SHORTEST: usize = 3;

    /// Reads the start of a datagram: capital letters, a space, and the letter a URI begins with. Responses,
    /// keep-alives, STUN and media are no requests.
    pub fn of(payload: &[u8]) -> Option<Self> {
        let length = payload.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
        let is_request = (Self::SHORTEST..=Self::LONGEST).contains(&length)
            && payload.len() >= START
            && payload[length] == b' '
            && payload[length + 1].is_ascii_alphabetic();
        is_request.then(|| match &payload[..length] {
            b"REGISTER" => Self::Register,
            b"ACK" | b"BYE" | b"CANCEL" | b"INFO" | b"NOTIFY" | b"PRACK" | b"REFER" | b"UPDATE" => {
                Self::Following
            }
            _ => Self::Opening,
        })
    }
}

/// Bytes of a datagram that are looked at; no request is shorter.
const START: usize = 16;

/// Peers, and the sources that came first.
#[derive(Debug, Clone, Default)]
pub struct Tracker {
    peers: HashMap<SocketAddr, BootTime>,
    inbound_first: HashSet<AddressKey>,
    contacts: HashSet<AddressKey>,
}

impl Tracker {
    /// Learns from a packet to a protected port that was judged: a source that is let through before the
    /// PBX asked anything of it came first.
    pub fn arrived(&mut self, source: IpAddr, reason: Reason, dropped: bool) {
        match reason {
            Reason::Exemption
            | Reason::Ban
            | Reason::Country
            | Reason::Unknown
            | Reason::Hosting
                if !dropped =>
            {
                self.inbound_first.insert(AddressKey::of(source));
            }
            Reason::Exemption
            | Reason::Ban
            | Reason::Country
            | Reason::Unknown
            | Reason::Hosting
            | Reason::NotIp
            | Reason::OutOfScope
            | Reason::Local
            | Reason::Martian
            | Reason::Peer => {}
        }
    }

    /// Says who is registered at the PBX: they came first too.
    pub fn set_contacts(&mut self, contacts: HashSet<AddressKey>) {
        self.contacts = contacts;
    }

    fn came_first(&self, source: IpAddr) -> bool {
        let key = AddressKey::of(source);
        self.contacts.contains(&key) || self.inbound_first.contains(&key)
    }

    /// Learns from a datagram that leaves.
    pub fn departs(&mut self, departure: &Departure<'_>, scope: &Scope, now: BootTime) {
        let Departure { to, port, payload } = *departure;
        if !scope.contains(Transport::Udp, port) || !decide::is_global(to.ip()) {
            return;
        }
        let Some(method) = Method::of(payload) else { return };
        let is_peer = self.peers.get(&to).is_some_and(|until| now < *until);
        let becomes_one = match method {
            Method::Register => true,
            Method::Opening => !self.came_first(to.ip()),
            Method::Following => false,
        };
        if is_peer || becomes_one {
            self.peers.insert(to, BootTime(now.0 + LIFETIME));
        }
    }

    /// The peers there were, with their ends.
    pub fn peers(&self) -> impl Iterator<Item = Timed<SocketAddr>> {
        self.peers.iter().map(|(peer, until)| Timed { value: *peer, until: Some(*until) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_requests_are_requests() {
        let of = |text: &str| Method::of(text.as_bytes());
        assert_eq!(of("REGISTER sip:trunk.example SIP/2.0\r\n"), Some(Method::Register));
        assert_eq!(of("OPTIONS sip:1@192.0.2.1 SIP/2.0\r\n"), Some(Method::Opening));
        assert_eq!(of("INVITE tel:+40212345 SIP/2.0\r\n"), Some(Method::Opening));
        for following in ["ACK", "BYE", "CANCEL", "INFO", "NOTIFY", "PRACK", "REFER", "UPDATE"] {
            let line = format!("{following} sip:1@192.0.2.1 SIP/2.0\r\n");
            assert_eq!(of(&line), Some(Method::Following));
        }
        let others = [
            "SIP/2.0 200 OK\r\nVia: ",
            "\r\n\r\n",
            "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n",
            "\0\x01\0\x08!\x12$B transaction",
            "register sip:trunk.example",
            "REGISTER  sip:two.spaces",
            "REGISTER",
            "AVERYVERYLONGWORD sip:x",
            "OK sip:short.example",
        ];
        for text in others {
            assert_eq!(of(text), None, "{text:?}");
        }
    }
}
