//! [`Machine`]: how a host gets from what it holds to what the operator wants, and back.
//!
//! It takes an [`Input`], returns the one [`Effect`] to carry out next, and takes the result of that
//! effect as its next input, until the effect is an [`Effect::Answer`]. It performs no I/O; time is an
//! argument.
//!
//! Every change is announced on disk before the kernel sees it, as an [`Interim`], and an interim counts
//! after a restart only while the kernel holds its generation. So a crash at any point leaves either the
//! state before or the state after, a full disk stops a change before the kernel is touched, and no
//! generation is handed out twice.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::country::CountrySet;
use crate::desired::{Action, Bank, BootTime, Desired, Fallback, Generation, Observed, State};
use crate::policy::{Mode, Policy};

/// What a host does until told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stance {
    /// Nothing is attached.
    Off,
    /// Judged and counted, nothing dropped.
    Observe,
    /// The policy drops.
    Enforce,
}

/// A stance with its policy and its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// Its number: no other standing of this host ever has it.
    pub generation: Generation,
    /// What is done with the policy.
    pub stance: Stance,
    /// The policy; [`nothing_selected`] until the operator chose one.
    pub policy: Policy,
}

/// A step that is not confirmed. After a restart it counts only while the kernel holds its generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Interim {
    /// Announced; the kernel may or may not hold it yet.
    Trying {
        /// What was asked for.
        standing: Standing,
    },
    /// In force until the deadline unless confirmed.
    Pending {
        /// The unconfirmed change.
        standing: Standing,
        /// When the kernel goes back to the confirmed standing.
        deadline: BootTime,
    },
    /// Everything passes until the deadline.
    Paused {
        /// The number of the passing bank.
        generation: Generation,
        /// When the kernel goes back to the confirmed standing.
        deadline: BootTime,
    },
}

/// What survives a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// The highest number handed out.
    pub last: Generation,
    /// What survives a reboot.
    pub confirmed: Standing,
    /// What is under way.
    pub interim: Option<Interim>,
}

/// The policy of a host whose operator chose none yet: it drops nothing.
pub fn nothing_selected() -> Policy {
    Policy::new(Mode::BlockSelected, CountrySet::EMPTY)
}

impl Default for Saved {
    fn default() -> Self {
        let generation = Generation::default();
        let confirmed = Standing { generation, stance: Stance::Off, policy: nothing_selected() };
        Self { last: generation, confirmed, interim: None }
    }
}

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
    /// Write this durably; on failure what was there before must still be there.
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
        "the policy in the kernel is not known to this agent, so it could not be restored afterwards: choose one with `allow` or `block` first"
    )]
    PolicyLost,
    /// The disk refused before anything was changed.
    #[error("cannot save the state, so nothing was changed: {0}")]
    NotSaved(String),
    /// The data plane refused; what was in force before still is.
    #[error("cannot apply it, so what was in force before still is: {0}")]
    NotApplied(String),
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

/// The apply machine of one host.
#[derive(Debug)]
pub struct Machine {
    /// What is on disk, or should be.
    saved: Saved,
    phase: Phase,
    /// Whether this process attached the data plane.
    attached: bool,
    /// The kernel holds a policy that `saved` does not know.
    policy_lost: bool,
    /// `saved` could not be written.
    unsaved: bool,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Announcing(Plan),
    Acting(Plan),
    Finishing(Plan),
    Retracting(Refusal),
    SavingAgain,
}

/// One change: what is written before, what is done, what is written after.
#[derive(Debug)]
struct Plan {
    before: Saved,
    act: Act,
    after: Saved,
    outcome: Outcome,
}

#[derive(Debug)]
enum Act {
    Hold(Desired),
    Detach,
}

impl Machine {
    /// Starts from what is on disk and in the kernel; the effect reconciles the two.
    pub fn start(
        disk: Option<Saved>,
        observed: Option<&Observed>,
        now: BootTime,
    ) -> (Self, Effect) {
        let known = disk.is_some();
        let mut machine = Self {
            saved: disk.unwrap_or_default(),
            phase: Phase::Idle,
            attached: false,
            policy_lost: false,
            unsaved: false,
        };
        let effect = match observed {
            Some(observed) if !known => machine.adopt(observed),
            Some(_) | None => machine.reconcile(observed, now),
        };
        (machine, effect)
    }

    /// What is in force, as far as this machine knows: the pending change, else what is confirmed.
    pub fn current(&self, now: BootTime) -> &Standing {
        match &self.saved.interim {
            Some(Interim::Pending { standing, deadline }) if now < *deadline => standing,
            Some(Interim::Pending { .. } | Interim::Trying { .. } | Interim::Paused { .. })
            | None => &self.saved.confirmed,
        }
    }

