//! `make bench`: measures what GeoFilter promises of its speed and size, beside others, and writes
//! `bench/RESULTS.md` and the plots of `docs/performance.md`. Needs root, and the release binary.
//!
//! `ROUNDS=3` makes it shorter, `SKIP_BUILD=1` leaves out the build from a clean clone, and `PART=nft` all but nftables, into
//! `bench/NFTABLES.md`.
//!
//! Reading order: [`report`] holds the rows, and what should come out stands beside what measures it. [`host`] is
//! a host under fire, [`compare`] measures several of them side by side, [`cost`] and [`sizes`] say which;
//! [`features`], [`latency`], [`change`], [`memory`], [`flood`], [`commands`] and [`nftables`] are the other rows. [`data`] is
//! who sends and what is filtered by.

mod change;
mod commands;
mod compare;
mod cost;
mod data;
mod features;
mod flood;
mod host;
mod latency;
mod machine;
mod memory;
mod nftables;
mod plots;
mod report;
mod sizes;
mod statistics;

use std::path::Path;
use std::{env, fs};

use anyhow::Result;

use data::Data;
use machine::Machine;
use report::Report;

/// Fewer say nothing of the spread.
const FEWEST: usize = 3;

/// How often everything is measured.
fn rounds() -> usize {
    let asked = env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    asked.unwrap_or(7).max(FEWEST)
}

fn main() -> Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let machine = Machine::read()?;
    let data = Data::full()?;
    let mut report = Report::default();
    nftables::measure(&data, &mut report)?;
    report.write(&machine, &repository.join("bench/NFTABLES.md"))?;
    if env::var("PART").is_ok_and(|part| part == "nft") {
        return Ok(());
    }
    let mut report = Report::default();
    let costs = cost::measure_all(&data, &mut report)?;
    features::measure(&data, &mut report)?;
    latency::measure(&data, &mut report)?;
    change::measure(&data, &mut report)?;
    memory::measure(&mut report)?;
    flood::measure(&data, &mut report)?;
    commands::measure(&data, &mut report)?;
    if env::var_os("SKIP_BUILD").is_none() {
        commands::measure_build(&repository, &mut report)?;
    }
    let (sizes, lines) = sizes::measure_all(&data)?;
    let plots = repository.join("docs/plots");
    fs::create_dir_all(&plots)?;
    plots::by_rival(&plots.join("rivals.svg"), &costs)?;
    plots::by_size(&plots.join("sizes.svg"), &sizes, &lines)?;
    report.write(&machine, &repository.join("bench/RESULTS.md"))
}
