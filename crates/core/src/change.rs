//! [`Change`]: what an operator asks of `allow` and `block`, and the [`Risk`]s that must be accepted by name.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::country::{CountryId, CountrySet};
use crate::policy::{Disputed, Mode, Policy, Scope, Verdict};

/// How the countries of a change relate to those already selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Edit {
    /// They are the selection; whatever else is not given takes its default.
    #[default]
    Replace,
    /// They join the selection; the rest of the policy stays.
    Add,
    /// They leave the selection; the rest of the policy stays.
    Remove,
}

/// A danger that must be accepted by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// No country would pass.
    CutEveryone,
    /// Trunk providers, push proxies and hosted phone systems sit in hosting networks.
    LoseTrunk,
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CutEveryone => "cut-everyone",
            Self::LoseTrunk => "lose-trunk",
        })
    }
}

/// A change of policy as asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The mode.
    pub mode: Mode,
    /// The countries named.
    pub countries: CountrySet,
    /// What is done with them.
    #[serde(default)]
    pub edit: Edit,
    /// Unknown space, if said.
    #[serde(default)]
    pub unknown: Option<Verdict>,
    /// Hosting networks, if said.
    #[serde(default)]
    pub hosting: Option<Verdict>,
    /// Disputed space, if said.
    #[serde(default)]
    pub disputed: Option<Disputed>,
    /// Protected ports, if said.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// The risks accepted.
    #[serde(default)]
    pub accept: Vec<Risk>,
}

/// Why a change is not made into a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    /// Adding to or removing from a selection of the other mode.
    #[error(
        "the policy in force is `{in_force}`, so countries can't be added to or removed from `{asked}`: name the whole selection instead"
    )]
    OtherMode {
        /// The mode in force.
        in_force: &'static str,
        /// The mode asked for.
        asked: &'static str,
    },
    /// Blocking nothing.
    #[error("no country would be blocked: name at least one, or use `observe` to drop nothing")]
    BlocksNothing,
    /// A port range without a port.
    #[error("no port would be protected: name at least one, such as udp/5060")]
    EmptyScope,
    /// A risk that was not accepted.
    #[error("{}; if you mean it, add --accept-risk {risk}", risk.danger())]
    Risky {
        /// Which one.
        risk: Risk,
    },
}

impl Objection {
    /// The risk that would have to be accepted.
    pub fn risk(&self) -> Option<Risk> {
        match self {
            Self::Risky { risk } => Some(*risk),
            Self::OtherMode { .. } | Self::BlocksNothing | Self::EmptyScope => None,
        }
    }
}

impl Risk {
    fn danger(self) -> &'static str {
        match self {
            Self::CutEveryone => {
                "no country would pass, so every phone and trunk outside your own networks would be cut off"
            }
            Self::LoseTrunk => {
                "trunk providers, push services and hosted phone systems are hosting networks too, and no trunk is known here yet"
            }
        }
    }
}

impl Change {
    /// A change to these countries, with the defaults of the mode.
    pub fn new(mode: Mode, countries: CountrySet) -> Self {
        Self {
            mode,
            countries,
            edit: Edit::Replace,
            unknown: None,
            hosting: None,
            disputed: None,
            scope: None,
            accept: Vec::new(),
        }
    }

    /// The policy this makes of the one in force.
    ///
    /// # Errors
    /// [`Objection`] if it makes no sense or is dangerous in a way that was not accepted.
    pub fn policy(&self, in_force: &Policy) -> Result<Policy, Objection> {
        let policy = self.edited(in_force)?;
        let accepted = |risk| self.accept.contains(&risk);
        let newly_hosting = policy.hosting == Verdict::Drop && in_force.hosting == Verdict::Pass;
        if policy.mode == Mode::BlockSelected && policy.countries.is_empty() {
            return Err(Objection::BlocksNothing);
        }
        if policy.scope.0.is_empty() {
            return Err(Objection::EmptyScope);
        }
        if cuts_everyone(&policy) && !accepted(Risk::CutEveryone) {
            return Err(Objection::Risky { risk: Risk::CutEveryone });
        }
        if newly_hosting && !accepted(Risk::LoseTrunk) {
            return Err(Objection::Risky { risk: Risk::LoseTrunk });
        }
        Ok(policy)
    }

