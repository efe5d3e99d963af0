//! While policies and tables change under traffic, every packet is judged by one policy and one table,
//! whole.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{ArrayOfMaps, Map, MapData, MapError};

use geofilter_core::clock::Clock;
use geofilter_core::counters::Reason;
use geofilter_core::country::{CountryCode, CountryId};
use geofilter_core::decide::Overrides;
use geofilter_core::desired::{Action, AttachmentKind, Bank, Desired, Generation};
use geofilter_core::overrides::Table;
use geofilter_core::policy::{Mode, Policy, Scope, Verdict};
use geofilter_core::steps::{Steps, v4};
use geofilter_core::world::{Entry, World};
use geofilter_dataplane::kernel::{Kernel, paths};
use geofilter_dataplane::{Backend, Preference};

const KINDS: [AttachmentKind; 2] = [AttachmentKind::XdpNative, AttachmentKind::Tc];
/// Packets a call: the kernel waits for a grace period before each run of an XDP program.
const REPEAT: u32 = 100_000;
const ES: Ipv4Addr = Ipv4Addr::new(20, 0, 0, 1);
const PT: Ipv4Addr = Ipv4Addr::new(30, 0, 0, 1);

struct Loaded(Kernel);

impl Drop for Loaded {
    fn drop(&mut self) {
        self.0.detach().expect("nothing is left behind");
    }
}

fn id(code: &str) -> CountryId {
    CountryCode::parse(code).unwrap().id()
}

/// 16.0.0.0/4 is Spain and hosting but for 30.0.0.0/8, which is Portugal. `extra` borders elsewhere make
/// tables of different size and layout.
fn world(extra: u32) -> World {
    let entry = |code, hosting| Entry { primary: id(code), second: id(code), hosting };
    let mut steps = Steps::constant(Entry::UNKNOWN);
    steps.push(v4(Ipv4Addr::new(16, 0, 0, 0)), entry("ES", true));
    steps.push(v4(Ipv4Addr::new(30, 0, 0, 0)), entry("PT", false));
    steps.push(v4(Ipv4Addr::new(31, 0, 0, 0)), entry("ES", true));
    steps.push(v4(Ipv4Addr::new(32, 0, 0, 0)), Entry::UNKNOWN);
    for border in 0..extra {
        let code = if border % 2 == 0 { "FR" } else { "DE" };
        steps.push(v4(Ipv4Addr::new(40, 0, 0, 0)) + border * 300, entry(code, false));
    }
    World::from_steps(&steps, &Steps::constant(Entry::UNKNOWN)).unwrap()
}

fn datagram(source: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0]);
    frame.extend(source.octets());
    frame.extend([203, 0, 113, 1, 4, 0]);
    frame.extend(port.to_be_bytes());
    frame.extend([0, 8, 0, 0]);
    frame
}

/// Policies that agree on two packets only when taken whole. A packet from Portugal to 5060 always
/// passes: even generations protect the port and let Portugal in, odd ones leave the port alone and
/// block Portugal. A packet from Spain to 5061 is always dropped: for its country in even generations,
/// for its hosting network in odd ones.
fn policy(generation: u64) -> Policy {
    let scope = |ports: &[&str]| Scope(ports.iter().map(|ports| ports.parse().unwrap()).collect());
    match generation % 2 {
        0 => Policy {
            scope: scope(&["udp/5060-5061"]),
            ..Policy::new(Mode::BlockSelected, [id("ES")].into_iter().collect())
        },
        _ => Policy {
            scope: scope(&["udp/5061"]),
            hosting: Verdict::Drop,
            ..Policy::new(Mode::BlockSelected, [id("PT")].into_iter().collect())
        },
    }
}

fn nothing() -> Table {
    Table::compile(&Overrides::default()).unwrap()
}

fn desired(generation: u64) -> Desired {
    let policy = Arc::new(policy(generation));
    let bank = Bank { generation: Generation(generation), action: Action::Enforce, policy };
    Desired { active: bank, fallback: None }
}

