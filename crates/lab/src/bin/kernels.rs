//! `make kernels`: boots kernels of Debian's and has every data plane work on each. What was found goes into `docs/kernels.md`.
//! On such a kernel the same program is the first process.
//!
//! With words it boots only those that have one of them in their name, such as `5.10` or `arm64`, and writes nothing down.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use geofilter_lab::kernels::line::{LINES, Line};
use geofilter_lab::kernels::machine::Said;
use geofilter_lab::kernels::report::Step;
use geofilter_lab::kernels::{guest, initramfs, machine, table};

fn main() -> Result<ExitCode> {
    if std::process::id() == 1 {
        guest::run();
        return Ok(ExitCode::SUCCESS);
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let is_meant =
        |line: &&Line| words.is_empty() || words.iter().any(|word| line.name().contains(word));
    let meant: Vec<Line> = LINES.iter().filter(is_meant).copied().collect();
    ensure!(!meant.is_empty(), "no kernel is called {}", words.join(" or "));
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    for line in &meant {
        match boot(line) {
            Ok(said) if said.is_whole(line) => found.push((*line, said)),
            Ok(_) => failed.push(line.name()),
            Err(error) => {
                eprintln!("  {error:#}");
                failed.push(line.name());
            }
        }
    }
    println!("{} of {} kernels passed", found.len(), meant.len());
    if !failed.is_empty() {
        eprintln!("geofilter: these kernels failed, see above: {}", failed.join(", "));
        return Ok(ExitCode::FAILURE);
    }
    if words.is_empty() {
        table::write(&root().join("docs/kernels.md"), &found)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn boot(line: &Line) -> Result<Said> {
    println!("{}", line.name());
    let (kernel, tools) = (line.kernel()?, line.tools()?);
    let built = built().context("where cargo builds")?;
    let folder = built.join("kernels").join(line.name().replace(' ', "-"));
    std::fs::create_dir_all(&folder)?;
    let ours = built.join(line.architecture.target()).join("debug");
    let archive = folder.join("initramfs");
    initramfs::pack(&kernel, &tools, &ours, &archive)?;
    let image = machine::image(&kernel, &folder.join("image"))?;
    let said = machine::boot(line.architecture, &image, &archive, &folder.join("console"), tell)?;
    println!("  {:.0} s", said.took.as_secs_f64());
    Ok(said)
}

fn tell(step: &Step) {
    let Step { backend, step, passed, said, seconds } = step;
    let passed = if *passed { "passed" } else { "FAILED" };
    println!("  {backend} {step}: {passed} {said} ({seconds:.1} s)");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn built() -> std::io::Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| root().join("target")).canonicalize()
}