    fn edited(&self, in_force: &Policy) -> Result<Policy, Objection> {
        let mut policy = match self.edit {
            Edit::Replace => Policy::new(self.mode, self.countries),
            Edit::Add | Edit::Remove if in_force.mode != self.mode => {
                return Err(Objection::OtherMode {
                    in_force: word(in_force.mode),
                    asked: word(self.mode),
                });
            }
            Edit::Add => Policy {
                countries: in_force.countries.iter().chain(self.countries.iter()).collect(),
                ..in_force.clone()
            },
            Edit::Remove => Policy {
                countries: without(in_force.countries, self.countries),
                ..in_force.clone()
            },
        };
        policy.unknown = self.unknown.unwrap_or(policy.unknown);
        policy.hosting = self.hosting.unwrap_or(policy.hosting);
        policy.disputed = self.disputed.unwrap_or(policy.disputed);
        policy.scope = self.scope.clone().unwrap_or(policy.scope);
        Ok(policy)
    }
}

/// The command that chooses this mode.
pub fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::AllowSelected => "allow",
        Mode::BlockSelected => "block",
    }
}

fn without(countries: CountrySet, removed: CountrySet) -> CountrySet {
    countries.iter().filter(|country| !removed.contains(*country)).collect()
}

fn cuts_everyone(policy: &Policy) -> bool {
    match policy.mode {
        Mode::AllowSelected => policy.countries.is_empty(),
        Mode::BlockSelected => policy.countries.len() == CountryId::all().count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::country::CountryCode;

    fn set(codes: &[&str]) -> CountrySet {
        codes.iter().map(|code| CountryCode::parse(code).unwrap().id()).collect()
    }

    fn change(mode: Mode, codes: &[&str]) -> Change {
        Change::new(mode, set(codes))
    }

    fn spain() -> Policy {
        Policy::new(Mode::AllowSelected, set(&["ES"]))
    }

    #[test]
    fn replacing_states_the_whole_policy() {
        let in_force = Policy { hosting: Verdict::Drop, ..spain() };
        let policy = change(Mode::BlockSelected, &["RU"]).policy(&in_force).unwrap();
        assert_eq!(policy, Policy::new(Mode::BlockSelected, set(&["RU"])));
    }

    #[test]
    fn adding_and_removing_keep_the_rest() {
        let in_force = Policy { unknown: Verdict::Pass, ..spain() };
        let add = Change { edit: Edit::Add, ..change(Mode::AllowSelected, &["PT", "FR"]) };
        let added = add.policy(&in_force).unwrap();
        assert_eq!(added, Policy { countries: set(&["ES", "FR", "PT"]), ..in_force });
        let remove = Change { edit: Edit::Remove, ..change(Mode::AllowSelected, &["FR", "DE"]) };
        assert_eq!(remove.policy(&added).unwrap().countries, set(&["ES", "PT"]));
    }

    #[test]
    fn editing_the_other_mode_is_refused() {
        let add = Change { edit: Edit::Add, ..change(Mode::BlockSelected, &["RU"]) };
        assert!(matches!(add.policy(&spain()), Err(Objection::OtherMode { .. })));
    }

    #[test]
    fn cutting_everyone_must_be_accepted() {
        let risky = Err(Objection::Risky { risk: Risk::CutEveryone });
        let nobody = change(Mode::AllowSelected, &[]);
        assert_eq!(nobody.policy(&spain()), risky);
        let last = Change { edit: Edit::Remove, ..change(Mode::AllowSelected, &["ES"]) };
        assert_eq!(last.policy(&spain()), risky);
        let all = change(Mode::BlockSelected, &crate::country::CODES[1..]);
        assert_eq!(all.policy(&spain()), risky);
        let accepted = Change { accept: vec![Risk::CutEveryone], ..nobody };
        assert!(accepted.policy(&spain()).is_ok());
    }

    #[test]
    fn dropping_hosting_must_be_accepted_once() {
        let drop = Change { hosting: Some(Verdict::Drop), ..change(Mode::AllowSelected, &["ES"]) };
        assert_eq!(drop.policy(&spain()), Err(Objection::Risky { risk: Risk::LoseTrunk }));
        let accepted = Change { accept: vec![Risk::LoseTrunk], ..drop };
        let policy = accepted.policy(&spain()).unwrap();
        let add = Change { edit: Edit::Add, ..change(Mode::AllowSelected, &["PT"]) };
        assert_eq!(add.policy(&policy).unwrap().hosting, Verdict::Drop);
    }

    #[test]
    fn blocking_nothing_makes_no_sense() {
        assert_eq!(
            change(Mode::BlockSelected, &[]).policy(&spain()),
            Err(Objection::BlocksNothing)
        );
    }
}