/// Judges both packets, over and over, while `change` runs; returns how often each was judged.
fn under_traffic(kind: AttachmentKind, change: impl FnOnce(&mut Kernel)) -> (u64, u64) {
    let runtime = tempfile::tempdir().unwrap();
    let new = || Kernel::new(Vec::new(), Preference::Auto, runtime.path().to_owned());
    let mut kernel = Loaded(new());
    kernel
        .0
        .load(&world(0), &nothing(), &desired(0), Clock::default())
        .expect("this test needs root and BPF");
    let judge = kernel.0.judge().unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let traffic = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let passes = judge.run(kind, &datagram(PT, 5060), REPEAT).unwrap();
                assert_eq!(passes, Verdict::Pass);
                let drops = judge.run(kind, &datagram(ES, 5061), REPEAT).unwrap();
                assert_eq!(drops, Verdict::Drop);
            }
        });
        change(&mut kernel.0);
        stop.store(true, Ordering::Relaxed);
        traffic.join().unwrap();
    });
    // The return value is that of the last repetition: the counters tell of every one.
    let counters = kernel.0.counters().unwrap();
    let dropped = counters.total().dropped.packets;
    let total = counters.total();
    assert_eq!(counters.country(id("PT")).dropped.packets, 0, "a packet met two policies");
    assert_eq!(counters.country(id("ES")).passed.packets, 0, "a packet met two policies");
    assert_eq!(total.would_drop.packets, 0);
    assert_eq!(counters.reason(Reason::Unknown).passed.packets, 0, "a packet met no table");
    assert_eq!(total.passed.packets, dropped);
    (total.passed.packets, dropped)
}

/// What is to be proven is that a packet never meets half of one policy and half of another. What could let it
/// is the store that puts a policy in force while packets are judged: the more often it comes, the more packets
/// it meets in the middle of their verdict. So nothing is done between two stores, and about every packet meets
/// some; the stores are the product's own, by [`Kernel::store`]. That the banks stay what they are is read back
/// and compared on every thousandth, by [`Backend::apply`]; that a bank is written only while no packet uses it is
/// what the next test is for.
#[test]
fn ten_million_flips_between_banks() {
    for kind in KINDS {
        let mut flips = 0;
        let (passed, dropped) = under_traffic(kind, |kernel| {
            let policies = [desired(1), desired(2)];
            let began = Instant::now();
            while flips < 10_000_000 || began.elapsed() < Duration::from_secs(10) {
                for _ in 0..500 {
                    policies
                        .iter()
                        .for_each(|policy| kernel.store(policy, Clock::default()).unwrap());
                }
                for policy in &policies {
                    kernel.apply(policy, Clock::default()).unwrap();
                }
                flips += 1_002;
            }
        });
        println!("{kind:?}: {passed} passed and {dropped} dropped during {flips} flips");
        assert!(passed > 1_000_000 && dropped > 1_000_000);
    }
}

/// Ten data planes at once, since each spends its time waiting for grace periods.
#[test]
fn ten_thousand_generations_written_into_reused_banks() {
    thread::scope(|scope| {
        for kind in KINDS.repeat(5) {
            scope.spawn(move || {
                let (passed, dropped) = under_traffic(kind, |kernel| {
                    for generation in 1..=1_000 {
                        kernel.apply(&desired(generation), Clock::default()).unwrap();
                    }
                });
                println!("{kind:?}: {passed} passed and {dropped} dropped during the changes");
                assert!(passed > 10_000 && dropped > 10_000);
            });
        }
    });
}

#[test]
fn twenty_table_swaps() {
    for kind in KINDS {
        under_traffic(kind, |kernel| {
            for swap in 1..=20 {
                kernel.swap_world(&world(swap * 1_000)).unwrap();
            }
        });
    }
}

