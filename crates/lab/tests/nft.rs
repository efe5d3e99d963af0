//! The data plane of nftables: it judges as the decision says, needs no BPF, goes back without an agent, is put back when others
//! take it away, and leaves nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use geofilter_core::country::{CountrySet, select};
use geofilter_core::decide::{decide_source, is_global};
use geofilter_core::geodata::embedded;
use geofilter_core::policy::{Disputed, Mode, Policy, Verdict};
use geofilter_core::world::World;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::guarded::Guarded;
use geofilter_lab::neighbours::{Neighbour, snapshot};
use geofilter_lab::pbx::within_patience;
use geofilter_lab::process::Agent;
use geofilter_lab::site::{PBX_V4, SIP, Site, WAN, next};
use rustix::process::Signal;
use serde_json::Value;

const SECOND: Duration = Duration::from_secs(1);
const WORDS: [&str; 4] = ["--backend", "nft", "--interface", WAN];
/// Probes between two markers: fewer than a socket holds.
const BATCH: usize = 100;

/// Which of these reach the PBX.
fn arrived(site: &Site, pbx: &UdpSocket, marker: IpAddr, probes: &[IpAddr]) -> Vec<IpAddr> {
    let mut arrived = Vec::new();
    for batch in probes.chunks(BATCH) {
        for probe in batch {
            site.send(*probe, SIP, b"OPTIONS").unwrap();
        }
        site.send(marker, SIP, b"marker").unwrap();
        loop {
            let (payload, from) = next(pbx).unwrap();
            if payload == "marker" {
                break;
            }
            arrived.push(from.ip().to_canonical());
        }
    }
    arrived
}

/// Addresses at borders of the world, and some of them as tunnels carry them.
fn probes(world: &World) -> Vec<IpAddr> {
    let v4 = world.v4().iter().step_by(1999).map(|(start, _)| Ipv4Addr::from(start));
    let v4: Vec<Ipv4Addr> = v4.filter(|address| is_global((*address).into())).collect();
    let v6 = world.v6().iter().step_by(1999).map(|(start, _)| Ipv6Addr::from(start));
    let v6 = v6.filter(|address| is_global((*address).into()));
    let inside = v4.iter().step_by(20).map(|address| u128::from(u32::from(*address)));
    let tunnels = inside.flat_map(|v4| [0x2002 << 112 | v4 << 80 | 1, 0x64_ff9b << 96 | v4]);
    let v6: Vec<IpAddr> = v6.chain(tunnels.map(Ipv6Addr::from)).map(IpAddr::V6).collect();
    // Nobody can send from the first address of a network of this site, or from nowhere.
    let sent = |address: &IpAddr| !address.is_unspecified() && address.to_string() != "203.0.113.0";
    v4.into_iter().map(IpAddr::V4).chain(v6).filter(sent).collect()
}

#[test]
fn what_passes_is_what_the_decision_says() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let agent = Agent::start(&site.host, &WORDS).unwrap();
    let pbx = site.listen(Ipv6Addr::UNSPECIFIED, SIP).unwrap();
    let probes = probes(&world);
    let spain: IpAddr = addresses.v4("ES").into();
    let of = |codes: &[&str]| -> CountrySet { select(codes.iter().copied()).unwrap() };
    let policies: [(&[&str], Policy); 4] = [
        (&["allow", "ES", "US", "--yes"], Policy::new(Mode::AllowSelected, of(&["ES", "US"]))),
        (&["block", "US", "CN", "--yes"], Policy::new(Mode::BlockSelected, of(&["US", "CN"]))),
        (
            &[
                "allow",
                "ES",
                "US",
                "--hosting",
                "drop",
                "--unknown",
                "pass",
                "--disputed",
                "strict",
                "--yes",
            ],
            Policy {
                hosting: Verdict::Drop,
                unknown: Verdict::Pass,
                disputed: Disputed::Strict,
                ..Policy::new(Mode::AllowSelected, of(&["ES", "US"]))
            },
        ),
        (
            &["allow", "ES", "US", "--disputed", "lenient", "--yes"],
            Policy {
                disputed: Disputed::Lenient,
                ..Policy::new(Mode::AllowSelected, of(&["ES", "US"]))
            },
        ),
    ];
    let accepted = ["--accept-risk", "lose-trunk", "--accept-risk", "slow-nft"];
    for (words, policy) in policies {
        let before = dropped(&agent);
        agent.json(&[words, &accepted].concat()).unwrap();
        let passes =
            |address: &&IpAddr| decide_source(**address, &policy, &world).verdict == Verdict::Pass;
        let expected: Vec<IpAddr> = probes.iter().filter(passes).copied().collect();
        let wrong = probes.len() - expected.len();
        println!("{words:?}: {} of {} pass", expected.len(), probes.len());
        assert!(expected.len() > 20 && wrong > 20);
        assert_eq!(arrived(&site, &pbx, spain, &probes), expected, "{words:?}");
        assert_eq!(dropped(&agent) - before, wrong as u64, "all of them are counted");
    }
}

