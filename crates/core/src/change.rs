//! [`Change`]: what an operator asks of `allow` and `block`, and the [`Risk`]s that must be accepted by name.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::country::{CountryId, CountrySet};
use crate::policy::{Disputed, MAX_TIME_BOXES, Mode, Policy, Scope, TimeBox, Verdict};

/// How the countries of a change relate to those already selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Edit {
    /// They are the selection; whatever else is not given takes its default.
    #[default]
    Replace,
    /// They join the selection; the rest of the policy stays.
    Add,
    /// They leave the selection, and lose their times; the rest of the policy stays.
    Remove,
    /// They are selected from one second since 1970 until before another; the rest of the policy stays.
    Within {
        /// The first second.
        from: u64,
        /// The first one after.
        until: u64,
    },
}

/// A danger that must be accepted by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// No country would pass.
    CutEveryone,
    /// Trunk providers, push proxies and hosted phone systems sit in hosting networks.
    LoseTrunk,
    /// Devices that are registered now would be cut.
    LosePhones,
    /// The shell that somebody works in would be cut.
    LoseSsh,
    /// A browser at the portal would be cut.
    LosePortal,
    /// Every change of any program's sets would be slow.
    SlowNft,
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CutEveryone => "cut-everyone",
            Self::LoseTrunk => "lose-trunk",
            Self::LosePhones => "lose-phones",
            Self::LoseSsh => "lose-ssh",
            Self::LosePortal => "lose-portal",
            Self::SlowNft => "slow-nft",
        })
    }
}

/// A change of policy as asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// A time that is over, or ends before it begins.
    #[error(
        "that time is over, or ends before it begins: --until must be later than now and than --from"
    )]
    NoTime,
    /// More times than a data plane holds.
    #[error("{MAX_TIME_BOXES} countries can be selected for a while, not more: remove some first")]
    TooManyTimes,
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
            Self::OtherMode { .. }
            | Self::BlocksNothing
            | Self::NoTime
            | Self::TooManyTimes
            | Self::EmptyScope => None,
        }
    }
}

