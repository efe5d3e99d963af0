//! What hosts are to do: the settings of organisations, their groups and single hosts, and what comes of them.

use geofilter_core::change::Change;
use geofilter_core::limits::Limits;
use geofilter_fleet::{HostId, Mark};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use sqlx::types::Json;
use utoipa::ToSchema;

use super::Store;
use super::database::{Writing, on, run};
use super::fleet::{ENROLMENT, announce};
use super::rollouts::STEPS;
use crate::fleet::{Chosen, Level, Settings};

/// Who chooses for an organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub(crate) enum Editing {
    /// Operators of the whole portal.
    Portal,
    /// Its own operators too.
    Tenant,
}

/// An organisation.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Tenant {
    pub(crate) id: i64,
    pub(crate) name: String,
    policy: Option<Json<Settings>>,
    pub(crate) revision: i64,
    pub(crate) limits: Json<Limits>,
    pub(crate) editing: Editing,
}

/// Hosts of an organisation.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Group {
    pub(crate) id: i64,
    pub(crate) tenant: i64,
    pub(crate) name: String,
    policy: Option<Json<Settings>>,
}

impl Tenant {
    /// What is chosen for it.
    pub(crate) fn settings(&self) -> Settings {
        own(self.policy.as_ref())
    }
}

impl Group {
    /// What is chosen for it.
    pub(crate) fn settings(&self) -> Settings {
        own(self.policy.as_ref())
    }
}

/// For whom something is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Tenant(i64),
    Group(i64),
    Host(HostId),
}

/// What a host tries before the others of its group or organisation.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Trial {
    pub(crate) level: Level,
    pub(crate) settings: Settings,
}

/// What a host, or a group of them, is to do.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) group: i64,
    pub(crate) mark: Mark,
    pub(crate) policy: Option<Change>,
    pub(crate) within: Option<u64>,
    pub(crate) limits: Limits,
}

/// What is chosen at every level, with where a host stands in it.
#[derive(Debug, FromRow)]
pub(super) struct Levels {
    host: Option<i64>,
    host_group: i64,
    of_tenant: Option<Json<Settings>>,
    of_group: Option<Json<Settings>>,
    of_host: Option<Json<Settings>>,
    trial: Option<Json<Trial>>,
    tenant_revision: i64,
    group_revision: i64,
    host_revision: Option<i64>,
    tenant_within: Option<i64>,
    group_within: Option<i64>,
    host_within: Option<i64>,
    limits: Json<Limits>,
    epoch: i64,
}

/// Of all that [`Levels`] is, from groups and, as it goes on, their members.
macro_rules! levels {
    ($rest:literal) => {
        concat!(
            "SELECT member.id AS host, host_group.id AS host_group,
                 tenant.policy AS of_tenant, host_group.policy AS of_group, member.policy AS of_host, trial,
                 tenant.revision AS tenant_revision, host_group.revision AS group_revision, member.revision AS host_revision,
                 tenant.within AS tenant_within, host_group.within AS group_within, member.within AS host_within,
                 limits, epoch
             FROM host_group JOIN tenant ON tenant.id = host_group.tenant CROSS JOIN fleet ",
            $rest
        )
    };
}

pub(super) use levels;

impl Levels {
    /// The host, and what it would be to do if it tried this.
    pub(super) fn if_it_tried(mut self, trial: Trial) -> Option<(HostId, Option<Change>)> {
        let host = HostId(self.host?);
        self.trial = Some(Json(trial));
        Some((host, self.chosen().policy))
    }

    /// What comes of them.
    fn chosen(&self) -> Chosen {
        let trial = self.trial.as_ref().map(|trial| &trial.0);
        let tried = |level, settings: Option<&Json<Settings>>| match trial {
            Some(trial) if trial.level == level => trial.settings.clone(),
            _ => own(settings),
        };
        let levels = [
            (Level::Tenant, tried(Level::Tenant, self.of_tenant.as_ref())),
            (Level::Group, tried(Level::Group, self.of_group.as_ref())),
            (Level::Host, own(self.of_host.as_ref())),
        ];
        Chosen::of(levels.iter().map(|(level, settings)| (*level, settings)))
    }

    fn revision(&self) -> i64 {
        self.tenant_revision.max(self.group_revision).max(self.host_revision.unwrap_or(0))
    }

    fn wanted(&self) -> Wanted {
        let within = self.host_within.or(self.group_within).or(self.tenant_within);
        // None is below zero.
        let mark =
            Mark { epoch: self.epoch.cast_unsigned(), revision: self.revision().cast_unsigned() };
        Wanted {
            group: self.host_group,
            mark,
            policy: self.chosen().policy,
            within: within.map(i64::cast_unsigned),
            limits: self.limits.0.of_host(),
        }
    }
}

/// What somebody is to do, and where it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) chosen: Chosen,
    pub(crate) revision: i64,
}

