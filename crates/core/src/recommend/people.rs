//! [`Person`]: somebody who logged in, where their account is at home, and whether they may be a thief.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::evidence::{Facts, MANY_ACCOUNTS, MANY_TIMES, Phone};
use crate::country::CountryId;
use crate::logs::Stamp;
use crate::logs::stamp::DAY;

/// So many wrong secrets from elsewhere make a login away from home doubtful.
const ATTACKED: u32 = 3;

/// Somebody who logged in, or is registered.
#[derive(Debug)]
pub(super) struct Person<'a> {
    pub(super) address: IpAddr,
    pub(super) account: &'a str,
    pub(super) phone: &'a Phone,
    pub(super) home: CountryId,
    pub(super) doubt: Option<Doubt>,
}

/// Why a login proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// The address was refused for several accounts before.
    Guessed { accounts: usize, times: u16 },
    /// Too many addresses were refused before to tell whether this one was.
    Unknown,
    /// The account was attacked from elsewhere before, and it is not at home here.
    Attacked { times: u32, home: CountryId },
}

impl Person<'_> {
    pub(super) fn country(&self) -> CountryId {
        self.phone.entry.primary
    }

    /// Logins; a device that is registered has logged in at least once.
    pub(super) fn weight(&self) -> u64 {
        self.phone.logins.max(u64::from(self.phone.registered))
    }

    /// Whether this account belongs here.
    pub(super) fn is_at_home(&self) -> bool {
        self.doubt.is_none() && self.country() == self.home
    }
}

/// Everybody, those who logged in most first.
pub(super) fn people(facts: &Facts) -> Vec<Person<'_>> {
    let homes = homes(facts);
    let mut people: Vec<Person<'_>> = facts
        .phones
        .iter()
        .map(|((address, account), phone)| {
            let home = homes.get(&**account).copied().unwrap_or(phone.entry.primary);
            let doubt = guessed(phone).or_else(|| attacked(phone, home));
            Person { address: *address, account, phone, home, doubt }
        })
        .collect();
    people.sort_by_key(|it| (Reverse(it.weight()), it.address, it.account));
    people
}

fn guessed(phone: &Phone) -> Option<Doubt> {
    if phone.unknown {
        return Some(Doubt::Unknown);
    }
    let (accounts, times) = (phone.before.accounts(), phone.before.times());
    // Behind one address there may also be an old phone whose account is gone, which tries for ever.
    let guessed = accounts >= MANY_ACCOUNTS || phone.itself && times >= MANY_TIMES;
    guessed.then_some(Doubt::Guessed { accounts, times })
}

fn attacked(phone: &Phone, home: CountryId) -> Option<Doubt> {
    let away = phone.entry.primary != home;
    let times = phone.attacked;
    (away && times >= ATTACKED).then_some(Doubt::Attacked { times, home })
}

/// When an account was seen in a country.
#[derive(Debug, Clone, Copy)]
struct Stay {
    first: Option<Stamp>,
    last: Option<Stamp>,
}

impl Stay {
    /// For how many days, and how early: a thief logs in more often than a phone does, but not for as long.
    fn rank(&self) -> (i64, Reverse<Option<Stamp>>) {
        let day = |stamp: Option<Stamp>| stamp.map_or(0, |it| it.0.div_euclid(DAY));
        (day(self.last) - day(self.first), Reverse(self.first))
    }
}

/// The country of each account: where it was for the longest time.
fn homes(facts: &Facts) -> HashMap<&str, CountryId> {
    let mut stays: HashMap<&str, BTreeMap<CountryId, Stay>> = HashMap::new();
    for ((_, account), phone) in &facts.phones {
        if guessed(phone).is_some() {
            continue;
        }
        let Phone { first, last, .. } = *phone;
        let stays = stays.entry(account).or_default();
        let stay = stays.entry(phone.entry.primary).or_insert(Stay { first, last });
        stay.first = stay.first.into_iter().chain(first).min();
        stay.last = stay.last.max(last);
    }
    let home = |stays: BTreeMap<CountryId, Stay>| {
        stays.into_iter().max_by_key(|(_, stay)| stay.rank()).map(|(country, _)| country)
    };
    stays.into_iter().filter_map(|(account, stays)| Some((account, home(stays)?))).collect()
}