    /// The number of what is in force, as far as this machine knows.
    pub fn generation(&self, now: BootTime) -> Generation {
        match self.saved.interim {
            Some(Interim::Paused { generation, deadline }) if now < deadline => generation,
            Some(Interim::Paused { .. } | Interim::Trying { .. } | Interim::Pending { .. })
            | None => self.current(now).generation,
        }
    }

    /// Whether this process attached the data plane.
    pub fn attached(&self) -> bool {
        self.attached
    }

    /// Whether the kernel holds a policy that this machine does not know.
    pub fn policy_lost(&self) -> bool {
        self.policy_lost
    }

    /// Whether the last change is in force but not on disk.
    pub fn unsaved(&self) -> bool {
        self.unsaved
    }

    /// Until when the present state lasts; in the past until the next [`Input::Tick`] settles it.
    pub fn deadline(&self) -> Option<BootTime> {
        match self.saved.interim {
            Some(Interim::Pending { deadline, .. } | Interim::Paused { deadline, .. }) => {
                Some(deadline)
            }
            Some(Interim::Trying { .. }) | None => None,
        }
    }

    /// Takes the next input. Commands and ticks are accepted only between answers.
    pub fn handle(&mut self, input: Input) -> Effect {
        match input {
            Input::Command(command, now) => match self.plan(command, now) {
                Ok(plan) => self.begin(plan),
                Err(refusal) => Effect::Answer(Err(refusal)),
            },
            Input::Tick(now) => self.tick(now),
            Input::Done(result) => self.advance(result),
        }
    }

    /// Nothing is known of what the kernel holds but that it must stay in force.
    fn adopt(&mut self, observed: &Observed) -> Effect {
        let (generation, action) = observed.active;
        self.policy_lost = true;
        self.saved.last = highest(self.saved.last, observed);
        self.saved.confirmed.generation = generation;
        self.saved.confirmed.stance = match action {
            Action::Enforce => Stance::Enforce,
            Action::Pass | Action::Observe => Stance::Observe,
        };
        Effect::Answer(Ok(Outcome::default()))
    }

    fn reconcile(&mut self, observed: Option<&Observed>, now: BootTime) -> Effect {
        let mut settled = settle(&self.saved, observed, now);
        settled.last = observed.map_or(settled.last, |observed| highest(settled.last, observed));
        let confirmed = &settled.confirmed;
        let in_kernel = observed.map(|observed| observed.active.0);
        let plan = match (&settled.interim, confirmed.stance, in_kernel) {
            (Some(_), _, _) => self.hold(settled),
            (None, Stance::Off, None) => {
                let changed = settled != self.saved;
                self.saved = settled.clone();
                return match changed {
                    true => self.save_again(),
                    false => Effect::Answer(Ok(Outcome::default())),
                };
            }
            (None, Stance::Off, Some(_)) => self.hold(settled),
            (None, Stance::Observe | Stance::Enforce, Some(active))
                if active != confirmed.generation =>
            {
                let (stance, policy) = (confirmed.stance, confirmed.policy.clone());
                stand(&settled, stance, policy)
            }
            (None, Stance::Observe | Stance::Enforce, _) => self.hold(settled),
        };
        self.begin(plan)
    }

    /// Makes the data plane hold `saved` as it is, under the numbers it has.
    fn hold(&self, saved: Saved) -> Plan {
        let act = act(&saved);
        Plan { before: saved.clone(), act, after: saved, outcome: Outcome::default() }
    }

    fn plan(&self, command: Command, now: BootTime) -> Result<Plan, Refusal> {
        let saved = &self.saved;
        let confirmed = &saved.confirmed;
        let mut plan = match command {
            Command::Enforce { confirm_within: Some(_), .. } | Command::Pause(_)
                if self.policy_lost =>
            {
                return Err(Refusal::PolicyLost);
            }
            Command::Enforce { policy, confirm_within: None } => {
                stand(saved, Stance::Enforce, policy)
            }
            Command::Enforce { policy, confirm_within: Some(time) } => {
                let generation = saved.last.next();
                let standing = Standing { generation, stance: Stance::Enforce, policy };
                interim(saved, Interim::Pending { standing, deadline: after(now, time) })
            }
            Command::Confirm => self.confirm(now)?,
            Command::Revert => match saved.interim {
                Some(Interim::Pending { .. }) => back(saved),
                Some(Interim::Trying { .. } | Interim::Paused { .. }) | None => {
                    return Err(Refusal::NothingPending);
                }
            },
            Command::Observe => stand(saved, Stance::Observe, confirmed.policy.clone()),
            Command::Pause(_) if confirmed.stance != Stance::Enforce => {
                return Err(Refusal::NothingToPause);
            }
            Command::Pause(time) => {
                let (generation, deadline) = (saved.last.next(), after(now, time));
                interim(saved, Interim::Paused { generation, deadline })
            }
            Command::Resume => match saved.interim {
                Some(Interim::Paused { .. }) => back(saved),
                Some(Interim::Trying { .. } | Interim::Pending { .. }) | None => {
                    return Err(Refusal::NotPaused);
                }
            },
            Command::Off => stand(saved, Stance::Off, confirmed.policy.clone()),
        };
        plan.outcome.replaced = match &saved.interim {
            Some(Interim::Pending { standing, .. })
                if plan.after.confirmed.generation != standing.generation =>
            {
                Some(standing.generation)
            }
            Some(_) | None => None,
        };
        Ok(plan)
    }

