//! Settings on their way to hosts, which some try first; and what hosts say of settings before that.

use std::collections::BTreeSet;

use geofilter_core::change::Change;
use geofilter_fleet::{HostId, Previewed, Report, Served};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::FromRow;
use sqlx::types::Json;
use utoipa::ToSchema;

use super::Store;
use super::audit::{Deed, write_down};
use super::database::{Writing, on, run};
use super::fleet::announce;
use super::policies::{Levels, Target, Trial, levels, next_revision, set};
use crate::fleet::{Level, Settings};

/// Those who step from one stage to the next do so alone.
pub(super) const STEPS: &str = "rollouts";

/// How far a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
#[schema(as = RolloutStage)]
pub(crate) enum Stage {
    /// Some hosts try it.
    Canary,
    /// All hosts have it, and go back by themselves unless it is done.
    All,
    /// It is what is chosen.
    Done,
    /// It harmed a host, and all went back.
    Halted,
    /// An operator ended it, and all went back.
    Aborted,
}

/// Settings on their way to hosts.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Rollout {
    pub(crate) id: i64,
    pub(crate) tenant: i64,
    /// None for the whole organisation.
    pub(crate) host_group: Option<i64>,
    pub(crate) policy: Json<Settings>,
    pub(crate) before: Json<Settings>,
    pub(crate) operator: String,
    pub(crate) began: i64,
    pub(crate) stage: Stage,
    pub(crate) since: i64,
    pub(crate) paused: Option<i64>,
    pub(crate) revision: i64,
    pub(crate) hold: i64,
    pub(crate) why: Option<String>,
}

impl Rollout {
    /// For whom it is.
    pub(crate) fn target(&self) -> Target {
        self.host_group.map_or(Target::Tenant(self.tenant), Target::Group)
    }

    /// What a host has in the place of what is chosen there.
    fn trial(&self, settings: &Settings) -> Trial {
        trial(self.host_group, settings)
    }

    /// Seconds in which a host of it must hear more, or goes back: while it is watched, and long enough to hear that it stays.
    fn within(&self) -> i64 {
        self.hold / 1000 + MARGIN
    }
}

/// Seconds that it may take to tell hosts that something stays.
const MARGIN: i64 = 60;
/// Milliseconds for which an agent may be restarted and not know whom its host serves.
const RESTARTED: i64 = 600_000;
/// What the audit names instead of an operator, and how many hosts it names of a rollout.
const PORTAL: &str = "(the portal itself)";
const WRITTEN_DOWN: usize = 20;
/// Rollouts of an organisation that are kept.
const ROLLOUTS: i64 = 20;
/// Seconds for which hosts keep what they try while that is paused.
const PAUSED: i64 = 86_400;

/// A host that a rollout watches.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Watched {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) canary: i64,
    /// Whom it served when that began.
    pub(crate) before: Option<Json<Served>>,
    /// Whether its agent has been started since it said that.
    pub(crate) stale: i64,
    pub(crate) report: Option<Json<Report>>,
    pub(crate) reported: Option<i64>,
    /// By which revision it does what it is told.
    pub(crate) applied: Option<i64>,
    /// It was revoked, or left.
    pub(crate) gone: bool,
    /// It keeps what it tries while that is paused.
    pub(crate) kept: bool,
}

impl Watched {
    /// Whether it has what a rollout asks of it at its stage.
    pub(crate) fn has(&self, rollout: &Rollout) -> bool {
        self.applied.is_some_and(|revision| revision >= rollout.revision)
    }
}

/// How far a rollout is.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Progress {
    #[sqlx(flatten)]
    pub(crate) rollout: Rollout,
    /// How many hosts it watches, how many of them try it first, how many have what its stage asks of them as long as it goes on, and how
    /// many lost something.
    pub(crate) hosts: i64,
    pub(crate) canaries: i64,
    pub(crate) applied: Option<i64>,
    pub(crate) lost: i64,
}

/// A host of a rollout that stands out.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Outstanding {
    pub(crate) id: i64,
    pub(crate) name: String,
    /// What it lost.
    pub(crate) lost: Option<String>,
}

/// By what a host stands out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Standout {
    /// It tries a rollout first.
    Canary,
    /// It lost something by it.
    Lost,
}