impl From<&Levels> for Standing {
    fn from(levels: &Levels) -> Self {
        Self { chosen: levels.chosen(), revision: levels.revision() }
    }
}

/// Every group's, by its number.
pub(crate) type OfGroups = std::collections::HashMap<i64, Standing>;
/// Those of hosts that are not like their group: its settings of its own too.
pub(crate) type OfHosts = std::collections::HashMap<HostId, (Standing, Settings)>;

impl Store {
    /// All organisations, by name.
    pub(crate) async fn tenants(&self) -> Result<Vec<Tenant>, sqlx::Error> {
        on!(self, |db| sqlx::query_as(
            "SELECT id, name, policy, revision, limits, editing FROM tenant ORDER BY name"
        )
        .fetch_all(db))
    }

    /// The one of this number, if there is one.
    pub(crate) async fn tenant(&self, id: i64) -> Result<Option<Tenant>, sqlx::Error> {
        on!(self, |db| sqlx::query_as(
            "SELECT id, name, policy, revision, limits, editing FROM tenant WHERE id = $1"
        )
        .bind(id)
        .fetch_optional(db))
    }

    /// The organisation that has been there first: whoever has one only need not name it.
    pub(crate) async fn first_tenant(&self) -> Result<i64, sqlx::Error> {
        on!(self, |db| sqlx::query_scalar("SELECT id FROM tenant ORDER BY id LIMIT 1")
            .fetch_one(db))
    }

    /// Another organisation, and its number; none if there is one of this name.
    pub(crate) async fn add_tenant(&self, name: &str) -> Result<Option<i64>, sqlx::Error> {
        on!(self, |db| sqlx::query_scalar(
            "INSERT INTO tenant (name) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id"
        )
        .bind(name)
        .fetch_optional(db))
    }

    /// Gives an organisation another name, says what it may do, and who chooses for it. Not if the name is another's.
    pub(crate) async fn set_tenant(
        &self,
        id: i64,
        name: &str,
        limits: &Limits,
        editing: Editing,
    ) -> Result<bool, sqlx::Error> {
        let mut all = self.begin().await?;
        // Who chooses changes this first too: neither waits for what the other has.
        announce(&mut all).await?;
        // Hosts hear of limits, and have no reason to do anything anew.
        let done = run!(
            all,
            sqlx::query("UPDATE tenant SET name = $1, editing = $2, limits = $3 WHERE id = $4")
                .bind(name)
                .bind(editing)
                .bind(Json(limits))
                .bind(id)
        );
        match done {
            Ok(_) => {}
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => return Ok(false),
            Err(error) => return Err(error),
        }
        all.commit().await?;
        Ok(true)
    }

    /// An organisation that has no groups, operators or profiles is gone. Says whether it had none and there was one.
    pub(crate) async fn remove_tenant(&self, id: i64) -> Result<bool, sqlx::Error> {
        let done = run!(
            self,
            sqlx::query(
                "DELETE FROM tenant WHERE id = $1
                     AND NOT EXISTS (SELECT 1 FROM host_group WHERE tenant = $1)
                     AND NOT EXISTS (SELECT 1 FROM operator WHERE tenant = $1)
                     AND NOT EXISTS (SELECT 1 FROM profile WHERE tenant = $1)
                     AND EXISTS (SELECT 1 FROM tenant WHERE id <> $1)"
            )
            .bind(id)
        )?;
        Ok(done > 0)
    }

    /// All groups, by name.
    pub(crate) async fn groups(&self) -> Result<Vec<Group>, sqlx::Error> {
        on!(self, |db| sqlx::query_as(
            "SELECT id, tenant, name, policy FROM host_group ORDER BY name, id"
        )
        .fetch_all(db))
    }

    /// The one of this number, if there is one.
    pub(crate) async fn group(&self, id: i64) -> Result<Option<Group>, sqlx::Error> {
        on!(self, |db| sqlx::query_as(
            "SELECT id, tenant, name, policy FROM host_group WHERE id = $1"
        )
        .bind(id)
        .fetch_optional(db))
    }

    /// The groups of this name, in an organisation or in all.
    pub(crate) async fn groups_named(
        &self,
        tenant: Option<i64>,
        name: &str,
    ) -> Result<Vec<i64>, sqlx::Error> {
        on!(self, |db| {
            sqlx::query_scalar(
            "SELECT id FROM host_group WHERE tenant = coalesce($1, tenant) AND name = $2 ORDER BY id"
        )
        .bind(tenant)
        .bind(name)
        .fetch_all(db)
        })
    }

    /// The organisation of this name, if there is one.
    pub(crate) async fn tenant_named(&self, name: &str) -> Result<Option<i64>, sqlx::Error> {
        on!(self, |db| sqlx::query_scalar("SELECT id FROM tenant WHERE name = $1")
            .bind(name)
            .fetch_optional(db))
    }

