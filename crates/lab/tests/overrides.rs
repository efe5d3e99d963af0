//! Promises 5, 6 and 10, of exemptions and bans: what is exempt always passes, what is banned never does, from
//! the next packet on and to the second, with nobody alive; and the host remembers both.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::nameserver::NameServer;
use geofilter_lab::phones::{BACKENDS, CHALLENGE, INVITE, Phones, REGISTER, with_agents};
use geofilter_lab::process::Agent;
use geofilter_lab::site::{SIP, Site, WAN};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait for what must not come.
const MOMENT: Duration = Duration::from_millis(300);

/// A target, whom it covers, and whom not although he is near.
struct Case {
    target: String,
    inside: Vec<IpAddr>,
    outside: IpAddr,
}

/// Everything but a single IPv6 address, which exemptions and bans take differently.
fn cases(agent: &Agent<'_>, addresses: &Addresses<'_>, country: &str) -> Vec<Case> {
    let (v4, v6) = (addresses.v4(country), addresses.v6(country));
    let [_, elsewhere] = addresses.several_v4(country, 2)[..] else { panic!("too few") };
    let case = |target: String, inside: &[IpAddr], outside: IpAddr| Case {
        target,
        inside: inside.to_vec(),
        outside,
    };
    let asn =
        |address: Ipv4Addr| agent.json(&["why", &address.to_string()]).unwrap()["asn"].as_u64();
    let mut several = addresses.several_v4(country, 1_000).into_iter();
    let (number, announced) = several.find_map(|address| Some((asn(address)?, address))).unwrap();
    let other = several.find(|other| asn(*other) != Some(number)).unwrap();
    let [first, second, third, _] = v4.octets();
    vec![
        case(v4.to_string(), &[v4.into()], beside(v4.into(), 1)),
        case(
            format!("{first}.{second}.{third}.0/24"),
            &[v4.into(), beside(v4.into(), 1)],
            elsewhere.into(),
        ),
        case(format!("{v6}/128"), &[v6.into()], beside(v6.into(), 1)),
        case(network(v6), &[v6.into(), beside(v6.into(), 1)], beside(v6.into(), 1 << 64)),
        case(format!("AS{number}"), &[announced.into()], other.into()),
    ]
}

fn beside(address: IpAddr, by: u128) -> IpAddr {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::from(v4.to_bits() + by as u32).into(),
        IpAddr::V6(v6) => Ipv6Addr::from(v6.to_bits() + by).into(),
    }
}

/// The /64 of an address.
fn network(address: Ipv6Addr) -> String {
    format!("{}/64", Ipv6Addr::from(address.to_bits() >> 64 << 64))
}

fn packets(status: &Value, tally: &str) -> u64 {
    status[tally]["packets"].as_u64().unwrap()
}

/// A connection over TCP that the PBX has taken: the caller's end and the PBX's.
fn call(site: &Site, pbx: &TcpListener, from: IpAddr) -> (TcpStream, TcpStream) {
    let caller = site.connect(from, PATIENCE).unwrap();
    let (taken, source) = pbx.accept().unwrap();
    let source = SocketAddr::new(source.ip().to_canonical(), source.port());
    assert_eq!(source, caller.local_addr().unwrap());
    (caller, taken)
}

fn hears(stream: &mut TcpStream, patience: Duration) -> Option<u8> {
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).ok().map(|()| byte[0])
}

fn listen(site: &Site) -> TcpListener {
    site.host.inside(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, SIP))).unwrap().unwrap()
}