/// What is asked of hosts before it is chosen.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Asked {
    pub(crate) id: i64,
    pub(crate) tenant: i64,
    pub(crate) host_group: Option<i64>,
    policy: Json<Settings>,
}

/// What a host was asked, and said.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Answered {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) answer: Option<Json<Previewed>>,
}

/// A rollout that is to begin.
#[derive(Debug)]
pub(crate) struct NewRollout<'a> {
    pub(crate) tenant: i64,
    pub(crate) host_group: Option<i64>,
    pub(crate) policy: &'a Settings,
    pub(crate) operator: &'a str,
    pub(crate) hold: i64,
    pub(crate) canaries: &'a [HostId],
    /// A portal that was not seen after this is gone, and whoever listened to it.
    pub(crate) seen: i64,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RolledOut {
    /// It goes on, by this number.
    Rollout(i64),
    /// Another one goes on for that organisation.
    Another,
    /// Nobody is there who could try it, or those are not who are named.
    Nobody,
}

/// One canary of so many hosts.
const OF: usize = 20;

fn trial(host_group: Option<i64>, settings: &Settings) -> Trial {
    let level = match host_group {
        Some(_) => Level::Group,
        None => Level::Tenant,
    };
    Trial { level, settings: settings.clone() }
}

/// The hosts of a rollout or preview that listen to a portal seen after `$3`, of the group `$2` or else the organisation `$1`.
macro_rules! listening {
    () => {
        "FROM member JOIN host_group ON host_group.id = member.host_group
         WHERE revoked IS NULL AND tenant = $1 AND member.host_group = coalesce($2, member.host_group)
             AND portal IN (SELECT id FROM portal WHERE seen > $3)"
    };
}

/// Has hosts keep what they try for `$1` seconds by the revision `$2`, unless they were told so before.
macro_rules! keep {
    () => {
        "UPDATE member SET within = $1, revision = $2 WHERE revoked IS NULL AND within IS DISTINCT FROM $1"
    };
}

