//! [`Host`]: a PBX's host with something that filters, under fire.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use geofilter_core::decide::Overrides;
use geofilter_core::desired::BootTime;
use geofilter_core::overrides::Table;
use geofilter_dataplane::kernel::Judge;
use geofilter_dataplane::{Backend, Preference};
use geofilter_lab::generator::{DropAll, Generator, Meter};
use geofilter_lab::plane::{Plane, now};
use geofilter_lab::process::Agent;
use geofilter_lab::processors::pinned;
use geofilter_lab::rivals::Rival;
use geofilter_lab::rivals::lists::Family;
use geofilter_lab::site::{PBX_V4, PBX_V6, SIP, Site, WAN};
use geofilter_lab::verdicts::Comparison;

use crate::data::{ALLOWED, Data};

/// Where the packets are made, and where they are received.
pub(crate) const RECEIVING: usize = 0;

/// What filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Every packet goes to the PBX.
    Nothing,
    /// XDP drops every packet at once.
    DropAtOnce,
    /// GeoFilter.
    Ours(Preference),
    /// GeoFilter by nftables.
    Nftables,
    /// What others do.
    Rival(Rival),
}

impl Filter {
    /// Whether it tells sources apart.
    pub(crate) fn judges(self) -> bool {
        match self {
            Self::Nothing | Self::DropAtOnce => false,
            Self::Ours(_) | Self::Nftables | Self::Rival(_) => true,
        }
    }

    /// What tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no filter",
            Self::DropAtOnce => "XDP that drops at once",
            Self::Ours(Preference::Tc) => "GeoFilter, TC ingress",
            Self::Ours(_) => "GeoFilter, XDP",
            Self::Nftables => "GeoFilter, nftables",
            Self::Rival(rival) => rival.name(),
        }
    }
}

/// What holds the filter on its host.
enum Held<'a> {
    /// The namespace.
    Namespace,
    Program(#[expect(dead_code, reason = "holds the program on the interface")] DropAll),
    Plane(Box<Plane<'a>>),
    Agent(#[expect(dead_code, reason = "holds the filter")] Agent<'a>),
}

/// A site with a filter, and sockets where the PBX's would be.
pub(crate) struct Host<'a> {
    site: &'a Site,
    held: Held<'a>,
    _sockets: Option<[UdpSocket; 2]>,
}

impl<'a> Host<'a> {
    /// Sets the filter up.
    pub(crate) fn new(site: &'a Site, filter: Filter, data: &Data) -> Result<Self> {
        let held = match filter {
            Filter::Nothing => Held::Namespace,
            Filter::DropAtOnce => Held::Program(DropAll::attach(&site.host, WAN)?),
            Filter::Ours(preference) => {
                let mut plane = Plane::observe(&site.host, preference, &data.world, data.allowed)?;
                plane.enforce()?;
                Held::Plane(Box::new(plane))
            }
            Filter::Nftables => Held::Agent(agent(site, "nft")?),
            Filter::Rival(rival) => {
                rival.install(&site.host, &data.lists)?;
                Held::Namespace
            }
        };
        // Without XDP a veth has a receiver of its own, as a card has, only where it merges packets.
        site.host.command("ethtool", &["-K", WAN, "gro", "on"])?;
        Ok(Self { site, held, _sockets: None })
    }

    /// Asks it about addresses all over the announced space, and errs if one is judged otherwise than by the
    /// oracle.
    pub(crate) fn check(&self, data: &Data) -> Result<usize> {
        let mut asked = 0;
        for (family, count) in [(Family::V4, 20_000), (Family::V6, 5_000)] {
            let found = Comparison::of(self.site, &data.world, &data.lists, family, count)?;
            let wrong = found.wrong;
            ensure!(wrong.is_empty(), "{} wrong verdicts, such as {:?}", wrong.len(), wrong[0]);
            asked += found.asked;
        }
        Ok(asked)
    }

    /// Lets our filter know of overrides; others have none.
    pub(crate) fn tell(&mut self, overrides: &Overrides) -> Result<()> {
        let Held::Plane(plane) = &mut self.held else { return Ok(()) };
        let table = Table::compile(overrides)?;
        plane.with(|kernel| {
            kernel.set_overrides(&table)?;
            let end = BootTime(u64::MAX - 1);
            overrides.peers.iter().try_for_each(|peer| kernel.set_peer(peer.value, end))
        })
    }

    /// Listens at the PBX's port, and reads nothing: the sockets fill, and what comes after is dropped there,
    /// which costs less than a PBX that reads.
    pub(crate) fn listen(&mut self) -> Result<()> {
        self._sockets = Some([self.site.listen(PBX_V4, SIP)?, self.site.listen(PBX_V6, SIP)?]);
        Ok(())
    }

    /// Lets our filter tell of drops again, as an agent does.
    pub(crate) fn renew(&mut self) -> Result<()> {
        match &mut self.held {
            Held::Plane(plane) => plane.with(|kernel| kernel.drain_events(now(), &mut drop)),
            Held::Namespace | Held::Program(_) | Held::Agent(_) => Ok(()),
        }
    }

    /// Our data plane.
    pub(crate) fn plane(&mut self) -> Result<&mut Plane<'a>> {
        match &mut self.held {
            Held::Plane(plane) => Ok(plane),
            Held::Namespace | Held::Program(_) | Held::Agent(_) => {
                anyhow::bail!("GeoFilter is not there")
            }
        }
    }

    /// A handle on our programs.
    pub(crate) fn judge(&mut self) -> Result<Judge> {
        self.plane()?.with(|kernel| kernel.judge())
    }

    /// Who sends to it.
    pub(crate) fn generator(&self, senders: &[IpAddr]) -> Result<Generator<'a>> {
        Generator::new(&self.site.internet, "net0", senders)
    }

    /// Seconds a packet, while it is fired at for this long.
    pub(crate) fn cost(
        &self,
        meter: &Meter,
        generator: &mut Generator<'_>,
        time: Duration,
    ) -> Result<f64> {
        let (spent, packets) = (meter.spent(RECEIVING)?, self.received()?);
        fire(generator, time)?;
        // What is on the wire still arrives.
        thread::sleep(Duration::from_millis(20));
        let (spent, packets) = (meter.spent(RECEIVING)? - spent, self.received()? - packets);
        ensure!(packets > 0, "no packet arrived");
        Ok(spent.as_secs_f64() / packets as f64)
    }

    /// Packets that it took off its wire.
    fn received(&self) -> Result<u64> {
        let devices =
            self.site.host.inside(|| fs::read_to_string("/proc/thread-self/net/dev"))??;
        let prefix = format!("{WAN}:");
        let line = devices.lines().find_map(|line| line.trim_start().strip_prefix(&prefix));
        let packets = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(packets.context("no interface")?.parse()?)
    }
}

/// The real agent on a site, letting in what [`ALLOWED`] says.
pub(crate) fn agent<'a>(site: &'a Site, backend: &str) -> Result<Agent<'a>> {
    let agent = Agent::start(&site.host, &["--backend", backend, "--interface", WAN])?;
    agent.json(&[&["allow"][..], &ALLOWED, &["--yes"]].concat())?;
    Ok(agent)
}

/// Sends from the processor that receives, so that what a packet costs there can be told from what it costs
/// to make it.
pub(crate) fn fire(generator: &mut Generator<'_>, time: Duration) -> Result<()> {
    pinned(RECEIVING, || generator.run(time))?
}
