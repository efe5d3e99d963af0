//! The hosts of a fleet, in groups that have a policy, and who vouches for them.

use std::collections::BTreeMap;

use geofilter_core::change::Change;
use geofilter_core::series::Slot;
use geofilter_fleet::{HostId, Mark, Report};
use sqlx::FromRow;
use sqlx::types::Json;

use super::Store;
use super::database::{CHANNEL, Writing, on, run};
use crate::fleet::Statement;

/// Milliseconds after which a portal that was not seen is forgotten.
const FORGOTTEN: i64 = 86_400_000;

/// Who vouches, in PEM.
#[derive(Debug, FromRow)]
pub(crate) struct KeptAuthority {
    pub(crate) key: String,
    pub(crate) certificate: String,
}

/// Hosts that have a policy together.
#[derive(Debug, FromRow)]
pub(crate) struct Group {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) policy: Option<Json<Change>>,
    pub(crate) revision: i64,
}

/// A host.
#[derive(Debug, FromRow)]
pub(crate) struct Member {
    pub(crate) id: i64,
    pub(crate) host_group: i64,
    pub(crate) name: String,
    pub(crate) enrolled: i64,
    pub(crate) report: Option<Json<Report>>,
    pub(crate) reported: Option<i64>,
    /// Whether it listens to a portal that is there.
    pub(crate) connected: bool,
}

/// What a host is to do: its group, and what that wants.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) group: i64,
    pub(crate) mark: Mark,
    pub(crate) policy: Option<Change>,
}

#[derive(FromRow)]
struct WantedRow {
    id: i64,
    policy: Option<Json<Change>>,
    revision: i64,
    epoch: i64,
}

impl WantedRow {
    fn read(self) -> Wanted {
        let Self { id, policy, revision, epoch } = self;
        // None is below zero.
        let mark = Mark { epoch: epoch.cast_unsigned(), revision: revision.cast_unsigned() };
        Wanted { group: id, mark, policy: policy.map(|policy| policy.0) }
    }
}

impl Store {
    /// Who vouches, if somebody does yet.
    pub(crate) async fn authority(&self) -> Result<Option<KeptAuthority>, sqlx::Error> {
        on!(self, |db| sqlx::query_as("SELECT key, certificate FROM fleet").fetch_optional(db))
    }

    /// Has this one vouch, unless somebody does by now.
    pub(crate) async fn set_authority(&self, new: &KeptAuthority) -> Result<(), sqlx::Error> {
        run!(self, sqlx::query("INSERT INTO fleet (one, key, certificate, epoch, revision) VALUES (1, $1, $2, 1, 0) ON CONFLICT DO NOTHING")
            .bind(&new.key)
            .bind(&new.certificate))
            .map(drop)
    }

    /// Where hosts connect; nothing if no portal of a fleet ever ran.
    pub(crate) async fn fleet_address(&self) -> Result<Option<String>, sqlx::Error> {
        let address: Option<String> =
            on!(self, |db| sqlx::query_scalar("SELECT address FROM fleet").fetch_optional(db))?;
        Ok(address.filter(|address| !address.is_empty()))
    }

    /// Hosts connect there from now on.
    pub(crate) async fn set_fleet_address(&self, address: &str) -> Result<(), sqlx::Error> {
        run!(self, sqlx::query("UPDATE fleet SET address = $1").bind(address)).map(drop)
    }

    /// All groups, by name.
    pub(crate) async fn groups(&self) -> Result<Vec<Group>, sqlx::Error> {
        on!(self, |db| sqlx::query_as(
            "SELECT id, name, policy, revision FROM host_group ORDER BY name"
        )
        .fetch_all(db))
    }

    /// The one of this number, if there is one.
    pub(crate) async fn group(&self, id: i64) -> Result<Option<Group>, sqlx::Error> {
        on!(self, |db| sqlx::query_as(
            "SELECT id, name, policy, revision FROM host_group WHERE id = $1"
        )
        .bind(id)
        .fetch_optional(db))
    }

    /// The group of this name, if there is one.
    pub(crate) async fn group_named(&self, name: &str) -> Result<Option<i64>, sqlx::Error> {
        on!(self, |db| sqlx::query_scalar("SELECT id FROM host_group WHERE name = $1")
            .bind(name)
            .fetch_optional(db))
    }

    /// Another group, and its number; none if there is one of this name.
    pub(crate) async fn add_group(&self, name: &str) -> Result<Option<i64>, sqlx::Error> {
        let mut all = self.begin().await?;
        let id = on!(all, |db| sqlx::query_scalar(
            "INSERT INTO host_group (name) VALUES ($1) ON CONFLICT DO NOTHING RETURNING id"
        )
        .bind(name)
        .fetch_optional(db))?;
        all.commit().await?;
        Ok(id)
    }