/// How many places of the pinned maps of maps hold a table, or a part of one.
fn tables(runtime: &Path) -> usize {
    let folder = paths(runtime).into_iter().next().unwrap();
    let count = |name| {
        let map = MapData::from_pin(Path::new(&folder).join(name)).unwrap();
        let map: ArrayOfMaps<_> = Map::ArrayOfMaps(map).try_into().unwrap();
        let is_empty = |place| match map.get(&place, 0) {
            Ok(_) => false,
            Err(MapError::KeyNotFound) => true,
            // Freed between the look-up of its number and the opening of it.
            Err(MapError::SyscallError(error)) if error.io_error.kind() == ErrorKind::NotFound => {
                true
            }
            Err(error) => panic!("{error}"),
        };
        (0..map.len()).filter(|place| !is_empty(*place)).count()
    };
    ["gf_index", "gf_v4_chunks", "gf_v6_chunks"].map(count).iter().sum()
}

#[test]
fn a_table_that_is_not_in_force_any_more_is_freed_by_nobodys_waiting() {
    let runtime = tempfile::tempdir().unwrap();
    let mut kernel = Loaded(Kernel::new(Vec::new(), Preference::Auto, runtime.path().to_owned()));
    kernel
        .0
        .load(&world(0), &nothing(), &desired(0), Clock::default())
        .expect("this test needs root and BPF");
    // Worlds of as many parts each.
    kernel.0.swap_world(&world(10)).unwrap();
    kernel.0.wait_until_freed().unwrap();
    let one = tables(runtime.path());
    for swap in 11..=15 {
        kernel.0.swap_world(&world(swap)).unwrap();
        let since = Instant::now();
        while tables(runtime.path()) > one {
            assert!(since.elapsed() < Duration::from_secs(10), "the old table is still there");
            thread::yield_now();
        }
    }
    // The last one is freed at the latest when somebody waits for it.
    kernel.0.swap_world(&world(16)).unwrap();
    kernel.0.wait_until_freed().unwrap();
    assert_eq!(tables(runtime.path()), one);
}

#[test]
fn a_change_long_after_others_waits_for_no_grace_period() {
    let runtime = tempfile::tempdir().unwrap();
    let mut kernel = Loaded(Kernel::new(Vec::new(), Preference::Auto, runtime.path().to_owned()));
    kernel
        .0
        .load(&world(0), &nothing(), &desired(0), Clock::default())
        .expect("this test needs root and BPF");
    // Three banks are not in force: of four changes in a row one would find none free.
    let rounds = (0..20).map(|round| {
        thread::sleep(Duration::from_millis(200));
        let began = Instant::now();
        for change in 1..=3 {
            kernel.0.apply(&desired(round * 3 + change), Clock::default()).unwrap();
        }
        began.elapsed()
    });
    // Whatever else the machine does meanwhile.
    let quickest = rounds.min().unwrap();
    assert!(quickest < Duration::from_millis(2), "{quickest:?}");
}

#[test]
fn a_table_that_does_not_fit_leaves_the_old_one_in_force() {
    let runtime = tempfile::tempdir().unwrap();
    let mut kernel = Loaded(Kernel::new(Vec::new(), Preference::Auto, runtime.path().to_owned()));
    kernel
        .0
        .load(&world(0), &nothing(), &desired(0), Clock::default())
        .expect("this test needs root and BPF");
    let entry =
        |number: u32| Entry { primary: id(["FR", "DE"][number as usize % 2]), ..Entry::UNKNOWN };
    let mut steps = Steps::constant(Entry::UNKNOWN);
    (0..3_000_000).for_each(|number| steps.push(number * 1_000 + 1, entry(number)));
    let too_large = World::from_steps(&steps, &Steps::constant(Entry::UNKNOWN)).unwrap();
    let error = kernel.0.swap_world(&too_large).unwrap_err();
    assert!(error.to_string().contains("does not fit"), "{error}");
    let judge = kernel.0.judge().unwrap();
    for kind in KINDS {
        assert_eq!(judge.run(kind, &datagram(ES, 5061), 1).unwrap(), Verdict::Drop);
        assert_eq!(judge.run(kind, &datagram(PT, 5060), 1).unwrap(), Verdict::Pass);
    }
}
