//! What survives a restart.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::country::CountrySet;
use crate::desired::{Action, BootTime, Generation, Observed};
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
    #[serde(deserialize_with = "countable")]
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
        #[serde(deserialize_with = "countable")]
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
    #[serde(deserialize_with = "countable")]
    pub last: Generation,
    /// What survives a reboot.
    pub confirmed: Standing,
    /// What is under way.
    pub interim: Option<Interim>,
}

/// The kernel counts in 48 bits. What is saved stays below half of them, so that counting on from there
/// has no end that anybody will live to see.
const HIGHEST: u64 = 1 << 47;

fn countable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Generation, D::Error> {
    let generation = Generation::deserialize(deserializer)?;
    match generation.0 {
        0..=HIGHEST => Ok(generation),
        number => Err(D::Error::custom(format!("no generation has the number {number}"))),
    }
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

/// What `saved` amounts to, given what the kernel holds: an interim step is taken as done, kept, or dropped.
pub(super) fn settle(saved: &Saved, observed: Option<&Observed>, now: BootTime) -> Saved {
    let active = observed.map(|observed| observed.active.0);
    let fallback = observed.and_then(|observed| observed.fallback);
    let runs = fallback.is_some_and(|(_, _, deadline)| now < deadline);
    let done = |standing: &Standing| Saved {
        confirmed: standing.clone(),
        interim: None,
        last: saved.last,
    };
    // A bank that passes stands for nothing else, whatever its number: a data plane that detaches makes one.
    let is_held = |standing: &Standing| {
        let action = match standing.stance {
            Stance::Off => Action::Pass,
            Stance::Observe => Action::Observe,
            Stance::Enforce => Action::Enforce,
        };
        observed.is_some_and(|observed| observed.active == (standing.generation, action))
    };
    let dropped = || Saved { interim: None, ..saved.clone() };
    match &saved.interim {
        None => saved.clone(),
        Some(Interim::Trying { standing }) => match standing.stance {
            Stance::Off => done(standing),
            Stance::Observe | Stance::Enforce if is_held(standing) => done(standing),
            Stance::Observe | Stance::Enforce => dropped(),
        },
        Some(Interim::Pending { standing, .. }) if is_held(standing) => match fallback {
            None => done(standing),
            Some(_) if runs => saved.clone(),
            Some(_) => dropped(),
        },
        Some(Interim::Paused { generation, .. }) if active == Some(*generation) && runs => {
            saved.clone()
        }
        Some(Interim::Pending { .. } | Interim::Paused { .. }) => dropped(),
    }
}

/// The highest number that was handed out.
pub(super) fn highest(last: Generation, observed: &Observed) -> Generation {
    let fallback = observed.fallback.map(|(generation, _, _)| generation);
    last.max(observed.active.0).max(fallback.unwrap_or_default())
}
