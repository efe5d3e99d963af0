mod host;

use std::net::IpAddr;

use super::facts::{Fail2ban, Folder, Interface, Jail, Machine};
use super::*;
use crate::desired::{AttachmentKind, State};
use crate::detected::Detected;
use crate::pbx::{Device, How, Pbx, Socket, Trunk};
use crate::policy::{Scope, Transport, Verdict};
use crate::surroundings::{Firewall, LargeSet, Program};
use crate::wire::{self, Status};
use Severity::{Note, Problem, Warning};
use host::{attachment, healthy, interface, judged, log, pbx, source};

/// What is found on the healthy host after this change.
fn found(change: impl FnOnce(&mut Facts)) -> Vec<(Code, Severity)> {
    let mut facts = healthy();
    change(&mut facts);
    let report = examine(&facts);
    let findings = report.findings.iter().filter(|it| it.code != Code::Fail2banBlindToFloods);
    for finding in findings.clone() {
        assert!(!finding.message.is_empty() && !finding.remedy.is_empty(), "{finding:?}");
    }
    findings.map(|finding| (finding.code, finding.severity)).collect()
}

fn unchecked(change: impl FnOnce(&mut Facts)) -> Vec<Code> {
    let mut facts = healthy();
    change(&mut facts);
    examine(&facts).not_checked.iter().map(|it| it.code).collect()
}

fn change_status(change: impl FnOnce(&mut Status)) -> impl FnOnce(&mut Facts) {
    |facts| change(facts.agent.status.as_mut().unwrap().as_mut().unwrap())
}

fn change_pbx(change: impl FnOnce(&mut Pbx)) -> impl FnOnce(&mut Facts) {
    |facts| {
        let mut pbx = pbx();
        change(&mut pbx);
        let surroundings = facts.detected.surroundings.clone();
        facts.detected = Detected::new(vec![pbx], surroundings, &[], Vec::new());
    }
}

fn change_fail2ban(change: impl FnOnce(&mut Fail2ban)) -> impl FnOnce(&mut Facts) {
    |facts| change(facts.fail2ban.as_mut().unwrap().as_mut().unwrap())
}

