//! What a verdict costs, with and without overrides: the kernel's own count of the time its programs ran,
//! over 65,536 sources from all over the announced space, in interleaved rounds. Needs root.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use geofilter_core::country::select;
use geofilter_core::decide::{Overrides, Timed};
use geofilter_core::desired::{
    Action, AttachmentKind, Bank, BootTime, BootedAt, Desired, Generation,
};
use geofilter_core::geodata::embedded;
use geofilter_core::overrides::Table;
use geofilter_core::policy::{Mode, Policy};
use geofilter_core::world::World;
use geofilter_dataplane::kernel::{Judge, Kernel, count_run_time};
use geofilter_dataplane::{Backend, Preference};
use ipnet::IpNet;

const SOURCES: usize = 65_536;
const BANS: usize = 100_000;
const EXEMPTIONS: usize = 10_000;
const PEERS: usize = 1_000;
const ROUNDS: usize = 7;

/// Addresses drawn from space that the world table knows.
struct Draw {
    announced: Vec<(u32, u32)>,
    state: u64,
}

impl Draw {
    fn new(world: &World) -> Self {
        let known = world.v4().ranges().filter(|(_, id)| *id != 0);
        Self {
            announced: known.map(|(range, _)| (range.first, range.last - range.first)).collect(),
            state: 0x2545_f491_4f6c_dd1d,
        }
    }

    fn bits(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn address(&mut self) -> Ipv4Addr {
        let number = self.bits() as usize % self.announced.len();
        let (first, size) = self.announced[number];
        Ipv4Addr::from(first + (self.bits() % (u64::from(size) + 1)) as u32)
    }

    fn peer(&mut self) -> Timed<SocketAddr> {
        Timed { value: SocketAddr::new(self.address().into(), 5060), until: None }
    }

    fn timed(&mut self, length: u8) -> Timed<IpNet> {
        let prefix = IpNet::new_assert(IpAddr::V4(self.address()), length).trunc();
        Timed { value: prefix, until: Some(BootTime(u64::MAX - 1)) }
    }
}

fn frame(source: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![2; 12];
    frame.extend([8, 0, 0x45, 0, 1, 172, 0, 1, 0, 0, 64, 17, 0, 0]);
    frame.extend(source.octets());
    frame.extend([203, 0, 113, 1]);
    frame.extend([5060_u16.to_be_bytes(), 5060_u16.to_be_bytes()].concat());
    frame.extend([1, 152, 0, 0]);
    frame.extend(b"REGISTER sip:pbx.example SIP/2.0\r\n");
    frame.resize(442, b' ');
    frame
}

/// Nanoseconds a frame, over all frames.
fn cost(judge: &Judge, kind: AttachmentKind, frames: &[Vec<u8>]) -> f64 {
    let (time, runs) = judge.run_time(kind).unwrap();
    for frame in frames {
        judge.run(kind, frame, 1).unwrap();
    }
    let (time, runs) =
        judge.run_time(kind).map(|(later, more)| (later - time, more - runs)).unwrap();
    assert_eq!(runs, frames.len() as u64);
    time.as_nanos() as f64 / runs as f64
}

fn median(mut costs: Vec<f64>) -> f64 {
    costs.sort_by(f64::total_cmp);
    costs[costs.len() / 2]
}

/// A data plane with its programs.
struct Plane {
    kernel: Kernel,
    judge: Judge,
    _runtime: tempfile::TempDir,
}

impl Plane {
    fn new(world: &World, overrides: &Overrides) -> Self {
        let runtime = tempfile::tempdir().unwrap();
        let mut kernel = Kernel::new(Vec::new(), Preference::Auto, runtime.path().to_owned());
        let allowed = select(["ES", "PT", "FR"]).unwrap();
        let policy = Arc::new(Policy::new(Mode::AllowSelected, allowed));
        let bank = Bank { generation: Generation(1), action: Action::Enforce, policy };
        let desired = Desired { active: bank, fallback: None };
        let table = Table::compile(overrides).unwrap();
        kernel.load(world, &table, &desired, BootedAt::default()).expect("this needs root and BPF");
        for peer in &overrides.peers {
            kernel.set_peer(peer.value, BootTime(u64::MAX - 1)).unwrap();
        }
        let judge = kernel.judge().unwrap();
        Self { kernel, judge, _runtime: runtime }
    }
}

fn main() {
    let world = embedded::world().unwrap().world;
    let mut draw = Draw::new(&world);
    let all = Overrides {
        bans: (0..BANS).map(|_| draw.timed(32)).collect(),
        exemptions: (0..EXEMPTIONS).map(|at| draw.timed([20, 22, 24, 28][at % 4])).collect(),
        peers: (0..PEERS).map(|_| draw.peer()).collect(),
    };
    let planes = [Plane::new(&world, &Overrides::default()), Plane::new(&world, &all)];
    let frames: Vec<Vec<u8>> = (0..SOURCES).map(|_| frame(draw.address())).collect();
    let counting = count_run_time().unwrap();
    for kind in [AttachmentKind::XdpNative, AttachmentKind::Tc] {
        let mut costs = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (plane, costs) in planes.iter().zip(&mut costs) {
                costs.push(cost(&plane.judge, kind, &frames));
            }
        }
        let [without, with] = costs.map(median);
        println!(
            "{kind:?}: {without:.0} ns a verdict; {with:.0} ns with {BANS} bans, {EXEMPTIONS} exemptions and \
             {PEERS} peers: {:.2}x",
            with / without
        );
    }
    drop(counting);
    for Plane { mut kernel, judge, .. } in planes {
        // The programs it holds would keep the maps.
        drop(judge);
        kernel.detach().unwrap();
    }
}
