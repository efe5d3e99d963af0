//! [`Pbx::scope`]: the ports where SIP really is.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Carrier, Pbx};
use crate::policy::{Ports, Scope, Transport};

impl Pbx {
    /// The ports it takes calls on from beyond this host: its SIP transports and SIP over WebSocket, as far
    /// as its processes own the sockets. If it could not be asked, those of its sockets that are on ports
    /// known for SIP. `None` if there are none, or if it is in a namespace of its own, since its ports
    /// there are not those of the host. Never IAX2, whose trunks can't become peers: that is for the
    /// operator to choose.
    pub fn scope(&self) -> Option<Scope> {
        if self.container {
            return None;
        }
        let known = Scope::default();
        let asked = self.asked();
        let ports: BTreeSet<(Transport, u16)> = self
            .open()
            .filter(|(protocol, port)| match &asked {
                Some(named) => named.contains(&(*protocol, *port)),
                None => known.contains(*protocol, *port),
            })
            .collect();
        (!ports.is_empty()).then(|| Scope(ranges(ports)))
    }

    /// What it says of itself.
    fn asked(&self) -> Option<BTreeSet<(Transport, u16)>> {
        let transports = self.transports.as_ref()?.iter();
        let own = transports
            .filter(|transport| !matches!(transport.carrier, Carrier::Ws | Carrier::Wss))
            .map(|transport| (transport.carrier.protocol(), transport.bind.port()));
        let web = self.websockets.iter().map(|address| (Transport::Tcp, address.port()));
        Some(own.chain(web).collect())
    }

    /// The ports of its sockets that can be reached from beyond this host.
    fn open(&self) -> impl Iterator<Item = (Transport, u16)> {
        let beyond = |ip: IpAddr| !ip.to_canonical().is_loopback();
        let sockets = self.sockets.iter().filter(move |socket| beyond(socket.address.ip()));
        sockets.map(|socket| (socket.protocol, socket.address.port()))
    }
}

/// Ports in a row become one range.
fn ranges(ports: BTreeSet<(Transport, u16)>) -> Vec<Ports> {
    let mut ranges: Vec<Ports> = Vec::new();
    for (transport, port) in ports {
        match ranges.last_mut() {
            Some(last) if last.transport == transport && last.last.checked_add(1) == Some(port) => {
                last.last = port;
            }
            _ => ranges.push(Ports { transport, first: port, last: port }),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pbx::{Kind, SipTransport, Socket};

    fn pbx(sockets: &[(Transport, &str)]) -> Pbx {
        let socket = |(protocol, address): &(Transport, &str)| Socket {
            protocol: *protocol,
            address: address.parse().unwrap(),
        };
        Pbx { sockets: sockets.iter().map(socket).collect(), ..Pbx::new(Kind::Asterisk) }
    }

    fn transport(carrier: Carrier, bind: &str) -> SipTransport {
        SipTransport { name: String::new(), carrier, bind: bind.parse().unwrap() }
    }

    fn words(pbx: &Pbx) -> String {
        let scope = pbx.scope().map(|scope| scope.0).unwrap_or_default();
        scope.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_transports_that_it_owns_are_protected_and_nothing_else() {
        use Transport::{Tcp, Udp};
        let mut pbx = pbx(&[
            (Udp, "0.0.0.0:5080"),
            (Udp, "[::]:5080"),
            (Tcp, "127.0.0.1:5070"),
            (Tcp, "0.0.0.0:5061"),
            (Tcp, "0.0.0.0:5062"),
            (Tcp, "0.0.0.0:8088"),
            (Tcp, "0.0.0.0:5038"),
            (Tcp, "0.0.0.0:22"),
            (Udp, "0.0.0.0:4569"),
            (Udp, "0.0.0.0:10010"),
        ]);
        pbx.transports = Some(vec![
            transport(Carrier::Udp, "0.0.0.0:5080"),
            transport(Carrier::Tcp, "127.0.0.1:5070"),
            transport(Carrier::Tls, "0.0.0.0:5061"),
            transport(Carrier::Tcp, "0.0.0.0:5062"),
            transport(Carrier::Tcp, "0.0.0.0:5999"),
            transport(Carrier::Ws, "0.0.0.0:5060"),
        ]);
        assert_eq!(words(&pbx), "udp/5080 tcp/5061-5062");
        pbx.websockets = vec!["0.0.0.0:8088".parse().unwrap()];
        assert_eq!(words(&pbx), "udp/5080 tcp/5061-5062 tcp/8088");
    }

    #[test]
    fn unasked_it_is_known_by_its_ports() {
        use Transport::{Tcp, Udp};
        let pbx = pbx(&[
            (Udp, "0.0.0.0:5060"),
            (Udp, "0.0.0.0:5160"),
            (Tcp, "[::]:8089"),
            (Tcp, "0.0.0.0:22"),
            (Udp, "0.0.0.0:10010"),
            (Tcp, "[::ffff:127.0.0.1]:5060"),
        ]);
        assert_eq!(words(&pbx), "udp/5060 udp/5160 tcp/8089");
        assert_eq!(words(&Pbx { container: true, ..pbx }), "");
    }
}
