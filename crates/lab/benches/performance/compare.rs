//! [`measure`]: what a packet costs on hosts that are set up side by side, in interleaved rounds.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use geofilter_core::decide::Overrides;
use geofilter_lab::generator::{Generator, Meter};
use geofilter_lab::site::Site;

use crate::data::Data;
use crate::host::{Filter, Host, fire};
use crate::report::{Goal, Report, Unit};
use crate::rounds;
use crate::statistics::Spread;

/// How long each host is fired at in a round.
const TIME: Duration = Duration::from_millis(300);
/// How long before, so that the cache holds what this host reads and not what the one before it read.
const WARM_UP: Duration = Duration::from_millis(100);

/// What is on a host, and who sends to it.
pub(crate) struct Case<'a> {
    pub(crate) name: String,
    pub(crate) filter: Filter,
    pub(crate) data: &'a Data,
    pub(crate) overrides: &'a Overrides,
    pub(crate) senders: &'a [IpAddr],
}

/// Seconds that a packet cost in each round.
pub(crate) struct Costs {
    pub(crate) name: String,
    rounds: Vec<f64>,
}

impl Costs {
    /// All rounds in one line.
    pub(crate) fn spread(&self) -> Spread {
        Spread::of(self.rounds.clone())
    }

    /// Adds how many times this is of the other.
    pub(crate) fn compare(&self, other: &Self, goal: Goal, report: &mut Report) {
        let [ours, theirs] = [self, other].map(|costs| Unit::Seconds.write(costs.spread().median));
        let ratio = Spread::of_ratios(&self.rounds, &other.rounds);
        let from = format!("{ours} ({}), {theirs} ({})", self.name, other.name);
        report.add(goal, ratio, from);
    }
}

/// Measures all of them. Where `checks` says so, each must first judge as the oracle does.
pub(crate) fn measure<const N: usize>(cases: [Case<'_>; N], checks: bool) -> Result<[Costs; N]> {
    let sites = cases.iter().map(|_| Site::new()).collect::<Result<Vec<_>>>()?;
    let lanes = sites.iter().zip(&cases).map(|(site, case)| Lane::new(site, case, checks));
    let mut lanes = lanes.collect::<Result<Vec<_>>>()?;
    let meter = Meter::start()?;
    for round in 0..rounds() {
        eprintln!("round {} of {}: {N} hosts", round + 1, rounds());
        lanes.iter_mut().try_for_each(|lane| lane.run(&meter))?;
    }
    let costs = lanes.into_iter().zip(cases);
    let costs: Vec<Costs> =
        costs.map(|(lane, case)| Costs { name: case.name, rounds: lane.costs }).collect();
    costs.try_into().ok().context("a host was lost")
}

/// A host, and who fires at it.
struct Lane<'a> {
    host: Host<'a>,
    generator: Generator<'a>,
    costs: Vec<f64>,
}

impl<'a> Lane<'a> {
    fn new(site: &'a Site, case: &Case<'_>, checks: bool) -> Result<Self> {
        let mut host = Host::new(site, case.filter, case.data)
            .with_context(|| format!("set up: {}", case.name))?;
        if checks && case.filter.judges() {
            let asked = host.check(case.data).with_context(|| case.name.clone())?;
            eprintln!("{} judges {asked} sources as the oracle does", case.name);
        }
        host.tell(case.overrides)?;
        host.listen()?;
        Ok(Self { generator: host.generator(case.senders)?, host, costs: Vec::new() })
    }

    fn run(&mut self, meter: &Meter) -> Result<()> {
        self.host.renew()?;
        fire(&mut self.generator, WARM_UP)?;
        self.costs.push(self.host.cost(meter, &mut self.generator, TIME)?);
        Ok(())
    }
}
