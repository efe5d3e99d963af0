//! Promise 10: whoever flushes the host's rulesets, as administrators and PBX distributions do, flushes those, and the
//! filter stays in force.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::fail2ban::Fail2ban;
use geofilter_lab::guarded::{Guarded, KINDS, agent_of};
use geofilter_lab::neighbours::Neighbour;
use geofilter_lab::site::Site;

/// What FreePBX's firewall does to iptables when it starts, shortened to one zone.
const FREEPBX_STARTS: &str = "
    -F|-X
    -N fpbxfirewall|-N fpbxsignalling|-N fpbxinterfaces|-N zone-external|-N fpbxsvc-pjsip
    -I INPUT 1 -j fpbxfirewall
    -A fpbxfirewall -i lo -j ACCEPT
    -A fpbxfirewall -p tcp -m connmark ! --mark 0x20 -m state --state RELATED,ESTABLISHED -j ACCEPT
    -A fpbxfirewall -m pkttype --pkt-type multicast -j ACCEPT
    -A fpbxfirewall -j fpbxsignalling|-A fpbxfirewall -j fpbxinterfaces
    -A fpbxinterfaces -i wan0 -j zone-external|-A zone-external -j fpbxsvc-pjsip
    -A fpbxsvc-pjsip -p udp -m udp --dport 5060 -j ACCEPT
    -A fpbxsignalling -p udp -m udp --dport 5060 -j MARK --set-xmark 0x1/0xffffffff";
/// And of its masquerading, which is IPv4's alone.
const FREEPBX_MASQUERADES: &str = "
    -t nat -N masq-input|-t nat -N masq-output
    -t nat -A POSTROUTING -j masq-input|-t nat -A masq-input -j MARK --set-xmark 0x1/0xffffffff
    -t nat -A POSTROUTING -j masq-output
    -t nat -A POSTROUTING -m mark --mark 0x3/0x3 -j MASQUERADE";
/// And when it stops.
const FREEPBX_STOPS: &str = "-F|-X|-t nat -F|-t nat -X";

fn lines(script: &str) -> impl Iterator<Item = &str> {
    script.split(['\n', '|']).map(str::trim).filter(|line| !line.is_empty())
}

#[test]
fn flushing_the_ruleset_leaves_the_filter_in_force() {
    for backend in ["xdp", "tc", "clsact"] {
        let site = Site::new().unwrap();
        Neighbour::Firewall.move_in(&site.host).unwrap();
        Neighbour::Fail2ban.move_in(&site.host).unwrap();
        let agent = agent_of(&site, backend);
        let guarded = Guarded::new(&site, &agent);
        guarded.keeps_out();
        site.host.command("nft", &["flush", "ruleset"]).unwrap();
        guarded.keeps_out();
        assert!(guarded.serves());
        // It is named as what others did.
        let proof = guarded.off()["changed_by_others"].to_string();
        assert!(proof.contains("f2b-table") && !proof.contains("wan0"), "{proof}");
    }
}

#[test]
fn a_ban_of_fail2ban_bites_beside_the_filter_and_after_a_flush() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    for backend in KINDS {
        let site = Site::new().unwrap();
        let host = &site.host;
        let fail2ban = Fail2ban::idle(host).unwrap();
        let agent = agent_of(&site, backend);
        let guarded = Guarded::new(&site, &agent);
        let [_, one, other] = addresses.several_v4("ES", 3)[..] else { panic!("too few") };
        let [_, one_v6] = addresses.several_v6("ES", 2)[..] else { panic!("too few") };
        let bad: [IpAddr; 2] = [one.into(), one_v6.into()];
        assert!(bad.iter().all(|address| guarded.arrives(*address)));
        fail2ban.ban(host, "asterisk", &bad).unwrap();
        assert!(!bad.iter().any(|address| guarded.arrives(*address)), "{backend}");
        assert!(guarded.serves());
        guarded.keeps_out();
        // What it loses by a flush is fail2ban's: it believes it still bans them. Who is new is banned.
        host.command("nft", &["flush", "ruleset"]).unwrap();
        assert!(bad.iter().all(|address| guarded.arrives(*address)));
        assert!(fail2ban.client(host, &["banned"]).unwrap().contains(&one.to_string()));
        fail2ban.ban(host, "asterisk", &[other.into()]).unwrap();
        assert!(!guarded.arrives(other.into()), "{backend}");
        fail2ban.client(host, &["reload", "--restart", "asterisk"]).unwrap();
        let since = Instant::now();
        while bad.iter().any(|address| guarded.arrives(*address)) {
            assert!(since.elapsed() < Duration::from_secs(20), "fail2ban has forgotten them");
        }
        assert!(guarded.serves());
        guarded.keeps_out();
        guarded.off();
    }
}

#[test]
fn the_flush_of_freepbx_at_every_start_and_stop_leaves_the_filter_in_force() {
    for (flavour, backend) in [("nft", "xdp"), ("nft", "tc"), ("legacy", "xdp"), ("legacy", "tc")] {
        let site = Site::new().unwrap();
        let tool = |family: &str, line: &str| {
            let program = format!("{family}tables-{flavour}");
            let words: Vec<&str> = ["-w"].into_iter().chain(line.split(' ')).collect();
            site.host.command(&program, &words).unwrap();
        };
        let agent = agent_of(&site, backend);
        let guarded = Guarded::new(&site, &agent);
        let run = |script: &str| {
            for line in lines(script) {
                tool("ip", line);
                tool("ip6", line);
            }
        };
        let saved = |family: &str| {
            let save = format!("{family}tables-{flavour}-save");
            let text = site.host.command(&save, &[]).unwrap();
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .map(|line| format!("{line}\n"))
                .collect::<String>()
        };
        run(FREEPBX_STARTS);
        guarded.keeps_out();
        assert!(guarded.serves());
        lines(FREEPBX_MASQUERADES).for_each(|line| tool("ip", line));
        // What it accepts is accepted of what the filter lets in, and what it drops is dropped.
        tool("ip", "-R fpbxsvc-pjsip 1 -p udp -m udp --dport 5060 -j DROP");
        tool("ip6", "-R fpbxsvc-pjsip 1 -p udp -m udp --dport 5060 -j DROP");
        assert!(!guarded.serves(), "{flavour} {backend}");
        guarded.keeps_out();
        let kept = saved("ip");
        run(FREEPBX_STOPS);
        guarded.keeps_out();
        assert!(guarded.serves());
        site.host.feed(&format!("iptables-{flavour}-restore"), &["-w"], &kept).unwrap();
        guarded.keeps_out();
        run(FREEPBX_STARTS);
        let before = [saved("ip"), saved("ip6")];
        guarded.off();
        let after = [saved("ip"), saved("ip6")];
        let rules = |text: &str| {
            text.split('\n')
                .map(|line| line.split(" [").next().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(before.map(|it| rules(&it)), after.map(|it| rules(&it)));
    }
}
