//! The agent, its state and its data.

use super::Severity::{Note, Problem, Warning};
use super::facts::Folder;
use super::{Check, Code, Complaint, Facts, Outcome, Seen};
use crate::desired::State;
use crate::wire::{POLICY_LOST, Status, UNSAVED};

/// Room that the state folder should have, in bytes.
const ROOM: u64 = 16 << 20;
/// Data older than this many days is old: it is published monthly.
const OLD: i64 = 45;

pub(super) const CHECKS: &[Check] = &[
    (Code::AgentUnreachable, agent_unreachable),
    (Code::AgentWarning, agent_warning),
    (Code::PolicyLost, |facts| {
        warned(facts, POLICY_LOST, "choose a policy with `geofilter allow` or `geofilter block`")
    }),
    (Code::PolicyUnsaved, |facts| {
        warned(
            facts,
            UNSAVED,
            "make room for, and let the agent write to, its state folder; it saves as soon as it can",
        )
    }),
    (Code::NotEnforcing, not_enforcing),
    (Code::StateDir, state_dir),
    (Code::WorldDataOld, world_data_old),
];

/// What the agent says.
pub(super) fn status(facts: &Facts) -> Seen<&Status> {
    let status = facts.agent.status.as_ref().map_err(Clone::clone)?;
    status.as_ref().ok_or_else(|| "no agent answers".to_owned())
}

fn agent_unreachable(facts: &Facts) -> Outcome {
    let reachable = facts.agent.status.as_ref().map_err(Clone::clone)?.is_some();
    if let Some(trouble) = &facts.agent.trouble {
        let remedy = "restart it: the policy in force stays in force meanwhile; its log tells more";
        return Complaint::if_so(true, Problem, trouble, remedy);
    }
    let (severity, message) = match facts.agent.attached {
        Ok(true) => (
            Problem,
            "no agent answers, though its programs are on this host's interfaces: they go on judging by the last policy, and nobody follows names, addresses and interfaces",
        ),
        Ok(false) | Err(_) => (Warning, "no agent answers: nothing is filtered here"),
    };
    let remedy = "start it with `geofilter agent`, or name its socket with --socket";
    Complaint::if_so(!reachable, severity, message, remedy)
}

fn agent_warning(facts: &Facts) -> Outcome {
    let others = status(facts)?.warnings.iter();
    let others = others.filter(|warning| ![POLICY_LOST, UNSAVED].contains(&warning.as_str()));
    let remedy = "do what it says; the agent's log tells more";
    Ok(others
        .map(|warning| Complaint::new(Warning, format!("the agent warns: {warning}"), remedy))
        .collect())
}

fn warned(facts: &Facts, warning: &str, remedy: &str) -> Outcome {
    let warned = status(facts)?.warnings.iter().any(|said| said == warning);
    Complaint::if_so(warned, Problem, warning, remedy)
}

fn not_enforcing(facts: &Facts) -> Outcome {
    let (severity, message) = match status(facts)?.state {
        State::Enforcing | State::Pending => return Ok(Vec::new()),
        State::Off => (Warning, "GeoFilter is off: nothing is filtered"),
        State::Observing => {
            (Note, "GeoFilter observes: it counts what it would drop, and drops nothing")
        }
        State::Paused => (Note, "GeoFilter is paused: everything passes until the pause ends"),
    };
    let remedy = "`geofilter preview allow CC...` shows whom a policy would cut, `geofilter allow CC...` enforces it; `geofilter resume` ends a pause";
    Complaint::if_so(true, severity, message, remedy)
}

fn state_dir(facts: &Facts) -> Outcome {
    let Some(Folder { path, refuses, free }) = facts.agent.state_dir.clone()? else {
        return Err("there is no state folder yet".to_owned());
    };
    if let Some(why) = refuses {
        let message = format!("nothing can be written to the state folder {path}: {why}");
        let remedy =
            "mount it read-write, or name another with --state-dir; until then changes are refused";
        return Complaint::if_so(true, Problem, message, remedy);
    }
    Complaint::if_so(
        free < ROOM,
        Problem,
        format!(
            "the state folder {path} has {} kB left: what can't be announced on disk is refused",
            free >> 10
        ),
        "make room there",
    )
}

fn world_data_old(facts: &Facts) -> Outcome {
    let status = status(facts)?;
    let first = status.data.sources.first().ok_or("the agent does not say how old its data is")?;
    let day = first.day().ok_or_else(|| format!("`{}` is no date", first.date))?;
    let age = facts.machine.today - day;
    Complaint::if_so(
        age > OLD,
        Warning,
        format!(
            "the world data ({} of {}) is {age} days old: addresses have moved since",
            first.name, first.date
        ),
        "install a newer GeoFilter, which brings newer data",
    )
}
