//! [`Ledger`]: the exemptions and bans of this agent, in memory, on disk and as the data plane holds them.
//! A change is checked, written down and put in force in this order, and undone if one of them fails.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use anyhow::Context;
use geofilter_core::book::{Book, Clock, Compiled, Edit, Full, Kind, Target, UnixTime};
use geofilter_core::dxr::CapacityExceeded;
use geofilter_core::geodata::AsTable;
use geofilter_core::overrides::{AddressKey, MAX_ADDRESSES, Spans, Table};
use geofilter_dataplane::Backend;

use super::clock;
use super::journal::{Journal, Opened};
use super::names::Asker;
use super::settings::Settings;
use crate::geo::Geo;

/// So many addresses are changed one by one before the whole table is replaced instead.
const ONE_BY_ONE: usize = 64;

/// The data plane, if it is attached.
pub(super) type Plane<'a> = Option<&'a mut (dyn Backend + 'static)>;

/// See the module.
pub(super) struct Ledger {
    pub(super) book: Book,
    compiled: Compiled,
    /// None for an agent on trial: it begins with what the agent that stays has saved, and leaves it so.
    journal: Option<Journal>,
    pub(super) names: Asker,
    /// When it was tidied last.
    pub(super) tidied: Instant,
}

/// Why a change was not made. What was in force before still is.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error(transparent)]
    Full(#[from] Full),
    #[error("this does not fit into the data plane: {0}")]
    Capacity(#[from] CapacityExceeded),
    #[error("this can't be saved, so it was not done: {0}; make room and try again")]
    NotSaved(#[source] std::io::Error),
    #[error("what is in force can't be saved: {0}; make room")]
    Unsaved(#[source] std::io::Error),
    #[error("the data plane did not take it: {0}")]
    DataPlane(#[source] geofilter_dataplane::Error),
}

/// What a data plane is asked to do for a change.
enum Step {
    Addresses(Vec<(AddressKey, Spans)>),
    All(Box<Compiled>),
}

/// A ledger, and what could not be read of it.
pub(super) struct Begun {
    pub(super) ledger: Ledger,
    pub(super) warning: Option<String>,
}

impl Ledger {
    /// Reads what was saved.
    ///
    /// # Errors
    /// If that can't be read, or holds more than fits.
    pub(super) fn open(settings: &Settings, geo: &Geo, names: Asker) -> anyhow::Result<Begun> {
        let (journal, mut book, warning) = match settings.trial {
            true => (None, Journal::peek(&settings.state_dir)?, None),
            false => {
                let Opened { journal, book, warning } = Journal::open(&settings.state_dir)?;
                (Some(journal), book, warning)
            }
        };
        book.replay(book.sweep(unix_now()));
        let compiled = Compiled::new(&book, now(), systems_for(&book, geo))
            .context("cannot compile the saved exemptions and bans")?;
        let mut ledger = Self { book, compiled, journal, names, tidied: Instant::now() };
        ledger.follow_names();
        Ok(Begun { ledger, warning })
    }

    /// Compiles the table as it is now, to attach with.
    pub(super) fn renew(&mut self, geo: &Geo) -> Result<(), CapacityExceeded> {
        self.book.replay(self.book.sweep(unix_now()));
        self.compiled = self.compile(now(), geo)?;
        Ok(())
    }

    /// What the data plane holds, or is to hold.
    pub(super) fn table(&self) -> &Table {
        &self.compiled.table
    }

    /// What the calendar's times were turned into the kernel's with.
    pub(super) fn clock(&self) -> Clock {
        self.compiled.clock()
    }

    /// Whether an address is exempt now.
    pub(super) fn exempts(&self, address: IpAddr) -> bool {
        self.compiled.table.lookup(address).exempt.holds(clock::boot())
    }

    /// Makes a change everywhere, or nowhere.
    pub(super) fn change(
        &mut self,
        edits: Vec<Edit>,
        mut backend: Plane<'_>,
        geo: &Geo,
    ) -> Result<(), Refused> {
        let inverse = match self.book.change(edits.clone()) {
            Ok(inverse) => inverse,
            Err(_) => {
                // What has ended may still take up room.
                self.let_go(backend.as_deref_mut(), geo)?;
                self.book.change(edits.clone())?
            }
        };
        let made = self.put_in_force(&edits, &inverse, backend, geo);
        if made.is_err() {
            self.book.replay(inverse);
            return made;
        }
        if edits.iter().any(concerns_names) {
            self.follow_names();
        }
        // The change itself is on disk, and the next one tries again.
        if let Err(refused) = self.tidy_journal() {
            tracing::debug!(%refused, "the journal stays as long as it is");
        }
        Ok(())
    }

    /// What DNS says is in force even if it can't be saved: it is asked for again anyway.
    pub(super) fn resolve(
        &mut self,
        edits: Vec<Edit>,
        backend: Plane<'_>,
        geo: &Geo,
    ) -> Result<(), Refused> {
        let inverse = self.book.change(edits.clone())?;
        let planned = self.compile(self.compiled.clock(), geo);
        let stepped = match planned {
            Ok(next) => {
                let written = self.write(&edits);
                self.step(Step::All(Box::new(next)), backend)
                    .inspect_err(|_| self.take_back(&inverse))
                    .and_then(|()| written.map_err(Refused::Unsaved))
            }
            Err(error) => Err(error.into()),
        };
        if !matches!(stepped, Ok(()) | Err(Refused::Unsaved(_))) {
            self.book.replay(inverse);
        }
        stepped
    }

    /// Lets go of what has ended, and follows the wall clock where it was set.
    pub(super) fn tidy(&mut self, mut backend: Plane<'_>, geo: &Geo) -> Result<(), Refused> {
        self.tidied = Instant::now();
        let clock = now();
        if clock.stepped(self.compiled.clock()) {
            let next = self.compile(clock, geo)?;
            self.step(Step::All(Box::new(next)), backend.as_deref_mut())?;
        }
        self.let_go(backend, geo)?;
        self.tidy_journal()
    }

    /// It is not written down: a reader of the journal knows what has ended.
    fn let_go(&mut self, backend: Plane<'_>, geo: &Geo) -> Result<(), Refused> {
        let sweep = self.book.sweep(unix_now());
        if sweep.is_empty() {
            return Ok(());
        }
        self.book.replay(sweep.clone());
        let step = self.plan(&sweep, geo)?;
        self.step(step, backend)?;
        self.follow_names();
        Ok(())
    }

    /// Writes the journal anew if somebody has removed it; whether that was so.
    pub(super) fn keep_journal(&mut self) -> std::io::Result<bool> {
        match &mut self.journal {
            Some(journal) => journal.keep(&self.book),
            None => Ok(false),
        }
    }

    fn tidy_journal(&mut self) -> Result<(), Refused> {
        match &mut self.journal {
            Some(journal) => journal.tidy(&self.book).map_err(Refused::Unsaved),
            None => Ok(()),
        }
    }

    fn put_in_force(
        &mut self,
        edits: &[Edit],
        inverse: &[Edit],
        backend: Plane<'_>,
        geo: &Geo,
    ) -> Result<(), Refused> {
        let step = self.plan(edits, geo)?;
        self.write(edits).map_err(Refused::NotSaved)?;
        self.step(step, backend).inspect_err(|_| self.take_back(inverse))
    }

    /// Writes down that a change was not made after all.
    fn take_back(&mut self, inverse: &[Edit]) {
        if let Err(error) = self.write(inverse) {
            tracing::warn!(%error, "a change that was not made is on disk: a restart would make it");
        }
    }

    fn write(&mut self, edits: &[Edit]) -> std::io::Result<()> {
        match &mut self.journal {
            Some(journal) => journal.append(edits),
            None => Ok(()),
        }
    }

    /// What a change of the book, already made there, asks of the data plane.
    fn plan(&self, edits: &[Edit], geo: &Geo) -> Result<Step, CapacityExceeded> {
        let singles: Option<BTreeSet<_>> = edits.iter().map(single).collect();
        let room = MAX_ADDRESSES - self.compiled.table.addresses.len().min(MAX_ADDRESSES);
        match singles {
            Some(keys) if keys.len() <= room => {
                let spans = |key| (key, self.compiled.spans(&self.book, key));
                Ok(Step::Addresses(keys.into_iter().map(spans).collect()))
            }
            Some(_) | None => Ok(Step::All(Box::new(self.compile(self.compiled.clock(), geo)?))),
        }
    }

    fn step(&mut self, step: Step, backend: Plane<'_>) -> Result<(), Refused> {
        let changes = match &step {
            Step::Addresses(changes) => Some(changes.clone()),
            Step::All(next) => self.compiled.difference(next, ONE_BY_ONE),
        };
        if let Some(backend) = backend {
            let taken = match (&changes, &step) {
                (Some(changes), _) => backend.set_addresses(changes),
                (None, Step::All(next)) => backend.set_overrides(&next.table),
                (None, Step::Addresses(_)) => Ok(()),
            };
            if let Err(error) = taken {
                if let Err(error) = backend.set_overrides(&self.compiled.table) {
                    tracing::warn!(%error, "a change was made in part and can't be undone");
                }
                return Err(Refused::DataPlane(error));
            }
        }
        match step {
            Step::All(next) => self.compiled = *next,
            Step::Addresses(changes) => {
                changes.into_iter().for_each(|(key, spans)| self.compiled.set(key, spans));
            }
        }
        Ok(())
    }

    fn compile(&self, clock: Clock, geo: &Geo) -> Result<Compiled, CapacityExceeded> {
        Compiled::new(&self.book, clock, systems_for(&self.book, geo))
    }

    fn follow_names(&mut self) {
        self.names.follow(self.book.wanted_names());
    }
}

/// The one address that an edit changes, if it changes no more.
fn single(edit: &Edit) -> Option<AddressKey> {
    match edit {
        Edit::Put { record, .. } => record.target.single(),
        Edit::Remove { target, .. } => target.single(),
        Edit::Resolve { .. } | Edit::Forget { .. } => None,
    }
}

fn concerns_names(edit: &Edit) -> bool {
    match edit {
        Edit::Put { record, .. } => !record.target.names().is_empty(),
        Edit::Remove { target, .. } => !target.names().is_empty(),
        Edit::Resolve { .. } | Edit::Forget { .. } => false,
    }
}

/// Autonomous systems are read only where one is named: that takes a moment, and memory.
pub(super) fn systems_for<'a>(book: &Book, geo: &'a Geo) -> Option<&'a AsTable> {
    let kinds = [Kind::Exemption, Kind::Ban].into_iter();
    let mut targets = kinds.flat_map(|kind| book.records(kind)).map(|record| &record.target);
    let named = targets.any(|target| matches!(target, Target::System(_)));
    named.then(|| geo.systems()).flatten()
}

/// How the two clocks relate now.
pub(super) fn now() -> Clock {
    Clock::new(clock::boot(), clock::wall())
}

/// The wall clock, in whole seconds.
pub(super) fn unix_now() -> UnixTime {
    UnixTime(clock::wall().as_secs())
}

#[cfg(test)]
mod tests;