    /// Another group of an organisation, and its number; none if there is one of this name.
    pub(crate) async fn add_group(
        &self,
        tenant: i64,
        name: &str,
    ) -> Result<Option<i64>, sqlx::Error> {
        let mut all = self.begin().await?;
        let id = on!(all, |db| {
            sqlx::query_scalar(
            "INSERT INTO host_group (tenant, name) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING id"
        )
        .bind(tenant)
        .bind(name)
        .fetch_optional(db)
        })?;
        all.commit().await?;
        Ok(id)
    }

    /// A group that has no hosts, revoked ones among them, is gone. Says whether it had none and there was one.
    pub(crate) async fn remove_group(&self, id: i64) -> Result<bool, sqlx::Error> {
        // Nobody enrols for it meanwhile.
        let mut all = self.begin_alone(ENROLMENT).await?;
        let done = run!(
            all,
            sqlx::query(
                "DELETE FROM host_group WHERE id = $1
                     AND NOT EXISTS (SELECT 1 FROM member WHERE host_group = $1)"
            )
            .bind(id)
        );
        let done = unless_moved(done.map(|done| done > 0))?;
        if done {
            all.commit().await?;
        }
        Ok(done)
    }

    /// Has somebody of an organisation want this from now on, at this second since 1970. Returns which revision that is; none if there is
    /// nobody of that number, or a rollout goes on.
    pub(crate) async fn choose(
        &self,
        tenant: i64,
        target: Target,
        settings: &Settings,
        now: i64,
    ) -> Result<Option<i64>, sqlx::Error> {
        let Some(mut all) = self.begin_beside_rollouts(tenant).await? else { return Ok(None) };
        let revision = next_revision(&mut all, now).await?;
        let done = set(&mut all, target, settings, None, revision).await?;
        forget_trials(&mut all, target, revision).await?;
        announce(&mut all).await?;
        all.commit().await?;
        Ok(done.then_some(revision))
    }

    /// Several queries about an organisation for which no rollout goes on, nor begins meanwhile; none if one does.
    async fn begin_beside_rollouts(&self, tenant: i64) -> Result<Option<Writing>, sqlx::Error> {
        let mut all = self.begin_alone(STEPS).await?;
        let on: Option<i64> = on!(all, |db| sqlx::query_scalar(
            "SELECT id FROM rollout WHERE tenant = $1 AND stage IN ('canary', 'all')"
        )
        .bind(tenant)
        .fetch_optional(db))?;
        Ok(on.is_none().then_some(all))
    }

    /// Has a host hear once more what it is to do, which it then does whatever it does now. Not while a rollout goes on.
    pub(crate) async fn tell_again(
        &self,
        tenant: i64,
        host: HostId,
        now: i64,
    ) -> Result<bool, sqlx::Error> {
        let Some(mut all) = self.begin_beside_rollouts(tenant).await? else { return Ok(false) };
        let revision = next_revision(&mut all, now).await?;
        run!(
            all,
            sqlx::query("UPDATE member SET revision = $1 WHERE id = $2")
                .bind(revision)
                .bind(host.0)
        )?;
        announce(&mut all).await?;
        all.commit().await?;
        Ok(true)
    }

    /// A host belongs to another group of its organisation from now on, and does what that does. Not while a rollout goes on.
    pub(crate) async fn move_host(
        &self,
        tenant: i64,
        host: HostId,
        group: i64,
        now: i64,
    ) -> Result<bool, sqlx::Error> {
        let Some(mut all) = self.begin_beside_rollouts(tenant).await? else { return Ok(false) };
        let revision = next_revision(&mut all, now).await?;
        let moved = run!(
            all,
            sqlx::query(
                "UPDATE member SET host_group = $1, revision = $2, trial = NULL WHERE id = $3"
            )
            .bind(group)
            .bind(revision)
            .bind(host.0)
        );
        if !unless_moved(moved.map(|_| true))? {
            return Ok(false);
        }
        announce(&mut all).await?;
        all.commit().await?;
        Ok(true)
    }

    /// Begins a new epoch, at this second since 1970: what each group wants has a new number.
    pub(crate) async fn begin_epoch(&self, now: i64) -> Result<(), sqlx::Error> {
        let mut all = self.begin().await?;
        run!(
            all,
            sqlx::query("UPDATE fleet SET epoch = CASE WHEN epoch < $1 THEN $1 ELSE epoch + 1 END")
                .bind(now)
        )?;
        announce(&mut all).await?;
        all.commit().await
    }

