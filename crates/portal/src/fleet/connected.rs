//! [`Connected`]: the hosts that hear what they are to do. [`Statements`] are what they say, until it is written down.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use geofilter_core::change::Change;
use geofilter_fleet::{Heard, HostId, Mark, Question, Said, Snapshot};
use tokio::sync::{Notify, oneshot, watch};

use crate::store::Wanted;

/// Something that hosts hear, whose bytes those share who hear the same.
pub(super) type Line = Arc<[u8]>;

/// What a host is to do, what it is asked, and what all hear: a line each.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    mark: Option<Mark>,
    /// None until it is known.
    line: Option<Line>,
    /// None if nothing was asked.
    question: Option<Asked>,
    all: ToAll,
}

/// What all hosts hear.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct ToAll {
    /// Which world data they can pull; none until it is known.
    of_world: Option<Line>,
    /// How many lines of bans there were.
    bans: u64,
}

/// See [`Told`].
#[derive(Debug, Clone)]
struct Asked {
    number: i64,
    line: Line,
}

impl Told {
    /// What is to be said to whoever heard that before, except of bans.
    pub(super) fn since(&self, before: &Self) -> Vec<Line> {
        let number = |told: &Self| told.question.as_ref().map(|asked| asked.number);
        let line = self.line.as_ref().filter(|_| self.line != before.line);
        let question = self.question.as_ref().filter(|_| number(self) != number(before));
        let (of_world, before) = (&self.all.of_world, &before.all.of_world);
        let of_world = of_world.as_ref().filter(|_| of_world != before);
        let lines = [line, question.map(|asked| &asked.line), of_world];
        lines.into_iter().flatten().cloned().collect()
    }

    /// Whether there is more to be told of bans.
    pub(super) fn has_bans_since(&self, before: &Self) -> bool {
        self.all.bans != before.all.bans
    }

    fn of(wanted: &Wanted) -> Self {
        let Wanted { group: _, mark, policy, within, limits } = wanted.clone();
        let snapshot = Snapshot { mark, policy, within, limits };
        let line = Heard::Snapshot(Box::new(snapshot)).line();
        Self { mark: Some(wanted.mark), line: Some(line.into()), ..Self::default() }
    }
}

struct Host {
    group: i64,
    /// Which connection of the host it is.
    serial: u64,
    hears: watch::Sender<Told>,
}

#[derive(Default)]
struct Hosts {
    by_id: HashMap<HostId, Host>,
    serial: u64,
    /// Who has come or gone, and is not noted yet.
    presence: HashMap<HostId, bool>,
    all: ToAll,
}

impl Hosts {
    /// Changes what all hear, if that is otherwise then.
    fn tell_all(&mut self, change: impl FnOnce(&mut ToAll)) {
        let mut all = self.all.clone();
        change(&mut all);
        if all != self.all {
            self.all = all;
            for host in self.by_id.values() {
                host.hears.send_modify(|told| told.all = self.all.clone());
            }
        }
    }

    fn remove(&mut self, host: HostId) {
        if self.by_id.remove(&host).is_some() {
            self.presence.insert(host, false);
        }
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Connected {
    hosts: Mutex<Hosts>,
}

/// A place among them, until it is dropped.
pub(super) struct Place {
    host: HostId,
    serial: u64,
    among: Arc<Connected>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut hosts = self.among.lock();
        // The host may have come again meanwhile.
        if hosts.by_id.get(&self.host).is_some_and(|host| host.serial == self.serial) {
            hosts.remove(self.host);
        }
    }
}

impl Connected {
    /// A host listens from now on, first to what all hear. Another connection of the same host hears nothing more.
    pub(super) fn add(
        self: &Arc<Self>,
        host: HostId,
        group: i64,
    ) -> (watch::Receiver<Told>, Place) {
        let mut hosts = self.lock();
        let told = Told { all: hosts.all.clone(), ..Told::default() };
        let (hears, mut receiver) = watch::channel(told);
        receiver.mark_changed();
        hosts.serial += 1;
        let serial = hosts.serial;
        hosts.by_id.insert(host, Host { group, serial, hears });
        hosts.presence.insert(host, true);
        (receiver, Place { host, serial, among: Arc::clone(self) })
    }

    /// Tells a host that has just come what it is to do, unless it was told meanwhile: what is known here may be older than that, by its
    /// limits if not by its mark.
    pub(super) fn tell(&self, place: &Place, wanted: &Wanted) {
        if let Some(host) = self.lock().by_id.get(&place.host)
            && host.serial == place.serial
            && host.hears.borrow().mark < Some(wanted.mark)
        {
            host.tell(&Told::of(wanted));
        }
    }