impl Store {
    /// Begins a rollout: its canaries try it, or one of some hosts that listen if none are named.
    pub(crate) async fn begin_rollout(
        &self,
        new: &NewRollout<'_>,
        now: i64,
    ) -> Result<RolledOut, sqlx::Error> {
        let NewRollout { tenant, host_group, policy, operator, hold, canaries, seen } = *new;
        let mut all = self.begin_alone(STEPS).await?;
        // What is chosen now, since nobody chooses meanwhile.
        let (query, id) = match host_group {
            Some(group) => ("SELECT policy FROM host_group WHERE id = $1", group),
            None => ("SELECT policy FROM tenant WHERE id = $1", tenant),
        };
        let before: Option<Option<Json<Settings>>> =
            on!(all, |db| sqlx::query_scalar(query).bind(id).fetch_optional(db))?;
        let before = before.flatten().map(|before| before.0).unwrap_or_default();
        let revision = next_revision(&mut all, now / 1000).await?;
        let rollout: Option<Rollout> = on!(all, |db| {
            sqlx::query_as(
            "INSERT INTO rollout (tenant, host_group, policy, before, operator, began, stage, since, hold, revision)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $6, $8, $9) ON CONFLICT DO NOTHING RETURNING *"
        )
        .bind(tenant)
        .bind(host_group)
        .bind(Json(policy))
        .bind(Json(&before))
        .bind(operator)
        .bind(now)
        .bind(Stage::Canary)
        .bind(hold)
        .bind(revision)
        .fetch_optional(db)
        })?;
        let Some(rollout) = rollout else { return Ok(RolledOut::Another) };
        run!(
            all,
            sqlx::query(concat!(
                "INSERT INTO rollout_host (rollout, member, canary, before, stale, pinned)
                 SELECT $4, member.id, 0, CASE WHEN served_at > $5 THEN served END,
                     CASE WHEN report -> 'served' IS NULL THEN 1 ELSE 0 END, trial ",
                listening!()
            ))
            .bind(tenant)
            .bind(host_group)
            .bind(seen)
            .bind(rollout.id)
            .bind(now - RESTARTED)
        )?;
        // Where no policy comes of it there is nothing to try.
        let levels: Vec<Levels> = on!(all, |db| sqlx::query_as(levels!(
            "JOIN member ON member.host_group = host_group.id
             WHERE member.id IN (SELECT member FROM rollout_host WHERE rollout = $1)"
        ))
        .bind(rollout.id)
        .fetch_all(db))?;
        let trial = trial(host_group, policy);
        let tried = levels.into_iter().filter_map(|levels| levels.if_it_tried(trial.clone()));
        let (does, does_nothing): (Vec<_>, Vec<_>) =
            tried.partition(|(_, policy)| policy.is_some());
        let of = |some: Vec<(HostId, _)>| some.into_iter().map(|(host, _)| host).collect();
        let (does, does_nothing): (BTreeSet<HostId>, BTreeSet<HostId>) =
            (of(does), of(does_nothing));
        let remove = "DELETE FROM rollout_host WHERE rollout = $1 AND member";
        on_members(&mut all, remove, rollout.id, &does_nothing).await?;
        let canaries: BTreeSet<HostId> = match canaries {
            [] => does.iter().take(does.len().div_ceil(OF)).copied().collect(),
            some => some.iter().copied().collect(),
        };
        if canaries.is_empty() || !canaries.is_subset(&does) {
            return Ok(RolledOut::Nobody);
        }
        let try_it = "UPDATE rollout_host SET canary = 1 WHERE rollout = $1 AND member";
        on_members(&mut all, try_it, rollout.id, &canaries).await?;
        run!(
            all,
            sqlx::query(
                "UPDATE rollout SET canaries = $1,
                     hosts = (SELECT count(*) FROM rollout_host AS its WHERE its.rollout = rollout.id)
                 WHERE id = $2"
            )
            .bind(i64::try_from(canaries.len()).unwrap_or(i64::MAX))
            .bind(rollout.id)
        )?;
        // What became of older ones is in the audit.
        run!(
            all,
            sqlx::query(
                "DELETE FROM rollout WHERE tenant = $1
                     AND id NOT IN (SELECT id FROM rollout WHERE tenant = $1 ORDER BY id DESC LIMIT $2)"
            )
            .bind(tenant)
            .bind(ROLLOUTS)
        )?;
        run!(
            all,
            sqlx::query(
                "UPDATE member SET trial = $1, within = $2, revision = $3
                 WHERE id IN (SELECT member FROM rollout_host WHERE rollout = $4 AND canary <> 0)"
            )
            .bind(Json(&trial))
            .bind(rollout.within())
            .bind(revision)
            .bind(rollout.id)
        )?;
        announce(&mut all).await?;
        all.commit().await?;
        Ok(RolledOut::Rollout(rollout.id))
    }

    /// All rollouts that go on.
    pub(crate) async fn rollouts_on(&self) -> Result<Vec<Rollout>, sqlx::Error> {
        on!(self, |db| sqlx::query_as("SELECT * FROM rollout WHERE stage IN ('canary', 'all')")
            .fetch_all(db))
    }

    /// The last ones, of an organisation or of all, the newest first.
    pub(crate) async fn rollouts(
        &self,
        tenant: Option<i64>,
        most: i64,
    ) -> Result<Vec<Progress>, sqlx::Error> {
        on!(self, |db| {
            sqlx::query_as(
            "SELECT rollout.*, CASE WHEN stage IN ('canary', 'all') THEN
                     (SELECT count(*) FROM rollout_host AS its JOIN member ON member.id = its.member
                      WHERE its.rollout = rollout.id AND applied >= rollout.revision AND (canary <> 0 OR stage <> 'canary'))
                 END AS applied
             FROM rollout WHERE tenant = coalesce($1, tenant) ORDER BY id DESC LIMIT $2"
        )
        .bind(tenant)
        .bind(most)
        .fetch_all(db)
        })
    }

    /// The first hosts of a rollout that stand out by this, by name.
    pub(crate) async fn outstanding(
        &self,
        rollout: i64,
        by: Standout,
        most: i64,
    ) -> Result<Vec<Outstanding>, sqlx::Error> {
        let by = match by {
            Standout::Canary => "canary <> 0",
            Standout::Lost => "lost IS NOT NULL",
        };
        let query = format!(
            "SELECT member.id, name, lost FROM rollout_host JOIN member ON member.id = member
             WHERE rollout = $1 AND {by} ORDER BY name, member.id LIMIT $2"
        );
        on!(self, |db| sqlx::query_as(sqlx::AssertSqlSafe(&*query))
            .bind(rollout)
            .bind(most)
            .fetch_all(db))
    }