impl Risk {
    /// What would happen.
    pub fn danger(self) -> &'static str {
        match self {
            Self::CutEveryone => {
                "no country would pass, so every phone and trunk outside your own networks would be cut off"
            }
            Self::LoseTrunk => {
                "trunk providers, push services and hosted phone systems are hosting networks too, and no trunk is known here yet"
            }
            Self::LosePhones => "devices that are registered now would be cut off",
            Self::LoseSsh => "a shell that somebody works in would be cut off",
            Self::LosePortal => "a browser at the portal would be cut off",
            Self::SlowNft => {
                "this selection is so fragmented that by nftables every change of a set on this host would take a second or more, those of fail2ban too"
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

    /// The policy this makes of the one in force, at so many seconds since 1970.
    ///
    /// # Errors
    /// [`Objection`] if it makes no sense or is dangerous in a way that was not accepted.
    pub fn policy(&self, in_force: &Policy, now: u64) -> Result<Policy, Objection> {
        let mut policy = self.edited(in_force)?;
        self.edit_times(&mut policy, now)?;
        let accepted = |risk| self.accept.contains(&risk);
        if policy.mode == Mode::BlockSelected && policy.countries.is_empty() {
            return Err(Objection::BlocksNothing);
        }
        if policy.scope.0.is_empty() {
            return Err(Objection::EmptyScope);
        }
        if cuts_everyone(&policy) && !accepted(Risk::CutEveryone) {
            return Err(Objection::Risky { risk: Risk::CutEveryone });
        }
        Ok(policy)
    }

    fn edited(&self, in_force: &Policy) -> Result<Policy, Objection> {
        let mut policy = match self.edit {
            Edit::Replace => Policy::new(self.mode, self.countries),
            Edit::Add | Edit::Remove | Edit::Within { .. } if in_force.mode != self.mode => {
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
            Edit::Within { .. } => in_force.clone(),
        };
        policy.unknown = self.unknown.unwrap_or(policy.unknown);
        policy.hosting = self.hosting.unwrap_or(policy.hosting);
        policy.disputed = self.disputed.unwrap_or(policy.disputed);
        policy.scope = self.scope.clone().unwrap_or(policy.scope);
        Ok(policy)
    }
}

impl Change {
    /// Adds and removes times, and forgets those that are over.
    fn edit_times(&self, policy: &mut Policy, now: u64) -> Result<(), Objection> {
        let named = |time_box: &TimeBox| self.countries.contains(time_box.country.id());
        policy.time_boxes.retain(|time_box| time_box.until > now);
        match self.edit {
            Edit::Replace | Edit::Add => {}
            Edit::Remove => policy.time_boxes.retain(|time_box| !named(time_box)),
            Edit::Within { from, until } if from < until && now < until => {
                policy.time_boxes.retain(|time_box| !named(time_box));
                let countries = self.countries.iter().map(CountryId::code);
                policy.time_boxes.extend(countries.map(|country| TimeBox { country, from, until }));
            }
            Edit::Within { .. } => return Err(Objection::NoTime),
        }
        match policy.time_boxes.len() {
            0..=MAX_TIME_BOXES => Ok(()),
            _ => Err(Objection::TooManyTimes),
        }
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

    const NOW: u64 = 1_000;

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
        let policy = change(Mode::BlockSelected, &["RU"]).policy(&in_force, NOW).unwrap();
        assert_eq!(policy, Policy::new(Mode::BlockSelected, set(&["RU"])));
    }

    #[test]
    fn adding_and_removing_keep_the_rest() {
        let in_force = Policy { unknown: Verdict::Pass, ..spain() };
        let add = Change { edit: Edit::Add, ..change(Mode::AllowSelected, &["PT", "FR"]) };
        let added = add.policy(&in_force, NOW).unwrap();
        assert_eq!(added, Policy { countries: set(&["ES", "FR", "PT"]), ..in_force });
        let remove = Change { edit: Edit::Remove, ..change(Mode::AllowSelected, &["FR", "DE"]) };
        assert_eq!(remove.policy(&added, NOW).unwrap().countries, set(&["ES", "PT"]));
    }

    #[test]
    fn editing_the_other_mode_is_refused() {
        let add = Change { edit: Edit::Add, ..change(Mode::BlockSelected, &["RU"]) };
        assert!(matches!(add.policy(&spain(), NOW), Err(Objection::OtherMode { .. })));
    }

    #[test]
    fn cutting_everyone_must_be_accepted() {
        let risky = Err(Objection::Risky { risk: Risk::CutEveryone });
        let nobody = change(Mode::AllowSelected, &[]);
        assert_eq!(nobody.policy(&spain(), NOW), risky);
        let last = Change { edit: Edit::Remove, ..change(Mode::AllowSelected, &["ES"]) };
        assert_eq!(last.policy(&spain(), NOW), risky);
        let all = change(Mode::BlockSelected, &crate::country::CODES[1..]);
        assert_eq!(all.policy(&spain(), NOW), risky);
        let accepted = Change { accept: vec![Risk::CutEveryone], ..nobody };
        assert!(accepted.policy(&spain(), NOW).is_ok());
    }

    #[test]
    fn blocking_nothing_makes_no_sense() {
        assert_eq!(
            change(Mode::BlockSelected, &[]).policy(&spain(), NOW),
            Err(Objection::BlocksNothing)
        );
    }

    #[test]
    fn a_country_is_selected_for_a_while() {
        let within = |codes: &[&str], from, until| Change {
            edit: Edit::Within { from, until },
            ..change(Mode::AllowSelected, codes)
        };
        let time = |country: &str, from, until| TimeBox {
            country: CountryCode::parse(country).unwrap(),
            from,
            until,
        };
        let july = within(&["PT"], 2_000, 3_000).policy(&spain(), NOW).unwrap();
        assert_eq!(july, Policy { time_boxes: vec![time("PT", 2_000, 3_000)], ..spain() });
        let moved = within(&["PT", "FR"], 0, 4_000).policy(&july, NOW).unwrap();
        assert_eq!(moved.time_boxes, [time("FR", 0, 4_000), time("PT", 0, 4_000)]);
        // One that is over goes with the next change, and one whose country is removed at once.
        assert_eq!(within(&["FR"], 0, 9_000).policy(&july, 3_000).unwrap().time_boxes.len(), 1);
        let remove = Change { edit: Edit::Remove, ..change(Mode::AllowSelected, &["PT"]) };
        assert_eq!(remove.policy(&july, NOW).unwrap(), spain());
        for (from, until) in [(2_000, 2_000), (3_000, 2_000), (0, NOW)] {
            assert_eq!(within(&["PT"], from, until).policy(&spain(), NOW), Err(Objection::NoTime));
        }
        let all: Vec<String> = CountryId::all().map(|country| country.code().to_string()).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let too_many = within(&all, 0, 9_000).policy(&spain(), NOW);
        assert_eq!(too_many, Err(Objection::TooManyTimes));
        let other_mode = Change { mode: Mode::BlockSelected, ..within(&["PT"], 0, 9_000) };
        assert!(matches!(other_mode.policy(&spain(), NOW), Err(Objection::OtherMode { .. })));
    }
}