fn change_jail(change: impl FnOnce(&mut Jail)) -> impl FnOnce(&mut Facts) {
    change_fail2ban(|fail2ban| change(&mut fail2ban.jails.as_mut().unwrap()[0]))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_healthy_host_passes_every_check() {
    assert_eq!(found(|_| {}), []);
    let report = examine(&healthy());
    assert_eq!(report.not_checked, []);
    assert!(!report.has_problem());
    let all = [machine::CHECKS, agent::CHECKS, network::CHECKS, phones::CHECKS, jails::CHECKS];
    assert_eq!(report.passed.len() + 1, all.iter().map(|checks| checks.len()).sum::<usize>());
}

#[test]
fn every_check_is_in_the_documentation() {
    let page = include_str!("../../../../docs/doctor.md");
    let all = [machine::CHECKS, agent::CHECKS, network::CHECKS, phones::CHECKS, jails::CHECKS];
    for (code, _) in all.into_iter().flatten() {
        let word = serde_json::to_value(code).unwrap();
        let row = format!("| `{}` |", word.as_str().unwrap());
        assert!(page.contains(&row), "{row}");
    }
}

#[test]
fn the_machine() {
    let check = |change: fn(&mut Machine)| found(|facts| change(&mut facts.machine));
    assert_eq!(check(|it| it.lacking = Ok(vec!["x"])), [(Code::KernelLacks, Problem)]);
    assert_eq!(
        check(|it| it.capabilities = Ok(1 << 39 | 1 << 12)),
        [(Code::CapabilitiesMissing, Problem)]
    );
    assert_eq!(check(|it| it.capabilities = Ok(1 << 21 | 1 << 12)), [], "CAP_SYS_ADMIN is enough");
    assert_eq!(check(|it| it.capabilities = Ok(1 << 21)), [(Code::CapabilitiesMissing, Problem)]);
    assert_eq!(check(|it| it.jit = Ok(0)), [(Code::JitOff, Warning)]);
    assert_eq!(check(|it| it.bpffs = Ok(false)), [(Code::BpffsMissing, Note)]);
    assert_eq!(check(|it| it.memory = Ok(100 << 10)), [(Code::LittleMemory, Warning)]);
    assert_eq!(check(|it| it.isolated = Ok("2-3".to_owned())), [(Code::IsolatedCpus, Note)]);
    assert_eq!(check(|it| it.synchronised = Ok(false)), [(Code::ClockNotSynchronised, Warning)]);
    assert_eq!(check(|it| it.starts_at_boot = Ok(false)), [(Code::NotStartedAtBoot, Warning)]);
    assert_eq!(unchecked(|facts| facts.machine.jit = Err("x".to_owned())), [Code::JitOff]);
}

#[test]
fn the_agent() {
    let none = |attached: bool| {
        move |facts: &mut Facts| {
            facts.agent.status = Ok(None);
            facts.agent.attached = Ok(attached);
        }
    };
    assert_eq!(found(none(true))[0], (Code::AgentUnreachable, Problem));
    assert_eq!(found(none(false))[0], (Code::AgentUnreachable, Warning));
    let hangs = |facts: &mut Facts| {
        none(false)(facts);
        facts.agent.trouble = Some("x".to_owned());
    };
    assert_eq!(found(hangs)[0], (Code::AgentUnreachable, Problem));
    assert!(unchecked(none(false)).contains(&Code::PortsUnprotected));
    let closed = |facts: &mut Facts| facts.agent.status = Err("closed".to_owned());
    assert!(unchecked(closed).contains(&Code::AgentUnreachable));
    let warns = |text: &'static str| change_status(move |it| it.warnings.push(text.to_owned()));
    assert_eq!(found(warns("x")), [(Code::AgentWarning, Warning)]);
    assert_eq!(found(warns(wire::POLICY_LOST)), [(Code::PolicyLost, Problem)]);
    assert_eq!(found(warns(wire::UNSAVED)), [(Code::PolicyUnsaved, Problem)]);
    let state = |state| found(change_status(move |it| it.state = state));
    assert_eq!(state(State::Observing), [(Code::NotEnforcing, Note)]);
    assert_eq!(state(State::Off), [(Code::NotEnforcing, Warning)]);
    assert_eq!(state(State::Pending), []);
    let folder = |change: fn(&mut Folder)| {
        found(|facts| change(facts.agent.state_dir.as_mut().unwrap().as_mut().unwrap()))
    };
    assert_eq!(folder(|it| it.refuses = Some("read-only".to_owned())), [(Code::StateDir, Problem)]);
    assert_eq!(folder(|it| it.free = 4096), [(Code::StateDir, Problem)]);
    let dated = |date| found(change_status(|it| it.data.sources = vec![source(date)]));
    assert_eq!(dated("2026-10-08"), [], "45 days");
    assert_eq!(dated("2026-10-07"), [(Code::WorldDataOld, Warning)], "46 days");
    assert_eq!(dated("2026-09"), [(Code::WorldDataOld, Warning)]);
}

#[test]
fn interfaces() {
    let with =
        |interface: Interface| found(|facts| facts.interfaces.as_mut().unwrap().push(interface));
    let route = Interface { default_route: true, ..interface("eth1", &[]) };
    assert_eq!(with(route), [(Code::InterfaceUnprotected, Problem)]);
    assert_eq!(with(interface("eth1", &["198.51.100.9"])), [(Code::InterfaceUnprotected, Warning)]);
    assert_eq!(with(interface("eth1", &["2001:db8:1::1"])), [(Code::Ipv6Unprotected, Problem)]);
    assert_eq!(with(interface("eth1", &["10.1.1.1", "fd00::1", "fe80::1"])), []);
    let v4_alone = |facts: &mut Facts| {
        change_pbx(|pbx| pbx.sockets.truncate(1))(facts);
        facts.interfaces.as_mut().unwrap().push(interface("eth1", &["2001:db8:1::1"]));
    };
    assert_eq!(found(v4_alone), [], "nobody takes calls there");
}

#[test]
fn attachments() {
    let by = |kind| change_status(move |it| it.attachments = vec![attachment(kind)]);
    assert_eq!(found(by(AttachmentKind::Tc)), [(Code::NotNativeXdp, Note)]);
    let why = |change: fn(&mut Interface)| {
        let mut facts = healthy();
        by(AttachmentKind::Tc)(&mut facts);
        change(&mut facts.interfaces.as_mut().unwrap()[0]);
        examine(&facts).findings[0].message.clone()
    };
    assert!(why(|_| {}).contains("PBX was listening"));
    assert!(why(|it| it.mtu = 9000).contains("MTU of 9000"));
    assert!(why(|it| it.vlan = true).contains("VLAN"));
    assert!(why(|it| it.ethernet = false).contains("Ethernet"));
    let generic = found(by(AttachmentKind::XdpGeneric));
    assert_eq!(generic, [(Code::GenericXdp, Warning), (Code::VlanTagsHidden, Note)]);
    let kept = |facts: &mut Facts| {
        by(AttachmentKind::XdpGeneric)(facts);
        facts.interfaces.as_mut().unwrap()[0].strips_vlan_tags = Some(false);
    };
    assert_eq!(found(kept), [(Code::GenericXdp, Warning)]);
}

#[test]
fn what_else_filters() {
    let program = |hook| {
        found(move |facts| {
            let program = Program { interface: "eth0".to_owned(), hook, name: "x".to_owned() };
            facts.detected.surroundings.programs.push(program);
        })
    };
    assert_eq!(program("tc ingress"), [(Code::ProgramsOfOthers, Note)]);
    assert_eq!(program("tc egress"), []);
    let firewall = |owner, elements| {
        found(move |facts| {
            let large_sets = vec![LargeSet { name: "set".to_owned(), elements }];
            let firewall = Firewall { name: "nftables x".to_owned(), owner, large_sets };
            facts.detected.surroundings.firewalls.push(firewall);
        })
    };
    assert_eq!(firewall(None, 10_000), [(Code::LargeNftSets, Warning)]);
    assert_eq!(firewall(None, 9_999), []);
    for owner in ["firewalld", "ufw", "Docker", "FreePBX"] {
        assert_eq!(firewall(Some(owner), 0), [(Code::OtherFirewall, Note)]);
    }
    let unlisted = "the nftables of this host can't be listed: x";
    let codes = unchecked(|facts| facts.detected.notes.push(unlisted.to_owned()));
    assert_eq!(codes, [Code::LargeNftSets, Code::OtherFirewall, Code::Fail2banTableMissing]);
}

#[test]
fn the_pbx() {
    let note = |facts: &mut Facts| facts.detected.notes.push("x".to_owned());
    assert_eq!(found(note), [(Code::HostNotSeen, Note)]);
    let container = found(change_pbx(|pbx| pbx.container = true));
    assert_eq!(container, [(Code::Container, Warning)]);
    let wide = found(change_pbx(|pbx| {
        let mut trunk = Trunk::new("wide", How::Identify);
        trunk.prefixes.push("0.0.0.0/0".parse().unwrap());
        pbx.trunks.push(trunk);
    }));
    assert_eq!(wide, [(Code::IdentifyTooWide, Warning)]);
    let inside = found(change_pbx(|pbx| {
        let device = |name| Device::at(name, "sip:1@10.0.0.1:5060", "").unwrap();
        pbx.devices = vec![device("1"), device("2")];
    }));
    assert_eq!(inside, [(Code::OnePrivateSource, Problem)]);
    let forwards = |facts: &mut Facts| {
        let forward = crate::surroundings::Forward { by: "x".to_owned(), what: "y".to_owned() };
        let mut surroundings = facts.detected.surroundings.clone();
        surroundings.forwards.push(forward);
        facts.detected = Detected::new(vec![pbx()], surroundings, &[], Vec::new());
    };
    assert_eq!(found(forwards), [(Code::Forwarded, Warning)]);
    let elsewhere = change_status(|it| it.scope = Scope(vec!["tcp/5060".parse().unwrap()]));
    assert_eq!(found(elsewhere), [(Code::PortsUnprotected, Problem)]);
    let iax2 = |address: &'static str| {
        found(change_pbx(move |pbx| {
            let address = address.parse().unwrap();
            pbx.sockets.push(Socket { protocol: Transport::Udp, address });
        }))
    };
    assert_eq!(iax2("0.0.0.0:4569"), [(Code::Iax2Open, Warning)]);
    assert_eq!(iax2("127.0.0.1:4569"), []);
    let dropped = |facts: &mut Facts| facts.trunks = Ok(vec![judged(Verdict::Drop)]);
    assert_eq!(found(dropped), [(Code::TrunkDropped, Problem)]);
    let unlogged = change_pbx(|pbx| pbx.logs = Some(vec![log("/log/messages.log", &["NOTICE"])]));
    assert!(found(unlogged).contains(&(Code::AsteriskNoSecurityLog, Warning)));
    let silent = unchecked(change_pbx(|pbx| pbx.logs = None));
    assert!(silent.contains(&Code::AsteriskNoSecurityLog), "{silent:?}");
}