    /// What each group wants, and each host that is not like its group.
    pub(crate) async fn all_wanted(
        &self,
    ) -> Result<(Vec<Wanted>, Vec<(HostId, Wanted)>), sqlx::Error> {
        let groups = self.levels_of_groups().await?;
        let hosts = self.levels_of_hosts().await?;
        let wanted = |levels: &Levels| Some((HostId(levels.host?), levels.wanted()));
        Ok((groups.iter().map(Levels::wanted).collect(), hosts.iter().filter_map(wanted).collect()))
    }

    /// What each group is to do and where that comes from, and each host that is not like its group.
    pub(crate) async fn standings(&self) -> Result<(OfGroups, OfHosts), sqlx::Error> {
        let groups = self.levels_of_groups().await?;
        let hosts = self.levels_of_hosts().await?;
        let of_host = |levels: &Levels| {
            let own = own(levels.of_host.as_ref());
            Some((HostId(levels.host?), (Standing::from(levels), own)))
        };
        Ok((
            groups.iter().map(|levels| (levels.host_group, levels.into())).collect(),
            hosts.iter().filter_map(of_host).collect(),
        ))
    }

    async fn levels_of_groups(&self) -> Result<Vec<Levels>, sqlx::Error> {
        on!(self, |db| sqlx::query_as(levels!("LEFT JOIN member ON FALSE")).fetch_all(db))
    }

    async fn levels_of_hosts(&self) -> Result<Vec<Levels>, sqlx::Error> {
        on!(self, |db| sqlx::query_as(levels!(
            "JOIN member ON member.host_group = host_group.id
             WHERE revoked IS NULL AND member.revision > 0"
        ))
        .fetch_all(db))
    }

    /// What a host is to do; none if it was revoked, or never enrolled.
    pub(crate) async fn wanted(&self, host: HostId) -> Result<Option<Wanted>, sqlx::Error> {
        let levels: Option<Levels> = on!(self, |db| {
            sqlx::query_as(levels!(
            "JOIN member ON member.host_group = host_group.id WHERE member.id = $1 AND revoked IS NULL"
        ))
        .bind(host.0)
        .fetch_optional(db)
        })?;
        Ok(levels.as_ref().map(Levels::wanted))
    }
}

/// The next revision, at this second since 1970. By the time, so that a database that was taken back gives no number twice.
pub(super) async fn next_revision(all: &mut Writing, now: i64) -> Result<i64, sqlx::Error> {
    on!(all, |db| {
        sqlx::query_scalar(
        "UPDATE fleet SET revision = CASE WHEN revision < $1 THEN $1 ELSE revision + 1 END RETURNING revision",
    )
    .bind(now)
    .fetch_one(db)
    })
}

/// Has somebody want this by that revision, and its hosts go back within so many seconds unless they hear more. Says whether there is
/// somebody of that number.
pub(super) async fn set(
    all: &mut Writing,
    target: Target,
    settings: &Settings,
    within: Option<i64>,
    revision: i64,
) -> Result<bool, sqlx::Error> {
    let (query, id) = match target {
        Target::Tenant(id) => {
            ("UPDATE tenant SET policy = $1, within = $2, revision = $3 WHERE id = $4", id)
        }
        Target::Group(id) => {
            ("UPDATE host_group SET policy = $1, within = $2, revision = $3 WHERE id = $4", id)
        }
        Target::Host(host) => {
            ("UPDATE member SET policy = $1, within = $2, revision = $3 WHERE id = $4", host.0)
        }
    };
    let settings = (!settings.is_empty()).then_some(Json(settings));
    let done = run!(all, sqlx::query(query).bind(settings).bind(within).bind(revision).bind(id))?;
    Ok(done > 0)
}

/// A host came to a group while that was taken away, or was to come to it by then: it is not done, and nothing failed.
fn unless_moved(done: Result<bool, sqlx::Error>) -> Result<bool, sqlx::Error> {
    match done {
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => Ok(false),
        done => done,
    }
}

/// Hosts that had something else than what is chosen for all now do that.
async fn forget_trials(
    all: &mut Writing,
    target: Target,
    revision: i64,
) -> Result<(), sqlx::Error> {
    let (query, id) = match target {
        Target::Tenant(id) => (
            "UPDATE member SET trial = NULL, revision = $1 WHERE trial IS NOT NULL
                 AND host_group IN (SELECT id FROM host_group WHERE tenant = $2)",
            id,
        ),
        Target::Group(id) => (
            "UPDATE member SET trial = NULL, revision = $1 WHERE trial IS NOT NULL AND host_group = $2",
            id,
        ),
        Target::Host(host) => (
            "UPDATE member SET trial = NULL, revision = $1 WHERE trial IS NOT NULL AND id = $2",
            host.0,
        ),
    };
    run!(all, sqlx::query(query).bind(revision).bind(id)).map(drop)
}

/// What is said at a level; nothing where nobody chose anything.
pub(super) fn own(settings: Option<&Json<Settings>>) -> Settings {
    settings.map(|settings| settings.0.clone()).unwrap_or_default()
}
