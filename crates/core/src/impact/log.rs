//! What a policy would have done to those whom logs tell of: [`Tally`] judges every attempt and every login by
//! the world table. Sources that are not of the internet pass: they are local, or come through something that
//! hides who sent them. Exemptions, peers and bans of a host are not considered.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use super::list::{Answer, Answers};
use crate::country::CountryId;
use crate::decide::is_global;
use crate::logs::{Attempts, Counted, Event, Stamp, What};
use crate::wire::{Cut, Preview, PreviewAddresses, PreviewCountry, PreviewLog, Share, Who};

/// How many different IPv4 addresses are told apart, and a quarter as many of IPv6; more of them are not counted
/// as addresses.
const MOST_SOURCES: usize = 900_000;
const MOST_BANS: usize = 100_000;
/// How many of those whose logins would be cut are remembered, and told.
const MOST_LOGINS: usize = 10_000;
const TOLD_LOGINS: usize = 100;

/// What was counted so far, of events that come about in the order of their time.
#[derive(Debug)]
pub struct Tally<'a> {
    answers: &'a Answers,
    attempts: Attempts,
    figures: Figures,
}

impl<'a> Tally<'a> {
    /// Nothing yet.
    pub fn new(answers: &'a Answers) -> Self {
        Self { answers, attempts: Attempts::default(), figures: Figures::default() }
    }

    /// Counts the next event.
    pub fn add(&mut self, event: &Event) {
        let Self { answers, attempts, figures } = self;
        figures.since = figures.since.into_iter().chain(event.time).min();
        match &event.what {
            What::Login(account) => figures.login(event.source, account, answers),
            What::Ban => figures.ban(event.source, answers),
            What::Rejected(_)
            | What::WrongSecret { .. }
            | What::Refused
            | What::Challenge { .. }
            | What::Found => {}
        }
        attempts.add(event, |counted| figures.attempts(&counted, answers));
    }

    /// What it comes to, and when it begins. The lines are for whoever read them to fill in.
    pub fn preview(mut self) -> (Preview, Option<Stamp>) {
        let Self { answers, attempts, figures } = &mut self;
        attempts.finish(|counted| figures.attempts(&counted, answers));
        (self.figures.preview(), self.figures.since)
    }
}

#[derive(Debug, Default)]
struct Figures {
    since: Option<Stamp>,
    attempts: Share,
    with_hosting: u64,
    found: u64,
    local: u64,
    probes: Share,
    countries: BTreeMap<CountryId, Country>,
    sources: Sources,
    banned: Share,
    bans: Sources,
    logins: Share,
    cut: HashMap<(IpAddr, Box<str>), (CountryId, u64)>,
}

/// Addresses and attempts of a country.
#[derive(Debug, Clone, Copy, Default)]
struct Country {
    addresses: Share,
    attempts: Share,
}

impl Figures {
    fn attempts(&mut self, counted: &Counted, answers: &Answers) {
        let Answer { country, dropped, dropped_with_hosting } = judge(counted.source, answers);
        add(&mut self.probes, counted.probes, dropped);
        if counted.attempts == 0 {
            return;
        }
        add(&mut self.attempts, counted.attempts, dropped);
        self.with_hosting += if dropped_with_hosting { counted.attempts } else { 0 };
        self.found += if counted.found { counted.attempts } else { 0 };
        let of_country = self.countries.entry(country).or_default();
        add(&mut of_country.attempts, counted.attempts, dropped);
        self.local += if is_global(counted.source) { 0 } else { counted.attempts };
        if self.sources.insert(counted.source, MOST_SOURCES) {
            add(&mut of_country.addresses, 1, dropped);
        }
    }

    fn login(&mut self, source: IpAddr, account: &str, answers: &Answers) {
        let Answer { country, dropped, .. } = judge(source, answers);
        add(&mut self.logins, 1, dropped);
        if dropped {
            let room = self.cut.len() < MOST_LOGINS;
            match self.cut.get_mut(&(source, account.into())) {
                Some((_, logins)) => *logins += 1,
                None if room => drop(self.cut.insert((source, account.into()), (country, 1))),
                None => {}
            }
        }
    }

    fn ban(&mut self, source: IpAddr, answers: &Answers) {
        if self.bans.insert(source, MOST_BANS) {
            add(&mut self.banned, 1, judge(source, answers).dropped);
        }
    }

    fn preview(&self) -> Preview {
        let mut rows: Vec<PreviewCountry> = self
            .countries
            .iter()
            .map(|(country, Country { addresses, attempts })| PreviewCountry {
                country: country.code(),
                total: addresses.total,
                dropped: addresses.dropped,
                attempts: Some(*attempts),
            })
            .collect();
        rows.sort_by_key(|row| (Reverse(row.attempts.map(|it| it.total)), row.country));
        Preview {
            addresses: PreviewAddresses {
                total: rows.iter().map(|row| row.total).sum(),
                dropped: rows.iter().map(|row| row.dropped).sum(),
                ..PreviewAddresses::default()
            },
            attempts: Some(self.attempts),
            by_country: rows,
            would_cut: self.would_cut(),
            warnings: self.warnings(),
            log: Some(PreviewLog {
                dropped_with_hosting: self.with_hosting,
                found: self.found,
                probes: self.probes,
                logins: self.logins,
                banned: self.banned,
                more_addresses: self.sources.full,
                ..PreviewLog::default()
            }),
            ..Preview::default()
        }
    }

    fn warnings(&self) -> Vec<String> {
        let local = format!(
            "{} of the attempts come from addresses that are not of the internet, which pass: they are local, or something before this host hides who sent them",
            self.local
        );
        if self.local > 0 { vec![local] } else { Vec::new() }
    }

    fn would_cut(&self) -> Vec<Cut> {
        let cut = self.cut.iter().map(|((address, account), (country, logins))| Cut {
            address: *address,
            country: country.code(),
            what: format!("phone {account}"),
            who: Who::Phone,
            risk: None,
            already: false,
            banned: false,
            logins: Some(*logins),
        });
        let mut cut: Vec<Cut> = cut.collect();
        cut.sort_by(|one, other| {
            let key = |cut: &Cut| (Reverse(cut.logins), cut.address);
            (key(one), &one.what).cmp(&(key(other), &other.what))
        });
        cut.truncate(TOLD_LOGINS);
        cut
    }
}

fn judge(source: IpAddr, answers: &Answers) -> Answer {
    let answer = answers.of(source);
    match is_global(source) {
        true => answer,
        false => Answer { dropped: false, dropped_with_hosting: false, ..answer },
    }
}

fn add(share: &mut Share, many: u64, dropped: bool) {
    share.total += many;
    share.dropped += if dropped { many } else { 0 };
}

/// Different addresses, as many of them as are told apart.
#[derive(Debug, Default)]
struct Sources {
    v4: HashSet<u32>,
    v6: HashSet<u128>,
    full: bool,
}

impl Sources {
    /// Whether it is another one.
    fn insert(&mut self, source: IpAddr, most: usize) -> bool {
        let (v4, v6) = (self.v4.len() < most, self.v6.len() < most / 4);
        match source {
            IpAddr::V4(source) if v4 => self.v4.insert(source.into()),
            IpAddr::V6(source) if v6 => self.v6.insert(source.into()),
            IpAddr::V4(_) | IpAddr::V6(_) => {
                self.full = true;
                false
            }
        }
    }
}
