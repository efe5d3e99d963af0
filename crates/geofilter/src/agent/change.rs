//! What the engine does about a change of policy: makes a policy of it, looks whom that would cut, and puts it
//! in force, or refuses and names them.

use std::collections::BTreeSet;

use geofilter_core::apply::{Command, Refusal, nothing_selected};
use geofilter_core::book::{Edit, Kind, Note, Origin, Record, Target};
use geofilter_core::change::{self, Change, Risk};
use geofilter_core::policy::Policy;
use geofilter_core::wire::{Cut, Failure, FailureKind, Reply};

use super::engine::{Engine, failure, nanoseconds};
use super::{clock, ledger};
use crate::cli;

impl Engine {
    /// Puts a change in force, unless it is dangerous in a way that was not accepted.
    pub(super) fn enforce(
        &mut self,
        change: Change,
        confirm_within: Option<u64>,
        keep_registered: Option<u64>,
    ) -> Result<Reply, Failure> {
        let accept = change.accept.clone();
        let policy = self.plan(change)?;
        // Where there is a PBX somebody may have registered since it was asked last.
        if !self.machine.attached() || self.ear.trusted().is_some() {
            self.hear_the_pbx_now();
        }
        let cut = self.cut_by(&policy);
        let (kept, cut): (Vec<Cut>, Vec<Cut>) =
            cut.into_iter().partition(|cut| keep_registered.is_some() && cut.can_be_kept());
        self.refuse_dangers(&policy, &cut, &accept)?;
        let exempted = self.exempt_for_a_while(&kept, keep_registered.unwrap_or(0))?;
        let confirm_within = confirm_within.map(nanoseconds);
        match self.command(Command::Enforce { policy, confirm_within }) {
            Reply::Error(failure) => {
                let origin = Some(Origin::Operator);
                let book = &self.ledger.book;
                let removal = |target| book.removal(Kind::Exemption, target, origin);
                let removals = exempted.iter().flat_map(removal).collect();
                Err(match self.change(removals) {
                    Ok(()) => failure,
                    Err(also) => Failure {
                        message: format!(
                            "{}; and those whom it was to exempt stay exempt: {}",
                            failure.message, also.message
                        ),
                        ..failure
                    },
                })
            }
            Reply::Changed(mut changed) => {
                let exempt = (!kept.is_empty()).then(|| {
                    let kept: Vec<&Cut> = kept.iter().collect();
                    let kept = cli::render_preview::cut(&kept);
                    format!("exempt for that time, also if this is undone (`geofilter exempt list`): {kept}")
                });
                changed.warnings.extend(exempt);
                // Who was asked for and did not answer may be cut unseen; where there is no PBX nobody is.
                let doubt = self.ear.trusted().and_then(|_| self.ear.doubt());
                changed.warnings.extend(doubt.map(str::to_owned));
                Ok(Reply::Changed(changed))
            }
            reply => Ok(reply),
        }
    }

    /// The policy that a change makes of the one in force.
    pub(super) fn plan(&self, change: Change) -> Result<Policy, Failure> {
        let change = self.usual_scope.complete(change);
        let current = &self.machine.current(clock::boot()).policy;
        let edits = change.edit != change::Edit::Replace;
        if self.machine.policy_lost() && edits {
            return Err(failure(&Refusal::PolicyLost));
        }
        if edits && change.mode != current.mode && is_unselected(current) {
            return Err(cli::invalid("no policy was chosen yet, so there is nothing to add to or remove from: name the whole selection, without --add and --remove".to_owned()));
        }
        let policy = change.policy(current, clock::wall().as_secs());
        policy.map_err(|objection| match objection.risk() {
            Some(risk) => Failure::risky(vec![risk], objection.to_string()),
            None => Failure::new(FailureKind::Invalid, objection.to_string()),
        })
    }

    fn refuse_dangers(
        &mut self,
        policy: &Policy,
        cut: &[Cut],
        accept: &[Risk],
    ) -> Result<(), Failure> {
        let risks = self.risks(policy, cut, accept);
        let dangers = risks.iter().map(|risk| danger(*risk, cut)).collect::<Vec<_>>();
        let accepting =
            risks.iter().map(|risk| format!(" --accept-risk {risk}")).collect::<String>();
        let instead = match risks.contains(&Risk::LosePhones) {
            true => ", or let them in for a while with --keep-registered 7d",
            false => "",
        };
        match risks.is_empty() {
            true => Ok(()),
            false => Err(Failure::risky(
                risks,
                format!("{}; if you mean it, add{accepting}{instead}", dangers.join("; ")),
            )),
        }
    }

    /// Exempts those who would be cut, and says who has one that they had not before.
    fn exempt_for_a_while(
        &mut self,
        cut: &[Cut],
        seconds: u64,
    ) -> Result<BTreeSet<Target>, Failure> {
        let added = ledger::unix_now();
        let records = cut.iter().map(|cut| Record {
            target: Target::of_prefix(cut.address.into()),
            origin: Origin::Operator,
            until: Some(added.plus(seconds)),
            note: Note::try_from(format!("{}, registered when it was cut", cut.what))
                .unwrap_or_default(),
            added,
        });
        let records: Vec<Record> = records.collect();
        let targets = records.iter().map(|record| record.target.clone()).collect();
        let put = |record| Edit::Put { kind: Kind::Exemption, record };
        self.change(records.into_iter().map(put).collect())?;
        Ok(targets)
    }
}

/// Who would be lost, in a sentence.
fn danger(risk: Risk, cut: &[Cut]) -> String {
    let lost: Vec<&Cut> = cut.iter().filter(|cut| cut.risk == Some(risk)).collect();
    match lost.as_slice() {
        [] => risk.danger().to_owned(),
        lost => format!("this would cut off {}", cli::render_preview::cut(lost)),
    }
}

/// Whether no policy was chosen yet, whatever the ports.
pub(super) fn is_unselected(policy: &Policy) -> bool {
    *policy == Policy { scope: policy.scope.clone(), ..nothing_selected() }
}