    /// Tells all hosts what their groups want, but those what they are to do that are not like their group.
    pub(super) fn tell_all(&self, groups: &[Wanted], alone: &[(HostId, Wanted)]) {
        let told: HashMap<i64, Told> =
            groups.iter().map(|wanted| (wanted.group, Told::of(wanted))).collect();
        let alone: HashMap<HostId, &Wanted> =
            alone.iter().map(|(host, wanted)| (*host, wanted)).collect();
        for (id, host) in &mut self.lock().by_id {
            if let Some(wanted) = alone.get(id) {
                // It may be in another group by now.
                host.group = wanted.group;
                host.tell(&Told::of(wanted));
            } else if let Some(told) = told.get(&host.group) {
                host.tell(told);
            }
        }
    }

    /// Asks hosts what they would be to do, by a question of that number.
    pub(super) fn ask(&self, number: i64, hosts: &[(HostId, Option<Change>)]) {
        let mut lines: Vec<(&Option<Change>, Line)> = Vec::new();
        let asked = self.lock();
        for (id, policy) in hosts {
            let Some(host) = asked.by_id.get(id) else { continue };
            // Most are asked the same.
            let known =
                lines.iter().find(|(of, _)| *of == policy).map(|(_, line)| Arc::clone(line));
            let line = known.unwrap_or_else(|| {
                let question = Question { number, policy: policy.clone() };
                let line: Line = Heard::Preview(Box::new(question)).line().into();
                lines.push((policy, Arc::clone(&line)));
                line
            });
            host.hears.send_modify(|told| told.question = Some(Asked { number, line }));
        }
    }

    /// Tells all hosts of world data, if that is another line than before.
    pub(super) fn tell_of_world(&self, line: Line) {
        self.lock().tell_all(|all| all.of_world = Some(line));
    }

    /// Tells all hosts that there were so many lines of bans by now.
    pub(super) fn tell_of_bans(&self, lines: u64) {
        self.lock().tell_all(|all| all.bans = lines);
    }

    /// A host hears nothing more: its connection ends at once.
    pub(super) fn cut(&self, host: HostId) {
        self.lock().remove(host);
    }

    /// Who has come or gone since the last time.
    pub(super) fn take_presence(&self) -> Vec<(HostId, bool)> {
        self.lock().presence.drain().collect()
    }

    /// What could not be noted, unless it is otherwise by now.
    pub(super) fn give_back(&self, presence: Vec<(HostId, bool)>) {
        let mut hosts = self.lock();
        for (host, listens) in presence {
            hosts.presence.entry(host).or_insert(listens);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    fn tell(&self, told: &Told) {
        self.hears.send_if_modified(|heard| {
            // Limits are told by the same mark.
            let is_newer =
                told.mark > heard.mark || (told.mark == heard.mark && told.line != heard.line);
            if is_newer {
                (heard.mark, heard.line) = (told.mark, told.line.clone());
            }
            is_newer
        });
    }
}

/// What a host said, and when that came.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) host: HostId,
    pub(crate) said: Said,
    pub(crate) at: i64,
    /// Told whether it was written down.
    written: oneshot::Sender<bool>,
}

impl Statement {
    /// Tells whoever said it whether it was written down.
    pub(super) fn answer(self, is_written: bool) {
        // It may have gone away.
        let _ = self.written.send(is_written);
    }

    #[cfg(test)]
    pub(crate) fn of(host: HostId, said: Said, at: i64) -> Self {
        Self { host, said, at, written: oneshot::channel().0 }
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Statements {
    said: Mutex<Vec<Statement>>,
    comes: Notify,
}

impl Statements {
    /// A host says this. What is returned comes true once it is known whether it was written down.
    pub(super) fn put(&self, host: HostId, said: Said, at: i64) -> oneshot::Receiver<bool> {
        let (written, is_written) = oneshot::channel();
        self.lock().push(Statement { host, said, at, written });
        self.comes.notify_one();
        is_written
    }

    /// What was said since the last time, as soon as there is something.
    pub(super) async fn take(&self) -> Vec<Statement> {
        loop {
            let comes = self.comes.notified();
            let taken = std::mem::take(&mut *self.lock());
            if !taken.is_empty() {
                return taken;
            }
            comes.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Statement>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
