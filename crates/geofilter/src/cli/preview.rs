//! `preview`: what a policy would do to those whom the agent of this host knows, or to a list of addresses.
//! The list is streamed, so that memory does not grow with it, and needs neither root nor, when a policy is
//! named, an agent.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use geofilter_core::change::{Change, Risk};
use geofilter_core::country::{CODES, CountryId};
use geofilter_core::decide::decide_source;
use geofilter_core::impact::by_country;
use geofilter_core::policy::{Policy, Scope, Verdict};
use geofilter_core::wire::{Failure, Preview, PreviewAddresses, Reply, Request};
use geofilter_core::world::World;

use super::args::{self, Global};
use super::{Outcome, client, confused, countries, failed, invalid, render_preview, show};
use crate::geo::Geo;

const BUFFER: usize = 1 << 18;
/// No address is longer; what is longer is skipped without being kept.
const LONGEST_LINE: usize = 256;

pub(super) fn run(args: &args::Preview, global: &Global) -> Outcome {
    match &args.addresses {
        Some(file) => of_addresses(args, file, global),
        None => of_this_host(change(args)?, None, global),
    }
}

/// What a change would do to those whom the agent knows.
pub(super) fn of_this_host(
    change: Option<Change>,
    keep_registered: Option<u64>,
    global: &Global,
) -> Outcome {
    let preview = ask(change, keep_registered, global)?;
    show(global, *preview, render_preview::preview)
}

/// Asks the agent for it.
pub(super) fn ask(
    change: Option<Change>,
    keep_registered: Option<u64>,
    global: &Global,
) -> Result<Box<Preview>, Failure> {
    match client::ask(&global.socket, &Request::Preview { change, keep_registered })? {
        Reply::Preview(preview) => Ok(preview),
        _ => Err(confused()),
    }
}

fn of_addresses(args: &args::Preview, file: &Path, global: &Global) -> Outcome {
    let policy = policy(args, global)?;
    let input = open(file)?;
    let geo = Geo::embedded().map_err(|error| failed(format!("{error:#}")))?;
    let mut count = Count::new(&policy, geo.world());
    count.read(input).map_err(|error| {
        failed(format!("cannot read addresses from {}: {error}", file.display()))
    })?;
    show(global, count.preview(), render_preview::preview)
}

/// The policy named, else that of the agent.
fn policy(args: &args::Preview, global: &Global) -> Result<Policy, Failure> {
    let Some(change) = change(args)? else {
        return match client::ask(&global.socket, &Request::Status) {
            Ok(Reply::Status(status)) => Ok(status.policy()),
            Ok(_) => Err(confused()),
            Err(failure) => Err(Failure {
                message: format!(
                    "no policy was named (such as `preview allow ES PT`), and {}",
                    failure.message
                ),
                ..failure
            }),
        };
    };
    // Nothing is changed, so nothing is at risk.
    let change = Change { accept: vec![Risk::CutEveryone], ..change };
    let nothing = geofilter_core::apply::nothing_selected();
    change.policy(&nothing, 0).map_err(|objection| invalid(objection.to_string()))
}

/// The change named.
fn change(args: &args::Preview) -> Result<Option<Change>, Failure> {
    let Some(mode) = args.mode else { return Ok(None) };
    let countries = countries(&args.countries).map_err(|error| invalid(error.to_string()))?;
    Ok(Some(Change {
        unknown: args.unknown,
        hosting: args.hosting,
        disputed: args.disputed,
        scope: args.scope.clone().map(Scope),
        ..Change::new(mode, countries)
    }))
}

fn open(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => {
            Err(failed(format!("cannot read addresses from {}: {error}", path.display())))
        }
    }
}

struct Count<'a> {
    policy: &'a Policy,
    world: &'a World,
    /// By country: seen, would be dropped.
    countries: Vec<(u64, u64)>,
    invalid: u64,
}

impl<'a> Count<'a> {
    fn new(policy: &'a Policy, world: &'a World) -> Self {
        Self { policy, world, countries: vec![(0, 0); CODES.len()], invalid: 0 }
    }

