//! What exemptions, bans and peers add to a verdict, by the kernel's own count of the time that the programs run.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;
use geofilter_core::decide::Overrides;
use geofilter_core::desired::AttachmentKind;
use geofilter_dataplane::Preference;
use geofilter_dataplane::kernel::{Judge, count_run_time};
use geofilter_lab::generator::Generator;
use geofilter_lab::gun::Draw;
use geofilter_lab::rivals::lists::Family;
use geofilter_lab::site::Site;

use crate::data::{Data, overrides};
use crate::host::{Filter, Host, fire};
use crate::report::{Bound, Goal, Report, Unit};
use crate::rounds;
use crate::statistics::Spread;

/// Exemptions, bans and peers.
const MANY: [usize; 3] = [10_000, 100_000, 1_000];
const TIME: Duration = Duration::from_millis(300);

const fn goal(measure: &'static str) -> Goal {
    Goal { measure, unit: Unit::Times, must: Bound::AtMost(1.1), stretch: Bound::Any }
}

/// Measures it on hosts that are set up side by side.
pub(crate) fn measure(data: &Data, report: &mut Report) -> Result<()> {
    let mut draw = Draw::new(&data.world);
    let senders = data.senders(&mut draw, Family::V4);
    let many = overrides(&mut draw, &senders, MANY);
    let _counting = count_run_time()?;
    for (preference, kind, measure) in [
        (
            Preference::Xdp,
            AttachmentKind::XdpNative,
            "a verdict with many overrides : with none, XDP",
        ),
        (Preference::Tc, AttachmentKind::Tc, "a verdict with many overrides : with none, TC"),
    ] {
        let sites = [Site::new()?, Site::new()?];
        let lane = |site, overrides| Lane::new(site, preference, data, &senders, overrides);
        let mut with = lane(&sites[0], &many)?;
        let mut without = lane(&sites[1], &Overrides::default())?;
        let (mut dear, mut cheap) = (Vec::new(), Vec::new());
        for round in 0..rounds() {
            eprintln!("round {} of {}: {preference:?} with overrides", round + 1, rounds());
            dear.push(with.cost(kind)?);
            cheap.push(without.cost(kind)?);
        }
        let [many, none] =
            [&dear, &cheap].map(|costs| Unit::Seconds.write(Spread::of(costs.clone()).median));
        let [exemptions, bans, peers] = MANY;
        let from =
            format!("{many} with {bans} bans, {exemptions} exemptions, {peers} peers, {none}");
        report.add(goal(measure), Spread::of_ratios(&dear, &cheap), from);
    }
    Ok(())
}

/// A host with our filter, and who fires at it.
struct Lane<'a> {
    host: Host<'a>,
    judge: Judge,
    generator: Generator<'a>,
}

impl<'a> Lane<'a> {
    fn new(
        site: &'a Site,
        preference: Preference,
        data: &Data,
        senders: &[IpAddr],
        overrides: &Overrides,
    ) -> Result<Self> {
        let mut host = Host::new(site, Filter::Ours(preference), data)?;
        host.tell(overrides)?;
        host.listen()?;
        Ok(Self { judge: host.judge()?, generator: host.generator(senders)?, host })
    }

    /// Seconds a verdict.
    fn cost(&mut self, kind: AttachmentKind) -> Result<f64> {
        self.host.renew()?;
        let (before, runs) = self.judge.run_time(kind)?;
        fire(&mut self.generator, TIME)?;
        let (after, more) = self.judge.run_time(kind)?;
        Ok((after - before).as_secs_f64() / (more - runs) as f64)
    }
}