#[test]
fn fail2ban() {
    let dead = found(change_fail2ban(|it| it.running = None));
    assert_eq!(dead, [(Code::Fail2banNotRunning, Warning)]);
    let absent = unchecked(|facts| facts.fail2ban = Ok(None));
    assert_eq!(absent.len(), jails::CHECKS.len());
    let none = found(change_fail2ban(|it| it.jails = Ok(Vec::new())));
    assert_eq!(none, [(Code::Fail2banNoJail, Warning)]);
    let idle = found(change_fail2ban(|it| it.running = Some(vec!["sshd".to_owned()])));
    assert_eq!(idle, [(Code::Fail2banNoJail, Warning)]);
    for files in [vec!["/log/messages".to_owned()], Vec::new()] {
        let unread = found(change_jail(|jail| jail.files = files));
        assert_eq!(unread, [(Code::Fail2banLogUnread, Problem)]);
    }
    assert_eq!(found(change_jail(|jail| (jail.journal, jail.files) = (true, Vec::new()))), []);
    let twice = found(change_jail(|jail| jail.files.push("/log/messages.log".to_owned())));
    assert_eq!(twice, [(Code::Fail2banCountsTwice, Warning)]);
    let bare = |ignored: &'static [&'static str]| {
        found(change_jail(move |jail| {
            jail.ignore_command = None;
            jail.ignored = ignored.iter().map(|text| text.parse().unwrap()).collect();
        }))
    };
    assert_eq!(bare(&["198.51.100.0/24"]), [(Code::Fail2banMayBanFriends, Warning)]);
    assert_eq!(bare(&["198.51.100.0/24", "192.0.2.7/32"]), []);
    let friend = |text: &'static str| change_fail2ban(move |it| it.banned.push(address(text)));
    assert_eq!(found(friend("198.51.100.2")), [(Code::Fail2banBansFriends, Problem)], "a trunk");
    assert_eq!(found(friend("192.0.2.7")), [(Code::Fail2banBansFriends, Problem)], "a device");
    let exempt = found(change_fail2ban(|it| it.protected = it.banned.iter().copied().collect()));
    assert_eq!(exempt, [(Code::Fail2banBansFriends, Problem)]);
    let flushed = |facts: &mut Facts| facts.detected.surroundings.firewalls.clear();
    assert_eq!(found(flushed), [(Code::Fail2banTableMissing, Problem)]);
    let idle = unchecked(change_fail2ban(|it| it.banned.clear()));
    assert_eq!(idle, [Code::Fail2banTableMissing]);
}

