//! Promise 1: traffic from countries that were not selected is dropped in the kernel, IPv4 and IPv6
//! alike, and nothing else is.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use geofilter_core::geodata::embedded;
use geofilter_core::world::World;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::process::Agent;
use geofilter_lab::site::{PBX_V4, SIP, Site, WAN, next};

const BACKENDS: [&str; 4] = ["xdp", "tc", "clsact", "nft"];

/// A site with an agent, once for each backend.
fn on_each_backend(test: impl Fn(&Site, &Agent<'_>, &Addresses<'_>)) {
    let world: World = embedded::world().unwrap().world;
    for backend in BACKENDS {
        println!("backend {backend}");
        let site = Site::new().unwrap();
        let agent = Agent::start(&site.host, &["--backend", backend, "--interface", WAN]).unwrap();
        test(&site, &agent, &Addresses::new(&world));
        let kind = agent.json(&["status"]).unwrap()["attachments"][0]["kind"].clone();
        let expected = match backend {
            "xdp" => "xdp-native",
            "clsact" => "tc",
            other => other,
        };
        assert_eq!(kind, expected);
    }
}

/// Sends each probe and then a marker that passes; returns the probes that arrived before it. The wire
/// keeps the order, so nothing has to be waited for.
fn arrived(site: &Site, marker: IpAddr, probes: &[IpAddr]) -> Vec<IpAddr> {
    let pbx = site.listen(std::net::Ipv6Addr::UNSPECIFIED, SIP).unwrap();
    for probe in probes {
        site.send(*probe, SIP, b"OPTIONS").unwrap();
    }
    site.send(marker, SIP, b"marker").unwrap();
    let mut arrived = Vec::new();
    loop {
        let (payload, from) = next(&pbx).unwrap();
        let from = from.ip().to_canonical();
        if from == marker && payload == "marker" {
            return arrived;
        }
        arrived.push(from);
    }
}

#[test]
fn allow_lets_the_selection_in_and_nobody_else() {
    on_each_backend(|site, agent, addresses| {
        agent.json(&["allow", "ES", "PT", "--yes"]).unwrap();
        let allowed: [IpAddr; 4] = [
            addresses.v4("ES").into(),
            addresses.v4("PT").into(),
            addresses.v6("ES").into(),
            addresses.v6("PT").into(),
        ];
        let blocked: [IpAddr; 5] = [
            addresses.v4("CN").into(),
            addresses.v4("RU").into(),
            addresses.v6("CN").into(),
            addresses.v6("US").into(),
            addresses.unknown_v4().into(),
        ];
        let probes = [allowed.as_slice(), &blocked].concat();
        assert_eq!(arrived(site, allowed[0], &probes), allowed);
        let status = agent.json(&["status"]).unwrap();
        assert_eq!(status["state"], "enforcing");
        assert_eq!(status["dropped"]["packets"], 5);
        assert_eq!(status["dropped"]["by_country"]["CN"]["packets"], 2);
        assert_eq!(status["dropped"]["by_country"]["ZZ"]["packets"], 1);
    });
}

#[test]
fn block_keeps_the_selection_out_and_nobody_else() {
    on_each_backend(|site, agent, addresses| {
        agent.json(&["block", "CN", "--yes"]).unwrap();
        let passing: [IpAddr; 4] = [
            addresses.v4("ES").into(),
            addresses.v4("RU").into(),
            addresses.v6("US").into(),
            addresses.unknown_v4().into(),
        ];
        let blocked: [IpAddr; 2] = [addresses.v4("CN").into(), addresses.v6("CN").into()];
        let probes = [passing.as_slice(), &blocked].concat();
        assert_eq!(arrived(site, passing[0], &probes), passing);
    });
}

