//! The root edge: everything that touches the kernel. [`Backend`] is the one seam to it: [`kernel`] is
//! the BPF data plane, [`memory`] the one without a kernel. [`interfaces`] tells what there is to
//! protect, [`programs`] what others have put there, [`baseline`] proves that nothing of ours remains.

pub mod baseline;
pub mod error;
pub mod fault;
pub mod interfaces;
pub mod kernel;
pub mod memory;
mod netlink;
pub mod programs;
mod tc;

use geofilter_core::counters::Counters;
use geofilter_core::desired::{Desired, Observed};
use geofilter_core::event::DropEvent;
use geofilter_core::world::World;

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
    /// Attaches to the interfaces, judging by `desired` from the first packet on; what an earlier
    /// agent left pinned is taken over without a gap.
    fn attach(&mut self, world: &World, desired: &Desired) -> Result<Observed, Error>;

    /// Replaces the policy. Attached only.
    fn apply(&mut self, desired: &Desired) -> Result<Observed, Error>;

    /// Replaces the world table. Attached only.
    fn swap_world(&mut self, world: &World) -> Result<(), Error>;

    /// Reads back what the kernel holds; `None` when nothing is attached, also not by an earlier agent.
    fn observe(&mut self) -> Result<Option<Observed>, Error>;

    /// Reads the counters. Attached only.
    fn counters(&mut self) -> Result<Counters, Error>;

    /// Hands over the sampled drops since the last call and renews the sampling budget.
    fn drain_events(&mut self, sink: &mut dyn FnMut(DropEvent)) -> Result<(), Error>;

    /// Flips to pass, then detaches everything and removes every trace. Succeeds when nothing is attached.
    fn detach(&mut self) -> Result<(), Error>;
}