#[test]
fn bans_that_geofilter_alone_would_make_need_it_to_enforce() {
    let jail = |actions: &'static [&'static str]| {
        change_jail(|jail| jail.actions = actions.iter().map(ToString::to_string).collect())
    };
    let observing = |facts: &mut Facts| change_status(|it| it.state = State::Observing)(facts);
    let with = |actions, changed: &dyn Fn(&mut Facts)| {
        let codes = found(|facts| {
            jail(actions)(facts);
            changed(facts);
        });
        codes.contains(&(Code::Fail2banBansUnenforced, Problem))
    };
    assert!(with(&["geofilter"], &observing));
    assert!(with(&["geofilter"], &|facts| facts.agent.status = Ok(None)));
    assert!(!with(&["geofilter"], &|_| ()), "it enforces");
    assert!(!with(&["nftables-multiport", "geofilter"], &observing));
    assert!(!with(&["nftables-multiport"], &observing));
    assert!(!with(&[], &observing));
}

#[test]
fn the_worst_comes_first() {
    let both = found(|facts| {
        facts.machine.bpffs = Ok(false);
        facts.machine.jit = Ok(0);
        facts.machine.lacking = Ok(vec!["x"]);
    });
    let severities: Vec<Severity> = both.iter().map(|(_, severity)| *severity).collect();
    assert_eq!(severities, [Problem, Warning, Note]);
}
