//! The root edge: everything that touches the kernel. [`Backend`] is the one seam to it: [`kernel`] is
//! the BPF data plane, [`nft`] that of hosts without BPF, [`memory`] the one without a kernel. [`interfaces`] tells what there is to
//! protect, [`programs`] what others have put there; [`details`] and [`features`] are for
//! who wants to know why something does not work. [`baseline`] proves that nothing of ours remains.

pub mod baseline;
pub mod details;
pub mod error;
pub mod fault;
pub mod features;
pub mod interfaces;
pub mod kernel;
pub mod memory;
mod netlink;
pub mod nft;
pub mod parsers;
pub mod programs;
mod tc;

use std::collections::HashSet;
use std::net::SocketAddr;

use geofilter_core::clock::Clock;
use geofilter_core::counters::Counters;
use geofilter_core::decide::Timed;
use geofilter_core::desired::{BootTime, Desired, Observed};
use geofilter_core::event::DropEvent;
use geofilter_core::overrides::{AddressKey, Spans, Table};
use geofilter_core::seen::Count;
use geofilter_core::world::World;
use rustix::time::{ClockId, clock_gettime};

pub use error::Error;

/// How the operator wants the programs attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preference {
    /// Native XDP where it is safe and possible, else TC.
    #[default]
    Auto,
    /// Native XDP or nothing.
    Xdp,
    /// XDP in the stack.
    XdpGeneric,
    /// TC ingress.
    Tc,
}

/// A data plane. It takes the whole desired state, applies it atomically, reads it back, and errs
/// where what it observes differs. After an error what was in force before is still in force.
pub trait Backend: Send {
    /// Attaches to the interfaces, judging by all of this from the first packet on; what an earlier
    /// agent left pinned is taken over without a gap, and its peers with it.
    fn attach(
        &mut self,
        world: &World,
        overrides: &Table,
        desired: &Desired,
        clock: Clock,
    ) -> Result<Observed, Error>;

    /// Replaces the policy, or reckons its calendar anew. Attached only.
    fn apply(&mut self, desired: &Desired, clock: Clock) -> Result<Observed, Error>;

    /// Replaces the world table. Attached only.
    fn swap_world(&mut self, world: &World) -> Result<(), Error>;

    /// Replaces exemptions and bans. Attached only.
    fn set_overrides(&mut self, overrides: &Table) -> Result<(), Error>;

    /// Changes what is known of these addresses, and nothing else. Attached only.
    fn set_addresses(&mut self, changes: &[(AddressKey, Spans)]) -> Result<(), Error>;

    /// Says which addresses are registered at the PBX: the requests it sends there make no peers. Attached
    /// only.
    fn set_contacts(&mut self, contacts: &HashSet<AddressKey>) -> Result<(), Error>;

    /// The peers, with their ends, also those that have ended. Attached only.
    fn peers(&mut self) -> Result<Vec<Timed<SocketAddr>>, Error>;

    /// Makes a peer, or changes when it ends. Attached only.
    fn set_peer(&mut self, peer: SocketAddr, until: BootTime) -> Result<(), Error>;

    /// Removes a peer; whether it was one. Attached only.
    fn remove_peer(&mut self, peer: SocketAddr) -> Result<bool, Error>;

    /// Reads back what the kernel holds; `None` when nothing is attached, also not by an earlier agent.
    fn observe(&mut self) -> Result<Option<Observed>, Error>;

    /// Puts back what others have taken away since the last call, follows interfaces that came, and says what was
    /// taken away. Attached only.
    fn mend(&mut self) -> Result<Vec<String>, Error>;

    /// Reads the counters. Attached only.
    fn counters(&mut self) -> Result<Counters, Error>;

    /// Who sends packets to protected ports, as far as there is room to remember. Attached only.
    fn sources(&mut self) -> Result<Vec<Count>, Error>;

    /// Hands over the sampled drops since the last call, and lets more be told from this time on.
    fn drain_events(&mut self, now: BootTime, sink: &mut dyn FnMut(DropEvent))
    -> Result<(), Error>;

    /// How many ranges what a policy drops may have without slowing down what others do in the kernel; `None` if it makes no
    /// difference.
    fn quick_up_to(&self) -> Option<usize> {
        None
    }

    /// Flips to pass, then detaches everything and removes every trace. Succeeds when nothing is attached.
    fn detach(&mut self) -> Result<(), Error>;
}

/// The time since boot, suspension included.
pub(crate) fn boot_time() -> BootTime {
    let time = clock_gettime(ClockId::Boottime);
    BootTime(time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned())
}
