//! The binary: its size, how soon it starts, how many addresses it judges, and how long it takes to build.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
use geofilter_lab::gun::Draw;
use geofilter_lab::namespace::succeed;
use geofilter_lab::process::binary;
use geofilter_lab::site::Site;

use crate::data::{ALLOWED, Data};
use crate::host;
use crate::report::{Bound, Goal, Report, Unit};
use crate::rounds;
use crate::statistics::Spread;

const STARTS: usize = 50;
const ADDRESSES: usize = 10_000_000;
const V6_EVERY: usize = 4;
const PUBLIC: Ipv4Addr = Ipv4Addr::new(80, 58, 61, 250);

const SIZE: Goal = Goal {
    measure: "release binary",
    unit: Unit::Bytes,
    must: Bound::AtMost(15e6),
    stretch: Bound::AtMost(10e6),
};
const START: Goal = Goal {
    measure: "`geofilter why`, start to end",
    unit: Unit::Seconds,
    must: Bound::AtMost(15e-3),
    stretch: Bound::AtMost(5e-3),
};
const PREVIEW: Goal = Goal {
    measure: "`geofilter preview --addresses`, 10 M addresses",
    unit: Unit::Rate,
    must: Bound::AtLeast(2e6),
    stretch: Bound::AtLeast(10e6),
};
const BUILD: Goal = Goal {
    measure: "`make build` from a clean clone, packages cached",
    unit: Unit::Seconds,
    must: Bound::AtMost(480.0),
    stretch: Bound::AtMost(240.0),
};

/// Measures all but the build.
pub(crate) fn measure(data: &Data, report: &mut Report) -> Result<()> {
    let binary = binary()?;
    report.add(SIZE, Spread::exactly(binary.metadata()?.len() as f64), "");

    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let mut why = Command::new(&binary);
        starts.push(timed(why.args(["why", &PUBLIC.to_string(), "--socket", "/nowhere"]))?);
    }
    let asked = Unit::Seconds.write(with_agent()?.median);
    let from = format!("{STARTS} times, without an agent; {asked} with one");
    report.add(START, Spread::of(starts), from);

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("addresses");
    write_addresses(&file, data)?;
    let mut rates = Vec::new();
    for round in 0..rounds() {
        eprintln!("round {} of {}: {ADDRESSES} addresses", round + 1, rounds());
        let mut preview = Command::new(&binary);
        let preview = preview.args(["preview", "allow"]).args(ALLOWED).arg("--addresses");
        rates.push(ADDRESSES as f64 / timed(preview.arg(&file))?);
    }
    let from =
        "announced addresses in no order, a quarter of them IPv6; the file is in the page cache";
    report.add(PREVIEW, Spread::of(rates), from);
    Ok(())
}

/// Seconds that the same question takes where an agent answers.
fn with_agent() -> Result<Spread> {
    let site = Site::new()?;
    let agent = host::agent(&site, "xdp")?;
    let ask = |_| {
        let began = Instant::now();
        let output = agent.ask(&["why", &PUBLIC.to_string()])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(began.elapsed().as_secs_f64())
    };
    Ok(Spread::of((0..STARTS).map(ask).collect::<Result<Vec<_>>>()?))
}

/// Measures the build, of what is committed.
pub(crate) fn measure_build(repository: &Path, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let clone = folder.path().join("geofilter");
    succeed(Command::new("git").args(["clone", "--quiet"]).args([repository, &clone]))?;
    eprintln!("make build in {}", clone.display());
    let mut make = Command::new("make");
    make.arg("build").current_dir(&clone);
    // It is not to be a part of the build that started this.
    for name in ["MAKEFLAGS", "MAKELEVEL", "MFLAGS", "CARGO_MAKEFLAGS", "CARGO_TARGET_DIR"] {
        make.env_remove(name);
    }
    let time = timed(&mut make)?;
    ensure!(clone.join("target/release/geofilter").is_file(), "nothing was built");
    report.add(BUILD, Spread::exactly(time), "of the last commit");
    Ok(())
}

/// Seconds that a command took, which must succeed.
fn timed(command: &mut Command) -> Result<f64> {
    let began = Instant::now();
    succeed(command)?;
    Ok(began.elapsed().as_secs_f64())
}

fn write_addresses(file: &Path, data: &Data) -> Result<()> {
    let mut draw = Draw::new(&data.world);
    let mut file = BufWriter::new(File::create(file)?);
    for number in 0..ADDRESSES {
        let address: IpAddr = match number % V6_EVERY {
            0 => draw.v6().into(),
            _ => draw.v4().into(),
        };
        writeln!(file, "{address}")?;
    }
    Ok(file.flush()?)
}
