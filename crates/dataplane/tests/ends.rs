//! Exemptions, bans, time boxes and peers end in the kernel, to the moment, with nobody there to end them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use geofilter_core::clock::Clock;
use geofilter_core::country::{CountryCode, CountrySet};
use geofilter_core::decide::{Overrides, Timed};
use geofilter_core::desired::{Action, AttachmentKind, Bank, BootTime, Desired, Generation};
use geofilter_core::overrides::{AddressKey, Span, Spans, Table};
use geofilter_core::policy::{Mode, Policy, TimeBox, Verdict};
use geofilter_core::steps::{Range, Steps};
use geofilter_core::world::{Entry, World};
use geofilter_dataplane::kernel::{Judge, Kernel};
use geofilter_dataplane::{Backend, Preference};
use ipnet::IpNet;
use rustix::time::{ClockId, clock_gettime};

const KINDS: [AttachmentKind; 2] = [AttachmentKind::XdpNative, AttachmentKind::Tc];
const SECOND: u64 = 1_000_000_000;
const SPAIN: Ipv4Addr = Ipv4Addr::new(2, 0, 0, 1);
const CHINA: Ipv4Addr = Ipv4Addr::new(1, 0, 0, 1);

fn now() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64
}

/// 1/8 is China, 2/8 is Spain.
fn world() -> World {
    let entry = |code: &str| {
        let country = CountryCode::parse(code).unwrap().id();
        Entry { primary: country, second: country, hosting: false }
    };
    let range = |first: u32| Range { first: first << 24, last: (first << 24) + 0xff_ffff };
    let v4 = vec![(range(1), entry("CN")), (range(2), entry("ES"))];
    World::from_steps(&Steps::from_ranges(Entry::UNKNOWN, v4), &Steps::constant(Entry::UNKNOWN))
        .unwrap()
}

/// Leaves nothing behind, whatever the outcome.
struct Loaded(Kernel);

impl Drop for Loaded {
    fn drop(&mut self) {
        self.0.detach().expect("nothing is left behind");
    }
}

/// Lets in Spain, and somebody else at times.
fn loaded(time_boxes: Vec<TimeBox>) -> (Loaded, tempfile::TempDir) {
    let runtime = tempfile::tempdir().unwrap();
    let selected: CountrySet = geofilter_core::country::select(["ES"]).unwrap();
    let policy = Policy { time_boxes, ..Policy::new(Mode::AllowSelected, selected) };
    let bank =
        Bank { generation: Generation(1), action: Action::Enforce, policy: Arc::new(policy) };
    let desired = Desired { active: bank, fallback: None };
    let mut kernel = Loaded(Kernel::new(Vec::new(), Preference::Auto, runtime.path().to_owned()));
    let nothing = Table::compile(&Overrides::default()).unwrap();
    kernel
        .0
        .load(&world(), &nothing, &desired, Clock::default())
        .expect("this test needs root and BPF");
    (kernel, runtime)
}

fn datagram(source: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0]);
    frame.extend(source.octets());
    frame.extend([203, 0, 113, 1]);
    frame.extend([5060_u16.to_be_bytes(), 5060_u16.to_be_bytes()].concat());
    frame.extend([0, 8, 0, 0]);
    frame
}

/// Puts these in force, with their ends a second from now, and returns that moment.
fn hold(kernel: &mut Loaded, exemptions: &[&str], bans: &[&str]) -> u64 {
    let end = now() + SECOND;
    let timed = |prefixes: &[&str]| prefixes.iter().map(|prefix| timed(prefix, end)).collect();
    let overrides =
        Overrides { exemptions: timed(exemptions), bans: timed(bans), ..Overrides::default() };
    kernel.0.set_overrides(&Table::compile(&overrides).unwrap()).unwrap();
    end
}

/// Judges a source over and over until well after `end`: up to it the verdict is `before`, from it on the
/// other one. A packet that is judged while the moment passes may meet either.
fn changes_at(judge: &Judge, kind: AttachmentKind, source: Ipv4Addr, end: u64, before: Verdict) {
    let frame = datagram(source);
    let (mut earlier, mut later) = (0, 0);
    loop {
        let asked = now();
        let verdict = judge.run(kind, &frame, 1).unwrap();
        let answered = now();
        if answered < end {
            earlier += 1;
            assert_eq!(verdict, before, "{} ns before the end", end - answered);
        } else if asked >= end {
            later += 1;
            assert_ne!(verdict, before, "{} ns after the end", asked - end);
        }
        if asked > end + SECOND / 10 {
            break;
        }
    }
    assert!(earlier > 10 && later > 10, "{earlier} before and {later} after");
}

