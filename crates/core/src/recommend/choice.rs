//! [`choose`]: mode, countries, disputed and hosting networks, and whom to exempt.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Around;
use super::evidence::Facts;
use super::people::Person;
use crate::country::{CountryId, CountrySet};
use crate::decide::decide_entry;
use crate::policy::{Disputed, Mode, Policy, Verdict};
use crate::wire::Share;

/// Fewer logins than these prove nothing about a country, nor about a host.
pub(super) const FEW: u64 = 3;
/// Those of a single account, where more attempts than logins come from.
const FEW_AMONG_ATTACKERS: u64 = 10;
/// Where phones are at home in more countries, keeping some out is easier to look after than letting them in.
pub(super) const MANY_COUNTRIES: usize = 15;
/// How many countries are blocked, each of at least so many attempts in a hundred.
const WORST: usize = 20;
const WORTH_BLOCKING: u64 = 1;
/// How many phones in hosting networks are exempted, so that the rest of these can be dropped.
pub(super) const EXEMPTED: usize = 8;
/// What share of the attempts the second opinion on countries may let in, in a hundred.
const WORTH_LENIENCE: u64 = 5;

/// What is proposed.
#[derive(Debug)]
pub(super) struct Choice {
    /// `None` if there are too few logins, and nobody to block.
    pub(super) policy: Option<Policy>,
    pub(super) basis: Basis,
    /// Where phones are at home.
    pub(super) homes: CountrySet,
    pub(super) hosting: Hosting,
    /// Addresses that are to be exempt.
    pub(super) exempted: BTreeSet<IpAddr>,
    /// By the primary opinion.
    pub(super) countries: BTreeMap<CountryId, OfCountry>,
    pub(super) attempts: Share,
    pub(super) dropped_without_hosting: u64,
    pub(super) logins: Share,
}

/// What the mode follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Basis {
    TooFewLogins,
    FewCountries,
    ManyCountries,
}

/// Why hosting networks are dropped, or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hosting {
    Drop,
    NothingMore,
    TooFewLogins,
    NoTrunkKnown { more: u64 },
    TooMany { phones: usize, more: u64 },
}

/// Who came from a country.
#[derive(Debug, Clone, Default)]
pub(super) struct OfCountry {
    pub(super) attempts: u64,
    pub(super) addresses: u64,
    /// All logins, and those of accounts that belong there.
    pub(super) logins: u64,
    pub(super) at_home: u64,
    pub(super) doubtful: u64,
    pub(super) accounts: BTreeSet<String>,
}

impl OfCountry {
    /// Whether phones belong there; among attackers, a few logins of one account are not enough.
    fn is_home(&self) -> bool {
        let among_attackers = self.accounts.len() == 1 && self.attempts > self.at_home;
        self.at_home >= if among_attackers { FEW_AMONG_ATTACKERS } else { FEW }
    }
}