    /// The one of this number, if there is one.
    pub(crate) async fn rollout(&self, id: i64) -> Result<Option<Rollout>, sqlx::Error> {
        on!(self, |db| sqlx::query_as("SELECT * FROM rollout WHERE id = $1")
            .bind(id)
            .fetch_optional(db))
    }

    /// The hosts that a rollout watches, by name.
    pub(crate) async fn watched(&self, rollout: i64) -> Result<Vec<Watched>, sqlx::Error> {
        on!(self, |db| sqlx::query_as(
            "SELECT member.id, name, canary, before, stale, report, reported, applied,
                 revoked IS NOT NULL AS gone, within IS NOT DISTINCT FROM $2 AS kept
             FROM rollout_host JOIN member ON member.id = rollout_host.member
             WHERE rollout = $1 ORDER BY name, member.id",
        )
        .bind(rollout)
        .bind(PAUSED)
        .fetch_all(db))
    }

    /// Brings a rollout to a stage, for this reason, unless it is at another one than is thought by now, or was paused. Those that lost
    /// something keep what was before. Says whether it did.
    pub(crate) async fn step(
        &self,
        rollout: &Rollout,
        to: Stage,
        why: Option<&str>,
        lost: &[(HostId, String)],
        now: i64,
    ) -> Result<bool, sqlx::Error> {
        let mut all = self.begin_alone(STEPS).await?;
        let stepped = step(&mut all, rollout, to, why, lost, now).await?;
        if stepped {
            all.commit().await?;
        }
        Ok(stepped)
    }

    /// Ends a rollout for this reason, at whatever stage it is by then, and all go back. Says whether it went on.
    pub(crate) async fn abort_rollout(
        &self,
        id: i64,
        why: &str,
        now: i64,
    ) -> Result<bool, sqlx::Error> {
        let mut all = self.begin_alone(STEPS).await?;
        let rollout: Option<Rollout> = on!(all, |db| sqlx::query_as(
            "SELECT * FROM rollout WHERE id = $1 AND stage IN ('canary', 'all')"
        )
        .bind(id)
        .fetch_optional(db))?;
        let Some(rollout) = rollout else { return Ok(false) };
        step(&mut all, &rollout, Stage::Aborted, Some(why), &[], now).await?;
        all.commit().await?;
        Ok(true)
    }

    /// Leaves a rollout where it is, for as long as it is paused. Says whether it went on.
    pub(crate) async fn pause_rollout(&self, id: i64, now: i64) -> Result<bool, sqlx::Error> {
        let mut all = self.begin_alone(STEPS).await?;
        let done = run!(
            all,
            sqlx::query(
                "UPDATE rollout SET paused = $1
                 WHERE id = $2 AND paused IS NULL AND stage IN ('canary', 'all')"
            )
            .bind(now)
            .bind(id)
        )?;
        all.commit().await?;
        Ok(done > 0)
    }

    /// Has hosts of a rollout that is paused keep what they try for a day, unless they were told so before. Says whether any was.
    pub(crate) async fn keep_on_trial(
        &self,
        rollout: &Rollout,
        hosts: &[HostId],
        now: i64,
    ) -> Result<bool, sqlx::Error> {
        let mut all = self.begin_alone(STEPS).await?;
        let paused: Option<i64> = on!(all, |db| sqlx::query_scalar(
            "SELECT paused FROM rollout WHERE id = $1 AND stage = $2"
        )
        .bind(rollout.id)
        .bind(rollout.stage)
        .fetch_optional(db))?
        .flatten();
        if paused.is_none() {
            return Ok(false);
        }
        let revision = next_revision(&mut all, now / 1000).await?;
        let told = match &mut all {
            Writing::Sqlite(all) => {
                let mut told = 0;
                for host in hosts {
                    let query = sqlx::query(concat!(keep!(), " AND id = $3"));
                    let query = query.bind(PAUSED).bind(revision).bind(host.0);
                    told += query.execute(&mut **all).await?.rows_affected();
                }
                told
            }
            Writing::Postgres(all) => {
                let query = sqlx::query(concat!(keep!(), " AND id = ANY($3)"));
                let hosts: Vec<i64> = hosts.iter().map(|host| host.0).collect();
                let query = query.bind(PAUSED).bind(revision).bind(hosts);
                query.execute(&mut **all).await?.rows_affected()
            }
        };
        if told == 0 {
            return Ok(false);
        }
        announce(&mut all).await?;
        all.commit().await?;
        Ok(true)
    }