#[test]
fn the_countries_of_a_flood_are_estimated_from_samples_and_add_up_to_what_was_counted() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let agent = Agent::start(&site.host, &WORDS).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    // Three of four packets are from China.
    let china = addresses.several_v4("CN", 3).into_iter();
    let sources = china.chain([addresses.v4("RU")]);
    let sockets: Vec<UdpSocket> = sources.map(|it| site.anywhere(it, 0).unwrap()).collect();
    let since = Instant::now();
    let mut sent = 0;
    while since.elapsed() < 2 * SECOND {
        for socket in &sockets {
            socket.send_to(b"REGISTER sip:x SIP/2.0\r\n\r\n", (PBX_V4, SIP)).unwrap();
            sent += 1;
        }
    }
    assert!(sent > 20_000, "the flood was none: {sent}");
    let status = agent.json(&["status"]).unwrap();
    assert_eq!(status["sampled"], true);
    let dropped = &status["dropped"];
    assert_eq!(dropped["packets"], sent, "{dropped}");
    let of = |country: &str| dropped["by_country"][country]["packets"].as_u64().unwrap();
    let (china, russia) = (of("CN"), of("RU"));
    assert_eq!(china + russia, sent, "{dropped}");
    let share = china as f64 / sent as f64;
    assert!((0.70..0.80).contains(&share), "{share}");
    let said = agent.ask(&["status"]).unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("estimated from samples"), "{said}");
    // A few packets are each seen, and what was sampled before takes nothing of them.
    for _ in 0..5 {
        site.send(addresses.v4("BR"), SIP, b"OPTIONS").unwrap();
    }
    let status = agent.json(&["status"]).unwrap();
    assert_eq!(status["dropped"]["by_country"]["BR"]["packets"], 5, "{status}");
}

fn dropped(agent: &Agent<'_>) -> u64 {
    agent.json(&["status"]).unwrap()["dropped"]["packets"].as_u64().unwrap()
}

