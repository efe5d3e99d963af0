//! `exempt`, `ban`, `peer` and `protected`.

use std::io::Read;
use std::time::{Duration, Instant};

use geofilter_core::book::{Kind, Origin, Target, provider};
use geofilter_core::wire::{Failure, NameReport, Noted, Records, Reply, Request};

use super::args::{Add, Ban, Exempt, Global, Only, Peer, Protected, Targets};
use super::{Outcome, client, confused, failed, invalid, render_records, show};

/// Bytes of targets in one request: a request has at most 64 KiB.
const CHUNK: usize = 48 * 1024;
/// How long to wait for DNS before saying so.
const PATIENCE: Duration = Duration::from_secs(8);
const MOMENT: Duration = Duration::from_millis(100);
/// So many targets are listed after a change.
const SAID: usize = 20;

pub(super) fn exempt(command: Exempt, global: &Global) -> Outcome {
    match command {
        Exempt::Add(add) => self::add(Kind::Exemption, add, global),
        Exempt::Remove(targets) => remove(Kind::Exemption, &targets, global),
        Exempt::List(only) => list(Kind::Exemption, only, global),
        Exempt::Providers => {
            let providers = render_records::Providers::of(provider::all());
            show(global, providers, render_records::providers)
        }
    }
}

pub(super) fn ban(command: Ban, global: &Global) -> Outcome {
    match command {
        Ban::Add(add) => self::add(Kind::Ban, add, global),
        Ban::Remove(targets) => remove(Kind::Ban, &targets, global),
        Ban::List(only) => list(Kind::Ban, only, global),
    }
}

pub(super) fn peer(command: Peer, global: &Global) -> Outcome {
    match command {
        Peer::List => match client::ask(&global.socket, &Request::Peers)? {
            Reply::Peers(peers) => show(global, peers, render_records::peers),
            _ => Err(confused()),
        },
        Peer::Remove { peer } => {
            let noted = noted(&Request::RemovePeer { peer }, global)?;
            show(global, noted, |noted, style| render_records::noted(noted, "peer", SAID, style))
        }
    }
}

/// Fails without a word where the address is not protected: that is an answer, not an error.
pub(super) fn protected(args: &Protected, global: &Global) -> Outcome {
    let request = Request::Protected { address: args.address };
    let Reply::Protected(found) = client::ask(&global.socket, &request)? else {
        return Err(confused());
    };
    let protected = found.protected;
    if !args.quiet {
        show(global, found, render_records::protected)?;
    }
    match protected {
        true => Ok(()),
        false => Err(failed(String::new())),
    }
}

fn add(kind: Kind, add: Add, global: &Global) -> Outcome {
    let targets = read(&add.targets, kind)?;
    let mut all = Noted::default();
    for chunk in chunks(&targets) {
        let request = Request::Add {
            kind,
            targets: chunk.to_vec(),
            seconds: add.span.map(|span| span.seconds),
            note: add.note.clone().into(),
            origin: Origin::Operator,
        };
        join(&mut all, noted(&request, global), targets.len())?;
    }
    all.warnings.extend(unresolved(kind, &targets, global)?);
    say(all, kind, global)
}

fn remove(kind: Kind, targets: &Targets, global: &Global) -> Outcome {
    let targets = read(targets, kind)?;
    let mut all = Noted::default();
    for chunk in chunks(&targets) {
        let request = Request::Remove { kind, targets: chunk.to_vec(), origin: None };
        join(&mut all, noted(&request, global), targets.len())?;
    }
    say(all, kind, global)
}

fn list(kind: Kind, only: Only, global: &Global) -> Outcome {
    let targets = parse(only.targets, kind)?;
    show(global, records(kind, targets, global)?, render_records::records)
}

fn say(noted: Noted, kind: Kind, global: &Global) -> Outcome {
    let what = match kind {
        Kind::Exemption => "exempt",
        Kind::Ban => "banned",
    };
    show(global, noted, |noted, style| render_records::noted(noted, what, SAID, style))
}

/// One chunk more; the ones before it stand, whatever becomes of it.
fn join(all: &mut Noted, chunk: Result<Noted, Failure>, targets: usize) -> Result<(), Failure> {
    let done = all.added.len() + all.removed.len() + all.warnings.len();
    let chunk = chunk.map_err(|failure| match done {
        0 => failure,
        _ => Failure {
            message: format!(
                "{}; the first {done} of {targets} targets are done, the rest is not",
                failure.message
            ),
            ..failure
        },
    })?;
    all.added.extend(chunk.added);
    all.removed.extend(chunk.removed);
    all.warnings.extend(chunk.warnings);
    Ok(())
}

fn noted(request: &Request, global: &Global) -> Result<Noted, Failure> {
    match client::ask(&global.socket, request)? {
        Reply::Noted(noted) => Ok(noted),
        _ => Err(confused()),
    }
}

fn records(kind: Kind, targets: Vec<String>, global: &Global) -> Result<Records, Failure> {
    match client::ask(&global.socket, &Request::List { kind, targets })? {
        Reply::Records(records) => Ok(records),
        _ => Err(confused()),
    }
}

/// Waits a moment for DNS, and says which names have no address yet.
fn unresolved(kind: Kind, targets: &[String], global: &Global) -> Result<Vec<String>, Failure> {
    let names =
        |text: &&String| Target::parse(text, kind).is_ok_and(|target| !target.names().is_empty());
    let named: Vec<String> = targets.iter().filter(names).cloned().collect();
    let began = Instant::now();
    loop {
        let records = match named.is_empty() {
            true => return Ok(Vec::new()),
            false => records(kind, named.clone(), global)?.records,
        };
        let names: Vec<_> = records.into_iter().flat_map(|record| record.names).collect();
        let silent = |name: &NameReport| name.answered.is_none() && name.failure.is_none();
        if !names.iter().any(silent) || began.elapsed() > PATIENCE {
            return Ok(names.iter().filter_map(render_records::trouble).collect());
        }
        std::thread::sleep(MOMENT);
    }
}

/// The targets of a command line, or of standard input.
fn read(targets: &Targets, kind: Kind) -> Result<Vec<String>, Failure> {
    if targets.targets != ["-"] {
        return parse(targets.targets.clone(), kind);
    }
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .read_to_string(&mut text)
        .map_err(|error| failed(format!("cannot read standard input: {error}")))?;
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(number, line)| match Target::parse(line, kind) {
            Ok(_) => Ok(line.to_owned()),
            Err(error) => Err(invalid(format!("line {number}: {error}"))),
        })
        .collect()
}

fn parse(targets: Vec<String>, kind: Kind) -> Result<Vec<String>, Failure> {
    for text in &targets {
        Target::parse(text, kind).map_err(|error| invalid(error.to_string()))?;
    }
    Ok(targets)
}

/// Pieces that fit into a request each.
fn chunks(targets: &[String]) -> impl Iterator<Item = &[String]> {
    let mut rest = targets;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |target: &&String| {
            bytes += target.len() + 3;
            bytes <= CHUNK
        };
        let many = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (chunk, after) = rest.split_at(many);
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_in_one_chunk_that_fits() {
        let targets: Vec<String> =
            (0..20_000).map(|number| format!("2a00:1::{number:x}")).collect();
        let chunks: Vec<_> = chunks(&targets).collect();
        assert!(chunks.len() > 4);
        assert_eq!(chunks.concat(), targets);
        for chunk in chunks {
            assert!(serde_json::to_string(chunk).unwrap().len() < 60 * 1024);
        }
    }
}
