//! What the data plane of nftables costs: a packet, a change, and what others add to a set of their own meanwhile.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use geofilter_core::clock::Clock;
use geofilter_core::country::select;
use geofilter_core::decide::Overrides;
use geofilter_core::desired::BootTime;
use geofilter_core::dropped::Dropped;
use geofilter_core::policy::{Mode, Policy};
use geofilter_dataplane::Preference;
use geofilter_lab::gun::Draw;
use geofilter_lab::process::Agent;
use geofilter_lab::rivals::Rival;
use geofilter_lab::rivals::lists::Family;
use geofilter_lab::site::{Site, WAN};

use crate::compare::{self, Case};
use crate::data::Data;
use crate::host::Filter;
use crate::report::{Bound, Goal, Report, Unit};
use crate::rounds;
use crate::statistics::Spread;

/// Selections of about 12,000, 19,000 and 90,000 ranges of both families.
const SELECTIONS: [&[&str]; 3] = [&["ES", "PT"], &["ES", "PT", "IT"], &["US", "CA"]];
/// So many ranges the goals are for.
const SMALL: usize = 12_000;
/// A country that is added and taken away.
const CHANGED: &str = "AD";
/// Elements that are added in a round.
const ELEMENTS: usize = 5;

const MERGED_SET: Goal = ratio("GeoFilter, nftables : nftables, one merged set");
const NOTHING: Goal = ratio("GeoFilter, nftables : no filter");
const TC: Goal = ratio("GeoFilter, nftables : TC");

const fn ratio(measure: &'static str) -> Goal {
    Goal { measure, unit: Unit::Times, must: Bound::Any, stretch: Bound::Any }
}

/// Measures all of it.
pub(crate) fn measure(data: &Data, report: &mut Report) -> Result<()> {
    packets(data, report)?;
    changes(data, report)
}

fn packets(data: &Data, report: &mut Report) -> Result<()> {
    let mut draw = Draw::new(&data.world);
    let senders = data.senders(&mut draw, Family::V4);
    let none = Overrides::default();
    let on = |filter: Filter| Case {
        name: filter.name().to_owned(),
        filter,
        data,
        overrides: &none,
        senders: &senders,
    };
    let hosts = [
        on(Filter::Nftables),
        on(Filter::Rival(Rival::MergedSet)),
        on(Filter::Nothing),
        on(Filter::Ours(Preference::Tc)),
    ];
    let [ours, merged, nothing, tc] = compare::measure(hosts, true)?;
    ours.compare(&merged, MERGED_SET, report);
    ours.compare(&nothing, NOTHING, report);
    ours.compare(&tc, TC, report);
    [ours, merged, nothing, tc].iter().for_each(|it| report.add_cost(&it.name, it.spread()));
    Ok(())
}

/// A host with a selection, and what was measured there.
struct Bench<'a> {
    site: &'a Site,
    agent: Agent<'a>,
    countries: &'static [&'static str],
    ranges: usize,
    changes: Vec<f64>,
    additions: Vec<f64>,
}

fn changes(data: &Data, report: &mut Report) -> Result<()> {
    let sites = SELECTIONS.iter().map(|_| Site::new()).collect::<Result<Vec<_>>>()?;
    let empty = Site::new()?;
    prepare(&empty)?;
    let benches = sites.iter().zip(SELECTIONS).map(|(site, countries)| {
        let policy = Policy::new(Mode::AllowSelected, select(countries.iter().copied())?);
        let dropped = Dropped::of(&policy, &data.world, BootTime(0), Clock::default());
        prepare(site)?;
        let agent = Agent::start(&site.host, &["--backend", "nft", "--interface", WAN])?;
        let (changes, additions) = (Vec::new(), Vec::new());
        Ok(Bench { site, agent, countries, ranges: dropped.ranges(), changes, additions })
    });
    let mut benches = benches.collect::<Result<Vec<_>>>()?;
    let mut without = Vec::new();
    for round in 0..rounds() {
        eprintln!("round {} of {}: changes of nftables", round + 1, rounds());
        without.extend(add(&empty, round)?);
        benches.iter_mut().try_for_each(|bench| bench.run(round))?;
    }
    let without = Unit::Seconds.spread(Spread::of(without));
    for bench in benches {
        let (names, ranges) = (bench.countries.join(" "), bench.ranges);
        let bound = |seconds| if ranges <= SMALL { Bound::AtMost(seconds) } else { Bound::Any };
        let goal = |measure: &str, must| Goal {
            // One of a few, for as long as the program runs.
            measure: format!("{measure}, {names} ({ranges} ranges)").leak(),
            unit: Unit::Seconds,
            must,
            stretch: Bound::Any,
        };
        report.add(
            goal("another selection, from Enter to effective", bound(0.2)),
            Spread::of(bench.changes),
            format!("`geofilter allow {names} --yes` and the same with {CHANGED}, start to end"),
        );
        report.add(
            goal("an element that others add to a set of their own", bound(0.1)),
            Spread::of(bench.additions),
            format!("`nft add element`, start to end; {without} without GeoFilter"),
        );
    }
    Ok(())
}

impl Bench<'_> {
    fn run(&mut self, round: usize) -> Result<()> {
        for more in [&[CHANGED][..], &[]] {
            let words = [&["allow"], self.countries, more, &["--yes", "--accept-risk", "slow-nft"]];
            let began = Instant::now();
            let output = self.agent.ask(&words.concat())?;
            self.changes.push(began.elapsed().as_secs_f64());
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        self.additions.extend(add(self.site, round)?);
        Ok(())
    }
}

/// A set of somebody else.
fn prepare(site: &Site) -> Result<()> {
    nft(site, "add table inet others; add set inet others banned { type ipv4_addr; }")
}

/// Adds elements, one by one, and says how long each took, in seconds.
fn add(site: &Site, round: usize) -> Result<Vec<f64>> {
    let add = |number| {
        let began = Instant::now();
        nft(site, &format!("add element inet others banned {{ 198.51.{round}.{number} }}"))?;
        Ok(began.elapsed().as_secs_f64())
    };
    (0..ELEMENTS).map(add).collect()
}

fn nft(site: &Site, script: &str) -> Result<()> {
    let mut nft = Command::new("nft");
    nft.arg(script);
    let status = site.host.inside(move || nft.status())?.context("run nft")?;
    ensure!(status.success(), "nft failed: {script}");
    Ok(())
}
