//! The BPF programs judge every frame exactly as `geofilter_core::decide` does, and count what they did.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/frames.rs"]
mod frames;

use std::sync::Arc;

use frames::Draw;
use geofilter_core::counters::{Counters, Traffic};
use geofilter_core::country::{CountryId, CountrySet};
use geofilter_core::decide::{Context, LocalSources, Overrides, decide};
use geofilter_core::desired::{Action, AttachmentKind, Bank, BootTime, Desired, Generation};
use geofilter_core::geodata::embedded;
use geofilter_core::packet::Frame;
use geofilter_core::policy::{Disputed, Mode, Policy, Verdict};
use geofilter_core::world::World;
use geofilter_dataplane::kernel::Kernel;
use geofilter_dataplane::{Backend, Preference};
use proptest::test_runner::{RngAlgorithm, TestRng};

const FRAMES: u32 = 150_000;
const LOOPBACK: u32 = 1;

fn policy(draw: &mut Draw<'_>) -> Policy {
    let mode = draw.pick(&[Mode::AllowSelected, Mode::BlockSelected]);
    let share = draw.pick(&[5, 50, 95]);
    let countries: CountrySet = CountryId::all().filter(|_| draw.chance(share)).collect();
    Policy {
        hosting: draw.pick(&[Verdict::Pass, Verdict::Drop]),
        unknown: draw.pick(&[Verdict::Pass, Verdict::Drop]),
        disputed: draw.pick(&[Disputed::Lenient, Disputed::Primary, Disputed::Strict]),
        ..Policy::new(mode, countries)
    }
}

fn desired(policy: Policy, action: Action, generation: u64) -> Desired {
    let bank = Bank { generation: Generation(generation), action, policy: Arc::new(policy) };
    Desired { active: bank, fallback: None }
}

/// Every border of the real table as a source, so that off-by-one faults show.
fn borders(world: &World) -> (Vec<u32>, Vec<u128>) {
    let v4 = world.v4().iter().flat_map(|(start, _)| [start, start.wrapping_sub(1)]).collect();
    let v6 = world.v6().iter().flat_map(|(start, _)| [start, start.wrapping_sub(1)]).collect();
    (v4, v6)
}

/// Adds what a frame should have been counted as.
fn count(
    counters: &mut Counters,
    frame: &[u8],
    policy: &Policy,
    action: Action,
    context: &Context<'_>,
) -> Verdict {
    let decision = decide(&Frame::from_ethernet(frame), policy, context);
    let traffic = Traffic { packets: 1, bytes: frame.len() as u64 };
    let outcome =
        |outcomes: &mut geofilter_core::counters::Outcomes| match (decision.verdict, action) {
            (Verdict::Pass, _) | (_, Action::Pass) => outcomes.passed += traffic,
            (Verdict::Drop, Action::Observe) => outcomes.would_drop += traffic,
            (Verdict::Drop, Action::Enforce) => outcomes.dropped += traffic,
        };
    outcome(&mut counters.by_reason[decision.reason as usize]);
    if let Some(entry) = decision.entry {
        outcome(&mut counters.by_country[entry.primary.index()]);
    }
    match action {
        Action::Enforce => decision.verdict,
        Action::Observe | Action::Pass => Verdict::Pass,
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

fn equals_oracle(kind: AttachmentKind, seed: [u8; 32]) {
    let runtime = tempfile::tempdir().unwrap();
    let world = embedded::world().unwrap().world;
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut draw = Draw(&mut rng);
    let (v4, v6) = borders(&world);
    let mut kernel = Loaded(Kernel::new(Vec::new(), Preference::Auto, runtime.path().to_owned()));
    let kernel = &mut kernel.0;
    let mut current = (policy(&mut draw), Action::Enforce);
    kernel
        .load(&world, &desired(current.0.clone(), current.1, 1))
        .expect("the kernel takes the programs: this test needs root and BPF");
    let judge = kernel.judge().unwrap();
    let overrides = Overrides::default();
    let mut interface = LocalSources::default();
    let mut expected = Counters::default();
    for number in 0..FRAMES {
        if number % 500 == 0 {
            current = (policy(&mut draw), draw.pick(&[Action::Enforce, Action::Observe]));
            interface = LocalSources {
                private_v4: draw.chance(50),
                private_v6: draw.chance(50),
                loopback: draw.chance(50),
            };
            kernel.set_local_sources(LOOPBACK, interface).unwrap();
            kernel.apply(&desired(current.0.clone(), current.1, u64::from(number) + 2)).unwrap();
        }
        let frame = loop {
            let frame = frames::frame(&mut draw, &v4, &v6);
            if kind == AttachmentKind::XdpNative || runs_by_tc(&frame) {
                break frame;
            }
        };
        let context = Context { world: &world, overrides: &overrides, interface, now: BootTime(0) };
        let oracle = count(&mut expected, &frame, &current.0, current.1, &context);
        let got = judge.run(kind, &frame, 1).unwrap();
        assert_eq!(got, oracle, "frame {number} {frame:02x?} under {current:?} on {interface:?}");
    }
    let counters = kernel.counters().unwrap();
    assert_eq!(counters.by_reason, expected.by_reason);
    assert_eq!(counters.by_country, expected.by_country);
    assert!(counters.by_reason.iter().enumerate().all(|(reason, outcomes)| {
        let seen = outcomes.passed.packets + outcomes.dropped.packets;
        seen > 0 || matches!(reason, 4..=6)
    }));
}

#[test]
fn xdp() {
    equals_oracle(AttachmentKind::XdpNative, *b"the same packets, whoever judges");
}

#[test]
fn tc() {
    equals_oracle(AttachmentKind::Tc, *b"no verdict is told by the weight");
}
