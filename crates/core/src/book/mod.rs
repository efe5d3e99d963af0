//! The book of exemptions and bans, as operators, fail2ban and the PBX ask for them. A [`Target`] is what
//! one names, a [`Record`] one as it was asked for, the [`Book`] all of them; it changes by [`Edit`]s, each
//! of which has an inverse. [`names`] follows what DNS answers, [`provider`] holds the lists that providers
//! publish, and [`compile`] makes of the book what a data plane searches.

pub mod compile;
pub mod host_name;
pub mod names;
pub mod provider;
pub mod record;
pub mod target;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use compile::{Compiled, Cover};
pub use host_name::HostName;
pub use names::{Answer, Resolution};
pub use provider::Provider;
pub use record::{Kind, Note, Origin, Record};

pub use crate::clock::{Clock, UnixTime};
pub use target::{InvalidTarget, Target};

/// Most bans of single addresses (IPv4 addresses, and /64s of IPv6).
pub const MAX_ADDRESS_BANS: usize = 100_000;
/// Most exemptions and bans beside those.
pub const MAX_OTHERS: usize = 10_000;
/// Most host names, those in the lists of providers included.
pub const MAX_NAMES: usize = 1_000;

/// More than fits; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there would be {found} {what}, and {limit} fit: remove some first")]
pub struct Full {
    /// Of what.
    pub what: &'static str,
    /// How many there would be.
    pub found: usize,
    /// How many fit.
    pub limit: usize,
}

/// A change of the book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edit {
    /// A record takes its place, and that of the one for the same target of the same origin.
    Put {
        /// Exemption or ban.
        kind: Kind,
        /// The record.
        record: Record,
    },
    /// A record goes.
    Remove {
        /// Exemption or ban.
        kind: Kind,
        /// Its target.
        target: Target,
        /// Its origin.
        origin: Origin,
    },
    /// DNS has answered.
    Resolve {
        /// For which name.
        name: HostName,
        /// What is known of it now.
        resolution: Resolution,
    },
    /// Nobody asks for a name any more.
    Forget {
        /// Which one.
        name: HostName,
    },
}

type Key = (Target, Origin);
type Records = BTreeMap<Key, Record>;

/// All exemptions and bans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    exemptions: Records,
    bans: Records,
    names: BTreeMap<HostName, Resolution>,
    address_bans: usize,
}

/// How many there are of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    address_bans: usize,
    others: usize,
}

impl Book {
    /// The records of a kind, by target.
    pub fn records(&self, kind: Kind) -> impl ExactSizeIterator<Item = &Record> {
        self.of(kind).values()
    }

    /// The records for a target, of every origin.
    pub fn records_for(&self, kind: Kind, target: &Target) -> impl Iterator<Item = &Record> {
        let bound = |origin| (target.clone(), origin);
        self.of(kind).range(bound(Origin::FIRST)..=bound(Origin::LAST)).map(|(_, record)| record)
    }

    /// What is known of a name.
    pub fn resolution(&self, name: &HostName) -> Option<&Resolution> {
        self.names.get(name)
    }

    /// The names that exemptions ask for.
    pub fn wanted_names(&self) -> BTreeSet<HostName> {
        self.records(Kind::Exemption).flat_map(|record| record.target.names()).cloned().collect()
    }

    /// Makes the changes, all or none, and returns those that undo them.
    ///
    /// # Errors
    /// [`Full`] if there would be more of something than fits; less than there was always fits.
    pub fn change(&mut self, edits: Vec<Edit>) -> Result<Vec<Edit>, Full> {
        let (before, names_before) = (self.counts(), self.names_if(&edits));
        let mut inverse: Vec<_> = edits.into_iter().map(|edit| self.apply(edit)).collect();
        inverse.reverse();
        let names_after = self.names_if(&inverse);
        match self.check(before, names_before, names_after) {
            Ok(()) => Ok(inverse),
            Err(full) => {
                self.replay(inverse);
                Err(full)
            }
        }
    }

    /// Makes changes without asking whether they fit: those that undo others, and those that were made before.
    pub fn replay(&mut self, edits: Vec<Edit>) {
        for edit in edits {
            self.apply(edit);
        }
    }

    /// What removes the records for a target: those of one origin, or all of them.
    pub fn removal(&self, kind: Kind, target: &Target, origin: Option<Origin>) -> Vec<Edit> {
        let records = self.records_for(kind, target);
        let records = records.filter(|record| origin.is_none_or(|origin| origin == record.origin));
        self.removals(kind, records)
    }

    /// What removes everything that has ended, names that nobody asks for any more included.
    pub fn sweep(&self, now: UnixTime) -> Vec<Edit> {
        let ended = |kind| {
            let records = self.records(kind).filter(|record| !record.holds(now));
            self.removals(kind, records)
        };
        let lingered = self.names.iter().filter_map(|(name, resolution)| {
            let mut resolution = resolution.clone();
            let before = resolution.lingering.len();
            resolution.lingering.retain(|_, until| now < *until);
            (resolution.lingering.len() < before)
                .then(|| Edit::Resolve { name: name.clone(), resolution })
        });
        lingered.chain(ended(Kind::Ban)).chain(ended(Kind::Exemption)).collect()
    }

