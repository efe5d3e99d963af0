//! [`Evidence`]: what logs and the PBX tell, as far as a recommendation needs it. Attempts are kept by what the
//! world table says of their source, so that any policy can be judged by them afterwards; memory is bounded
//! however large the logs are.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use crate::decide::{is_global, judged_address};
use crate::logs::{Attempts, Counted, Event, Stamp, Teller, What};
use crate::world::{Entry, World};

/// How many addresses that were refused are told apart, and a quarter as many /64s of IPv6.
const MOST_SOURCES: usize = 440_000;
const MOST_ACCOUNTS: usize = 20_000;
/// How many phones (an account at an address) are remembered.
const MOST_PHONES: usize = 20_000;

/// What is known so far, of events that come about in the order of their time.
#[derive(Debug)]
pub struct Evidence<'a> {
    world: &'a World,
    attempts: Attempts,
    facts: Facts,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) since: Option<Stamp>,
    pub(super) until: Option<Stamp>,
    pub(super) tried: BTreeMap<Entry, Tried>,
    /// Attempts from addresses that are not of the internet.
    pub(super) local_attempts: u64,
    pub(super) found: u64,
    pub(super) probes: u64,
    pub(super) banned: HashSet<IpAddr>,
    pub(super) phones: HashMap<(IpAddr, Box<str>), Phone>,
    pub(super) logins: u64,
    pub(super) local_logins: u64,
    /// There were more addresses or phones than are told apart.
    pub(super) more: bool,
    /// Security events were among the lines: nothing else tells of logins.
    pub(super) security: bool,
    sources: Sources,
    counted: CountedSources,
    /// How often the secret of an account was wrong.
    accounts: HashMap<u64, u32>,
}

/// Attempts from space of which the world table says the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tried {
    pub(super) attempts: u64,
    pub(super) addresses: u64,
}

/// An account that logged in at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Phone {
    pub(super) entry: Entry,
    pub(super) logins: u64,
    pub(super) first: Option<Stamp>,
    pub(super) last: Option<Stamp>,
    /// Whether it is registered now.
    pub(super) registered: bool,
    /// What its address had been refused before its first login.
    pub(super) before: Refused,
    /// That is not known: there were too many who were refused often.
    pub(super) unknown: bool,
    /// Whether that was for its own account as well.
    pub(super) itself: bool,
    /// How often its account's secret had been wrong elsewhere before that.
    pub(super) attacked: u32,
}

/// What an address was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Refused {
    /// How often, by notices, by security events, and by what fail2ban kept of these.
    times: [u16; 3],
    accounts: [u32; MANY_ACCOUNTS],
}

/// Somebody who is refused for so many accounts guesses.
pub(super) const MANY_ACCOUNTS: usize = 3;
/// Who was refused so often before does not look like a mistyped password.
pub(super) const MANY_TIMES: u16 = 20;

impl Refused {
    pub(super) fn times(&self) -> u16 {
        self.times.into_iter().max().unwrap_or_default()
    }

    /// For how many accounts, as far as they are told apart.
    pub(super) fn accounts(&self) -> usize {
        self.accounts.iter().filter(|account| **account != 0).count()
    }

    /// Whether it may put a login in doubt.
    fn is_many(&self) -> bool {
        self.accounts() >= MANY_ACCOUNTS || self.times() >= MANY_TIMES
    }

    /// Whether this account is one of these.
    fn has(&self, account: u64) -> bool {
        self.accounts.contains(&short(account))
    }

    fn add(&mut self, event: &Event) {
        let by = match (event.kept, event.teller) {
            (true, _) => 2,
            (false, Teller::Security) => 1,
            (false, Teller::Notices | Teller::Kamailio | Teller::Fail2ban) => 0,
        };
        if matches!(event.what, What::WrongSecret { .. } | What::Refused) {
            self.times[by] = self.times[by].saturating_add(1);
        }
        if let Some(account) = event.account.map(short)
            && !self.accounts.contains(&account)
            && let Some(free) = self.accounts.iter_mut().find(|it| **it == 0)
        {
            *free = account;
        }
    }
}

