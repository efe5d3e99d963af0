//! What a verdict costs, with and without overrides: the kernel's own count of the time its programs ran, while
//! frames from 65,536 sources all over the announced space come in on a wire, in interleaved rounds. The
//! wire's receiver runs on a thread of its own, as a card's would. Needs root.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use std::thread;
use std::time::Duration;

use geofilter_core::country::select;
use geofilter_core::decide::{Overrides, Timed};
use geofilter_core::desired::{AttachmentKind, BootTime};
use geofilter_core::geodata::embedded;
use geofilter_core::overrides::Table;
use geofilter_core::world::World;
use geofilter_dataplane::kernel::{Judge, count_run_time};
use geofilter_dataplane::{Backend, Preference};
use geofilter_lab::gun::{Draw, Gun, frame};
use geofilter_lab::namespace::succeed;
use geofilter_lab::plane::Plane;
use geofilter_lab::site::{Site, WAN};
use ipnet::IpNet;

const SOURCES: usize = 65_536;
const BANS: usize = 100_000;
const EXEMPTIONS: usize = 10_000;
const PEERS: usize = 1_000;
const ROUNDS: usize = 7;
/// How often each round sends every frame.
const SALVOS: u64 = 8;

/// What the host knows of some of them.
struct Known<'a>(Draw<'a>);

impl Known<'_> {
    fn peer(&mut self) -> Timed<SocketAddr> {
        Timed { value: SocketAddr::new(self.0.v4().into(), 5060), until: None }
    }

    fn timed(&mut self, length: u8) -> Timed<IpNet> {
        let prefix = IpNet::new_assert(IpAddr::V4(self.0.v4()), length).trunc();
        Timed { value: prefix, until: Some(BootTime(u64::MAX - 1)) }
    }
}

/// A host under fire.
struct Range<'a> {
    gun: Gun,
    judge: Judge,
    _plane: Plane<'a>,
}

impl<'a> Range<'a> {
    fn new(site: &'a Site, preference: Preference, world: &World, overrides: &Overrides) -> Self {
        let allowed = select(["ES", "PT", "FR"]).unwrap();
        let mut plane = Plane::observe(&site.host, preference, world, allowed).unwrap();
        plane.enforce().unwrap();
        let table = Table::compile(overrides).unwrap();
        let judge = plane
            .with(|kernel| {
                kernel.set_overrides(&table)?;
                for peer in &overrides.peers {
                    kernel.set_peer(peer.value, BootTime(u64::MAX - 1))?;
                }
                kernel.judge()
            })
            .unwrap();
        // Without XDP a veth has a receiver only where it merges packets.
        site.host.command("ethtool", &["-K", WAN, "gro", "on"]).unwrap();
        let threaded = format!("echo 1 > /sys/class/net/{WAN}/threaded");
        let exec = ["netns", "exec", site.host.name(), "sh", "-c", &threaded];
        succeed(Command::new("ip").args(exec)).unwrap();
        Self { gun: Gun::new(&site.internet, "net0").unwrap(), judge, _plane: plane }
    }

    /// Nanoseconds a verdict.
    fn cost(&self, kind: AttachmentKind, frames: &[Vec<u8>]) -> f64 {
        let (time, runs) = self.judge.run_time(kind).unwrap();
        (0..SALVOS).for_each(|_| self.gun.fire(frames).unwrap());
        // What is on the wire still arrives; the wire drops what the receiver can't take.
        thread::sleep(Duration::from_millis(50));
        let (later, more) = self.judge.run_time(kind).unwrap();
        assert!(more - runs > SALVOS * SOURCES as u64 / 4, "only {} frames came in", more - runs);
        (later - time).as_nanos() as f64 / (more - runs) as f64
    }
}

fn median(mut costs: Vec<f64>) -> f64 {
    costs.sort_by(f64::total_cmp);
    costs[costs.len() / 2]
}

fn main() {
    let world = embedded::world().unwrap().world;
    let mut known = Known(Draw::new(&world));
    let all = Overrides {
        bans: (0..BANS).map(|_| known.timed(32)).collect(),
        exemptions: (0..EXEMPTIONS).map(|at| known.timed([20, 22, 24, 28][at % 4])).collect(),
        peers: (0..PEERS).map(|_| known.peer()).collect(),
    };
    let frames: Vec<Vec<u8>> = (0..SOURCES).map(|_| frame(known.0.v4().into())).collect();
    let _counting = count_run_time().unwrap();
    let kinds =
        [(Preference::Xdp, AttachmentKind::XdpNative), (Preference::Tc, AttachmentKind::Tc)];
    for (preference, kind) in kinds {
        let sites = [Site::new().unwrap(), Site::new().unwrap()];
        let ranges = [
            Range::new(&sites[0], preference, &world, &Overrides::default()),
            Range::new(&sites[1], preference, &world, &all),
        ];
        let mut costs = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (range, costs) in ranges.iter().zip(&mut costs) {
                costs.push(range.cost(kind, &frames));
            }
        }
        let [without, with] = costs.map(median);
        println!(
            "{kind:?}: {without:.0} ns a verdict; {with:.0} ns with {BANS} bans, {EXEMPTIONS} exemptions and \
             {PEERS} peers: {:.2}x",
            with / without
        );
    }
}
