//! [`write`]: what was found, between two marks of `docs/kernels.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::kernels::devices::INTERFACES;
use crate::kernels::line::Line;
use crate::kernels::machine::Said;
use crate::kernels::report::{BACKENDS, DEVICES, MACHINE, Missing, STEPS, Step};

const BEGIN: &str = "<!-- measured by `make kernels` -->\n";
const END: &str = "<!-- end of what is measured -->\n";

/// Puts the tables into the document.
///
/// # Errors
/// If it has no marks, or can't be written.
pub fn write(document: &Path, found: &[(Line, Said)]) -> Result<()> {
    let text = fs::read_to_string(document)?;
    let marks = || format!("{} has no marks", document.display());
    let (before, rest) = text.split_once(BEGIN).with_context(marks)?;
    let (_, after) = rest.split_once(END).with_context(marks)?;
    let tables = format!("{}\n{}\n{}", steps(found), interfaces(found), missing(found));
    fs::write(document, format!("{before}{BEGIN}{tables}{END}{after}"))?;
    Ok(())
}

/// A row for each kernel and data plane.
fn steps(found: &[(Line, Said)]) -> String {
    let mut table = "| kernel | nft | data plane | load | attach | addresses that fared as decided | dead-man | off | seconds |\n\
        |---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for (line, said) in found {
        let (kernel, nft) = (name(line, said), told(said, "nft"));
        for (number, backend) in BACKENDS.iter().enumerate() {
            let cells = STEPS.map(|step| cell(said, backend, step)).join(" | ");
            let (kernel, nft) = if number == 0 { (&*kernel, &*nft) } else { ("", "") };
            let seconds: f64 = of(said, backend).map(|step| step.seconds).sum();
            let _ = writeln!(table, "| {kernel} | {nft} | {backend} | {cells} | {seconds:.0} |");
        }
    }
    table
}

/// A row for each kind of interface, with the kernels that filter there in the same ways.
fn interfaces(found: &[(Line, Said)]) -> String {
    let mut table =
        "| interface | filtered, as `--backend` asks | on |\n|---|---|---|\n".to_owned();
    for interface in INTERFACES {
        let mut ways: Vec<(String, Vec<String>)> = Vec::new();
        for (_, said) in found {
            let way = cell(said, DEVICES, interface.name);
            let kernel = told(said, "release");
            match ways.iter_mut().find(|(known, _)| *known == way) {
                Some((_, kernels)) => kernels.push(kernel),
                None => ways.push((way, vec![kernel])),
            }
        }
        for (way, kernels) in ways {
            let kernels = match kernels.len() == found.len() {
                true => "all of them".to_owned(),
                false => kernels.join(", "),
            };
            let _ = writeln!(table, "| {} | {way} | {kernels} |", interface.name);
        }
    }
    table
}

/// What each kernel lacks, and what is used instead.
fn missing(found: &[(Line, Said)]) -> String {
    let mut table = "| kernel | lacks | instead |\n|---|---|---|\n".to_owned();
    for (line, said) in found {
        let all = told(said, "missing");
        let missing = all.split_whitespace().filter_map(Missing::read);
        let mut kernel = name(line, said);
        for missing in missing {
            let _ = writeln!(table, "| {kernel} | {} | {} |", missing.what(), missing.instead());
            kernel.clear();
        }
        if !kernel.is_empty() {
            let _ = writeln!(table, "| {kernel} | nothing | |");
        }
    }
    table
}

fn name(line: &Line, said: &Said) -> String {
    format!("{} ({})", told(said, "release"), line.suite)
}

/// What a machine said of itself.
fn told(said: &Said, what: &str) -> String {
    of(said, MACHINE)
        .find(|step| step.step == what)
        .map_or_else(String::new, |step| step.said.clone())
}

fn cell(said: &Said, backend: &str, name: &str) -> String {
    match of(said, backend).find(|step| step.step == name) {
        None => "-".to_owned(),
        Some(step) if !step.passed => "failed".to_owned(),
        Some(step) if step.said.is_empty() => "yes".to_owned(),
        Some(step) => step.said.clone(),
    }
}

fn of<'a>(said: &'a Said, backend: &'a str) -> impl Iterator<Item = &'a Step> {
    said.steps.iter().filter(move |step| step.backend == backend)
}