/// Enough of a hash to tell a few accounts apart; 0 stands for none.
fn short(account: u64) -> u32 {
    (account as u32).max(1)
}

/// What addresses were refused, of IPv6 those of a /64 together.
#[derive(Debug)]
struct Sources {
    v4: Family<u32>,
    v6: Family<u64>,
}

impl Default for Sources {
    fn default() -> Self {
        Self { v4: Family::new(MOST_SOURCES), v6: Family::new(MOST_SOURCES / 4) }
    }
}

impl Sources {
    /// `None` if it is not known.
    fn of(&self, source: IpAddr) -> Option<Refused> {
        match source {
            IpAddr::V4(source) => self.v4.of(source.into()),
            IpAddr::V6(source) => self.v6.of(high(source.into())),
        }
    }

    /// Whether there was room.
    fn add(&mut self, event: &Event) -> bool {
        match event.source {
            IpAddr::V4(source) => self.v4.add(source.into(), event),
            IpAddr::V6(source) => self.v6.add(high(source.into()), event),
        }
    }
}

/// Those of one family. Anybody can forge a crowd of sources, each of which is refused once: where there is no room
/// those are forgotten who were not refused often enough to matter.
#[derive(Debug)]
struct Family<K> {
    refused: HashMap<K, Refused>,
    most: usize,
    /// Forgetting makes no room any more.
    full: bool,
}

impl<K: std::hash::Hash + Eq> Family<K> {
    fn new(most: usize) -> Self {
        Self { refused: HashMap::new(), most, full: false }
    }

    fn of(&self, source: K) -> Option<Refused> {
        let has_room = self.refused.len() < self.most || !self.full;
        self.refused.get(&source).copied().or_else(|| has_room.then(Refused::default))
    }

    fn add(&mut self, source: K, event: &Event) -> bool {
        let forgets =
            self.refused.len() >= self.most && !self.full && !self.refused.contains_key(&source);
        if forgets {
            self.refused.retain(|_, refused| refused.is_many());
            self.full = self.refused.len() > self.most / 2;
        }
        let refused = room(&mut self.refused, source, self.most);
        refused.map(|refused| refused.add(event)).is_some() && !forgets
    }
}

fn room<K: std::hash::Hash + Eq, V: Default>(
    map: &mut HashMap<K, V>,
    key: K,
    most: usize,
) -> Option<&mut V> {
    if map.len() >= most && !map.contains_key(&key) {
        return None;
    }
    Some(map.entry(key).or_default())
}

fn high(address: u128) -> u64 {
    (address >> 64) as u64
}

/// The different addresses that attempts came from.
#[derive(Debug, Default)]
struct CountedSources {
    v4: HashSet<u32>,
    v6: HashSet<u128>,
}

impl CountedSources {
    /// Whether it is another one; `None` if there is no room.
    fn insert(&mut self, source: IpAddr) -> Option<bool> {
        match source {
            IpAddr::V4(it) if self.v4.len() < MOST_SOURCES => Some(self.v4.insert(it.into())),
            IpAddr::V6(it) if self.v6.len() < MOST_SOURCES / 4 => Some(self.v6.insert(it.into())),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        }
    }
}

impl<'a> Evidence<'a> {
    /// Nothing yet.
    pub fn new(world: &'a World) -> Self {
        Self { world, attempts: Attempts::default(), facts: Facts::default() }
    }

    /// Takes the next event.
    pub fn add(&mut self, event: &Event) {
        let Self { world, attempts, facts } = self;
        facts.since = facts.since.into_iter().chain(event.time).min();
        facts.until = facts.until.max(event.time);
        facts.security |= event.teller == Teller::Security && !event.kept;
        match &event.what {
            What::Login(account) => facts.login(event, account, world),
            What::Ban if is_global(event.source) && facts.banned.len() < MOST_SOURCES / 4 => {
                facts.banned.insert(event.source);
            }
            What::Rejected(_) | What::WrongSecret { .. } | What::Refused => facts.refused(event),
            What::Ban | What::Challenge { .. } | What::Found => {}
        }
        attempts.add(event, |counted| facts.tried(&counted, world));
    }

