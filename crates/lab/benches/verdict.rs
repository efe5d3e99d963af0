//! What a verdict costs, with and without overrides: the kernel's own count of the time its programs ran, while
//! frames from 65,536 sources all over the announced space come in on a wire, in interleaved rounds. The
//! wire's receiver runs on a thread of its own, as a card's would. Needs root.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

use std::thread;
use std::time::Duration;

use geofilter_core::country::{CountryId, select};
use geofilter_core::decide::{Overrides, Timed};
use geofilter_core::desired::{AttachmentKind, BootTime};
use geofilter_core::geodata::embedded;
use geofilter_core::overrides::Table;
use geofilter_core::world::World;
use geofilter_dataplane::kernel::{Judge, count_run_time};
use geofilter_dataplane::{Backend, Preference};
use geofilter_lab::gun::Gun;
use geofilter_lab::namespace::succeed;
use geofilter_lab::plane::Plane;
use geofilter_lab::site::{PBX_V4, Site, WAN};
use ipnet::IpNet;

const SOURCES: usize = 65_536;
const BANS: usize = 100_000;
const EXEMPTIONS: usize = 10_000;
const PEERS: usize = 1_000;
const ROUNDS: usize = 7;
/// How often each round sends every frame.
const SALVOS: u64 = 8;

/// Addresses from all over the space that the world table knows.
struct Draw<'a> {
    world: &'a World,
    state: u64,
}

impl<'a> Draw<'a> {
    fn new(world: &'a World) -> Self {
        Self { world, state: 0x2545_f491_4f6c_dd1d }
    }

    fn bits(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    fn address(&mut self) -> Ipv4Addr {
        loop {
            let address = Ipv4Addr::from(self.bits() as u32);
            if self.world.lookup(address.into()).primary != CountryId::UNKNOWN {
                return address;
            }
        }
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
    // To everybody, so that no address has to be known.
    let mut frame = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 2, 2, 2, 2, 2];
    frame.extend([8, 0, 0x45, 0, 1, 172, 0, 1, 0, 0, 64, 17, 0, 0]);
    frame.extend(source.octets());
    frame.extend(PBX_V4.octets());
    frame.extend([5060_u16.to_be_bytes(), 5060_u16.to_be_bytes()].concat());
    frame.extend([1, 152, 0, 0]);
    frame.extend(b"REGISTER sip:pbx.example SIP/2.0\r\n");
    frame.resize(442, b' ');
    frame
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
    let mut draw = Draw::new(&world);
    let all = Overrides {
        bans: (0..BANS).map(|_| draw.timed(32)).collect(),
        exemptions: (0..EXEMPTIONS).map(|at| draw.timed([20, 22, 24, 28][at % 4])).collect(),
        peers: (0..PEERS).map(|_| draw.peer()).collect(),
    };
    let frames: Vec<Vec<u8>> = (0..SOURCES).map(|_| frame(draw.address())).collect();
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
