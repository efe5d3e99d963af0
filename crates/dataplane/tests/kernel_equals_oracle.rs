//! The BPF programs judge every frame that arrives exactly as `geofilter_core::decide` does, learn from those
//! that leave as `geofilter_core::tracker` does, and count what they did.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/frames.rs"]
mod frames;

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use frames::{Draw, Shape};
use geofilter_core::clock::Clock;
use geofilter_core::counters::{Counters, Outcomes, Reason, Traffic};
use geofilter_core::country::{CountryId, CountrySet};
use geofilter_core::decide::{Context, Decision, LocalSources, Overrides, Timed, decide};
use geofilter_core::desired::{Action, AttachmentKind, Bank, BootTime, Desired, Generation};
use geofilter_core::geodata::embedded;
use geofilter_core::overrides::{AddressKey, Table};
use geofilter_core::packet::{Departure, Frame};
use geofilter_core::policy::{Disputed, Mode, Policy, TimeBox, Verdict};
use geofilter_core::tracker::{LIFETIME, Tracker};
use geofilter_core::world::World;
use geofilter_dataplane::kernel::Kernel;
use geofilter_dataplane::{Backend, Preference};
use ipnet::IpNet;
use proptest::test_runner::{RngAlgorithm, TestRng};
use rustix::time::{ClockId, clock_gettime};

const FRAMES: u32 = 150_000;
const LOOPBACK: u32 = 1;
const SECOND: u64 = 1_000_000_000;
/// Addresses of each family that frames come from and go to, so that they meet again.
const ADDRESSES: usize = 2_000;

fn now() -> BootTime {
    let time = clock_gettime(ClockId::Boottime);
    BootTime(time.tv_sec as u64 * SECOND + time.tv_nsec as u64)
}

fn policy(draw: &mut Draw<'_>) -> Policy {
    let mode = draw.pick(&[Mode::AllowSelected, Mode::BlockSelected]);
    let share = draw.pick(&[5, 50, 95]);
    let countries: CountrySet = CountryId::all().filter(|_| draw.chance(share)).collect();
    Policy {
        hosting: draw.pick(&[Verdict::Pass, Verdict::Drop]),
        unknown: draw.pick(&[Verdict::Pass, Verdict::Drop]),
        disputed: draw.pick(&[Disputed::Lenient, Disputed::Primary, Disputed::Strict]),
        time_boxes: time_boxes(draw),
        ..Policy::new(mode, countries)
    }
}

/// Some that are over, some that have begun, some that come; the calendar begins at boot.
fn time_boxes(draw: &mut Draw<'_>) -> Vec<TimeBox> {
    let now = now().0 / SECOND;
    let countries: Vec<CountryId> = CountryId::all().filter(|_| draw.chance(20)).take(63).collect();
    let mut time_box = |country: CountryId| {
        let (from, until) = draw.pick(&[(0, now), (0, now + 36_000), (now + 36_000, now + 72_000)]);
        TimeBox { country: country.code(), from, until }
    };
    countries.into_iter().map(&mut time_box).collect()
}

fn desired(policy: Policy, action: Action, generation: u64) -> Desired {
    let bank = Bank { generation: Generation(generation), action, policy: Arc::new(policy) };
    Desired { active: bank, fallback: None }
}

/// Some borders of the real table, so that off-by-one faults show.
fn borders(draw: &mut Draw<'_>, world: &World) -> (Vec<u32>, Vec<u128>) {
    let v4: Vec<u32> =
        world.v4().iter().flat_map(|(start, _)| [start, start.wrapping_sub(1)]).collect();
    let v6: Vec<u128> =
        world.v6().iter().flat_map(|(start, _)| [start, start.wrapping_sub(1)]).collect();
    let v4 = (0..ADDRESSES).map(|_| draw.pick(&v4)).collect();
    (v4, (0..ADDRESSES).map(|_| draw.pick(&v6)).collect())
}

/// Prefixes of every length around the addresses, and many single addresses; over, lasting, or for ever.
fn sources(draw: &mut Draw<'_>, v4: &[u32], v6: &[u128]) -> Vec<Timed<IpNet>> {
    let now = now();
    let mut source = || {
        let (address, bits, single): (IpAddr, u32, u8) = match draw.chance(50) {
            true => (Ipv4Addr::from(draw.pick(v4)).into(), 24, 32),
            false => (Ipv6Addr::from(draw.pick(v6)).into(), 108, 64),
        };
        let any = 8 + draw.below(bits + 1) as u8;
        let length =
            if draw.chance(50) { single } else { any.max(if bits == 24 { 12 } else { 20 }) };
        let until = draw.pick(&[None, Some(BootTime(now.0 - 1)), Some(BootTime(now.0 + LIFETIME))]);
        Timed { value: IpNet::new_assert(address, length).trunc(), until }
    };
    let mut sources: Vec<_> = (0..300).map(|_| source()).collect();
    let global_v6: IpNet = "2000::/3".parse().unwrap();
    sources.retain(|timed| timed.value.addr().is_ipv4() || global_v6.contains(&timed.value));
    sources
}

/// Adds what a frame should have been counted as.
fn count(counters: &mut Counters, frame: &[u8], decision: &Decision, action: Action) {
    let traffic = Traffic { packets: 1, bytes: frame.len() as u64 };
    let outcome = |outcomes: &mut Outcomes| match (decision.verdict, action) {
        (_, Action::Pass) => {}
        (Verdict::Pass, _) => outcomes.passed += traffic,
        (Verdict::Drop, Action::Observe) => outcomes.would_drop += traffic,
        (Verdict::Drop, Action::Enforce) => outcomes.dropped += traffic,
    };
    outcome(&mut counters.by_reason[decision.reason as usize]);
    if let Some(entry) = decision.entry {
        outcome(&mut counters.by_country[entry.primary.index()]);
    }
}