#[test]
fn it_takes_the_place_of_bpf_where_that_may_not_be_loaded() {
    let site = Site::new().unwrap();
    let mut agent = Agent::prepare(&site.host, &["--interface", WAN]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("geofilter");
    let kept = "-all,+net_admin,+net_raw,+dac_override,+dac_read_search";
    let text = format!(
        "#!/bin/sh\nexec setpriv --bounding-set={kept} --no-new-privs {} \"$@\"\n",
        geofilter_lab::process::binary().unwrap().display()
    );
    std::fs::write(&program, text).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    agent.with_program(&program).restart(None).unwrap();
    let guarded = Guarded::new(&site, &agent);
    assert_eq!(agent.json(&["status"]).unwrap()["attachments"][0]["kind"], "nft");
    assert!(agent.log().contains("this host lets nobody load BPF programs"), "{}", agent.log());
    guarded.keeps_out();
    assert!(guarded.serves());
    guarded.off();
}

/// A container of somebody who is not root: its own user, network and mounts. No packet gets there.
const CONTAINER: &str = r#"
set -e
ip link set lo up
ip link add wan type veth peer name far
ip link set wan up && ip link set far up
ip address add 203.0.113.10/24 dev wan && ip route add default via 203.0.113.1
$1 agent --state-dir $2/state --runtime-dir $2/run >$2/log 2>&1 &
while ! grep -q 'agent is ready' $2/log; do :; done
ask="$1 --socket $2/run/agent.sock"
$ask allow ES PT US --accept-risk slow-nft --yes
$ask ban add $(seq -f 198.18.%g.1 0 250) >$2/bans
$ask status
nft list table inet $(nft list tables | cut -d ' ' -f 3) | grep -o -- - | wc -l
$ask off
kill %1
"#;

#[test]
fn it_filters_in_a_container_without_privileges() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new("unshare");
    command.args([
        "--user",
        "--map-root-user",
        "--net",
        "--mount",
        "--fork",
        "--kill-child",
        "bash",
        "-c",
        CONTAINER,
        "sh",
    ]);
    command.arg(geofilter_lab::process::binary().unwrap()).arg(folder.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    let context = format!("{said}{}{log}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{context}");
    for what in
        ["enforcing: allow ES PT US", "wan (nft)", "251 bans", "nothing of GeoFilter remains"]
    {
        assert!(said.contains(what), "{what}: {context}");
    }
    // More than such a container's socket takes at once.
    let ranges = said.lines().find_map(|line| line.parse::<u32>().ok()).unwrap();
    assert!(ranges > 20_000, "{context}");
    assert!(log.contains("this host lets nobody load BPF programs"), "{log}");
}

#[test]
fn another_data_plane_takes_over_without_a_gap_and_leaves_nothing_of_the_one_before() {
    let site = Site::new().unwrap();
    let before = snapshot(&site.host).unwrap();
    let mut agent = Agent::start(&site.host, &WORDS).unwrap();
    Guarded::new(&site, &agent).keeps_out();
    for backend in ["tc", "nft", "xdp", "nft"] {
        agent.kill().unwrap();
        agent.with_words(&["--backend", backend, "--interface", WAN]).restart(None).unwrap();
        let status = agent.json(&["status"]).unwrap();
        assert_eq!(status["state"], "enforcing", "{backend}: {status}");
        let tables = site.host.command("nft", &["list", "tables"]).unwrap();
        assert_eq!(tables.contains("geofilter"), backend == "nft", "{backend}");
        assert_eq!(agent.runtime_dir().join("bpf").exists(), backend != "nft", "{backend}");
        let guarded = Guarded::new(&site, &agent);
        guarded.keeps_out();
        assert!(guarded.serves(), "{backend}");
    }
    assert_eq!(agent.json(&["off"]).unwrap()["proof"]["clean"], true);
    assert_eq!(snapshot(&site.host).unwrap(), before);
}

#[test]
fn a_selection_that_would_slow_down_every_set_of_the_host_must_be_accepted() {
    let site = Site::new().unwrap();
    let agent = Agent::start(&site.host, &WORDS).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    let refused = agent.ask(&["allow", "US", "CA", "GB", "DE", "--yes"]).unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("--accept-risk slow-nft") && said.contains("fail2ban"), "{said}");
    assert_eq!(agent.json(&["status"]).unwrap()["countries"][0], "ES");
    agent.json(&["allow", "US", "CA", "GB", "DE", "--yes", "--accept-risk", "slow-nft"]).unwrap();
    assert_eq!(agent.json(&["status"]).unwrap()["state"], "enforcing");
}

#[test]
fn what_others_flush_is_back_within_a_second_and_said() {
    let site = Site::new().unwrap();
    let agent = Agent::start(&site.host, &WORDS).unwrap();
    let guarded = Guarded::new(&site, &agent);
    guarded.keeps_out();
    site.host.command("nft", &["flush", "ruleset"]).unwrap();
    let since = Instant::now();
    let said = "the filter was taken off wan";
    while !agent.json(&["status"]).unwrap()["warnings"].to_string().contains(said) {
        assert!(since.elapsed() < SECOND, "{}", agent.log());
    }
    println!("back after {:?}", since.elapsed());
    guarded.is_warned_of(said);
    guarded.keeps_out();
    assert!(guarded.serves());
    guarded.off();
}