fn timed(prefix: &str, end: u64) -> Timed<IpNet> {
    Timed { value: prefix.parse().unwrap(), until: Some(BootTime(end)) }
}

#[test]
fn exemptions_end() {
    for kind in KINDS {
        let (mut kernel, _runtime) = loaded(Vec::new());
        for prefix in ["1.0.0.1/32", "1.0.0.0/23"] {
            let end = hold(&mut kernel, &[prefix], &[]);
            changes_at(&kernel.0.judge().unwrap(), kind, CHINA, end, Verdict::Pass);
        }
    }
}

#[test]
fn bans_end() {
    for kind in KINDS {
        let (mut kernel, _runtime) = loaded(Vec::new());
        for prefix in ["2.0.0.1/32", "2.0.0.0/23"] {
            let end = hold(&mut kernel, &[], &[prefix]);
            changes_at(&kernel.0.judge().unwrap(), kind, SPAIN, end, Verdict::Drop);
        }
    }
}

#[test]
fn peers_end() {
    for kind in KINDS {
        let (mut kernel, _runtime) = loaded(Vec::new());
        let end = now() + SECOND;
        kernel.0.set_peer(SocketAddr::from((CHINA, 5060)), BootTime(end)).unwrap();
        changes_at(&kernel.0.judge().unwrap(), kind, CHINA, end, Verdict::Pass);
    }
}

#[test]
fn what_is_not_there_can_be_removed() {
    let (mut kernel, _runtime) = loaded(Vec::new());
    let peer = SocketAddr::from((CHINA, 5060));
    assert!(!kernel.0.remove_peer(peer).unwrap());
    kernel.0.set_peer(peer, BootTime(u64::MAX)).unwrap();
    assert!(kernel.0.remove_peer(peer).unwrap());
    assert!(!kernel.0.remove_peer(peer).unwrap());
    kernel.0.set_addresses(&[(AddressKey::of(CHINA.into()), Spans::NONE)]).unwrap();
}

#[test]
fn addresses_go_one_by_one_about_as_fast_as_they_came() {
    let (mut kernel, _runtime) = loaded(Vec::new());
    let mut set = |spans: Spans| {
        let began = now();
        for address in 0..100_000 {
            kernel.0.set_addresses(&[(AddressKey::V4(0x0100_0000 + address), spans)]).unwrap();
        }
        now() - began
    };
    let came = set(Spans { ban: Span::FOREVER, ..Spans::NONE });
    let went = set(Spans::NONE);
    assert!(went < 5 * came, "{came} ns to come, {went} ns to go");
}

#[test]
fn a_country_with_a_time_box_is_let_in_from_its_first_to_its_last_second() {
    for kind in KINDS {
        let from = now() / SECOND + 5;
        let country = CountryCode::parse("CN").unwrap();
        let time_box = TimeBox { country, from, until: from + 1 };
        let (mut kernel, _runtime) = loaded(vec![time_box]);
        let judge = kernel.0.judge().unwrap();
        changes_at(&judge, kind, CHINA, from * SECOND, Verdict::Drop);
        changes_at(&judge, kind, CHINA, (from + 1) * SECOND, Verdict::Pass);
        assert_eq!(judge.run(kind, &datagram(SPAIN), 1).unwrap(), Verdict::Pass);
    }
}

#[test]
fn the_latest_end_counts_where_overrides_overlap() {
    let (mut kernel, _runtime) = loaded(Vec::new());
    let (over, end) = (now(), now() + SECOND);
    let overrides = Overrides {
        exemptions: vec![
            timed("1.0.0.0/8", over),
            timed("1.0.0.1/32", end),
            timed("1.0.0.0/24", over),
        ],
        bans: vec![timed("1.0.0.1/32", u64::MAX)],
        ..Overrides::default()
    };
    kernel.0.set_overrides(&Table::compile(&overrides).unwrap()).unwrap();
    changes_at(&kernel.0.judge().unwrap(), AttachmentKind::Tc, CHINA, end, Verdict::Pass);
}
