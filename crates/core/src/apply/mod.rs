//! [`Machine`]: how a host gets from what it holds to what the operator wants, and back.
//!
//! It takes an [`Input`], returns the one [`Effect`] to carry out next, and takes the result of that
//! effect as its next input, until the effect is an [`Effect::Answer`]. It performs no I/O; time is an
//! argument.
//!
//! Every change is announced on disk before the kernel sees it, as an [`Interim`], and an interim counts
//! after a restart only while the kernel holds its generation. So a crash at any point leaves either the
//! state before or the state after, a full disk stops a new policy before the kernel is touched, and no
//! generation is handed out twice. What lets more through, or goes back to what is confirmed, does not wait
//! for a disk: it is done, said to be unsaved, and written as soon as that is possible; until then a restart
//! goes back to what was written last.
//!
//! [`Saved`] is what survives a restart; `plan` makes a change out of a command, and `machine` carries it
//! out step by step.

mod machine;
mod plan;
mod saved;

use crate::desired::{Action, BootTime, Desired, Generation, Observed, State};
use crate::policy::Policy;

pub use machine::Machine;
pub use saved::{Interim, Saved, Stance, Standing, nothing_selected};

/// What an operator can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Enforce a policy; with a time, only until then unless confirmed.
    Enforce {
        /// The whole new policy.
        policy: Policy,
        /// Nanoseconds in which it must be confirmed.
        confirm_within: Option<u64>,
    },
    /// Keep the pending change.
    Confirm,
    /// Undo the pending change.
    Revert,
    /// Keep the policy, count only.
    Observe,
    /// Let everything pass for this many nanoseconds.
    Pause(u64),
    /// End a pause.
    Resume,
    /// Detach everything.
    Off,
}

/// What drives the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A command of the operator.
    Command(Command, BootTime),
    /// Time has passed.
    Tick(BootTime),
    /// The last effect was carried out, or failed with this message.
    Done(Result<(), String>),
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write this durably; on failure what was there before must still be there, and its `last` must be
    /// handed to [`Machine::start`] for as long as this boot lasts.
    Persist(Saved),
    /// Attach, or take over what an earlier agent left.
    Attach(Desired),
    /// Replace the policy.
    Apply(Desired),
    /// Detach everything.
    Detach,
    /// The input is dealt with. No result is expected.
    Answer(Result<Outcome, Refusal>),
}

/// What came of an input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The unconfirmed change that this one replaced or ended.
    pub replaced: Option<Generation>,
    /// It is in force, but could not be written down, for this reason; it will be tried again.
    pub unsaved: Option<String>,
}

/// Why a command changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Confirm or revert without a pending change.
    #[error("no change is waiting for a confirmation")]
    NothingPending,
    /// Confirm at or past the deadline.
    #[error("too late: the change was not confirmed in time, and the policy before it is in force")]
    TooLate,
    /// Resume without a pause.
    #[error("not paused: there is nothing to resume")]
    NotPaused,
    /// Pause while nothing is dropped.
    #[error("nothing is being dropped: there is nothing to pause")]
    NothingToPause,
    /// The kernel holds a policy whose text was lost, so it can't be gone back to.
    #[error(
        "the policy in the kernel is not known to this agent, so it could not be restored afterwards: choose one first, with `allow --yes` or `block --yes`"
    )]
    PolicyLost,
    /// The disk refused before anything was changed.
    #[error("cannot save the state, so nothing was changed: {0}")]
    NotSaved(String),
    /// The data plane refused to replace the policy.
    #[error("cannot apply it: {0}")]
    NotApplied(String),
    /// The data plane refused to attach.
    #[error("cannot attach: {0}")]
    NotAttached(String),
    /// Detaching failed half way.
    #[error("off did not finish; run `geofilter off` again: {0}")]
    NotDetached(String),
}

/// The state a data plane is in.
pub fn state(observed: Option<&Observed>, now: BootTime) -> State {
    let Some(observed) = observed else { return State::Off };
    match (observed.fallback, observed.active.1) {
        (Some((_, _, deadline)), Action::Pass) if now < deadline => State::Paused,
        (Some((_, _, deadline)), Action::Observe | Action::Enforce) if now < deadline => {
            State::Pending
        }
        (Some((_, Action::Enforce, _)), _) | (None, Action::Enforce) => State::Enforcing,
        (Some((_, Action::Pass | Action::Observe, _)), _)
        | (None, Action::Pass | Action::Observe) => State::Observing,
    }
}