    /// Has a rollout that is paused go on: the stage is watched anew, and hosts have as long as before. Says whether it was.
    pub(crate) async fn resume_rollout(
        &self,
        rollout: &Rollout,
        now: i64,
    ) -> Result<bool, sqlx::Error> {
        let mut all = self.begin_alone(STEPS).await?;
        let done = run!(
            all,
            sqlx::query(
                "UPDATE rollout SET paused = NULL, since = $1
                 WHERE id = $2 AND paused IS NOT NULL AND stage = $3"
            )
            .bind(now)
            .bind(rollout.id)
            .bind(rollout.stage)
        )?;
        if done == 0 {
            return Ok(false);
        }
        let revision = next_revision(&mut all, now / 1000).await?;
        // Whether they were told that it is paused or not, they have too little time left.
        run!(
            all,
            sqlx::query(
                "UPDATE member SET within = $1, revision = $2
                 WHERE within IS NOT NULL AND id IN (SELECT member FROM rollout_host WHERE rollout = $3)"
            )
            .bind(rollout.within())
            .bind(revision)
            .bind(rollout.id)
        )?;
        if rollout.stage == Stage::All {
            let within = Some(rollout.within());
            set(&mut all, rollout.target(), &rollout.policy.0, within, revision).await?;
        }
        announce(&mut all).await?;
        all.commit().await?;
        Ok(true)
    }

    /// Asks the hosts that listen what these settings would do there. Returns the question's number. Old ones are forgotten.
    pub(crate) async fn ask_preview(
        &self,
        tenant: i64,
        host_group: Option<i64>,
        settings: &Settings,
        seen: i64,
        now: i64,
    ) -> Result<i64, sqlx::Error> {
        let mut all = self.begin().await?;
        // Those who ask at once do so one after another: numbers are told in their order.
        announce(&mut all).await?;
        run!(all, sqlx::query("DELETE FROM preview WHERE began < $1").bind(now - KEPT))?;
        let id: i64 = on!(all, |db| {
            sqlx::query_scalar(
            "INSERT INTO preview (tenant, host_group, policy, began) VALUES ($1, $2, $3, $4) RETURNING id"
        )
        .bind(tenant)
        .bind(host_group)
        .bind(Json(settings))
        .bind(now)
        .fetch_one(db)
        })?;
        run!(
            all,
            sqlx::query(concat!(
                "INSERT INTO preview_host (preview, member) SELECT $4, member.id ",
                listening!()
            ))
            .bind(tenant)
            .bind(host_group)
            .bind(seen)
            .bind(id)
        )?;
        all.commit().await?;
        Ok(id)
    }

    /// What was asked after this number, and not long ago.
    pub(crate) async fn asked_since(&self, id: i64, now: i64) -> Result<Vec<Asked>, sqlx::Error> {
        on!(self, |db| sqlx::query_as(
            "SELECT * FROM preview WHERE id > $1 AND began > $2 ORDER BY id"
        )
        .bind(id)
        .bind(now - FRESH)
        .fetch_all(db))
    }

    /// The number of the last question.
    pub(crate) async fn last_asked(&self) -> Result<i64, sqlx::Error> {
        on!(self, |db| sqlx::query_scalar("SELECT coalesce(max(id), 0) FROM preview").fetch_one(db))
    }

    /// The question of this number, if it is not forgotten.
    pub(crate) async fn asked(&self, id: i64) -> Result<Option<Asked>, sqlx::Error> {
        on!(self, |db| sqlx::query_as("SELECT * FROM preview WHERE id = $1")
            .bind(id)
            .fetch_optional(db))
    }