/// `BPF_PROG_TEST_RUN` refuses to give a classifier a frame whose IP header is cut short.
fn runs_by_tc(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([8, 0]) => frame.len() >= 14 + 20,
        Some([0x86, 0xdd]) => frame.len() >= 14 + 40,
        _ => frame.len() > 14,
    }
}

/// Leaves nothing behind, whatever the outcome.
struct Loaded(Kernel);

impl Drop for Loaded {
    fn drop(&mut self) {
        self.0.detach().expect("nothing is left behind");
    }
}

/// What the programs should know.
struct Oracle {
    world: World,
    policy: Policy,
    action: Action,
    overrides: Overrides,
    interface: LocalSources,
    tracker: Tracker,
    counters: Counters,
}

impl Oracle {
    /// What becomes of a frame that arrives.
    fn arrives(&mut self, frame: &[u8]) -> Verdict {
        let context = Context {
            world: &self.world,
            overrides: &self.overrides,
            interface: self.interface,
            now: now(),
            clock: Clock::default(),
        };
        let packet = Frame::from_ethernet(frame);
        let decision = decide(&packet, &self.policy, &context);
        count(&mut self.counters, frame, &decision, self.action);
        let verdict = match self.action {
            Action::Enforce => decision.verdict,
            Action::Observe | Action::Pass => Verdict::Pass,
        };
        if let Frame::Ip(packet) = packet {
            self.tracker.arrived(packet.source, decision.reason, verdict == Verdict::Drop);
        }
        verdict
    }

    fn departs(&mut self, frame: &[u8]) {
        let Some(departure) = Departure::from_ethernet(frame) else { return };
        let known = self.overrides.peers.len();
        self.tracker.departs(&departure, &self.policy.scope, now());
        if self.tracker.peers().count() > known {
            self.overrides.peers = self.tracker.peers().collect();
        }
    }
}

fn equals_oracle(kind: AttachmentKind, seed: [u8; 32]) {
    let runtime = tempfile::tempdir().unwrap();
    let world = embedded::world().unwrap().world;
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut draw = Draw(&mut rng);
    let (v4, v6) = borders(&mut draw, &world);
    let mut kernel = Loaded(Kernel::new(Vec::new(), Preference::Auto, runtime.path().to_owned()));
    let kernel = &mut kernel.0;
    let mut oracle = Oracle {
        world,
        policy: policy(&mut draw),
        action: Action::Enforce,
        overrides: Overrides::default(),
        interface: LocalSources::default(),
        tracker: Tracker::default(),
        counters: Counters::default(),
    };
    let nothing = Table::compile(&oracle.overrides).unwrap();
    let first = desired(oracle.policy.clone(), oracle.action, 1);
    kernel
        .load(&oracle.world, &nothing, &first, Clock::default())
        .expect("the kernel takes the programs: this test needs root and BPF");
    let judge = kernel.judge().unwrap();
    for number in 0..FRAMES {
        if number % 5_000 == 0 {
            oracle.overrides.exemptions = sources(&mut draw, &v4, &v6);
            oracle.overrides.bans = sources(&mut draw, &v4, &v6);
            kernel.set_overrides(&Table::compile(&oracle.overrides).unwrap()).unwrap();
            let mut contact = || AddressKey::V4(draw.pick(&v4));
            let contacts: HashSet<AddressKey> = (0..100).map(|_| contact()).collect();
            kernel.set_contacts(&contacts).unwrap();
            oracle.tracker.set_contacts(contacts);
        }
        if number % 500 == 0 {
            oracle.policy = policy(&mut draw);
            oracle.action =
                draw.pick(&[Action::Enforce, Action::Enforce, Action::Observe, Action::Pass]);
            oracle.interface = LocalSources {
                private_v4: draw.chance(50),
                private_v6: draw.chance(50),
                loopback: draw.chance(50),
            };
            kernel.set_local_sources(LOOPBACK, oracle.interface).unwrap();
            let next = desired(oracle.policy.clone(), oracle.action, u64::from(number) + 2);
            kernel.apply(&next, Clock::default()).unwrap();
        }
        let departs = draw.chance(10);
        let frame = loop {
            let frame = frames::frame(&mut draw, Shape { v4: &v4, v6: &v6, departs });
            if kind == AttachmentKind::XdpNative && !departs || runs_by_tc(&frame) {
                break frame;
            }
        };
        if departs {
            judge.track(&frame).unwrap();
            oracle.departs(&frame);
            continue;
        }
        let expected = oracle.arrives(&frame);
        let got = judge.run(kind, &frame, 1).unwrap();
        assert_eq!(
            got, expected,
            "frame {number} {frame:02x?} under {:?} {:?} on {:?}",
            oracle.action, oracle.policy, oracle.interface
        );
    }
    let peers: BTreeSet<SocketAddr> =
        kernel.peers().unwrap().into_iter().map(|peer| peer.value).collect();
    assert_eq!(peers, oracle.tracker.peers().map(|peer| peer.value).collect());
    assert!(peers.len() > 100, "only {} peers", peers.len());
    let counters = kernel.counters().unwrap();
    assert_eq!(counters.by_reason, oracle.counters.by_reason);
    assert_eq!(counters.by_country, oracle.counters.by_country);
    for reason in Reason::ALL {
        let seen = counters.reason(reason);
        assert!(seen.passed.packets + seen.dropped.packets > 0, "no frame came to {reason:?}");
    }
}

#[test]
fn xdp() {
    equals_oracle(AttachmentKind::XdpNative, *b"the same packets, whoever judges");
}

#[test]
fn tc() {
    equals_oracle(AttachmentKind::Tc, *b"no verdict is told by the weight");
}
