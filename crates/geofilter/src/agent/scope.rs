//! [`UsualScope`]: the ports to protect unless the operator names some. They are those where the PBX of
//! this host takes calls, and those PBXs usually have if none is found.

use std::sync::{Arc, OnceLock, mpsc};
use std::thread;

use geofilter_core::apply::Saved;
use geofilter_core::change::{Change, Edit};
use geofilter_core::detected;
use geofilter_core::policy::Scope;

use super::pbx::AT_ONCE;
use super::settings::Settings;
use crate::detect::{self, Manager};

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct UsualScope {
    manager: Option<Manager>,
    found: Arc<OnceLock<Scope>>,
}

impl UsualScope {
    /// Looks for the PBX: at once if nothing was saved, since the first policy needs it, and otherwise
    /// aside, so that what was saved is in force without a delay.
    pub(super) fn look(settings: &Settings, saved: Option<&Saved>) -> Self {
        let usual = Self { manager: settings.manager.clone(), found: Arc::default() };
        let aside = usual.clone();
        match saved {
            None => usual.search(),
            Some(_) => drop(thread::spawn(move || aside.search())),
        }
        usual
    }

    /// A PBX that was found is not looked for again.
    fn search(&self) {
        let pbxs = detect::pbxs(self.manager.as_ref());
        pbxs.notes.iter().for_each(|note| tracing::info!("{note}"));
        if let Some(scope) = detected::scope(&pbxs.pbxs) {
            self.found.get_or_init(|| scope);
        }
    }

    /// A PBX that hangs is waited for no longer than somebody who is waiting can be kept waiting.
    fn search_aside(&self) {
        let (tell, told) = mpsc::channel();
        let aside = self.clone();
        thread::spawn(move || {
            aside.search();
            // Nobody may wait any more.
            let _ = tell.send(());
        });
        let _ = told.recv_timeout(AT_ONCE);
    }

    fn known(&self) -> Scope {
        self.found.get().cloned().unwrap_or_default()
    }

    /// The state of a host without one.
    pub(super) fn first(&self) -> Saved {
        let mut first = Saved::default();
        first.confirmed.policy.scope = self.known();
        first
    }

    /// A change that replaces the policy and names no ports protects the usual ones. If no PBX was there
    /// so far, it may be by now.
    pub(super) fn complete(&self, change: Change) -> Change {
        if change.edit != Edit::Replace || change.scope.is_some() {
            return change;
        }
        if self.found.get().is_none() {
            self.search_aside();
        }
        Change { scope: Some(self.known()), ..change }
    }
}

#[cfg(test)]
mod tests {
    use geofilter_core::country::CountrySet;
    use geofilter_core::policy::Mode;

    use super::*;

    #[test]
    fn only_a_new_policy_without_ports_takes_the_usual_ones() {
        let found = Scope(vec!["udp/5080".parse().unwrap()]);
        let usual = UsualScope { manager: None, found: Arc::new(found.clone().into()) };
        let change = |edit, scope| {
            let change = Change::new(Mode::AllowSelected, CountrySet::EMPTY);
            usual.complete(Change { edit, scope, ..change }).scope
        };
        assert_eq!(change(Edit::Replace, None), Some(found.clone()));
        assert_eq!(change(Edit::Add, None), None);
        assert_eq!(change(Edit::Remove, None), None);
        let named = Scope(vec!["tcp/5061".parse().unwrap()]);
        assert_eq!(change(Edit::Replace, Some(named.clone())), Some(named));
        assert_eq!(usual.first().confirmed.policy.scope, found);
    }
}