#[test]
fn what_is_exempt_passes_at_once_and_is_dropped_once_it_is_not() {
    with_agents(|phones, agent, addresses| {
        let mut cases = cases(agent, addresses, "CN");
        let v6 = addresses.v6("CN");
        let outside = beside(v6.into(), 1);
        cases.push(Case { target: v6.to_string(), inside: vec![v6.into()], outside });
        let status = || agent.json(&["status"]).unwrap();
        for Case { target, inside, outside } in &cases {
            for address in inside.iter().chain([outside]) {
                assert!(!phones.lets_in(*address), "{target} is not exempt yet: {address}");
            }
            let before = status();
            agent.json(&["exempt", "add", target]).unwrap();
            for address in inside {
                assert!(phones.lets_in(*address), "{target} is exempt: {address}");
            }
            assert!(!phones.lets_in(*outside), "{target} is exempt: {outside}");
            let after = status();
            assert_eq!(after["counts"], json!({"exemptions": 1, "bans": 0, "peers": 0}));
            // A marker follows each. What passes as exempt counts for no country; neighbour discovery passes too.
            let sent = inside.len() as u64;
            let more = |tally: &str| packets(&after, tally) - packets(&before, tally);
            let of = |status: &Value, tally: &str, country: &str| {
                status[tally]["by_country"][country]["packets"].as_u64().unwrap_or(0)
            };
            let more_of = |tally, country| of(&after, tally, country) - of(&before, tally, country);
            assert!(more("passed") > 2 * sent, "{after}");
            assert_eq!((more_of("passed", "ES"), more_of("passed", "CN")), (sent + 1, 0));
            assert_eq!((more("dropped"), more_of("dropped", "CN")), (1, 1));
            agent.json(&["exempt", "remove", target]).unwrap();
            for address in inside {
                assert!(!phones.lets_in(*address), "{target} is exempt no more: {address}");
            }
            assert_eq!(status()["counts"]["exemptions"], 0);
        }
    });
}

#[test]
fn what_is_banned_is_dropped_at_once_also_in_the_middle_of_a_conversation() {
    with_agents(|phones, agent, addresses| {
        agent.json(&["allow", "ES", "FR", "--yes"]).unwrap();
        let mut cases = cases(agent, addresses, "FR");
        let v6 = addresses.v6("FR");
        let (inside, outside) = (vec![v6.into(), beside(v6.into(), 7)], beside(v6.into(), 1 << 64));
        cases.push(Case { target: v6.to_string(), inside, outside });
        let pbx = listen(phones.site);
        for Case { target, inside, outside } in &cases {
            let talking: Vec<(UdpSocket, TcpStream, TcpStream)> = inside
                .iter()
                .map(|address| {
                    let caller = phones.somebody(*address, 0);
                    assert!(phones.reaches(&caller, INVITE), "{target} is not banned yet");
                    phones.pbx_sends(&caller, CHALLENGE);
                    let (stream, mut taken) = call(phones.site, &pbx, *address);
                    (&stream).write_all(b"1").unwrap();
                    assert_eq!(hears(&mut taken, PATIENCE), Some(b'1'));
                    (caller, stream, taken)
                })
                .collect();
            let noted = agent.json(&["ban", "add", target]).unwrap();
            assert_eq!(noted["warnings"], json!([]), "{target}");
            let mut talking: Vec<_> = talking
                .into_iter()
                .map(|(caller, mut stream, mut taken)| {
                    assert!(!phones.reaches(&caller, INVITE), "{target} is banned");
                    stream.write_all(b"2").unwrap();
                    assert_eq!(hears(&mut taken, MOMENT), None, "{target} is banned");
                    let address = caller.local_addr().unwrap().ip();
                    assert!(phones.site.connect(address, MOMENT).is_err(), "{target} is banned");
                    (caller, stream, taken)
                })
                .collect();
            assert!(phones.lets_in(*outside), "{target} is banned: {outside}");
            assert_eq!(agent.json(&["status"]).unwrap()["counts"]["bans"], 1);
            agent.json(&["ban", "remove", target]).unwrap();
            for (caller, _, taken) in &mut talking {
                assert!(phones.reaches(caller, INVITE), "{target} is banned no more");
                // TCP goes on where it was.
                assert_eq!(hears(taken, PATIENCE), Some(b'2'), "{target} is banned no more");
            }
        }
    });
}