    fn read(&mut self, input: impl Read) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(BUFFER, input);
        let mut line = Vec::with_capacity(LONGEST_LINE);
        loop {
            let buffer = reader.fill_buf()?;
            if buffer.is_empty() {
                self.line(&line);
                return Ok(());
            }
            let mut rest = buffer;
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                match line.is_empty() {
                    true => self.line(&rest[..end]),
                    false => {
                        keep(&mut line, &rest[..end]);
                        self.line(&line);
                        line.clear();
                    }
                }
                rest = &rest[end + 1..];
            }
            keep(&mut line, rest);
            let read = buffer.len();
            reader.consume(read);
        }
    }

    fn line(&mut self, line: &[u8]) {
        let line = line.trim_ascii();
        if line.is_empty() || line[0] == b'#' {
            return;
        }
        let Some(address) = address(line) else {
            self.invalid += 1;
            return;
        };
        let decision = decide_source(address, self.policy, self.world);
        let country = decision.entry.map_or(CountryId::UNKNOWN, |entry| entry.primary);
        let (seen, dropped) = &mut self.countries[country.index()];
        *seen += 1;
        *dropped += u64::from(decision.verdict == Verdict::Drop);
    }

    fn preview(&self) -> Preview {
        let countries = std::iter::once(CountryId::UNKNOWN).chain(CountryId::all());
        let by_country = by_country(countries.zip(self.countries.iter().copied()));
        let addresses = PreviewAddresses {
            total: by_country.iter().map(|row| row.total).sum(),
            dropped: by_country.iter().map(|row| row.dropped).sum(),
            invalid: self.invalid,
        };
        Preview { addresses, by_country, ..Preview::default() }
    }
}

/// Appends as much as can still be an address, and one byte more, so that it stays too long.
fn keep(line: &mut Vec<u8>, more: &[u8]) {
    let room = (LONGEST_LINE + 1).saturating_sub(line.len());
    line.extend_from_slice(&more[..more.len().min(room)]);
}

fn address(line: &[u8]) -> Option<IpAddr> {
    let text = || std::str::from_utf8(line).ok().filter(|text| text.len() <= LONGEST_LINE);
    match dotted(line) {
        Some(v4) => Some(IpAddr::V4(v4)),
        None => text()?.parse().ok(),
    }
}

/// The common case, faster than the general one.
fn dotted(line: &[u8]) -> Option<Ipv4Addr> {
    let (mut bits, mut octet, mut digits, mut dots) = (0_u32, 0_u32, 0, 0);
    for byte in line {
        match byte {
            b'0'..=b'9' => {
                octet = octet * 10 + u32::from(byte - b'0');
                digits += 1;
                if octet > 255 || digits > 3 || (digits > 1 && octet < 10) {
                    return None;
                }
            }
            b'.' if digits > 0 && dots < 3 => {
                bits = bits << 8 | octet;
                (octet, digits, dots) = (0, 0, dots + 1);
            }
            _ => return None,
        }
    }
    (dots == 3 && digits > 0).then(|| Ipv4Addr::from(bits << 8 | octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(input: &[u8]) -> PreviewAddresses {
        let policy = geofilter_core::apply::nothing_selected();
        let geo = Geo::embedded().unwrap();
        let mut count = Count::new(&policy, geo.world());
        count.read(input).unwrap();
        count.preview().addresses
    }

    #[test]
    fn lines_are_addresses_or_counted() {
        let input = b"192.0.2.1\r\n\n# comment\n  2001:db8::1  \nhello\n192.0.2.256\n1.2.3\n01.2.3.4\n192.0.2.9";
        let addresses = count(input);
        assert_eq!((addresses.total, addresses.invalid), (3, 4));
    }

    #[test]
    fn long_lines_take_no_memory_and_are_no_address() {
        let mut input = vec![b'1'; BUFFER * 3];
        input.extend_from_slice(b"\n192.0.2.1\n");
        let addresses = count(&input);
        assert_eq!((addresses.total, addresses.invalid), (1, 1));
    }

    #[test]
    fn lines_across_buffers_are_whole() {
        let line = b"203.0.113.77\n";
        let lines = BUFFER * 2 / line.len() + 5;
        let addresses = count(&line.repeat(lines));
        assert_eq!((addresses.total, addresses.invalid), (lines as u64, 0));
    }

    #[test]
    fn the_fast_way_reads_what_the_general_one_does() {
        for text in ["0.0.0.0", "255.255.255.255", "1.2.3.4", "10.0.0.10"] {
            assert_eq!(dotted(text.as_bytes()), text.parse().ok(), "{text}");
        }
        for text in
            ["", ".", "1.2.3.4.", "1..2.3", "1.2.3.4.5", "00.1.2.3", "1.2.3.04", "256.1.1.1"]
        {
            assert_eq!(dotted(text.as_bytes()), None, "{text}");
            assert!(text.parse::<IpAddr>().is_err(), "{text}");
        }
    }
}
