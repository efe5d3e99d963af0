//! What the nftables wiki says on its pages `Sets`, `Intervals`, `GeoIP matching` and `Verdict Maps (vmaps)`.
//! Both rulesets judge at priority raw of prerouting, before connections are tracked: the earliest place where
//! one table sees both families on every interface.

use std::fmt::Display;

use anyhow::Result;
use geofilter_core::country::CountryId;

use super::lists::{Family, Lists};
use crate::namespace::Namespace;

/// An interval set of all blocked ranges, merged, for each family, and a rule that drops what is in it.
pub fn merged_set(lists: &Lists) -> String {
    let mut script = "add table inet merged\n".to_owned();
    for family in Family::ALL {
        let set = format!("merged blocked{}", family.number());
        script += &add_set(&set, family, "flags interval; auto-merge;", lists.blocked(family));
    }
    script
        + "add chain inet merged prerouting { type filter hook prerouting priority raw; policy accept; }
add rule inet merged prerouting ip saddr @blocked4 drop
add rule inet merged prerouting ip6 saddr @blocked6 drop
"
}

/// A map from the ranges of the whole world to marks, one for each country, and a map from marks to verdicts.
/// The first is laid out as the nftables project's own generator does (repository `nftables-geoip`,
/// `README.md` and `nft_geoip.py`), where a mark is the ISO number of a country. Its examples mark in the
/// input hook, which costs more.
pub fn world_map(lists: &Lists) -> String {
    let mut script = "add table inet world\n".to_owned();
    for family in Family::ALL {
        let marks = lists.announced(family).into_iter();
        let marks = marks.map(|(span, country)| format!("{span} : {}", country.index()));
        script += &format!(
            "add map inet world geoip{} {{ type {} : mark; flags interval; {}}}\n",
            family.number(),
            key(family),
            elements(marks)
        );
    }
    let verdicts = CountryId::all().map(|country| {
        let verdict = if lists.allowed().contains(country) { "accept" } else { "drop" };
        format!("{} : {verdict}", country.index())
    });
    script +=
        &format!("add map inet world verdicts {{ type mark : verdict; {}}}\n", elements(verdicts));
    script
        + "add chain inet world prerouting { type filter hook prerouting priority raw; policy accept; }
add rule inet world prerouting meta mark set ip saddr map @geoip4
add rule inet world prerouting meta mark set ip6 saddr map @geoip6
add rule inet world prerouting meta mark vmap @verdicts
"
}

/// A command that adds a set, whose name is that of its table and its own.
pub(super) fn add_set(
    set: &str,
    family: Family,
    options: &str,
    content: impl IntoIterator<Item = impl Display>,
) -> String {
    let elements = elements(content);
    format!("add set inet {set} {{ type {}; {options} {elements}}}\n", key(family))
}

/// Has `nft` load commands as one transaction.
///
/// # Errors
/// If it refuses, with what it said.
pub(super) fn load(host: &Namespace, script: &str) -> Result<()> {
    host.feed("nft", &["-f", "-"], script)
}

fn key(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4_addr",
        Family::V6 => "ipv6_addr",
    }
}

/// A line for each element, so that an error quotes that line only; nothing for none.
fn elements(elements: impl IntoIterator<Item = impl Display>) -> String {
    let lines: Vec<String> = elements.into_iter().map(|element| format!("{element},\n")).collect();
    if lines.is_empty() { String::new() } else { format!("elements = {{\n{}}} ", lines.concat()) }
}
