//! [`tell`]: from what was decided to what is told.

use std::cmp::Reverse;
use std::net::IpAddr;

use super::choice::{Basis, Choice, FEW, Hosting, MANY_COUNTRIES, is_cut};
use super::document::{
    Action, Country, Exempted, Proposal, Recommendation, Role, Seen, Suspect, Undecided,
};
use super::evidence::Facts;
use super::people::{Doubt, Person};
use super::{Around, doubts, trunks};
use crate::country::{CountryCode, CountryId};
use crate::logs::stamp::DAY;
use crate::pbx::printable;
use crate::policy::{Disputed, Policy, Verdict};
use crate::wire::{Cut, Who};
use crate::world::World;

/// How many of those who would be cut, or may be thieves, are told.
const TOLD: usize = 100;
/// How many countries are told that nobody logged in from.
const ATTACKERS: usize = 10;
/// For how many days a country is proposed that somebody is in for a while.
const VISIT: i64 = 14;

pub(super) fn tell(
    facts: &Facts,
    people: &[Person<'_>],
    choice: &Choice,
    around: &Around,
    world: &World,
) -> Recommendation {
    let trunks = trunks::seen(around);
    let mut exemptions = hosted(people, choice, around);
    exemptions.extend(trunks::exemptions(around));
    let undecided = undecided(people, choice, around);
    let would_cut = would_cut(people, choice);
    let proposal = proposal(facts, choice);
    let mut warnings = doubts::warnings(facts, people, choice, around);
    warnings.extend(trunks::warnings(around, choice.policy.as_ref(), world));
    Recommendation {
        since: None,
        until: None,
        covers: facts
            .since
            .zip(facts.until)
            .map_or(0, |(since, until)| until.distance(since) / 1000),
        seen: seen(facts, people, around),
        attempts: choice.attempts,
        dropped_without_hosting: choice.dropped_without_hosting,
        logins: choice.logins,
        countries: countries(choice),
        commands: commands(&proposal, &exemptions),
        proposal,
        would_cut,
        undecided,
        suspects: suspects(people, choice),
        exemptions,
        trunks,
        cannot_know: doubts::cannot_know(facts, around),
        warnings,
    }
}

fn seen(facts: &Facts, people: &[Person<'_>], around: &Around) -> Seen {
    let mut accounts: Vec<&str> = people.iter().map(|it| it.account).collect();
    accounts.sort_unstable();
    accounts.dedup();
    let registered =
        |pbxs: &Vec<_>| pbxs.iter().map(|pbx: &crate::pbx::Pbx| pbx.devices.len()).sum();
    Seen {
        addresses: facts.tried.values().map(|tried| tried.addresses).sum(),
        more: facts.more,
        found: facts.found,
        probes: facts.probes,
        banned: facts.banned.len() as u64,
        accounts: accounts.len() as u64,
        local_logins: facts.local_logins,
        registered: around.pbxs.as_ref().map(registered).map(|many: usize| many as u64),
        ..Seen::default()
    }
}

fn proposal(facts: &Facts, choice: &Choice) -> Proposal {
    let policy = choice.policy.as_ref();
    let (action, why) = match choice.basis {
        Basis::TooFewLogins if facts.local_logins > 0 && facts.phones.is_empty() => (
            Action::Observe,
            "all logins came from local addresses, which pass whatever the policy, so nothing speaks for a country"
                .to_owned(),
        ),
        Basis::TooFewLogins => (
            Action::Observe,
            format!(
                "no country has {FEW} logins or more that prove something, so nobody can say which to let in"
            ),
        ),
        Basis::FewCountries => {
            (Action::Allow, "these are the countries that phones are at home in".to_owned())
        }
        Basis::ManyCountries => match policy {
            Some(_) => (
                Action::Block,
                format!(
                    "phones are at home in more than {MANY_COUNTRIES} countries, so the worst of those that nobody logged in from are kept out"
                ),
            ),
            None => (
                Action::Observe,
                format!(
                    "phones are at home in more than {MANY_COUNTRIES} countries, and no other one stands out among the attempts"
                ),
            ),
        },
    };
    Proposal {
        action,
        mode: policy.map(|it| it.mode),
        countries: policy.map(codes).unwrap_or_default(),
        hosting: policy.map_or(Verdict::Pass, |it| it.hosting),
        disputed: policy.map_or(Disputed::default(), |it| it.disputed),
        why,
        why_hosting: why_hosting(choice),
    }
}

/// The countries of a policy in the order of their codes.
fn codes(policy: &Policy) -> Vec<CountryCode> {
    policy.countries.iter().map(CountryId::code).collect()
}

fn why_hosting(choice: &Choice) -> Option<String> {
    match &choice.hosting {
        Hosting::NothingMore | Hosting::TooFewLogins => None,
        Hosting::Drop => Some(match choice.exempted.len() {
            0 => "no login came from a hosting network of these countries".to_owned(),
            1 => "the login that came from a hosting network is exempted first".to_owned(),
            many => format!(
                "logins came from {many} addresses in hosting networks, which are exempted first"
            ),
        }),
        Hosting::NoTrunkKnown { more } => Some(format!(
            "dropping hosting networks as well (--hosting drop) would stop {more} attempts more; but the PBX names no trunk, and providers sit in such networks: exempt yours first"
        )),
        Hosting::TooMany { phones, more } => Some(format!(
            "dropping hosting networks as well (--hosting drop) would stop {more} attempts more, and cut phones at {phones} addresses"
        )),
    }
}

fn countries(choice: &Choice) -> Vec<Country> {
    let policy = choice.policy.as_ref();
    let mut rows: Vec<Country> = choice
        .countries
        .iter()
        .map(|(country, of)| {
            let role = match (of.logins, of.doubtful) {
                (0, _) => Role::Attacking,
                (all, doubtful) if all == doubtful => Role::Suspect,
                _ if choice.homes.contains(*country) => Role::Home,
                _ => Role::Undecided,
            };
            let passes = policy.is_none_or(|it| it.country_verdict(*country) == Verdict::Pass);
            Country {
                country: country.code(),
                role,
                logins: of.logins,
                accounts: of.accounts.len() as u64,
                attempts: of.attempts,
                addresses: of.addresses,
                passes,
            }
        })
        .collect();
    rows.sort_by_key(|it| (Reverse(it.logins), Reverse(it.attempts), it.country));
    let mut attackers = 0;
    rows.retain(|it| {
        attackers += usize::from(it.role == Role::Attacking);
        it.role != Role::Attacking || attackers <= ATTACKERS
    });
    rows
}

fn would_cut(people: &[Person<'_>], choice: &Choice) -> Vec<Cut> {
    let cut = people.iter().filter(|it| is_cut_in(it, choice)).map(|person| Cut {
        address: person.address,
        country: person.country().code(),
        what: format!("phone {}", printable(person.account)),
        who: Who::Phone,
        risk: None,
        already: false,
        banned: false,
        logins: Some(person.weight()),
    });
    cut.take(TOLD).collect()
}

fn is_cut_in(person: &Person<'_>, choice: &Choice) -> bool {
    let cut = choice.policy.as_ref().is_some_and(|policy| is_cut(person, policy));
    cut && !choice.exempted.contains(&person.address)
}

fn undecided(people: &[Person<'_>], choice: &Choice, around: &Around) -> Vec<Undecided> {
    let mut undecided: Vec<Undecided> = Vec::new();
    for (country, of) in &choice.countries {
        let there: Vec<&Person<'_>> = people
            .iter()
            .filter(|it| it.country() == *country && it.doubt.is_none() && is_cut_in(it, choice))
            .collect();
        let logins: u64 = there.iter().map(|it| it.weight()).sum();
        if logins == 0 {
            continue;
        }
        let phones = there.iter().map(|it| format!("{} at {}", printable(it.account), it.address));
        let opens = of.attempts <= logins && *country != CountryId::UNKNOWN;
        undecided.push(Undecided {
            country: country.code(),
            phones: phones.take(TOLD).collect(),
            logins,
            attempts: of.attempts,
            command: if opens { visit(country.code(), around) } else { exempt_all(&there) },
        });
    }
    undecided.sort_by_key(|it| (Reverse(it.logins), it.country));
    undecided
}

/// A country for a while, from which hardly anybody attacks.
fn visit(country: CountryCode, around: &Around) -> String {
    let (year, month, day) = crate::logs::Stamp(around.now.0 + VISIT * DAY).date();
    format!("geofilter allow {country} --until {year}-{month:02}-{day:02} --confirm-within 10m")
}

fn exempt_all(people: &[&Person<'_>]) -> String {
    let mut targets: Vec<String> = people.iter().map(|it| target(it.address)).collect();
    targets.sort();
    targets.dedup();
    targets.truncate(TOLD);
    format!("geofilter exempt add {} --for 30d", targets.join(" "))
}

/// An address; of IPv6 its /64, within which a phone changes its address.
pub(super) fn target(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            format!("{}/64", std::net::Ipv6Addr::from(network))
        }
    }
}

/// What may stand in a note in a shell.
pub(super) fn note(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || " ._+@-".contains(letter);
    text.chars().take(64).map(|letter| if plain(letter) { letter } else { '_' }).collect()
}

fn suspects(people: &[Person<'_>], choice: &Choice) -> Vec<Suspect> {
    let suspects = people.iter().filter_map(|person| {
        let why = match person.doubt? {
            Doubt::Guessed { accounts, times } => {
                let accounts = match accounts {
                    0 | 1 => "one account".to_owned(),
                    2 => "2 accounts".to_owned(),
                    _ => "several accounts".to_owned(),
                };
                format!("before, this address was refused for {accounts}, with {times} wrong passwords")
            }
            Doubt::Unknown => {
                "before, more addresses were refused than are told apart, and this may be one of them"
                    .to_owned()
            }
            Doubt::Attacked { times, home } => format!(
                "its account is at home in {}, and others had tried {times} wrong passwords for it before",
                home.code()
            ),
        };
        Some(Suspect {
            address: person.address,
            country: person.country().code(),
            account: printable(person.account),
            logins: person.weight(),
            why,
            passes: !is_cut_in(person, choice),
        })
    });
    suspects.take(TOLD).collect()
}

/// Phones in hosting networks, with whose network that is.
fn hosted(people: &[Person<'_>], choice: &Choice, around: &Around) -> Vec<Exempted> {
    let exempted = choice.exempted.iter().filter_map(|address| {
        let person = people.iter().find(|it| it.address == *address && it.doubt.is_none())?;
        let network = around.systems.get(address);
        let network = network.map_or("a hosting network".to_owned(), |(number, name)| {
            printable(format!("AS{number} {name}").trim())
        });
        Some(Exempted {
            target: target(*address),
            note: note(person.account),
            why: format!("{} logs in from there, in {network}", printable(person.account)),
        })
    });
    exempted.collect()
}

fn commands(proposal: &Proposal, exemptions: &[Exempted]) -> Vec<String> {
    let exempt = exemptions.iter().map(|Exempted { target, note, .. }| match note.is_empty() {
        true => format!("geofilter exempt add {target}"),
        false => format!("geofilter exempt add {target} --note \"{note}\""),
    });
    let mut commands: Vec<String> = exempt.collect();
    match proposal.action {
        Action::Observe => commands.push("geofilter observe".to_owned()),
        Action::Allow | Action::Block => {
            commands.extend(proposal.command());
            commands.push("geofilter confirm".to_owned());
        }
    }
    commands
}
