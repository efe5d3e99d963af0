//! The update gate: whether an edition of the data goes into use by itself, or is held for somebody's
//! approval. A published file really did call 48 million addresses of a hosting company British.
//!
//! Only IPv4 is counted: there a share of the addresses means something. Watched addresses are of both
//! families.

use std::net::IpAddr;

use crate::country::{CODES, CountryId};
use crate::decide::judged_address;
use crate::policy::Verdict;
use crate::wire::{CountryShift, GateReason, GateReport, HeldFor, Turned};
use crate::world::World;

/// So many thousandths of the labelled addresses may change their country. A normal month changes 6.
const MAX_CHANGED: u64 = 12;
/// So many hundredths of its addresses may a country gain or lose. A normal month changes up to 9.
const MAX_SHIFT: u64 = 15;
/// A country with no more addresses than this may gain or lose any number.
const SMALL_COUNTRY: u64 = 1_000_000;
/// So many watched addresses are named among the reasons.
const MAX_NAMED: usize = 10;

/// An address whose verdict must not change unseen: a trunk, a registered device, a canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Who that is, in words such as `trunk sip.example.com`.
    pub label: String,
    /// The address.
    pub address: IpAddr,
}

/// Compares the table in use with the one that would replace it. `verdict` is what the host would do with a
/// source, by its policy and its exemptions.
pub fn compare(
    before: &World,
    after: &World,
    watched: &[Watched],
    verdict: impl Fn(&World, IpAddr) -> Verdict,
) -> GateReport {
    let Counts { labelled, changed, countries } = count(before, after);
    let turned = turned(before, after, watched, verdict);
    let mut reasons: Vec<_> = reason_of_changed(labelled, changed).into_iter().collect();
    reasons.extend(countries.iter().filter_map(reason_of_shift));
    reasons.extend(turned.iter().take(MAX_NAMED).map(reason_of_turned));
    reasons.extend(reason_of_others(turned.len()));
    GateReport { held: !reasons.is_empty(), reasons, labelled, changed, countries, turned }
}

/// IPv4 addresses, counted.
struct Counts {
    labelled: u64,
    changed: u64,
    countries: Vec<CountryShift>,
}

fn count(before: &World, after: &World) -> Counts {
    let country = |world: &World, id| world.entries()[usize::from(id)].primary;
    let pairs = before.v4().zip(after.v4(), |old, new| (country(before, old), country(after, new)));
    let (mut labelled, mut changed) = (0, 0);
    let mut addresses = [[0; 2]; CODES.len()];
    for (range, (old, new)) in pairs.ranges() {
        let size = u64::from(range.last - range.first) + 1;
        addresses[old.index()][0] += size;
        addresses[new.index()][1] += size;
        if old != CountryId::UNKNOWN {
            labelled += size;
            changed += if old == new { 0 } else { size };
        }
    }
    let shifts = CountryId::all().map(|country| {
        let [before, after] = addresses[country.index()];
        CountryShift { country: country.code(), before, after }
    });
    let mut countries: Vec<_> = shifts.filter(|shift| shift.before != shift.after).collect();
    countries.sort_by_key(|shift| std::cmp::Reverse(shift.before.abs_diff(shift.after)));
    Counts { labelled, changed, countries }
}

fn turned(
    before: &World,
    after: &World,
    watched: &[Watched],
    verdict: impl Fn(&World, IpAddr) -> Verdict,
) -> Vec<Turned> {
    let country = |world: &World, address| world.lookup(judged_address(address)).primary.code();
    let turned = watched.iter().filter_map(|Watched { label, address }| {
        let (old, new) = (verdict(before, *address), verdict(after, *address));
        (old != new).then(|| Turned {
            label: label.clone(),
            address: *address,
            before: old,
            after: new,
            country_before: country(before, *address),
            country_after: country(after, *address),
        })
    });
    turned.collect()
}

fn reason_of_changed(labelled: u64, changed: u64) -> Option<GateReason> {
    (changed * 1000 > labelled * MAX_CHANGED).then(|| GateReason {
        held_for: HeldFor::Changed,
        text: format!(
            "{} IPv4 addresses would be in another country, {:.1} % of all; in a normal month it is 0.6 %, and 1.2 % at most goes into use by itself",
            written(changed),
            changed as f64 / labelled as f64 * 100.0,
        ),
    })
}

fn reason_of_shift(shift: &CountryShift) -> Option<GateReason> {
    let CountryShift { country, before, after } = *shift;
    let difference = before.abs_diff(after);
    let held = before > SMALL_COUNTRY && difference * 100 > before * MAX_SHIFT;
    held.then(|| GateReason {
        held_for: HeldFor::Country,
        text: format!(
            "{} ({country}) would {} {:.0} % of its IPv4 addresses, from {} to {}; {MAX_SHIFT} % at most goes into use by itself",
            country.id().name(),
            if after > before { "gain" } else { "lose" },
            difference as f64 / before as f64 * 100.0,
            written(before),
            written(after),
        ),
    })
}

fn reason_of_turned(turned: &Turned) -> GateReason {
    let Turned { label, address, before, after, country_before, country_after } = turned;
    let countries = match country_before == country_after {
        true => format!("{country_before} as before"),
        false => format!("{country_after} and no longer {country_before}"),
    };
    GateReason {
        held_for: HeldFor::Verdict,
        text: format!(
            "{label} ({address}) is {} now and would be {}: its country would be {countries}",
            participle(*before),
            participle(*after),
        ),
    }
}

fn reason_of_others(turned: usize) -> Option<GateReason> {
    let others = turned.checked_sub(MAX_NAMED).filter(|others| *others > 0)?;
    let text = format!("{others} more watched addresses would be treated otherwise than now");
    Some(GateReason { held_for: HeldFor::Verdict, text })
}

fn participle(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "let through",
        Verdict::Drop => "dropped",
    }
}

/// A number of addresses as people say it.
fn written(addresses: u64) -> String {
    match addresses {
        0..1_000_000 => addresses.to_string(),
        _ => format!("{:.1} million", addresses as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests;
