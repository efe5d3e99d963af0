//! [`Plane`]: the data plane on a namespace's interface without an agent, so that a test can be the one who
//! knows the time and the registered devices.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use geofilter_core::clock::Clock;
use geofilter_core::country::CountrySet;
use geofilter_core::decide::{Overrides, Timed};
use geofilter_core::desired::{Action, Bank, BootTime, Desired, Generation};
use geofilter_core::overrides::Table;
use geofilter_core::policy::{Mode, Policy, Scope};
use geofilter_core::world::World;
use geofilter_dataplane::kernel::Kernel;
use geofilter_dataplane::{Backend, Preference};
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::site::WAN;

/// A data plane that lets in some countries, until it is dropped.
pub struct Plane<'a> {
    namespace: &'a Namespace,
    kernel: Kernel,
    allowed: CountrySet,
    scope: Scope,
    generation: u64,
    _folder: TempDir,
}

impl<'a> Plane<'a> {
    /// Attaches to the host's [`WAN`] interface, observing a policy that lets in these countries.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn observe(
        namespace: &'a Namespace,
        preference: Preference,
        world: &World,
        allowed: CountrySet,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("gf").tempdir()?;
        let kernel = Kernel::new(vec![WAN.to_owned()], preference, folder.path().to_owned());
        let scope = Scope::default();
        let mut plane = Self { namespace, kernel, allowed, scope, generation: 0, _folder: folder };
        let desired = plane.desired(Action::Observe);
        let nothing = Table::compile(&Overrides::default())?;
        plane.with(|kernel| kernel.attach(world, &nothing, &desired, Clock::default()))?;
        Ok(plane)
    }

    /// Has it drop from now on.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn enforce(&mut self) -> Result<()> {
        let desired = self.desired(Action::Enforce);
        self.with(|kernel| kernel.apply(&desired, Clock::default())).map(drop)
    }

    /// Has it drop who is not of these countries, from now on.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn allow(&mut self, countries: CountrySet) -> Result<()> {
        self.allowed = countries;
        self.enforce()
    }

    /// Has it judge these ports instead of the usual ones, from the next change on.
    pub fn judge(&mut self, scope: Scope) {
        self.scope = scope;
    }

    /// Does something with the data plane, inside of the namespace.
    ///
    /// # Errors
    /// As what is done.
    pub fn with<T: Send>(
        &mut self,
        work: impl FnOnce(&mut Kernel) -> Result<T, geofilter_dataplane::Error> + Send,
    ) -> Result<T> {
        let kernel = &mut self.kernel;
        Ok(self.namespace.inside(move || work(kernel))??)
    }

    /// The peers.
    ///
    /// # Errors
    /// If they can't be read.
    pub fn peers(&mut self) -> Result<Vec<Timed<SocketAddr>>> {
        self.with(Backend::peers)
    }

    /// Lets the peers grow older, as if so many nanoseconds had passed.
    ///
    /// # Errors
    /// If they can't be written.
    pub fn age_peers(&mut self, by: u64) -> Result<()> {
        self.with(|kernel| {
            for Timed { value, until } in kernel.peers()? {
                let until = until.map_or(0, |until| until.0.saturating_sub(by));
                kernel.set_peer(value, BootTime(until))?;
            }
            Ok(())
        })
    }

    fn desired(&mut self, action: Action) -> Desired {
        self.generation += 1;
        let mut policy = Policy::new(Mode::AllowSelected, self.allowed);
        policy.scope = self.scope.clone();
        let policy = Arc::new(policy);
        let bank = Bank { generation: Generation(self.generation), action, policy };
        Desired { active: bank, fallback: None }
    }
}

impl Drop for Plane<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.with(Backend::detach) {
            eprintln!("something may be left behind: {error:#}");
        }
    }
}

/// Nanoseconds since boot, as the kernel's programs count them.
pub fn now() -> BootTime {
    let time = clock_gettime(ClockId::Boottime);
    BootTime(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
