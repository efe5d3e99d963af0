//! What the parts of GeoFilter say to each other, of which one may have been broken into, and what browsers say to the
//! portal.

use std::cell::OnceCell;
use std::time::SystemTime;

use geofilter_core::book::{Kind, Target};
use geofilter_core::policy::Policy;
use geofilter_core::wire::{Reply, Request};
use geofilter_fleet::{Authority, Enrol, Heard, HostId, Said, Ticket};
use geofilter_portal::parsers::{self, Portal};
use geofilter_update::Told;
use tempfile::TempDir;

use crate::host::memory;

/// What clients ask the agent, the portal among them.
pub fn request(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for kind in [Kind::Exemption, Kind::Ban] {
        if let Ok(target) = Target::parse(&text, kind) {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
    }
    let Ok(request) = serde_json::from_slice::<Request>(data) else { return };
    super::comes_back(&request);
    let may = request.check_for_portal().is_ok();
    match request {
        Request::Fail2ban { .. } => assert!(!may),
        Request::Enforce { change, .. } | Request::Preview { change: Some(change), .. } => {
            let in_force = Policy::new(change.mode, change.countries);
            if let Ok(policy) = change.policy(&in_force, 1_795_400_000) {
                super::comes_back(&policy);
            }
        }
        _ => {}
    }
}

/// What the agent answers.
pub fn reply(data: &[u8]) {
    serde_json::from_slice::<Reply>(data).iter().for_each(super::comes_back);
}

/// What the process that updates world data tells the agent.
pub fn worker(data: &[u8]) {
    serde_json::from_slice::<Told>(data).iter().for_each(super::comes_back);
}

thread_local! {
    static AUTHORITY: Authority = Authority::new(SystemTime::UNIX_EPOCH).unwrap();
}

/// What the portal of a fleet and its hosts say to each other, and the process between.
pub fn fleet(data: &[u8]) {
    serde_json::from_slice::<Enrol>(data).iter().for_each(super::comes_back);
    if let Ok(said) = serde_json::from_slice::<Said>(data) {
        super::comes_back(&said);
        super::comes_back(&said.report.tidy());
        super::comes_back(&said.previewed.map(|previewed| previewed.tidy()));
        super::comes_back(&said.bans.tidy());
    }
    let text = String::from_utf8_lossy(data);
    if let Ok(ticket) = text.parse::<Ticket>() {
        assert_eq!(ticket.to_string(), text.trim());
    }
    AUTHORITY.with(|authority| drop(authority.vouch(&text, HostId(1), SystemTime::UNIX_EPOCH)));
    for heard in geofilter_fleet::heard(data.to_vec()) {
        match heard {
            Heard::Snapshot(snapshot) => super::comes_back(&snapshot),
            Heard::Bans(bans) => {
                super::comes_back(&bans);
                drop(bans.put.into_iter().filter_map(|ban| ban.tidy(0)).collect::<Vec<_>>());
            }
            Heard::Preview(question) => super::comes_back(&question),
            Heard::World(served) => super::comes_back(&served),
            Heard::Noted(_) => {}
        }
    }
    if let Some(change) = geofilter::parsers::link(data)
        && let Ok(policy) =
            change.policy(&Policy::new(change.mode, change.countries), 1_795_400_000)
    {
        super::comes_back(&policy);
    }
}

/// What the portal gives its courier to carry.
pub fn letter(data: &[u8]) {
    drop(parsers::letter(data));
}

thread_local! {
    /// It takes long to make one.
    static PORTAL: OnceCell<(Portal, TempDir)> = const { OnceCell::new() };
}

/// A request to the portal, by whoever reaches it and by an admin whose session it is. Whatever it is, the answer is one of
/// HTTP, and none that something inside has failed.
pub fn portal(data: &[u8]) {
    PORTAL.with(|portal| {
        let (portal, _) = portal.get_or_init(|| {
            let folder = tempfile::Builder::new().prefix("gf-portal").tempdir_in(memory()).unwrap();
            (Portal::open(folder.path()).unwrap(), folder)
        });
        let answer = portal.answer(data).unwrap();
        if answer.is_empty() {
            return;
        }
        let head = answer.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let head = std::str::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1."), "{head}");
        assert!(!head.contains(" 500 "), "{}", String::from_utf8_lossy(&answer));
    });
}