    fn confirm(&self, now: BootTime) -> Result<Plan, Refusal> {
        match &self.saved.interim {
            Some(Interim::Pending { deadline, .. }) if now >= *deadline => Err(Refusal::TooLate),
            Some(Interim::Pending { standing, .. }) => {
                let after =
                    Saved { confirmed: standing.clone(), interim: None, ..self.saved.clone() };
                let act = act(&after);
                Ok(Plan { before: self.saved.clone(), act, after, outcome: Outcome::default() })
            }
            Some(Interim::Trying { .. } | Interim::Paused { .. }) | None => {
                Err(Refusal::NothingPending)
            }
        }
    }

    fn tick(&mut self, now: BootTime) -> Effect {
        match self.deadline() {
            Some(deadline) if now >= deadline => {
                let plan = back(&self.saved);
                self.begin(plan)
            }
            Some(_) | None if self.unsaved => self.save_again(),
            Some(_) | None => Effect::Answer(Ok(Outcome::default())),
        }
    }

    fn save_again(&mut self) -> Effect {
        self.phase = Phase::SavingAgain;
        Effect::Persist(self.saved.clone())
    }

    fn begin(&mut self, plan: Plan) -> Effect {
        if plan.before == self.saved && !self.unsaved {
            return self.act(plan);
        }
        let before = plan.before.clone();
        self.phase = Phase::Announcing(plan);
        Effect::Persist(before)
    }

    fn act(&mut self, plan: Plan) -> Effect {
        let effect = match &plan.act {
            Act::Hold(desired) if self.attached => Effect::Apply(desired.clone()),
            Act::Hold(desired) => Effect::Attach(desired.clone()),
            Act::Detach => Effect::Detach,
        };
        self.phase = Phase::Acting(plan);
        effect
    }

    fn advance(&mut self, result: Result<(), String>) -> Effect {
        match (std::mem::replace(&mut self.phase, Phase::Idle), result) {
            (Phase::Announcing(plan), Ok(())) => {
                self.unsaved = false;
                self.act(plan)
            }
            (Phase::Announcing(_), Err(error)) => Effect::Answer(Err(Refusal::NotSaved(error))),
            (Phase::Acting(plan), Ok(())) => self.acted(plan),
            (Phase::Acting(plan), Err(error)) => self.failed(plan, error),
            (Phase::Finishing(plan), Ok(())) => self.finish(plan),
            (Phase::Finishing(mut plan), Err(error)) => {
                self.unsaved = true;
                plan.outcome.unsaved = Some(error);
                self.finish(plan)
            }
            (Phase::Retracting(refusal), result) => {
                self.unsaved = result.is_err();
                Effect::Answer(Err(refusal))
            }
            (Phase::SavingAgain, result) => {
                self.unsaved = result.is_err();
                Effect::Answer(result.map(|()| Outcome::default()).map_err(Refusal::NotSaved))
            }
            (Phase::Idle, _) => Effect::Answer(Ok(Outcome::default())),
        }
    }

    fn acted(&mut self, plan: Plan) -> Effect {
        self.attached = matches!(plan.act, Act::Hold(_));
        self.policy_lost = false;
        if plan.after == plan.before {
            return self.finish(plan);
        }
        let after = plan.after.clone();
        self.phase = Phase::Finishing(plan);
        Effect::Persist(after)
    }

    fn finish(&mut self, plan: Plan) -> Effect {
        self.saved = plan.after;
        Effect::Answer(Ok(plan.outcome))
    }