#[test]
fn an_exemption_and_a_peer_come_before_a_ban() {
    with_agents(|phones, agent, addresses| {
        let (abroad, home) = (addresses.v4("CN"), addresses.several_v4("ES", 2)[1]);
        let trunk = phones.somebody(addresses.v6("CN"), SIP);
        phones.pbx_sends(&trunk, REGISTER);
        let banned = [abroad.to_string(), home.to_string(), addresses.v6("CN").to_string()];
        agent.json(&["exempt", "add", &banned[0], &banned[1]]).unwrap();
        let noted =
            agent.json(&["ban", "add", &banned[0], &banned[1], &banned[2]]).unwrap()["warnings"]
                .clone();
        assert_eq!(noted.as_array().unwrap().len(), 3, "{noted}");
        assert!(phones.lets_in(abroad) && phones.lets_in(home));
        assert!(phones.reaches(&trunk, INVITE));
        agent.json(&["exempt", "remove", &banned[0], &banned[1]]).unwrap();
        assert!(!phones.lets_in(abroad) && !phones.lets_in(home));
        assert!(phones.reaches(&trunk, INVITE));
    });
}

/// When the record of a target ends.
fn end_of(agent: &Agent<'_>, site: &Site, kind: &str, target: &str) -> SystemTime {
    let record = agent.json(&[kind, "list", target]).unwrap()["records"][0].clone();
    let words = ["-u", "-d", record["until"].as_str().unwrap(), "+%s"];
    let seconds = site.host.command("date", &words).unwrap();
    UNIX_EPOCH + Duration::from_secs(seconds.trim().parse().unwrap())
}

#[test]
fn both_end_by_themselves_with_the_agent_dead() {
    with_agents(|phones, agent, addresses| {
        let by_nft = agent.json(&["status"]).unwrap()["backend"] == "nft";
        let sources: [[IpAddr; 2]; 2] = [
            [addresses.v4("CN").into(), addresses.several_v4("ES", 2)[1].into()],
            [addresses.v6("CN").into(), addresses.v6("ES").into()],
        ];
        let mut timed = Vec::new();
        for [abroad, home] in sources {
            for (kind, address, passes) in [("exempt", abroad, true), ("ban", home, false)] {
                // The /24 and exempt IPv6 lie in the table of prefixes, the others are single addresses.
                let target = match address {
                    IpAddr::V4(v4) if passes => format!("{v4}/32"),
                    IpAddr::V4(v4) => {
                        let [first, second, third, _] = v4.octets();
                        format!("{first}.{second}.{third}.0/24")
                    }
                    IpAddr::V6(v6) => v6.to_string(),
                };
                let asked = SystemTime::now();
                agent.json(&[kind, "add", &target, "--for", "2s"]).unwrap();
                let end = end_of(agent, phones.site, kind, &target);
                // To the second: it is over in the second that the two seconds end in.
                let soonest = asked + Duration::from_secs(1);
                let latest = SystemTime::now() + Duration::from_secs(3);
                assert!((soonest..latest).contains(&end), "{target}");
                timed.push((phones.somebody(address, 0), passes, end, 0, 0));
            }
        }
        agent.kill().unwrap();
        let last = timed.iter().map(|(_, _, end, ..)| *end).max().unwrap();
        // The calendar may have been set by a few milliseconds meanwhile.
        let drift = Duration::from_millis(50);
        // By nftables a prefix counts from when nft has written it.
        let late = if by_nft { Duration::from_millis(200) } else { Duration::ZERO };
        while SystemTime::now() < last + MOMENT {
            for (socket, passes, end, held, ended) in &mut timed {
                let sent = SystemTime::now();
                if phones.reaches(socket, INVITE) == *passes {
                    assert!(sent < *end + drift + late, "it holds longer: {socket:?}");
                    *held += 1;
                } else {
                    assert!(SystemTime::now() + drift >= *end, "it ends early: {socket:?}");
                    *ended += 1;
                }
            }
        }
        assert!(timed.iter().all(|(.., held, ended)| *held > 10 && *ended > 10), "{timed:?}");
        agent.restart(None).unwrap();
        assert_eq!(
            agent.json(&["status"]).unwrap()["counts"],
            json!({"exemptions": 0, "bans": 0, "peers": 0})
        );
    });
}