    /// The shortest row of changes that makes this book of an empty one.
    pub fn edits(&self) -> impl Iterator<Item = Edit> {
        let records = |kind| {
            let put = move |record: &Record| Edit::Put { kind, record: record.clone() };
            self.records(kind).map(put)
        };
        let names = self.names.iter().map(|(name, resolution)| Edit::Resolve {
            name: name.clone(),
            resolution: resolution.clone(),
        });
        records(Kind::Exemption).chain(records(Kind::Ban)).chain(names)
    }

    /// How many edits that takes.
    pub fn size(&self) -> usize {
        self.exemptions.len() + self.bans.len() + self.names.len()
    }

    /// Removes these records, and forgets the names that only they asked for.
    fn removals<'a>(&'a self, kind: Kind, records: impl Iterator<Item = &'a Record>) -> Vec<Edit> {
        let mut leaving: BTreeSet<Key> = BTreeSet::new();
        let mut edits = Vec::new();
        for Record { target, origin, .. } in records {
            leaving.insert((target.clone(), *origin));
            edits.push(Edit::Remove { kind, target: target.clone(), origin: *origin });
        }
        let left: BTreeSet<_> = leaving.iter().flat_map(|(target, _)| target.names()).collect();
        if left.is_empty() {
            return edits;
        }
        let staying = self.exemptions.iter().filter(|(key, _)| !leaving.contains(key));
        let wanted: BTreeSet<_> = staying.flat_map(|((target, _), _)| target.names()).collect();
        let unwanted = left.difference(&wanted).filter(|name| self.names.contains_key(name));
        edits.extend(unwanted.map(|name| Edit::Forget { name: (*name).clone() }));
        edits
    }

    fn of(&self, kind: Kind) -> &Records {
        match kind {
            Kind::Exemption => &self.exemptions,
            Kind::Ban => &self.bans,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut Records {
        match kind {
            Kind::Exemption => &mut self.exemptions,
            Kind::Ban => &mut self.bans,
        }
    }

    /// Makes one change, and returns the one that undoes it.
    fn apply(&mut self, edit: Edit) -> Edit {
        match edit {
            Edit::Put { kind, record } => {
                let (target, origin) = (record.target.clone(), record.origin);
                let counts = usize::from(kind == Kind::Ban && target.single().is_some());
                match self.of_mut(kind).insert((target.clone(), origin), record) {
                    Some(record) => Edit::Put { kind, record },
                    None => {
                        self.address_bans += counts;
                        Edit::Remove { kind, target, origin }
                    }
                }
            }
            Edit::Remove { kind, target, origin } => {
                match self.of_mut(kind).remove(&(target.clone(), origin)) {
                    Some(record) => {
                        let counts = kind == Kind::Ban && target.single().is_some();
                        self.address_bans -= usize::from(counts);
                        Edit::Put { kind, record }
                    }
                    None => Edit::Remove { kind, target, origin },
                }
            }
            Edit::Resolve { name, resolution } => {
                match self.names.insert(name.clone(), resolution) {
                    Some(resolution) => Edit::Resolve { name, resolution },
                    None => Edit::Forget { name },
                }
            }
            Edit::Forget { name } => match self.names.remove(&name) {
                Some(resolution) => Edit::Resolve { name, resolution },
                None => Edit::Forget { name },
            },
        }
    }

    fn counts(&self) -> Counts {
        let all = self.exemptions.len() + self.bans.len();
        Counts { address_bans: self.address_bans, others: all - self.address_bans }
    }

    /// The number of names asked for, if these edits could change it.
    fn names_if(&self, edits: &[Edit]) -> Option<usize> {
        let concerns = |edit: &Edit| match edit {
            Edit::Put { record, .. } => !record.target.names().is_empty(),
            Edit::Remove { target, .. } => !target.names().is_empty(),
            Edit::Resolve { .. } | Edit::Forget { .. } => false,
        };
        edits.iter().any(concerns).then(|| self.wanted_names().len())
    }

    fn check(
        &self,
        before: Counts,
        names: Option<usize>,
        names_now: Option<usize>,
    ) -> Result<(), Full> {
        let now = self.counts();
        for (what, before, found, limit) in [
            ("bans of single addresses", before.address_bans, now.address_bans, MAX_ADDRESS_BANS),
            (
                "exemptions and bans of prefixes, names and ASes",
                before.others,
                now.others,
                MAX_OTHERS,
            ),
            ("host names", names.unwrap_or_default(), names_now.unwrap_or_default(), MAX_NAMES),
        ] {
            if found > limit && found > before {
                return Err(Full { what, found, limit });
            }
        }
        Ok(())
    }
}
