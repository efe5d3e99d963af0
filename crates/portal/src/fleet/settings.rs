//! [`Settings`]: what is chosen for an organisation, a group or a host. What none of them says, the next one above does ([`Chosen`]).

use geofilter_core::apply::nothing_selected;
use geofilter_core::change::{Change, Edit, Objection, Risk};
use geofilter_core::country::CountrySet;
use geofilter_core::policy::{Disputed, Mode, Verdict};
use geofilter_fleet::digest;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is chosen at one level; what is not said is as the level above has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = FleetSettings)]
pub(crate) struct Settings {
    /// Allow or block; only with countries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<Mode>,
    /// The countries; only with a mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) countries: Option<CountrySet>,
    /// Hosting networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hosting: Option<Verdict>,
    /// Unknown space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unknown: Option<Verdict>,
    /// Disputed space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) disputed: Option<Disputed>,
    /// The risks that are accepted on every host of it; they come on top of those above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) accept: Vec<Risk>,
}

/// Where a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// The organisation.
    Tenant,
    /// The group.
    Group,
    /// The host.
    Host,
}

/// Where each setting comes from; nowhere, if it is the mode's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
#[schema(as = SettingSources)]
pub(crate) struct Sources {
    /// The mode and the countries.
    countries: Option<Level>,
    /// Hosting networks.
    hosting: Option<Level>,
    /// Unknown space.
    unknown: Option<Level>,
    /// Disputed space.
    disputed: Option<Level>,
}

/// What comes of the settings of several levels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Chosen {
    /// The whole policy; none while no level names countries.
    pub(crate) policy: Option<Change>,
    pub(crate) from: Sources,
}

/// Why settings can't be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("a mode and countries go together: give both, or neither")]
    Half,
    #[error(transparent)]
    Policy(#[from] Objection),
}

impl Settings {
    /// All of what this policy is.
    pub(crate) fn of(policy: &Change) -> Self {
        let Change { mode, countries, edit: _, unknown, hosting, disputed, scope: _, accept } =
            policy.clone();
        Self { mode: Some(mode), countries: Some(countries), hosting, unknown, disputed, accept }
    }

    /// Whether nothing is said.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Chosen {
    /// What comes of these, the outermost first.
    pub(crate) fn of<'a>(levels: impl IntoIterator<Item = (Level, &'a Settings)>) -> Self {
        let (mut selection, mut from) = (None, Sources::default());
        let (mut hosting, mut unknown, mut disputed) = (None, None, None);
        let mut accept: Vec<Risk> = Vec::new();
        for (level, settings) in levels {
            if let (Some(mode), Some(countries)) = (settings.mode, settings.countries) {
                (selection, from.countries) = (Some((mode, countries)), Some(level));
            }
            take(&mut hosting, settings.hosting, &mut from.hosting, level);
            take(&mut unknown, settings.unknown, &mut from.unknown, level);
            take(&mut disputed, settings.disputed, &mut from.disputed, level);
            accept.extend(&settings.accept);
        }
        accept.sort_unstable();
        accept.dedup();
        let policy = selection.map(|(mode, countries)| Change {
            mode,
            countries,
            edit: Edit::Replace,
            unknown,
            hosting,
            disputed,
            scope: None,
            accept,
        });
        Self { policy, from }
    }

    /// What a kernel says of itself that does it.
    pub(crate) fn digest(&self) -> Option<String> {
        let policy = self.policy.as_ref()?.policy(&nothing_selected(), 0).ok()?;
        Some(digest(&policy))
    }

    /// Whether it makes sense with the settings from which it came.
    ///
    /// # Errors
    /// If those are half of something, or no policy comes of them.
    pub(crate) fn check(&self, settings: &Settings) -> Result<(), Unfit> {
        if settings.mode.is_some() != settings.countries.is_some() {
            return Err(Unfit::Half);
        }
        if let Some(policy) = &self.policy {
            policy.policy(&nothing_selected(), 0)?;
        }
        Ok(())
    }
}

fn take<T>(value: &mut Option<T>, said: Option<T>, from: &mut Option<Level>, level: Level) {
    if said.is_some() {
        (*value, *from) = (said, Some(level));
    }
}

#[cfg(test)]
mod tests {
    use geofilter_core::country::select;

    use super::*;

    fn countries(named: &str) -> CountrySet {
        select([named]).unwrap()
    }

    #[test]
    fn what_a_level_does_not_say_the_one_above_does() {
        let tenant = Settings {
            mode: Some(Mode::AllowSelected),
            countries: Some(countries("ES")),
            hosting: Some(Verdict::Drop),
            accept: vec![Risk::LoseTrunk],
            ..Settings::default()
        };
        let group = Settings {
            mode: Some(Mode::BlockSelected),
            countries: Some(countries("CN")),
            ..Settings::default()
        };
        let host = Settings {
            hosting: Some(Verdict::Pass),
            accept: vec![Risk::LosePhones],
            ..Settings::default()
        };
        let chosen =
            Chosen::of([(Level::Tenant, &tenant), (Level::Group, &group), (Level::Host, &host)]);
        let policy = chosen.policy.unwrap();
        assert_eq!((policy.mode, policy.countries), (Mode::BlockSelected, countries("CN")));
        assert_eq!(policy.hosting, Some(Verdict::Pass));
        assert_eq!(policy.accept, [Risk::LoseTrunk, Risk::LosePhones]);
        let from = Sources {
            countries: Some(Level::Group),
            hosting: Some(Level::Host),
            ..Sources::default()
        };
        assert_eq!(chosen.from, from);
        assert_eq!(Chosen::of([(Level::Host, &host)]).policy, None);
    }
}