#[test]
fn both_are_the_hosts_and_outlive_policies_pauses_off_and_a_killed_agent() {
    with_agents(|phones, agent, addresses| {
        let [exempt, stranger, wide] = addresses.several_v4("CN", 3)[..] else { panic!("few") };
        let [_, banned] = addresses.several_v4("ES", 2)[..] else { panic!("few") };
        let (exempt_v6, banned_v6) = (addresses.v6("CN"), addresses.v6("ES"));
        let prefix = format!("{}/24", Ipv4Addr::from(wide.to_bits() & !0xff));
        let words = ["exempt", "add", &exempt.to_string(), &prefix, &network(exempt_v6)];
        agent.json(&words).unwrap();
        agent.json(&["ban", "add", &banned.to_string(), &banned_v6.to_string()]).unwrap();
        let passing: [IpAddr; 3] = [exempt.into(), wide.into(), exempt_v6.into()];
        let dropped: [IpAddr; 2] = [banned.into(), banned_v6.into()];
        let holds = |what: &str| {
            assert!(passing.iter().all(|address| phones.lets_in(*address)), "{what}: exemptions");
            assert!(!dropped.iter().any(|address| phones.lets_in(*address)), "{what}: bans");
        };
        let all_pass = || passing.iter().chain(&dropped).all(|address| phones.lets_in(*address));
        holds("at first");
        for _ in 0..2 {
            agent.kill().unwrap();
            holds("with the agent dead");
            agent.restart(None).unwrap();
            holds("with the next agent");
        }
        for change in [&["allow", "ES", "PT"][..], &["block", "CN"], &["allow", "ES"]] {
            agent.json(&[change, &["--yes"]].concat()).unwrap();
            holds("under another policy");
            assert!(!phones.lets_in(stranger));
        }
        agent.json(&["pause", "--for", "1m"]).unwrap();
        assert!(all_pass());
        agent.json(&["resume"]).unwrap();
        holds("after a pause");
        agent.json(&["observe"]).unwrap();
        let before = agent.json(&["status"]).unwrap();
        assert!(all_pass());
        let after = agent.json(&["status"]).unwrap();
        let more = |tally| packets(&after, tally) - packets(&before, tally);
        assert_eq!((more("would_drop"), more("dropped")), (2, 0));
        agent.json(&["off"]).unwrap();
        assert!(all_pass());
        for _ in 0..2 {
            let list = |kind| agent.json(&[kind, "list"]).unwrap()["records"].clone();
            let count = |kind| list(kind).as_array().unwrap().len();
            assert_eq!((count("exempt"), count("ban")), (3, 2));
            agent.kill().unwrap();
            agent.restart(None).unwrap();
        }
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        holds("after off");
        assert!(!phones.lets_in(stranger));
    });
}

#[test]
fn why_and_protected_say_who_decided_and_a_peer_can_be_ended() {
    with_agents(|phones, agent, addresses| {
        let [exempt, peer, stranger] = addresses.several_v4("CN", 3)[..] else { panic!("few") };
        let banned = addresses.several_v4("ES", 2)[1];
        agent.json(&["exempt", "add", &exempt.to_string(), "--note", "branch office"]).unwrap();
        agent.json(&["ban", "add", &banned.to_string(), "--note", "guesser"]).unwrap();
        let trunk = phones.somebody(peer, SIP);
        phones.pbx_sends(&trunk, REGISTER);
        let decided = |address: Ipv4Addr| {
            let why = agent.json(&["why", &address.to_string()]).unwrap();
            let passes = match address == peer {
                true => phones.reaches(&trunk, INVITE),
                false => phones.lets_in(address),
            };
            assert_eq!(why["verdict"], if passes { "pass" } else { "drop" }, "{why}");
            (why["reason"].as_str().unwrap().to_owned(), why["decided_by"].clone())
        };
        let of = |kind: &str, address: Ipv4Addr, note: &str| {
            let (reason, by) = decided(address);
            assert_eq!((reason.as_str(), &by["kind"]), (kind, &json!(kind)));
            assert_eq!((&by["target"], &by["note"]), (&json!(address.to_string()), &json!(note)));
        };
        of("exemption", exempt, "branch office");
        of("ban", banned, "guesser");
        let (reason, by) = decided(peer);
        let address = format!("{peer}:{SIP}");
        assert_eq!((reason.as_str(), &by["peer"]), ("peer", &json!(address)));
        assert_eq!(decided(stranger), ("country".to_owned(), json!(null)));
        let protected = |address: IpAddr| {
            let asked = agent.ask(&["protected", &address.to_string(), "--quiet"]).unwrap();
            assert_eq!((asked.stdout.as_slice(), asked.stderr.as_slice()), (&b""[..], &b""[..]));
            asked.status.code()
        };
        let local = Ipv4Addr::new(192, 168, 1, 1);
        assert_eq!([exempt, peer, local].map(|it| protected(it.into())), [Some(0); 3]);
        assert_eq!([banned, stranger].map(|it| protected(it.into())), [Some(1); 2]);
        let peers = agent.json(&["peer", "list"]).unwrap()["peers"].clone();
        assert_eq!((peers.as_array().unwrap().len(), &peers[0]["peer"]), (1, &json!(address)));
        let remaining = peers[0]["remaining"].as_u64().unwrap();
        assert!((7_140..=7_200).contains(&remaining), "{remaining}");
        assert_eq!(agent.json(&["peer", "remove", &address]).unwrap()["removed"][0], address);
        assert!(!phones.reaches(&trunk, INVITE));
        assert_eq!(protected(peer.into()), Some(1));
        phones.pbx_sends(&trunk, REGISTER);
        assert!(phones.reaches(&trunk, INVITE));
    });
}

