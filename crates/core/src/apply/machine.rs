//! [`Machine`]: see the page above.

use super::plan::{Act, Plan, act, after, back, interim, stand};
use super::saved::{Interim, Saved, Stance, Standing, highest, settle};
use super::{Command, Effect, Input, Outcome, Refusal};
use crate::desired::{Action, BootTime, Desired, Generation, Observed};
use crate::policy::Policy;

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

impl Machine {
    /// Starts from what is on disk and in the kernel; the effect reconciles the two. `last` is the highest
    /// number of this boot that could not be written, see [`Effect::Persist`].
    pub fn start(
        disk: Option<Saved>,
        last: Generation,
        observed: Option<&Observed>,
        now: BootTime,
    ) -> (Self, Effect) {
        let known = disk.is_some();
        let saved = disk.unwrap_or_default();
        let mut machine = Self {
            saved: Saved { last: saved.last.max(last), ..saved },
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

    /// What survives a reboot, and what a pending change goes back to.
    pub fn confirmed(&self) -> &Standing {
        &self.saved.confirmed
    }

    /// The number of what is in force, as far as this machine knows.
    pub fn generation(&self, now: BootTime) -> Generation {
        match self.saved.interim {
            Some(Interim::Paused { generation, deadline }) if now < deadline => generation,
            Some(Interim::Paused { .. } | Interim::Trying { .. } | Interim::Pending { .. })
            | None => self.current(now).generation,
        }
    }

    /// What the data plane was asked to hold, if this process attached it.
    pub fn desired(&self) -> Option<Desired> {
        match act(&self.saved) {
            Act::Hold(desired) if self.attached => Some(desired),
            Act::Hold(_) | Act::Detach => None,
        }
    }

    /// Whether this process attached the data plane.
    pub fn attached(&self) -> bool {
        self.attached
    }

    /// The policy by which packets are dropped now, if this machine knows it and drops any.
    pub fn dropping(&self, now: BootTime) -> Option<&Policy> {
        let paused =
            matches!(self.saved.interim, Some(Interim::Paused { deadline, .. }) if now < deadline);
        let current = self.current(now);
        let drops = current.stance == Stance::Enforce && !paused && !self.policy_lost;
        drops.then_some(&current.policy)
    }

    /// Whether the kernel holds a policy that this machine does not know.
    pub fn policy_lost(&self) -> bool {
        self.policy_lost
    }

    /// Whether the last change is in force but not on disk.
    pub fn unsaved(&self) -> bool {
        self.unsaved
    }

    /// What is on disk is not there any more: the next [`Input::Tick`] saves it again.
    pub fn save_again_soon(&mut self) {
        self.unsaved = true;
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
                Plan { regardless: true, ..stand(&settled, stance, policy) }
            }
            (None, Stance::Observe | Stance::Enforce, _) => self.hold(settled),
        };
        self.begin(plan)
    }

    /// Makes the data plane hold `saved` as it is, under the numbers it has.
    fn hold(&self, saved: Saved) -> Plan {
        Plan {
            regardless: true,
            before: saved.clone(),
            act: act(&saved),
            after: saved,
            outcome: Outcome::default(),
        }
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
                Ok(Plan {
                    regardless: false,
                    before: self.saved.clone(),
                    act: act(&after),
                    after,
                    outcome: Outcome::default(),
                })
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
            Some(_) | None if self.unsaved && !self.policy_lost => self.save_again(),
            Some(_) | None => Effect::Answer(Ok(Outcome::default())),
        }
    }

    fn save_again(&mut self) -> Effect {
        self.phase = Phase::SavingAgain;
        Effect::Persist(self.saved.clone())
    }

    fn begin(&mut self, plan: Plan) -> Effect {
        // What stands in for a lost policy must never be read back as if it had been chosen.
        if self.policy_lost || plan.before == self.saved && !self.unsaved {
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
            (Phase::Announcing(mut plan), Err(error)) if plan.regardless => {
                self.unsaved = true;
                plan.outcome.unsaved = Some(error);
                self.act(plan)
            }
            (Phase::Announcing(plan), Err(error)) => {
                // It may be on disk all the same, so that no other change may have its number.
                self.saved.last = plan.before.last;
                Effect::Answer(Err(Refusal::NotSaved(error)))
            }
            (Phase::Acting(plan), Ok(())) => self.acted(plan),
            (Phase::Acting(plan), Err(error)) => self.failed(plan, error),
            (Phase::Finishing(mut plan), Ok(())) => {
                self.unsaved = false;
                plan.outcome.unsaved = None;
                self.finish(plan)
            }
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
                Effect::Answer(Ok(Outcome { replaced: None, unsaved: result.err() }))
            }
            (Phase::Idle, _) => Effect::Answer(Ok(Outcome::default())),
        }
    }

    fn acted(&mut self, plan: Plan) -> Effect {
        self.attached = matches!(plan.act, Act::Hold(_));
        self.policy_lost = false;
        if plan.after == plan.before && !self.unsaved {
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
                self.attached = false;
                self.saved = plan.before;
                Effect::Answer(Err(Refusal::NotDetached(error)))
            }
            Act::Hold(_) => {
                let announced = plan.before != self.saved && !self.policy_lost;
                self.saved.last = plan.before.last;
                let refusal = match self.attached {
                    true => Refusal::NotApplied(error),
                    false => Refusal::NotAttached(error),
                };
                if !announced {
                    return Effect::Answer(Err(refusal));
                }
                self.phase = Phase::Retracting(refusal);
                Effect::Persist(self.saved.clone())
            }
        }
    }
}
