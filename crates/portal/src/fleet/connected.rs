//! [`Connected`]: the hosts that hear what they are to do. [`Reports`] are what they say, until it is written down.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use geofilter_fleet::{HostId, Mark, Report, Snapshot};
use tokio::sync::watch;

use crate::store::Wanted;

/// What a host hears: an event, whose bytes all of its group share.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    mark: Option<Mark>,
    /// None until it is known.
    pub(super) event: Option<Bytes>,
}

impl Said {
    fn of(wanted: &Wanted) -> Self {
        let snapshot = Snapshot { mark: wanted.mark, policy: wanted.policy.clone() };
        let event = serde_json::to_string(&snapshot)
            .map(|json| format!("event: snapshot\ndata: {json}\n\n"));
        Self { mark: Some(wanted.mark), event: event.ok().map(Bytes::from) }
    }
}

struct Host {
    group: i64,
    /// Which connection of the host it is.
    serial: u64,
    hears: watch::Sender<Said>,
}

#[derive(Default)]
struct Hosts {
    by_id: HashMap<HostId, Host>,
    serial: u64,
    /// Who has come or gone, and is not noted yet.
    presence: HashMap<HostId, bool>,
}

impl Hosts {
    fn remove(&mut self, host: HostId) {
        if self.by_id.remove(&host).is_some() {
            self.presence.insert(host, false);
        }
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Connected(Mutex<Hosts>);

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
    /// A host listens from now on. Another connection of the same host hears nothing more.
    pub(super) fn add(
        self: &Arc<Self>,
        host: HostId,
        group: i64,
    ) -> (watch::Receiver<Said>, Place) {
        let (hears, receiver) = watch::channel(Said::default());
        let mut hosts = self.lock();
        hosts.serial += 1;
        let serial = hosts.serial;
        hosts.by_id.insert(host, Host { group, serial, hears });
        hosts.presence.insert(host, true);
        (receiver, Place { host, serial, among: Arc::clone(self) })
    }

    /// Tells a host what it is to do, unless it was told something newer meanwhile.
    pub(super) fn tell(&self, host: HostId, wanted: &Wanted) {
        if let Some(host) = self.lock().by_id.get(&host) {
            host.tell(&Said::of(wanted));
        }
    }

    /// Tells all hosts what their groups want.
    pub(super) fn tell_all(&self, wanted: &[Wanted]) {
        let said: HashMap<i64, Said> =
            wanted.iter().map(|wanted| (wanted.group, Said::of(wanted))).collect();
        for host in self.lock().by_id.values() {
            if let Some(said) = said.get(&host.group) {
                host.tell(said);
            }
        }
    }

    /// Whether a host hears what it is to do.
    pub(super) fn hears(&self, host: HostId) -> bool {
        self.lock().by_id.contains_key(&host)
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    fn tell(&self, said: &Said) {
        self.hears.send_if_modified(|heard| {
            let is_newer = said.mark > heard.mark;
            if is_newer {
                heard.clone_from(said);
            }
            is_newer
        });
    }
}

/// See the module. Of each host the last one counts.
#[derive(Default)]
pub(crate) struct Reports(Mutex<HashMap<HostId, (Report, i64)>>);

impl Reports {
    /// A host said this.
    pub(super) fn put(&self, host: HostId, report: Report, now: i64) {
        self.lock().insert(host, (report, now));
    }

    /// What was said since the last time.
    pub(super) fn take(&self) -> Vec<(HostId, Report, i64)> {
        let taken = std::mem::take(&mut *self.lock());
        taken.into_iter().map(|(host, (report, at))| (host, report, at)).collect()
    }

    /// What could not be written down, unless something newer was said.
    pub(super) fn give_back(&self, reports: Vec<(HostId, Report, i64)>) {
        let mut kept = self.lock();
        for (host, report, at) in reports {
            kept.entry(host).or_insert((report, at));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HostId, (Report, i64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
