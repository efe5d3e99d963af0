//! A host with nothing to complain of.

use std::collections::BTreeSet;

use super::super::facts::{Agent, Facts, Fail2ban, Folder, Interface, Jail, Judged, Machine};
use crate::counters::Reason;
use crate::country::{CountryCode, CountrySet};
use crate::desired::{Attachment, AttachmentKind, Generation, State};
use crate::detected::Detected;
use crate::pbx::{Carrier, Device, How, Kind, LogFile, Pbx, SipTransport, Socket, Trunk};
use crate::policy::{Disputed, Mode, Scope, Transport, Verdict};
use crate::surroundings::{Firewall, Surroundings};
use crate::wire::{Counts, Data, DataSource, Lookup, Status, Tally, Why};

pub(super) fn log(path: &str, levels: &[&str]) -> LogFile {
    let levels = levels.iter().map(|level| (*level).to_owned()).collect();
    LogFile { path: path.to_owned(), levels }
}

pub(super) fn pbx() -> Pbx {
    let socket = |protocol, address: &str| Socket { protocol, address: address.parse().unwrap() };
    let transport = |bind: &str| SipTransport {
        name: String::new(),
        carrier: Carrier::Udp,
        bind: bind.parse().unwrap(),
    };
    let mut trunk = Trunk::new("carrier", How::StaticContact);
    trunk.lead("sip:198.51.100.2:5060");
    Pbx {
        sockets: vec![socket(Transport::Udp, "0.0.0.0:5060"), socket(Transport::Udp, "[::]:5060")],
        transports: Some(vec![transport("0.0.0.0:5060")]),
        trunks: vec![trunk],
        devices: Device::at("1001", "sip:1001@192.0.2.7:5060", "").into_iter().collect(),
        logs: Some(vec![
            log("/log/messages.log", &["NOTICE"]),
            log("/log/security.log", &["SECURITY"]),
        ]),
        ..Pbx::new(Kind::Asterisk)
    }
}

pub(super) fn status() -> Status {
    Status {
        state: State::Enforcing,
        mode: Mode::AllowSelected,
        countries: CountrySet::default(),
        unknown: Verdict::Drop,
        hosting: Verdict::Pass,
        disputed: Disputed::Primary,
        scope: Scope::default(),
        time_boxes: Vec::new(),
        generation: Generation(1),
        remaining: None,
        backend: Some("xdp".to_owned()),
        interfaces: vec!["eth0".to_owned()],
        attachments: vec![attachment(AttachmentKind::XdpNative)],
        data: Data { sources: vec![source("2026-10-20")], ..Data::default() },
        dropped: Tally::default(),
        would_drop: Tally::default(),
        passed: Tally::default(),
        skipped_events: 0,
        sampled: false,
        counts: Counts::default(),
        pbx: None,
        fleet: None,
        warnings: Vec::new(),
    }
}

pub(super) fn source(date: &str) -> DataSource {
    let text = String::new;
    DataSource {
        name: text(),
        date: date.to_owned(),
        licence: text(),
        credit: text(),
        link: text(),
    }
}

pub(super) fn attachment(kind: AttachmentKind) -> Attachment {
    Attachment { interface: "eth0".to_owned(), kind }
}

pub(super) fn interface(name: &str, addresses: &[&str]) -> Interface {
    Interface {
        name: name.to_owned(),
        ethernet: true,
        mtu: 1500,
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        strips_vlan_tags: Some(true),
        ..Interface::default()
    }
}

pub(super) fn judged(verdict: Verdict) -> Judged {
    let country = CountryCode::parse("ES").unwrap();
    let lookup = Lookup {
        address: "198.51.100.2".parse().unwrap(),
        judged_as: None,
        country,
        sources: Vec::new(),
        prefix: String::new(),
        asn: None,
        as_name: None,
        hosting: false,
        disputed: false,
        reserved: false,
    };
    let why = Why {
        lookup,
        verdict: Some(verdict),
        reason: Some(Reason::Country),
        port: None,
        protocol: None,
        state: None,
        decided_by: None,
        seen: None,
        of_country: None,
    };
    Judged { trunk: "carrier".to_owned(), why }
}

pub(super) fn jail() -> Jail {
    Jail {
        name: "asterisk".to_owned(),
        files: vec!["/log/security.log".to_owned()],
        ignore_command: Some("geofilter protected <ip> --quiet".to_owned()),
        actions: vec!["nftables-multiport".to_owned()],
        ..Jail::default()
    }
}

/// A host with nothing to complain of but what fail2ban can't see.
pub(super) fn healthy() -> Facts {
    let of_fail2ban = Firewall {
        name: "nftables inet f2b-table".to_owned(),
        owner: Some("fail2ban"),
        large_sets: Vec::new(),
    };
    let surroundings = Surroundings { firewalls: vec![of_fail2ban], ..Surroundings::default() };
    Facts {
        machine: Machine {
            today: 20_779,
            lacking: Ok(Vec::new()),
            capabilities: Ok(1 << 39 | 1 << 12 | 1 << 38),
            jit: Ok(1),
            bpffs: Ok(true),
            isolated: Ok(String::new()),
            memory: Ok(1 << 20),
            synchronised: Ok(true),
            starts_at_boot: Ok(true),
        },
        agent: Agent {
            status: Ok(Some(status())),
            trouble: None,
            attached: Ok(true),
            state_dir: Ok(Some(Folder { path: "/state".to_owned(), refuses: None, free: 1 << 30 })),
        },
        interfaces: Ok(vec![
            Interface {
                default_route: true,
                ..interface("eth0", &["203.0.113.10", "2001:db8::1"])
            },
            interface("lan0", &["10.0.0.1"]),
            Interface { loopback: true, ..interface("lo", &["127.0.0.1"]) },
        ]),
        detected: Detected::new(vec![pbx()], surroundings, &[], Vec::new()),
        trunks: Ok(vec![judged(Verdict::Pass)]),
        fail2ban: Ok(Some(Fail2ban {
            running: Some(vec!["asterisk".to_owned()]),
            jails: Ok(vec![jail()]),
            banned: vec!["192.0.2.66".parse().unwrap()],
            protected: BTreeSet::new(),
        })),
    }
}