    fn failed(&mut self, plan: Plan, error: String) -> Effect {
        match plan.act {
            // Half detached is not the state before: what was announced stands, and a restart ends it.
            Act::Detach => {
                self.saved = plan.before;
                Effect::Answer(Err(Refusal::NotDetached(error)))
            }
            Act::Hold(_) => {
                let announced = plan.before != self.saved;
                self.saved.last = plan.before.last;
                let refusal = Refusal::NotApplied(error);
                if !announced {
                    return Effect::Answer(Err(refusal));
                }
                self.phase = Phase::Retracting(refusal);
                Effect::Persist(self.saved.clone())
            }
        }
    }
}

/// What `saved` amounts to, given what the kernel holds: an interim step is taken as done, kept, or dropped.
fn settle(saved: &Saved, observed: Option<&Observed>, now: BootTime) -> Saved {
    let active = observed.map(|observed| observed.active.0);
    let fallback = observed.and_then(|observed| observed.fallback);
    let runs = fallback.is_some_and(|(_, _, deadline)| now < deadline);
    let done = |standing: &Standing| Saved {
        confirmed: standing.clone(),
        interim: None,
        last: saved.last,
    };
    let dropped = || Saved { interim: None, ..saved.clone() };
    match &saved.interim {
        None => saved.clone(),
        Some(Interim::Trying { standing }) => match standing.stance {
            Stance::Off => done(standing),
            Stance::Observe | Stance::Enforce if active == Some(standing.generation) => {
                done(standing)
            }
            Stance::Observe | Stance::Enforce => dropped(),
        },
        Some(Interim::Pending { standing, .. }) if active == Some(standing.generation) => {
            match fallback {
                None => done(standing),
                Some(_) if runs => saved.clone(),
                Some(_) => dropped(),
            }
        }
        Some(Interim::Paused { generation, .. }) if active == Some(*generation) && runs => {
            saved.clone()
        }
        Some(Interim::Pending { .. } | Interim::Paused { .. }) => dropped(),
    }
}

/// A change to something that stands until told otherwise, under a new number.
fn stand(saved: &Saved, stance: Stance, policy: Policy) -> Plan {
    let generation = saved.last.next();
    let standing = Standing { generation, stance, policy };
    let before = Saved {
        last: generation,
        confirmed: saved.confirmed.clone(),
        interim: Some(Interim::Trying { standing: standing.clone() }),
    };
    let after = Saved { last: generation, confirmed: standing, interim: None };
    Plan { act: act(&after), before, after, outcome: Outcome::default() }
}

/// Back to what is confirmed, under a new number.
fn back(saved: &Saved) -> Plan {
    stand(saved, saved.confirmed.stance, saved.confirmed.policy.clone())
}

/// A change that ends by itself.
fn interim(saved: &Saved, interim: Interim) -> Plan {
    let after = Saved {
        last: saved.last.next(),
        confirmed: saved.confirmed.clone(),
        interim: Some(interim),
    };
    Plan { act: act(&after), before: after.clone(), after, outcome: Outcome::default() }
}

/// What the data plane has to do to hold `saved`.
fn act(saved: &Saved) -> Act {
    let confirmed = &saved.confirmed;
    let fallback = |deadline| Some(Fallback { bank: bank(confirmed), deadline });
    let desired = match &saved.interim {
        Some(Interim::Pending { standing, deadline }) => {
            Desired { active: bank(standing), fallback: fallback(*deadline) }
        }
        Some(Interim::Paused { generation, deadline }) => Desired {
            active: Bank {
                generation: *generation,
                action: Action::Pass,
                policy: Arc::new(confirmed.policy.clone()),
            },
            fallback: fallback(*deadline),
        },
        Some(Interim::Trying { .. }) | None => match confirmed.stance {
            Stance::Off => return Act::Detach,
            Stance::Observe | Stance::Enforce => {
                Desired { active: bank(confirmed), fallback: None }
            }
        },
    };
    Act::Hold(desired)
}

/// The bank of a standing; off becomes one that lets everything pass, for the fallback of a change made
/// while off.
fn bank(standing: &Standing) -> Bank {
    let action = match standing.stance {
        Stance::Off => Action::Pass,
        Stance::Observe => Action::Observe,
        Stance::Enforce => Action::Enforce,
    };
    Bank { generation: standing.generation, action, policy: Arc::new(standing.policy.clone()) }
}

fn after(now: BootTime, nanoseconds: u64) -> BootTime {
    BootTime(now.0.saturating_add(nanoseconds))
}

fn highest(last: Generation, observed: &Observed) -> Generation {
    let fallback = observed.fallback.map(|(generation, _, _)| generation);
    last.max(observed.active.0).max(fallback.unwrap_or_default())
}