    /// What each host that is asked would be to do.
    pub(crate) async fn asked_of(
        &self,
        asked: &Asked,
    ) -> Result<Vec<(HostId, Option<Change>)>, sqlx::Error> {
        let levels: Vec<Levels> = on!(self, |db| {
            sqlx::query_as(levels!(
            "JOIN member ON member.host_group = host_group.id
             WHERE revoked IS NULL AND member.id IN (SELECT member FROM preview_host WHERE preview = $1)"
        ))
        .bind(asked.id)
        .fetch_all(db)
        })?;
        let trial = trial(asked.host_group, &asked.policy.0);
        let of = |levels: Levels| levels.if_it_tried(trial.clone());
        Ok(levels.into_iter().filter_map(of).collect())
    }

    /// What the hosts said that were asked, by name.
    pub(crate) async fn answers(&self, preview: i64) -> Result<Vec<Answered>, sqlx::Error> {
        on!(self, |db| sqlx::query_as(
            "SELECT member.id, name, answer
             FROM preview_host JOIN member ON member.id = preview_host.member
             WHERE preview = $1 ORDER BY name, member.id"
        )
        .bind(preview)
        .fetch_all(db))
    }
}

/// See [`Store::step`].
async fn step(
    all: &mut Writing,
    rollout: &Rollout,
    to: Stage,
    why: Option<&str>,
    lost: &[(HostId, String)],
    now: i64,
) -> Result<bool, sqlx::Error> {
    let revision = next_revision(all, now / 1000).await?;
    let done = run!(
        all,
        sqlx::query(
            "UPDATE rollout SET stage = $1, since = $2, paused = NULL, why = $3, revision = $4
             WHERE id = $5 AND stage = $6 AND revision = $7 AND (paused IS NULL OR $1 = 'aborted')"
        )
        .bind(to)
        .bind(now)
        .bind(why)
        .bind(revision)
        .bind(rollout.id)
        .bind(rollout.stage)
        .bind(rollout.revision)
    )?;
    if done == 0 {
        return Ok(false);
    }
    // Those that were on trial are like the others from now on, by a revision that is newer than what they try; if all go back, as they
    // were before.
    let (goes_back, of_all) = match to {
        Stage::Canary | Stage::Halted | Stage::Aborted => (true, rollout.stage == Stage::All),
        Stage::All | Stage::Done => (false, true),
    };
    run!(
        all,
        sqlx::query(
            "UPDATE member SET within = NULL, revision = $1, trial = CASE WHEN $2 THEN
                 (SELECT pinned FROM rollout_host AS its WHERE its.rollout = $3 AND its.member = member.id) END
             WHERE id IN (SELECT member FROM rollout_host WHERE rollout = $3 AND (canary <> 0 OR $4)
                 AND (trial IS NOT NULL OR within IS NOT NULL OR pinned IS NOT NULL))"
        )
        .bind(revision)
        .bind(goes_back)
        .bind(rollout.id)
        .bind(of_all)
    )?;
    note_lost(all, rollout.id, lost).await?;
    run!(
        all,
        sqlx::query(
            "UPDATE rollout SET lost = (SELECT count(*) FROM rollout_host AS its
                 WHERE its.rollout = rollout.id AND its.lost IS NOT NULL) WHERE id = $1"
        )
        .bind(rollout.id)
    )?;
    if to == Stage::Done {
        run!(
            all,
            sqlx::query(
                "UPDATE member SET trial = $1, revision = $2
                 WHERE id IN (SELECT member FROM rollout_host WHERE rollout = $3 AND lost IS NOT NULL)"
            )
            .bind(Json(rollout.trial(&rollout.before.0)))
            .bind(revision)
            .bind(rollout.id)
        )?;
    }
    let chosen = match to {
        Stage::All => Some((&rollout.policy.0, Some(rollout.within()))),
        Stage::Done => Some((&rollout.policy.0, None)),
        // The others never heard of it.
        _ if rollout.stage == Stage::Canary => None,
        Stage::Canary | Stage::Halted | Stage::Aborted => Some((&rollout.before.0, None)),
    };
    if let Some((settings, within)) = chosen {
        set(all, rollout.target(), settings, within, revision).await?;
    }
    // What an operator does is written down where it is asked.
    if let Some(action) = match to {
        Stage::Done => Some("rollout done"),
        Stage::Halted => Some("rollout halted"),
        Stage::Canary | Stage::All | Stage::Aborted => None,
    } {
        let hosts =
            lost.iter().take(WRITTEN_DOWN).map(|(host, what)| json!({ "id": host, "lost": what }));
        let hosts: Vec<_> = hosts.collect();
        let after = json!({ "id": rollout.id, "why": why, "lost": lost.len(), "hosts": hosts });
        let (operator, after) = (PORTAL, Some(after));
        let deed = Deed { operator, source: "", host: None, action, before: None, after };
        write_down(all, &deed, now).await?;
    }
    announce(all).await?;
    Ok(true)
}