#[test]
fn hosting_networks_inside_an_allowed_country_can_be_dropped() {
    on_each_backend(|site, agent, addresses| {
        let (home, hosting) = (addresses.v4("ES").into(), addresses.hosting_v4("ES").into());
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        assert_eq!(arrived(site, home, &[home, hosting]), [home, hosting]);
        let risk = ["--hosting", "drop", "--accept-risk", "lose-trunk"];
        agent.json(&[&["allow", "ES", "--yes"], risk.as_slice()].concat()).unwrap();
        assert_eq!(arrived(site, home, &[home, hosting]), [home]);
        let why = agent.json(&["why", &hosting.to_string()]).unwrap();
        assert_eq!((&why["verdict"], &why["reason"]), (&"drop".into(), &"hosting".into()));
    });
}

#[test]
fn replies_to_what_the_host_asked_for_from_other_ports_pass() {
    on_each_backend(|site, agent, addresses| {
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        let server = site.anywhere(addresses.v4("CN"), 53).unwrap();
        let client = site.listen(PBX_V4, 0).unwrap();
        client.send_to(b"question", (addresses.v4("CN"), 53)).unwrap();
        let (question, from) = next(&server).unwrap();
        assert_eq!(question, "question");
        server.send_to(b"answer", from).unwrap();
        assert_eq!(next(&client).unwrap().0, "answer");
    });
}

#[test]
fn tcp_is_judged_and_what_is_merged_into_large_buffers_too() {
    on_each_backend(|site, agent, addresses| {
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        let listen = || TcpListener::bind((PBX_V4, SIP));
        let pbx = site.host.inside(listen).unwrap().unwrap();
        let served = thread::spawn(move || {
            let (mut stream, _) = pbx.accept().unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            received.len()
        });
        let refused = connect(site, addresses.v4("CN").into());
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        let mut stream = connect(site, addresses.v4("ES").into()).unwrap();
        stream.write_all(&vec![7; 8 << 20]).unwrap();
        drop(stream);
        assert_eq!(served.join().unwrap(), 8 << 20);
        let status = agent.json(&["status"]).unwrap();
        let passed = &status["passed"]["by_country"]["ES"];
        // Exact, although TC sees a buffer where dozens of packets arrived.
        let (packets, bytes) = (passed["packets"].as_u64(), passed["bytes"].as_u64());
        assert!(bytes.unwrap() > 8 << 20);
        // To nftables such a buffer is one packet.
        let merged = status["backend"] == "nft";
        assert!(merged || packets.unwrap() > (8 << 20) / 1_500, "{passed}");
    });
}

/// Connects from an address to the PBX, within half a second.
fn connect(site: &Site, source: IpAddr) -> std::io::Result<TcpStream> {
    let connect = || {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        sockopt::set_socket_timeout(
            &socket,
            sockopt::Timeout::Send,
            Some(Duration::from_millis(500)),
        )?;
        bind(&socket, &SocketAddr::new(source, 0))?;
        match connect(&socket, &SocketAddr::from((PBX_V4, SIP))) {
            Err(rustix::io::Errno::INPROGRESS) => Err(std::io::ErrorKind::TimedOut.into()),
            result => Ok(result.map(|()| TcpStream::from(socket))?),
        }
    };
    site.internet.inside(connect).unwrap()
}

#[test]
fn jumbo_frames_are_judged_on_tc() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    for (namespace, interface) in [(&site.host, WAN), (&site.internet, "net0")] {
        namespace.ip(&format!("link set {interface} mtu 9000")).unwrap();
    }
    // Native XDP is refused on such an interface, and `auto` falls back.
    let agent = Agent::start(&site.host, &["--interface", WAN]).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    assert_eq!(agent.json(&["status"]).unwrap()["attachments"][0]["kind"], "tc");
    let pbx = site.listen(PBX_V4, SIP).unwrap();
    let jumbo = vec![b'x'; 8_900];
    site.send(addresses.v4("CN"), SIP, &jumbo).unwrap();
    site.send(addresses.v4("ES"), SIP, &jumbo).unwrap();
    assert_eq!(next(&pbx).unwrap().1.ip(), IpAddr::from(addresses.v4("ES")));
    let refused = agent.ask(&["status"]).unwrap();
    assert!(refused.status.success());
}