/// Decides.
pub(super) fn choose(facts: &Facts, people: &[Person<'_>], around: &Around) -> Choice {
    let countries = countries(facts, people);
    let proven: u64 = people.iter().filter(|it| it.doubt.is_none()).map(Person::weight).sum();
    let homes = homes(&countries);
    let (basis, policy) = match homes.len() {
        0 => (Basis::TooFewLogins, block(&countries)),
        _ if proven < FEW => (Basis::TooFewLogins, block(&countries)),
        1..=MANY_COUNTRIES => (Basis::FewCountries, Some(Policy::new(Mode::AllowSelected, homes))),
        _ => (Basis::ManyCountries, block(&countries)),
    };
    let total = facts.tried.values().map(|tried| tried.attempts).sum::<u64>();
    let mut choice = Choice {
        policy: policy.clone(),
        basis,
        homes,
        hosting: Hosting::NothingMore,
        exempted: BTreeSet::new(),
        countries,
        attempts: Share { total: total + facts.local_attempts, dropped: 0 },
        dropped_without_hosting: 0,
        logins: Share::default(),
    };
    if let Some(policy) = policy {
        let policy = with_disputed(policy, facts, people);
        choice.dropped_without_hosting = dropped(facts, &policy);
        let (hosting, exempted) = match basis {
            Basis::TooFewLogins => (Hosting::TooFewLogins, BTreeSet::new()),
            Basis::FewCountries | Basis::ManyCountries => hosting(&policy, facts, people, around),
        };
        let verdict = if hosting == Hosting::Drop { Verdict::Drop } else { Verdict::Pass };
        let policy = Policy { hosting: verdict, ..policy };
        choice.attempts.dropped = dropped(facts, &policy);
        choice.hosting = hosting;
        choice.exempted = exempted;
        choice.policy = Some(policy);
    }
    choice.logins = logins(facts, people, &choice);
    choice
}

fn countries(facts: &Facts, people: &[Person<'_>]) -> BTreeMap<CountryId, OfCountry> {
    let mut countries: BTreeMap<CountryId, OfCountry> = BTreeMap::new();
    for (entry, tried) in &facts.tried {
        let of = countries.entry(entry.primary).or_default();
        of.attempts += tried.attempts;
        of.addresses += tried.addresses;
    }
    for person in people {
        let of = countries.entry(person.country()).or_default();
        of.logins += person.weight();
        of.at_home += if person.is_at_home() { person.weight() } else { 0 };
        match person.doubt {
            Some(_) => of.doubtful += person.weight(),
            None => drop(of.accounts.insert(person.account.to_owned())),
        }
    }
    countries
}

/// The countries that phones are at home in. Of the one where most are, attackers come as from everywhere.
fn homes(countries: &BTreeMap<CountryId, OfCountry>) -> CountrySet {
    let known = || countries.iter().filter(|(country, _)| **country != CountryId::UNKNOWN);
    let main = known().max_by_key(|(_, of)| (of.at_home, Reverse(of.attempts)));
    let main = main.filter(|(_, of)| of.at_home >= FEW);
    known().filter(|(_, of)| of.is_home()).chain(main).map(|(country, _)| *country).collect()
}

/// The countries that most attempts come from and no login that proves anything.
fn block(countries: &BTreeMap<CountryId, OfCountry>) -> Option<Policy> {
    let total: u64 = countries.values().map(|of| of.attempts).sum();
    let mut worst: Vec<(CountryId, &OfCountry)> = countries
        .iter()
        .filter(|(country, of)| **country != CountryId::UNKNOWN && of.logins == of.doubtful)
        .filter(|(_, of)| of.attempts > 0 && of.attempts * 100 >= total * WORTH_BLOCKING)
        .map(|(country, of)| (*country, of))
        .collect();
    worst.sort_by_key(|(country, of)| (Reverse(of.attempts), *country));
    let worst: CountrySet = worst.into_iter().take(WORST).map(|(country, _)| country).collect();
    (!worst.is_empty()).then(|| Policy::new(Mode::BlockSelected, worst))
}

/// Attempts that a policy drops.
pub(super) fn dropped(facts: &Facts, policy: &Policy) -> u64 {
    let dropped = facts
        .tried
        .iter()
        .filter(|(entry, _)| decide_entry(**entry, policy).verdict == Verdict::Drop);
    dropped.map(|(_, tried)| tried.attempts).sum()
}

pub(super) fn is_cut(person: &Person<'_>, policy: &Policy) -> bool {
    decide_entry(person.phone.entry, policy).verdict == Verdict::Drop
}

/// The second opinion counts as well if it keeps phones and lets in few.
fn with_disputed(policy: Policy, facts: &Facts, people: &[Person<'_>]) -> Policy {
    let lenient = Policy { disputed: Disputed::Lenient, ..policy.clone() };
    let proven = || people.iter().filter(|it| it.doubt.is_none());
    let kept: u64 = proven()
        .filter(|it| is_cut(it, &policy) && !is_cut(it, &lenient))
        .map(Person::weight)
        .sum();
    let all: u64 = facts.tried.values().map(|tried| tried.attempts).sum();
    let more = dropped(facts, &policy) - dropped(facts, &lenient);
    if kept > 0 && more * 100 <= all * WORTH_LENIENCE { lenient } else { policy }
}

/// Whether to drop hosting networks as well, and whom to exempt for that.
fn hosting(
    policy: &Policy,
    facts: &Facts,
    people: &[Person<'_>],
    around: &Around,
) -> (Hosting, BTreeSet<IpAddr>) {
    let dropping = Policy { hosting: Verdict::Drop, ..policy.clone() };
    let more = dropped(facts, &dropping) - dropped(facts, policy);
    let none = BTreeSet::new();
    if more == 0 {
        return (Hosting::NothingMore, none);
    }
    let trunks = around.pbxs.as_ref().map(|pbxs| {
        pbxs.iter().filter(|pbx| !pbx.container).map(|pbx| pbx.trunks.len()).sum::<usize>()
    });
    if trunks == Some(0) {
        return (Hosting::NoTrunkKnown { more }, none);
    }
    let lost = people
        .iter()
        .filter(|it| it.doubt.is_none() && !is_cut(it, policy) && is_cut(it, &dropping));
    let lost: BTreeSet<IpAddr> = lost.map(|it| it.address).collect();
    match lost.len() {
        0..=EXEMPTED => (Hosting::Drop, lost),
        phones => (Hosting::TooMany { phones, more }, none),
    }
}

fn logins(facts: &Facts, people: &[Person<'_>], choice: &Choice) -> Share {
    let total: u64 = people.iter().map(Person::weight).sum();
    let cut = |person: &&Person<'_>| {
        let policy = choice.policy.as_ref();
        policy.is_some_and(|it| is_cut(person, it)) && !choice.exempted.contains(&person.address)
    };
    let dropped = people.iter().filter(cut).map(Person::weight).sum();
    Share { total: total + facts.local_logins, dropped }
}