#[test]
fn ten_thousand_are_banned_and_nobody_beside_them() {
    with_agents(|phones, agent, addresses| {
        // The first is at home.
        let ranges = addresses.several_v4("ES", 2_251).split_off(1);
        let v4 = ranges.iter().flat_map(|first| (0..4).map(|by| beside((*first).into(), by)));
        let v6 = addresses.several_v6("ES", 1_000);
        let banned: Vec<IpAddr> = v4.chain(v6.iter().map(|address| (*address).into())).collect();
        assert_eq!(banned.len(), 10_000);
        let lines: String = banned.iter().map(|address| format!("{address}\n")).collect();
        let tell = |words: &[&str]| {
            let said = agent.ask_with(words, &lines).unwrap();
            assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        };
        let sample = || banned.iter().step_by(97).chain(banned.last());
        tell(&["ban", "add", "-"]);
        assert_eq!(agent.json(&["status"]).unwrap()["counts"]["bans"], 10_000);
        assert!(sample().all(|address| !phones.lets_in(*address)));
        assert!(ranges.iter().step_by(97).all(|first| phones.lets_in(beside((*first).into(), 5))));
        tell(&["ban", "remove", "-"]);
        assert_eq!(agent.json(&["status"]).unwrap()["counts"]["bans"], 0);
        assert!(sample().all(|address| phones.lets_in(*address)));
    });
}

#[test]
fn a_name_is_followed_to_its_new_address() {
    const NAME: &str = "trunk.example.net";
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let [old, new, stranger] = addresses.several_v4("CN", 3)[..] else { panic!("few") };
    for backend in BACKENDS {
        println!("backend {backend}");
        let site = Site::new().unwrap();
        let phones = Phones::new(&site, &addresses);
        let names = NameServer::start(&site.host, 0).unwrap();
        names.set(&[old]);
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("agent.toml");
        std::fs::write(&config, format!("nameservers = [\"{}\"]\n", names.at)).unwrap();
        let words = ["--backend", backend, "--interface", WAN];
        let words = [&words[..], &["--config", config.to_str().unwrap()]].concat();
        let mut agent = Agent::start(&site.host, &words).unwrap();
        agent.json(&["allow", "ES", "--yes"]).unwrap();
        let noted = agent.json(&["exempt", "add", NAME]).unwrap();
        assert_eq!(noted["warnings"], json!([]));
        assert!(phones.lets_in(old) && !phones.lets_in(new));
        names.set(&[new]);
        // It is asked for again at once, rather than in a minute.
        agent.json(&["exempt", "add", NAME]).unwrap();
        let since = Instant::now();
        while !phones.lets_in(new) {
            assert!(since.elapsed() < PATIENCE, "{}", agent.log());
        }
        // The old one stays for an hour, also in the next agent, before it has asked.
        agent.kill().unwrap();
        assert!(phones.lets_in(old) && phones.lets_in(new));
        agent.restart(None).unwrap();
        assert!(phones.lets_in(old) && phones.lets_in(new) && !phones.lets_in(stranger));
        agent.json(&["exempt", "remove", NAME]).unwrap();
        assert!(!phones.lets_in(old) && !phones.lets_in(new));
    }
}