    /// Has a group want this from now on, at this second since 1970. Returns which revision that is; none if there is no such group.
    pub(crate) async fn set_group_policy(
        &self,
        group: i64,
        policy: &Change,
        now: i64,
    ) -> Result<Option<i64>, sqlx::Error> {
        let mut all = self.begin().await?;
        // By the time, so that a database that was taken back gives no number twice.
        run!(
            all,
            sqlx::query(
                "UPDATE fleet SET revision = CASE WHEN revision < $1 THEN $1 ELSE revision + 1 END"
            )
            .bind(now)
        )?;
        let revision = on!(all, |db| sqlx::query_scalar(
            "UPDATE host_group SET policy = $1, revision = (SELECT revision FROM fleet)
             WHERE id = $2 RETURNING revision"
        )
        .bind(Json(policy))
        .bind(group)
        .fetch_optional(db))?;
        announce(&mut all).await?;
        all.commit().await?;
        Ok(revision)
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

    /// The number of the last change of what hosts are to do; none before there is a fleet.
    pub(crate) async fn changed(&self) -> Result<Option<i64>, sqlx::Error> {
        on!(self, |db| sqlx::query_scalar("SELECT changed FROM fleet").fetch_optional(db))
    }

    /// What each group wants.
    pub(crate) async fn all_wanted(&self) -> Result<Vec<Wanted>, sqlx::Error> {
        let wanted: Vec<WantedRow> = on!(self, |db| sqlx::query_as(
            "SELECT id, policy, host_group.revision, epoch FROM host_group, fleet"
        )
        .fetch_all(db))?;
        Ok(wanted.into_iter().map(WantedRow::read).collect())
    }

    /// The hosts that were revoked by a change after this one.
    pub(crate) async fn cut_since(&self, changed: i64) -> Result<Vec<HostId>, sqlx::Error> {
        let cut: Vec<i64> =
            on!(self, |db| sqlx::query_scalar("SELECT id FROM member WHERE cut > $1")
                .bind(changed)
                .fetch_all(db))?;
        Ok(cut.into_iter().map(HostId).collect())
    }

    /// A ticket for a host of a group.
    pub(crate) async fn add_ticket(
        &self,
        digest: &[u8; 32],
        group: i64,
        expires: i64,
    ) -> Result<(), sqlx::Error> {
        run!(
            self,
            sqlx::query("INSERT INTO ticket (digest, host_group, expires) VALUES ($1, $2, $3)")
                .bind(digest.as_slice())
                .bind(group)
                .bind(expires)
        )
        .map(drop)
    }

    /// Whether a ticket is good.
    pub(crate) async fn has_ticket(
        &self,
        digest: &[u8; 32],
        now: i64,
    ) -> Result<bool, sqlx::Error> {
        let found: Option<i64> = on!(self, |db| sqlx::query_scalar(
            "SELECT host_group FROM ticket WHERE digest = $1 AND expires > $2"
        )
        .bind(digest.as_slice())
        .bind(now)
        .fetch_optional(db))?;
        Ok(found.is_some())
    }

    /// Uses up a ticket for a host of this number and name; not if it is not good, or not any more. All that have ended go with it.
    pub(crate) async fn enrol(
        &self,
        digest: &[u8; 32],
        host: HostId,
        name: &str,
        now: i64,
    ) -> Result<bool, sqlx::Error> {
        let mut all = self.begin().await?;
        run!(all, sqlx::query("DELETE FROM ticket WHERE expires <= $1").bind(now))?;
        let group: Option<i64> = on!(all, |db| sqlx::query_scalar(
            "DELETE FROM ticket WHERE digest = $1 RETURNING host_group"
        )
        .bind(digest.as_slice())
        .fetch_optional(db))?;
        let Some(group) = group else {
            all.commit().await?;
            return Ok(false);
        };
        run!(all, sqlx::query(
            "INSERT INTO member (id, host_group, name, enrolled, until) VALUES ($1, $2, $3, $4, 0)",
        )
        .bind(host.0)
        .bind(group)
        .bind(name)
        .bind(now))?;
        all.commit().await?;
        Ok(true)
    }

    /// A host's certificate ends then.
    pub(crate) async fn note_certificate(
        &self,
        host: HostId,
        until: i64,
    ) -> Result<(), sqlx::Error> {
        run!(
            self,
            sqlx::query("UPDATE member SET until = $1 WHERE id = $2").bind(until).bind(host.0)
        )
        .map(drop)
    }

    /// What a host is to do; none if it was revoked, or never enrolled.
    pub(crate) async fn wanted(&self, host: HostId) -> Result<Option<Wanted>, sqlx::Error> {
        let wanted: Option<WantedRow> = on!(self, |db| sqlx::query_as(
            "SELECT host_group.id, policy, host_group.revision, epoch
             FROM member JOIN host_group ON host_group.id = member.host_group, fleet
             WHERE member.id = $1 AND revoked IS NULL",
        )
        .bind(host.0)
        .fetch_optional(db))?;
        Ok(wanted.map(WantedRow::read))
    }

    /// All hosts that were not revoked, by name. A portal that was not seen after this time is gone.
    pub(crate) async fn members(&self, seen: i64) -> Result<Vec<Member>, sqlx::Error> {
        on!(self, |db| sqlx::query_as(
            "SELECT id, host_group, name, enrolled, report, reported,
                 coalesce(portal IN (SELECT id FROM portal WHERE seen > $1), FALSE) AS connected
             FROM member WHERE revoked IS NULL ORDER BY name, id",
        )
        .bind(seen)
        .fetch_all(db))
    }

    /// The name of a host; none if it was revoked, or never enrolled.
    pub(crate) async fn member_name(&self, host: HostId) -> Result<Option<String>, sqlx::Error> {
        on!(self, |db| sqlx::query_scalar(
            "SELECT name FROM member WHERE id = $1 AND revoked IS NULL"
        )
        .bind(host.0)
        .fetch_optional(db))
    }

    /// A host is heard no more.
    pub(crate) async fn revoke(&self, host: HostId, now: i64) -> Result<(), sqlx::Error> {
        let mut all = self.begin().await?;
        announce(&mut all).await?;
        run!(
            all,
            sqlx::query(
                "UPDATE member SET revoked = $1, cut = (SELECT changed FROM fleet)
                 WHERE id = $2 AND revoked IS NULL"
            )
            .bind(now)
            .bind(host.0)
        )?;
        all.commit().await
    }

    /// What hosts said, in the order in which it came, at this time.
    pub(crate) async fn note_statements(
        &self,
        statements: &[Statement],
        now: i64,
    ) -> Result<(), sqlx::Error> {
        // A server changes no row twice by one query: of each host the last one counts.
        let last: BTreeMap<HostId, &Statement> =
            statements.iter().map(|statement| (statement.host, statement)).collect();
        let counted = statements.iter().flat_map(|statement| {
            statement.said.counted.iter().map(|slot| (statement.host.0.to_string(), slot))
        });
        let counted: Vec<(String, &Slot)> = counted.collect();
        let mut all = self.begin_counting(&counted, now).await?;
        match &mut all {
            Writing::Sqlite(all) => {
                for (host, Statement { said, at, .. }) in last {
                    let query = sqlx::query(
                        "UPDATE member SET report = $1, reported = $2
                         WHERE id = $3 AND (reported IS NULL OR reported <= $2)",
                    );
                    let query = query.bind(Json(&said.report)).bind(at).bind(host.0);
                    query.execute(&mut **all).await?;
                }
            }
            Writing::Postgres(all) => {
                let hosts: Vec<i64> = last.keys().map(|host| host.0).collect();
                let said: Vec<_> =
                    last.values().map(|statement| Json(&statement.said.report)).collect();
                let times: Vec<i64> = last.values().map(|statement| statement.at).collect();
                sqlx::query(
                    "UPDATE member SET report = said.report, reported = said.at
                     FROM unnest($1::bigint[], $2::jsonb[], $3::bigint[]) AS said (host, report, at)
                     WHERE id = said.host AND (reported IS NULL OR reported <= said.at)",
                )
                .bind(hosts)
                .bind(said)
                .bind(times)
                .execute(&mut **all)
                .await?;
            }
        }
        all.commit().await
    }

    /// A portal is there, and these hosts listen to it or do so no more.
    pub(crate) async fn note_presence(
        &self,
        portal: i64,
        presence: &[(HostId, bool)],
        now: i64,
    ) -> Result<(), sqlx::Error> {
        let hosts = |listen: bool| -> Vec<i64> {
            let some = presence.iter().filter(|(_, listens)| *listens == listen);
            some.map(|(host, _)| host.0).collect()
        };
        let (come, gone) = (hosts(true), hosts(false));
        let mut all = self.begin().await?;
        run!(
            all,
            sqlx::query(
                "INSERT INTO portal (id, seen) VALUES ($1, $2)
                 ON CONFLICT (id) DO UPDATE SET seen = excluded.seen"
            )
            .bind(portal)
            .bind(now)
        )?;
        run!(all, sqlx::query("DELETE FROM portal WHERE seen < $1").bind(now - FORGOTTEN))?;
        match &mut all {
            Writing::Sqlite(all) => {
                for host in come {
                    let query = sqlx::query("UPDATE member SET portal = $1 WHERE id = $2");
                    query.bind(portal).bind(host).execute(&mut **all).await?;
                }
                for host in gone {
                    let query = sqlx::query(
                        "UPDATE member SET portal = NULL WHERE portal = $1 AND id = $2",
                    );
                    query.bind(portal).bind(host).execute(&mut **all).await?;
                }
            }
            Writing::Postgres(all) => {
                let query = sqlx::query("UPDATE member SET portal = $1 WHERE id = ANY($2)");
                query.bind(portal).bind(come).execute(&mut **all).await?;
                let query = sqlx::query(
                    "UPDATE member SET portal = NULL WHERE portal = $1 AND id = ANY($2)",
                );
                query.bind(portal).bind(gone).execute(&mut **all).await?;
            }
        }
        all.commit().await
    }
}

/// Has every portal look again what hosts are to do: a server tells them at once, and they look by themselves every now and then.
pub(super) async fn announce(all: &mut Writing) -> Result<(), sqlx::Error> {
    run!(all, sqlx::query("UPDATE fleet SET changed = changed + 1"))?;
    if let Writing::Postgres(all) = all {
        let query = sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL);
        query.execute(&mut **all).await?;
    }
    Ok(())
}
