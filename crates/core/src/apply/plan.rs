//! [`Plan`]: one change, made out of what is saved.

use std::sync::Arc;

use super::Outcome;
use super::saved::{Interim, Saved, Stance, Standing};
use crate::desired::{Action, Bank, BootTime, Desired, Fallback};
use crate::policy::Policy;

/// One change: what is written before, what is done, what is written after.
#[derive(Debug)]
pub(super) struct Plan {
    /// Done even if it can't be announced, since it drops nothing that was not dropped before it.
    pub(super) regardless: bool,
    pub(super) before: Saved,
    pub(super) act: Act,
    pub(super) after: Saved,
    pub(super) outcome: Outcome,
}

#[derive(Debug)]
pub(super) enum Act {
    Hold(Desired),
    Detach,
}

/// A change to something that stands until told otherwise, under a new number.
pub(super) fn stand(saved: &Saved, stance: Stance, policy: Policy) -> Plan {
    let generation = saved.last.next();
    let standing = Standing { generation, stance, policy };
    let before = Saved {
        last: generation,
        confirmed: saved.confirmed.clone(),
        interim: Some(Interim::Trying { standing: standing.clone() }),
    };
    let after = Saved { last: generation, confirmed: standing, interim: None };
    let regardless = stance != Stance::Enforce;
    Plan { regardless, act: act(&after), before, after, outcome: Outcome::default() }
}

/// Back to what is confirmed, under a new number.
pub(super) fn back(saved: &Saved) -> Plan {
    let plan = stand(saved, saved.confirmed.stance, saved.confirmed.policy.clone());
    Plan { regardless: true, ..plan }
}

/// A change that ends by itself.
pub(super) fn interim(saved: &Saved, interim: Interim) -> Plan {
    let after = Saved {
        last: saved.last.next(),
        confirmed: saved.confirmed.clone(),
        interim: Some(interim),
    };
    let regardless = match &after.interim {
        Some(Interim::Paused { .. }) => true,
        Some(Interim::Pending { .. } | Interim::Trying { .. }) | None => false,
    };
    let (act, before) = (act(&after), after.clone());
    Plan { regardless, act, before, after, outcome: Outcome::default() }
}

/// What the data plane has to do to hold `saved`.
pub(super) fn act(saved: &Saved) -> Act {
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

pub(super) fn after(now: BootTime, nanoseconds: u64) -> BootTime {
    BootTime(now.0.saturating_add(nanoseconds))
}
