//! The hosts of a fleet, what they say, and who vouches for them.

use std::collections::BTreeMap;

use geofilter_core::limits::Limits;
use geofilter_core::series::Slot;
use geofilter_fleet::{HostId, Previewed, Report};
use sqlx::FromRow;
use sqlx::types::Json;

use super::Store;
use super::bans::forget_bans_of;
use super::database::{CHANNEL, Writing, on, run};
use super::evidence::note_days;
use super::policies::own;
use super::rollouts::note_answers;
use crate::clock;
use crate::fleet::{Settings, Statement};

/// Milliseconds after which a portal that was not seen is forgotten.
const FORGOTTEN: i64 = 86_400_000;
/// Milliseconds for which it is kept what the logs of hosts told of a day: as long as they keep it.
const TOLD_OF: i64 = 732 * 86_400_000;

/// Who vouches, in PEM.
#[derive(Debug, FromRow)]
pub(crate) struct KeptAuthority {
    pub(crate) key: String,
    pub(crate) certificate: String,
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

/// Whether a host is let in by a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admitted {
    Yes,
    /// The ticket is not good, or not any more.
    Spent,
    /// Its organisation has as many hosts as it may, which are so many. The ticket is as good as before.
    Full(u32),
}

/// Those who enrol hosts do so alone, and those who take away what hosts enrol for.
pub(super) const ENROLMENT: &str = "enrolment";
/// The hosts of an organisation that were not revoked.
const HOSTS_OF: &str = "SELECT count(*) FROM member JOIN host_group ON host_group.id = host_group WHERE tenant = $1 AND revoked IS NULL";

/// A host, and where it belongs.
#[derive(Debug, FromRow)]
pub(crate) struct Known {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) host_group: i64,
    pub(crate) tenant: i64,
    policy: Option<Json<Settings>>,
    pub(crate) report: Option<Json<Report>>,
}

impl Known {
    /// What is chosen for it alone.
    pub(crate) fn settings(&self) -> Settings {
        own(self.policy.as_ref())
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

    /// The number of the last change of what hosts are to do; none before there is a fleet.
    pub(crate) async fn changed(&self) -> Result<Option<i64>, sqlx::Error> {
        on!(self, |db| sqlx::query_scalar("SELECT changed FROM fleet").fetch_optional(db))
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

    /// How many hosts an organisation has.
    pub(crate) async fn hosts_of(&self, tenant: i64) -> Result<i64, sqlx::Error> {
        on!(self, |db| sqlx::query_scalar(HOSTS_OF).bind(tenant).fetch_one(db))
    }

    /// Uses up a ticket for a host of this number and name, whose certificate ends then; not if its organisation has as many as it may. All that have ended go with it.
    pub(crate) async fn enrol(
        &self,
        digest: &[u8; 32],
        host: HostId,
        name: &str,
        until: i64,
        now: i64,
    ) -> Result<Admitted, sqlx::Error> {
        // Those who enrol at once are counted one after another.
        let mut all = self.begin_alone(ENROLMENT).await?;
        run!(all, sqlx::query("DELETE FROM ticket WHERE expires <= $1").bind(now))?;
        let group: Option<i64> = on!(all, |db| sqlx::query_scalar(
            "DELETE FROM ticket WHERE digest = $1 RETURNING host_group"
        )
        .bind(digest.as_slice())
        .fetch_optional(db))?;
        let Some(group) = group else {
            all.commit().await?;
            return Ok(Admitted::Spent);
        };
        let (tenant, limits): (i64, Json<Limits>) = on!(all, |db| sqlx::query_as(
            "SELECT tenant.id, limits FROM host_group JOIN tenant ON tenant.id = tenant
             WHERE host_group.id = $1"
        )
        .bind(group)
        .fetch_one(db))?;
        if let Some(most) = limits.0.hosts {
            let hosts: i64 =
                on!(all, |db| sqlx::query_scalar(HOSTS_OF).bind(tenant).fetch_one(db))?;
            if hosts >= i64::from(most) {
                return Ok(Admitted::Full(most));
            }
        }
        run!(all, sqlx::query(
            "INSERT INTO member (id, host_group, name, enrolled, until) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(host.0)
        .bind(group)
        .bind(name)
        .bind(now)
        .bind(until))?;
        all.commit().await?;
        Ok(Admitted::Yes)
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

    /// A host, and where it belongs; none if it was revoked, or never enrolled.
    pub(crate) async fn known_host(&self, host: HostId) -> Result<Option<Known>, sqlx::Error> {
        on!(self, |db| {
            sqlx::query_as(
            "SELECT member.id, member.name, host_group, tenant, member.policy, report
             FROM member JOIN host_group ON host_group.id = host_group WHERE member.id = $1 AND revoked IS NULL"
        )
        .bind(host.0)
        .fetch_optional(db)
        })
    }

    /// A host is heard no more.
    pub(crate) async fn revoke(&self, host: HostId, now: i64) -> Result<(), sqlx::Error> {
        let mut all = self.begin_with_bans().await?;
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
        forget_bans_of(&mut all, host, now).await?;
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
        let previewed = statements.iter().filter_map(|statement| {
            statement.said.previewed.as_deref().map(|previewed| (statement.host, previewed))
        });
        let previewed: Vec<(HostId, &Previewed)> = previewed.collect();
        let mut all = self.begin_counting(&counted, now).await?;
        note_answers(&mut all, &previewed).await?;
        let mut days = BTreeMap::new();
        for Statement { host, said, .. } in statements {
            days.extend(said.days.iter().map(|day| ((*host, day.day.as_str()), &day.of_day)));
        }
        note_days(&mut all, &days, &clock::day(now - TOLD_OF)).await?;
        match &mut all {
            Writing::Sqlite(all) => {
                for (host, Statement { said, at, .. }) in last {
                    let query = sqlx::query(
                        "UPDATE member SET report = $1, reported = $2, applied = $4,
                             served = coalesce($1 -> 'served', served),
                             served_at = CASE WHEN $1 -> 'served' IS NULL THEN served_at ELSE $2 END
                         WHERE id = $3 AND (reported IS NULL OR reported <= $2)",
                    );
                    let query = query.bind(Json(&said.report)).bind(at).bind(host.0);
                    let query = query.bind(applied(&said.report));
                    query.execute(&mut **all).await?;
                }
            }
            Writing::Postgres(all) => {
                let hosts: Vec<i64> = last.keys().map(|host| host.0).collect();
                let said: Vec<_> =
                    last.values().map(|statement| Json(&statement.said.report)).collect();
                let times: Vec<i64> = last.values().map(|statement| statement.at).collect();
                let applied: Vec<Option<i64>> =
                    last.values().map(|statement| applied(&statement.said.report)).collect();
                sqlx::query(
                    "UPDATE member SET report = said.report, reported = said.at, applied = said.applied,
                         served = coalesce((said.report -> 'served')::json, served),
                         served_at = CASE WHEN said.report -> 'served' IS NULL THEN served_at ELSE said.at END
                     FROM unnest($1::bigint[], $2::jsonb[], $3::bigint[], $4::bigint[]) AS said (host, report, at, applied)
                     WHERE id = said.host AND (reported IS NULL OR reported <= said.at)",
                )
                .bind(hosts)
                .bind(said)
                .bind(times)
                .bind(applied)
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

/// By which revision a host does what it is told, unless it makes up one that no portal gave.
fn applied(report: &Report) -> Option<i64> {
    i64::try_from(report.applied?.revision).ok()
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