    /// Takes a device that is registered now.
    pub fn add_registered(&mut self, account: &str, address: IpAddr) {
        let address = address.to_canonical();
        if !is_global(address) {
            return;
        }
        let phone = self.facts.phone(address, account, None, None, self.world);
        if let Some(phone) = phone {
            phone.registered = true;
        }
    }

    /// When the first and the last event of the logs was.
    pub fn period(&self) -> Option<(Stamp, Stamp)> {
        self.facts.since.zip(self.facts.until)
    }

    /// The addresses of those who logged in from a hosting network: whose these are helps to decide.
    pub fn hosted(&self) -> Vec<IpAddr> {
        let hosted = self.facts.phones.iter().filter(|(_, phone)| phone.entry.hosting);
        let addresses: BTreeSet<IpAddr> = hosted.map(|((address, _), _)| *address).collect();
        addresses.into_iter().collect()
    }

    pub(super) fn finish(mut self) -> (Facts, &'a World) {
        let Self { world, attempts, facts } = &mut self;
        attempts.finish(|counted| facts.tried(&counted, world));
        (self.facts, self.world)
    }
}

impl Facts {
    fn tried(&mut self, counted: &Counted, world: &World) {
        self.probes += counted.probes;
        if counted.attempts == 0 {
            return;
        }
        self.found += if counted.found { counted.attempts } else { 0 };
        if !is_global(counted.source) {
            self.local_attempts += counted.attempts;
            return;
        }
        let tried = self.tried.entry(world.lookup(judged_address(counted.source))).or_default();
        tried.attempts += counted.attempts;
        match self.counted.insert(counted.source) {
            Some(new) => tried.addresses += u64::from(new),
            None => self.more = true,
        }
    }

    fn refused(&mut self, event: &Event) {
        if !is_global(event.source) {
            return;
        }
        self.more |= !self.sources.add(event);
        let tells = event.teller == Teller::Security && !event.kept;
        let wrong = matches!(event.what, What::WrongSecret { rejected: false, .. });
        if let Some(account) = event.account.filter(|_| tells && wrong)
            && let Some(wrong) = room(&mut self.accounts, account, MOST_ACCOUNTS)
        {
            *wrong = wrong.saturating_add(1);
        }
    }

    fn login(&mut self, event: &Event, account: &str, world: &World) {
        self.logins += 1;
        if !is_global(event.source) {
            self.local_logins += 1;
            return;
        }
        if let Some(phone) = self.phone(event.source, account, event.account, event.time, world) {
            phone.logins += 1;
            phone.last = event.time;
        }
    }

    /// The phone of this account at this address, as it was met first.
    fn phone(
        &mut self,
        address: IpAddr,
        account: &str,
        hash: Option<u64>,
        time: Option<Stamp>,
        world: &World,
    ) -> Option<&mut Phone> {
        let key = (address, account.into());
        if self.phones.len() >= MOST_PHONES && !self.phones.contains_key(&key) {
            self.more = true;
            return None;
        }
        let known = self.sources.of(address);
        let before = known.unwrap_or_default();
        let hash = hash.unwrap_or_else(|| crate::logs::account_hash(account.as_bytes()));
        let wrong = self.accounts.get(&hash).copied().unwrap_or_default();
        Some(self.phones.entry(key).or_insert_with(|| Phone {
            entry: world.lookup(judged_address(address)),
            logins: 0,
            first: time,
            last: time,
            registered: false,
            before,
            unknown: known.is_none(),
            itself: before.has(hash),
            attacked: wrong.saturating_sub(before.times().into()),
        }))
    }
}