/// What these hosts lost by a rollout.
async fn note_lost(
    all: &mut Writing,
    rollout: i64,
    lost: &[(HostId, String)],
) -> Result<(), sqlx::Error> {
    match all {
        Writing::Sqlite(all) => {
            for (host, what) in lost {
                let query = sqlx::query(
                    "UPDATE rollout_host SET lost = $1 WHERE rollout = $2 AND member = $3",
                );
                query.bind(what).bind(rollout).bind(host.0).execute(&mut **all).await?;
            }
        }
        Writing::Postgres(all) => {
            let (hosts, what): (Vec<i64>, Vec<&str>) =
                lost.iter().map(|(host, what)| (host.0, what.as_str())).unzip();
            sqlx::query(
                "UPDATE rollout_host SET lost = said.what
                 FROM unnest($1::bigint[], $2::text[]) AS said (host, what)
                 WHERE rollout = $3 AND member = said.host",
            )
            .bind(hosts)
            .bind(what)
            .bind(rollout)
            .execute(&mut **all)
            .await?;
        }
    }
    Ok(())
}

/// Runs a statement on a rollout's rows of these hosts: it ends with the name of the column that has them.
async fn on_members(
    all: &mut Writing,
    statement: &str,
    rollout: i64,
    hosts: &BTreeSet<HostId>,
) -> Result<(), sqlx::Error> {
    match all {
        Writing::Sqlite(all) => {
            let statement = format!("{statement} = $2");
            for host in hosts {
                let query = sqlx::query(sqlx::AssertSqlSafe(&*statement));
                query.bind(rollout).bind(host.0).execute(&mut **all).await?;
            }
        }
        Writing::Postgres(all) => {
            let query = sqlx::query(sqlx::AssertSqlSafe(format!("{statement} = ANY($2)")));
            let hosts: Vec<i64> = hosts.iter().map(|host| host.0).collect();
            query.bind(rollout).bind(hosts).execute(&mut **all).await?;
        }
    }
    Ok(())
}

/// Milliseconds for which a question is told to hosts, and for which what they said is kept.
const FRESH: i64 = 30_000;
const KEPT: i64 = 3_600_000;

/// What hosts said of what they were asked.
pub(super) async fn note_answers(
    all: &mut Writing,
    answers: &[(HostId, &Previewed)],
) -> Result<(), sqlx::Error> {
    if answers.is_empty() {
        return Ok(());
    }
    match all {
        Writing::Sqlite(all) => {
            for (host, answer) in answers {
                let query = sqlx::query(
                    "UPDATE preview_host SET answer = $1 WHERE preview = $2 AND member = $3",
                );
                let query = query.bind(Json(answer)).bind(answer.number).bind(host.0);
                query.execute(&mut **all).await?;
            }
        }
        Writing::Postgres(all) => {
            let hosts: Vec<i64> = answers.iter().map(|(host, _)| host.0).collect();
            let numbers: Vec<i64> = answers.iter().map(|(_, answer)| answer.number).collect();
            let said: Vec<_> = answers.iter().map(|(_, answer)| Json(answer)).collect();
            sqlx::query(
                "UPDATE preview_host SET answer = said.answer
                 FROM unnest($1::bigint[], $2::bigint[], $3::jsonb[]) AS said (host, number, answer)
                 WHERE preview = said.number AND member = said.host",
            )
            .bind(hosts)
            .bind(numbers)
            .bind(said)
            .execute(&mut **all)
            .await?;
        }
    }
    Ok(())
}