#[test]
fn a_change_goes_back_and_bans_end_with_the_agent_dead() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let mut agent = Agent::start(&site.host, &WORDS).unwrap();
    let guarded = Guarded::new(&site, &agent);
    let [_, banned, other] = addresses.several_v4("ES", 3)[..] else { panic!("too few") };
    let china = IpAddr::from(addresses.v4("CN"));
    agent.json(&["ban", "add", &banned.to_string(), "--for", "2s"]).unwrap();
    agent.json(&["ban", "add", &format!("{other}/32")]).unwrap();
    agent.json(&["exempt", "add", "1.12.0.0/14", "--for", "2s"]).unwrap();
    let began = Instant::now();
    agent.json(&["allow", "ES", "CN", "--confirm-within", "2s"]).unwrap();
    let armed = Instant::now();
    agent.signal(Signal::KILL).unwrap();
    within_patience(|| match agent.ask(&["status"])?.status.success() {
        true => anyhow::bail!("it is alive"),
        false => Ok(()),
    })
    .unwrap();
    assert!(guarded.arrives(china) && !guarded.arrives(banned.into()));
    assert!(!guarded.arrives(other.into()));
    let last = loop {
        let asked = Instant::now();
        if !guarded.arrives(china) {
            break asked;
        }
    };
    // To the moment, as far as the commands let it be known when that is.
    println!("{:?} and {:?} after the deadline at most", last - began, last - armed);
    assert!(last >= began + 2 * SECOND - Duration::from_millis(50), "{:?}", last - began);
    assert!(last <= armed + 2 * SECOND + Duration::from_millis(400), "{:?}", last - armed);
    within_patience(|| match guarded.arrives(banned.into()) {
        true => Ok(()),
        false => anyhow::bail!("still banned"),
    })
    .unwrap();
    assert!(!guarded.arrives(other.into()), "that one has no end");
    assert!(!guarded.arrives("1.12.0.1".parse().unwrap()), "no longer exempt");
    // The next agent agrees.
    drop(guarded);
    agent.restart(None).unwrap();
    let status = agent.json(&["status"]).unwrap();
    assert_eq!(
        (&status["state"], &status["countries"]),
        (&"enforcing".into(), &Value::from(vec!["ES"]))
    );
    let guarded = Guarded::new(&site, &agent);
    guarded.keeps_out();
    assert!(guarded.serves());
    guarded.off();
}

#[test]
fn killed_at_any_step_it_can_be_taken_up_and_turned_off() {
    let steps: [(&str, &[&str]); 7] = [
        ("attach-start", &["allow", "ES", "--yes"]),
        ("attach-filled", &["allow", "ES", "--yes"]),
        ("nft-written", &["allow", "ES", "--yes"]),
        ("nft-applied", &["allow", "ES", "--yes"]),
        ("attach-done", &["allow", "ES", "--yes"]),
        ("nft-cleared", &["allow", "ES", "--yes"]),
        ("detach-start", &["off"]),
    ];
    for (fault, words) in steps {
        let site = Site::new().unwrap();
        Neighbour::Firewall.move_in(&site.host).unwrap();
        Neighbour::Fail2ban.move_in(&site.host).unwrap();
        let before = snapshot(&site.host).unwrap();
        let mut agent = Agent::start(&site.host, &WORDS).unwrap();
        if words == ["off"] {
            agent.json(&["allow", "PT", "--yes"]).unwrap();
        }
        agent.arm(fault).unwrap();
        // Whether it was heard before the agent died does not matter.
        drop(agent.ask(words));
        agent.wait_for_the_end().unwrap();
        agent.kill().unwrap();
        agent.arm("none").unwrap();
        agent.restart(None).unwrap();
        let guarded = Guarded::new(&site, &agent);
        guarded.keeps_out();
        assert!(guarded.serves(), "{fault}");
        guarded.off();
        assert_eq!(snapshot(&site.host).unwrap(), before, "{fault}");
    }
}

#[test]
fn changes_leave_nothing_of_what_was_before() {
    let site = Site::new().unwrap();
    let agent = Agent::start(&site.host, &WORDS).unwrap();
    let counted = || {
        let listed = site.host.command("nft", &["-t", "list", "ruleset"]).unwrap();
        ["chain ", "set "].map(|kind| listed.matches(kind).count())
    };
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    // An agent looks at what is there ten times a second.
    thread::sleep(SECOND / 2);
    let before = counted();
    for words in [
        &["allow", "PT", "--confirm-within", "1m"][..],
        &["confirm"],
        &["block", "CN", "--yes"],
        &["pause", "--for", "1m"],
        &["resume"],
        &["observe"],
        &["allow", "ES", "--yes"],
    ] {
        agent.json(words).unwrap();
    }
    let since = Instant::now();
    while counted() != before {
        assert!(since.elapsed() < SECOND, "{:?}, and {before:?} before", counted());
    }
    let took = Instant::now();
    agent.json(&["allow", "ES", "PT", "--yes"]).unwrap();
    println!("a change takes {:?}", took.elapsed());
    thread::sleep(Duration::from_millis(300));
    assert!(agent.json(&["status"]).unwrap()["warnings"].as_array().unwrap().is_empty());
}
