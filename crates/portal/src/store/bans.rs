//! The bans that hosts share. What a host says it [made](MadeBan) is shared if it is proven, or once enough hosts made it in an hour; within
//! budgets, and never where a host protects whom it is for. All of it is decided by one portal at a time, and what is kept back is counted.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use geofilter_fleet::HostId;
use geofilter_fleet::bans::{
    LONGEST_COUNTED, LONGEST_PROVEN, MadeBan, OfBans, Prefixes, Protected, SHARED, SharedBan,
    ordered,
};
use ipnet::IpNet;
use sha2::{Digest, Sha256};
use sqlx::FromRow;

use super::Store;
use super::database::{CHANNEL, Writing, on, run};
use crate::fleet::Statement;

/// How many hosts must have made a ban that could be forged, within an hour.
pub(crate) const ENOUGH: i64 = 3;
/// How many times an hour a host may have a ban shared, or shared for longer.
pub(crate) const MOST_OF_A_HOST: i64 = 60;
/// How many bans may be shared at a time because of one host.
const MOST_IN_FORCE_OF_A_HOST: i64 = 512;
/// How many times an hour those of an organisation may, as long as there are others: who may invite hosts has the budgets of many.
const MOST_OF_A_TENANT: i64 = 1_024;
/// How many bans that a host says in an hour are looked at.
const MOST_SAID: i64 = 600;

const HOUR: i64 = 3_600_000;
/// For how long what an operator withdrew is not shared again, and what was kept back is counted.
const DAY: i64 = 24 * HOUR;
/// By this name what is decided of bans holds together.
const ALONE: &str = "bans";

/// Whether bans are shared, and the number of the last change of which are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub(crate) struct Sharing {
    pub(crate) shares: bool,
    pub(crate) bans: i64,
}

/// A ban that is shared, or was before it was withdrawn.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Shared {
    target: String,
    pub(crate) since: i64,
    pub(crate) until: i64,
    pub(crate) proven: bool,
    pub(crate) hosts: i64,
    pub(crate) why: String,
    /// By which host it came to be.
    pub(crate) name: String,
    pub(crate) withdrawn: bool,
}

/// What of the last day was not shared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
pub(crate) struct KeptBack {
    /// Since the host had had enough shared.
    pub(crate) excess: i64,
    /// Since as many were in force as may be.
    pub(crate) unfit: i64,
    /// Since a host protects whom it is for.
    pub(crate) protected: i64,
}

/// What became of a ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is shared, or for longer.
    Shared,
    /// It is shared as before.
    Known,
    /// It only counts.
    Counts,
    Over,
    Unfit,
    Protected,
}

impl Shared {
    /// Whom it is for.
    pub(crate) fn target(&self) -> Option<IpNet> {
        self.target.parse().ok()
    }

    /// As hosts are told of it.
    pub(crate) fn told(&self) -> Option<SharedBan> {
        Some(SharedBan {
            target: self.target()?,
            until: seconds(self.until),
            proven: self.proven,
            hosts: u32::try_from(self.hosts).unwrap_or(u32::MAX),
            why: self.why.clone(),
        })
    }
}

/// What of a shared ban is read.
const COLUMNS: &str = "SELECT target, since, shared_ban.until, proven, hosts, why, name, withdrawn IS NOT NULL AS withdrawn
     FROM shared_ban JOIN member ON member.id = host";

impl Store {
    /// See [`Sharing`]; none before there is a fleet.
    pub(crate) async fn sharing(&self) -> Result<Option<Sharing>, sqlx::Error> {
        on!(self, |db| sqlx::query_as("SELECT shares, bans FROM fleet").fetch_optional(db))
    }

    /// Has bans be shared from now on, or not.
    pub(crate) async fn share_bans(&self, shares: bool) -> Result<(), sqlx::Error> {
        let mut all = self.begin_alone(ALONE).await?;
        run!(all, sqlx::query("UPDATE fleet SET shares = $1").bind(shares))?;
        next(&mut all).await?;
        all.commit().await
    }

    /// The bans that are shared, or withdrawn, by a change after this one.
    pub(crate) async fn shared_since(&self, changed: i64) -> Result<Vec<Shared>, sqlx::Error> {
        let query = format!("{COLUMNS} WHERE changed > $1 ORDER BY changed");
        on!(self, |db| sqlx::query_as(sqlx::AssertSqlSafe(&*query)).bind(changed).fetch_all(db))
    }

    /// The bans that are shared at this time, the newest first.
    pub(crate) async fn shared_bans(&self, now: i64) -> Result<Vec<Shared>, sqlx::Error> {
        let query = format!(
            "{COLUMNS} WHERE withdrawn IS NULL AND shared_ban.until > $1 ORDER BY since DESC, target"
        );
        on!(self, |db| sqlx::query_as(sqlx::AssertSqlSafe(&*query)).bind(now).fetch_all(db))
    }

    /// How many sources hosts banned in the last hour that are not shared for that alone.
    pub(crate) async fn counting(&self, now: i64) -> Result<i64, sqlx::Error> {
        on!(self, |db| {
            sqlx::query_scalar(
            "SELECT count(DISTINCT target) FROM made_ban WHERE NOT proven AND time > $1
             AND target NOT IN (SELECT target FROM shared_ban WHERE withdrawn IS NULL AND until > $2)"
        )
        .bind(now - HOUR)
        .bind(now)
        .fetch_one(db)
        })
    }

    /// What of the last day was not shared.
    pub(crate) async fn kept_back(&self, now: i64) -> Result<KeptBack, sqlx::Error> {
        on!(self, |db| sqlx::query_as(
            "SELECT CAST(coalesce(sum(excess), 0) AS BIGINT) AS excess,
                 CAST(coalesce(sum(unfit), 0) AS BIGINT) AS unfit,
                 CAST(coalesce(sum(protected), 0) AS BIGINT) AS protected
             FROM ban_budget WHERE hour > $1"
        )
        .bind((now - DAY) / HOUR)
        .fetch_one(db))
    }

    /// How many prefixes hosts protect that no one host can keep from all.
    pub(crate) async fn unprotected(&self) -> Result<i64, sqlx::Error> {
        on!(self, |db| sqlx::query_scalar(
            "SELECT CAST(coalesce(sum(left_out), 0) AS BIGINT) FROM protection"
        )
        .fetch_one(db))
    }

    /// Has a ban not be shared any more, nor again within a day. Whether it was.
    pub(crate) async fn withdraw(&self, target: IpNet, now: i64) -> Result<bool, sqlx::Error> {
        let mut all = self.begin_alone(ALONE).await?;
        let number = next(&mut all).await?;
        let withdrawn = run!(
            all,
            sqlx::query(
                "UPDATE shared_ban SET withdrawn = $1, changed = $2
                 WHERE target = $3 AND withdrawn IS NULL AND until > $1"
            )
            .bind(now)
            .bind(number)
            .bind(target.to_string())
        )?;
        if withdrawn == 0 {
            // Nothing was changed.
            return Ok(false);
        }
        run!(
            all,
            sqlx::query(
                "INSERT INTO unshared (target, until) VALUES ($1, $2)
                 ON CONFLICT (target) DO UPDATE SET until = excluded.until"
            )
            .bind(target.to_string())
            .bind(now + DAY)
        )?;
        all.commit().await?;
        Ok(true)
    }

    /// What hosts said of bans, in the order in which it came, at this time. Whether something is shared, or withdrawn, by it.
    pub(crate) async fn note_bans(
        &self,
        statements: &[Statement],
        now: i64,
    ) -> Result<bool, sqlx::Error> {
        let statements: Vec<_> =
            statements.iter().filter(|statement| !statement.said.bans.is_empty()).collect();
        if statements.is_empty() {
            return Ok(false);
        }
        let mut all = self.begin_alone(ALONE).await?;
        tidy(&mut all, now).await?;
        let mut deciding =
            Deciding { number: None, now, over: HashSet::new(), tenants: HashMap::new() };
        for Statement { host, said, .. } in statements {
            let is_member: bool = on!(all, |db| sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM member WHERE id = $1 AND revoked IS NULL)"
            )
            .bind(host.0)
            .fetch_one(db))?;
            if is_member {
                deciding.take(&mut all, *host, &said.bans).await?;
            }
        }
        all.commit().await?;
        Ok(deciding.number.is_some())
    }
}

/// Nothing that only this host said holds any more: it was revoked.
pub(super) async fn forget_bans_of(
    all: &mut Writing,
    host: HostId,
    now: i64,
) -> Result<(), sqlx::Error> {
    let number = next(all).await?;
    run!(
        all,
        sqlx::query(
            "UPDATE shared_ban SET withdrawn = $1, changed = $2 WHERE host = $3 AND withdrawn IS NULL"
        )
            .bind(now)
            .bind(number)
            .bind(host.0)
    )?;
    for table in ["made_ban", "protected", "protection"] {
        let query = format!("DELETE FROM {table} WHERE host = $1");
        run!(all, sqlx::query(sqlx::AssertSqlSafe(query)).bind(host.0))?;
    }
    Ok(())
}

impl Store {
    /// Queries of which no others of bans go on meanwhile.
    pub(super) async fn begin_with_bans(&self) -> Result<Writing, sqlx::Error> {
        self.begin_alone(ALONE).await
    }
}

/// Of what is over, nothing is kept longer than something depends on it.
async fn tidy(all: &mut Writing, now: i64) -> Result<(), sqlx::Error> {
    for (table, before) in [
        ("made_ban WHERE time <= $1", now - HOUR),
        ("shared_ban WHERE until <= $1", now),
        ("unshared WHERE until <= $1", now),
        ("ban_budget WHERE hour <= $1", (now - DAY) / HOUR),
    ] {
        let query = format!("DELETE FROM {table}");
        run!(all, sqlx::query(sqlx::AssertSqlSafe(query)).bind(before))?;
    }
    Ok(())
}

/// The number of another change, which every portal hears of.
async fn next(all: &mut Writing) -> Result<i64, sqlx::Error> {
    let number =
        on!(all, |db| sqlx::query_scalar("UPDATE fleet SET bans = bans + 1 RETURNING bans")
            .fetch_one(db))?;
    if let Writing::Postgres(all) = all {
        sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL).execute(&mut **all).await?;
    }
    Ok(number)
}

/// What is decided together.
struct Deciding {
    /// Of the change that it is, if it is one.
    number: Option<i64>,
    now: i64,
    /// The hosts of which nothing more is looked at in this hour.
    over: HashSet<HostId>,
    /// What each organisation has, by its number.
    tenants: HashMap<i64, OfTenant>,
}

/// What an organisation has of what is shared.
#[derive(Debug, Clone, Copy, FromRow)]
struct OfTenant {
    /// No other one has hosts.
    is_alone: bool,
    in_force: i64,
    /// In this hour.
    shared: i64,
}

impl OfTenant {
    /// Whether it has as much as it may have. While it has less than the places that are left there is room for another organisation,
    /// however many there are (dynamic thresholds, Choudhury and Hahne 1998).
    fn is_over(&self, is_known: bool, left: i64) -> bool {
        let is_full = !is_known && self.in_force >= left;
        !self.is_alone && (is_full || self.shared >= MOST_OF_A_TENANT)
    }
}

impl Deciding {
    async fn number(&mut self, all: &mut Writing) -> Result<i64, sqlx::Error> {
        match self.number {
            Some(number) => Ok(number),
            None => Ok(*self.number.insert(next(all).await?)),
        }
    }

    async fn take(
        &mut self,
        all: &mut Writing,
        host: HostId,
        said: &OfBans,
    ) -> Result<(), sqlx::Error> {
        if let Some(protects) = &said.protects {
            self.protect(all, host, protects).await?;
        }
        let shares: bool =
            on!(all, |db| sqlx::query_scalar("SELECT shares FROM fleet").fetch_one(db))?;
        if !shares || said.made.is_empty() {
            return Ok(());
        }
        let many = i64::try_from(said.made.len()).unwrap_or(i64::MAX);
        if self.count(all, host, "said", many).await? > MOST_SAID {
            self.over.insert(host);
        }
        if self.over.contains(&host) {
            return self.count(all, host, "excess", many).await.map(drop);
        }
        for made in &said.made {
            let counted = match self.judge(all, host, made).await? {
                Fate::Shared | Fate::Known | Fate::Counts => continue,
                Fate::Over => "excess",
                Fate::Unfit => "unfit",
                Fate::Protected => "protected",
            };
            self.count(all, host, counted, 1).await?;
        }
        Ok(())
    }

    /// Counts something of this hour. Returns how much of it there was.
    async fn count(
        &self,
        all: &mut Writing,
        host: HostId,
        what: &str,
        many: i64,
    ) -> Result<i64, sqlx::Error> {
        let query = format!(
            "INSERT INTO ban_budget (host, hour, {what}) VALUES ($1, $2, $3)
             ON CONFLICT (host, hour) DO UPDATE SET {what} = ban_budget.{what} + $3
             RETURNING {what}"
        );
        on!(all, |db| sqlx::query_scalar(sqlx::AssertSqlSafe(&*query))
            .bind(host.0)
            .bind(self.now / HOUR)
            .bind(many)
            .fetch_one(db))
    }

    async fn judge(
        &mut self,
        all: &mut Writing,
        host: HostId,
        made: &MadeBan,
    ) -> Result<Fate, sqlx::Error> {
        let longest = if made.proven { LONGEST_PROVEN } else { LONGEST_COUNTED };
        let until = milliseconds(made.until).min(self.now + milliseconds(longest));
        if until <= self.now {
            return Ok(Fate::Known);
        }
        let target = made.target.to_string();
        self.note(all, host, made, until).await?;
        let (hosts, last) = self.made(all, &target).await?;
        let known = self.known(all, &target).await?;
        if !made.proven && hosts < ENOUGH && known.is_none() {
            return Ok(Fate::Counts);
        }
        // Those that only count end with the last of them.
        let until = if made.proven { until } else { last.min(self.now + HOUR) };
        if let Some((until_known, proven_known)) = known
            && until_known >= until
            && (proven_known || !made.proven)
        {
            run!(
                all,
                sqlx::query("UPDATE shared_ban SET hosts = $1 WHERE target = $2")
                    .bind(hosts)
                    .bind(&target)
            )?;
            return Ok(Fate::Known);
        }
        if known.is_some() && !made.proven && hosts < ENOUGH {
            return Ok(Fate::Counts);
        }
        if is_unshared(all, &target).await? || is_protected(all, made.target).await? {
            return Ok(Fate::Protected);
        }
        let fate = self.room(all, host, known.is_some()).await?;
        if fate == Fate::Shared {
            self.share(all, host, made, hosts, until).await?;
        }
        Ok(fate)
    }

    /// Writes down that a host made a ban.
    async fn note(
        &self,
        all: &mut Writing,
        host: HostId,
        made: &MadeBan,
        until: i64,
    ) -> Result<(), sqlx::Error> {
        run!(
            all,
            sqlx::query(
                "INSERT INTO made_ban (target, host, time, until, proven) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (target, host) DO UPDATE
                 SET time = excluded.time, until = excluded.until, proven = excluded.proven"
            )
            .bind(made.target.to_string())
            .bind(host.0)
            .bind(self.now)
            .bind(until)
            .bind(made.proven)
        )
        .map(drop)
    }

    /// How many hosts made this ban in the last hour, and when the last of theirs ends.
    async fn made(&self, all: &mut Writing, target: &str) -> Result<(i64, i64), sqlx::Error> {
        on!(all, |db| sqlx::query_as(
            "SELECT count(*), coalesce(max(until), 0) FROM made_ban WHERE target = $1 AND time > $2"
        )
        .bind(target)
        .bind(self.now - HOUR)
        .fetch_one(db))
    }

    /// Until when a ban is shared, if it is, and whether it is proven.
    async fn known(
        &self,
        all: &mut Writing,
        target: &str,
    ) -> Result<Option<(i64, bool)>, sqlx::Error> {
        on!(all, |db| sqlx::query_as(
            "SELECT until, proven FROM shared_ban
             WHERE target = $1 AND withdrawn IS NULL AND until > $2"
        )
        .bind(target)
        .bind(self.now)
        .fetch_optional(db))
    }

    /// Whether there is room for one more, and takes it.
    async fn room(
        &mut self,
        all: &mut Writing,
        host: HostId,
        is_known: bool,
    ) -> Result<Fate, sqlx::Error> {
        let (in_force, of_host): (i64, i64) = on!(all, |db| {
            sqlx::query_as(
            "SELECT count(*), CAST(coalesce(sum(CASE WHEN host = $1 THEN 1 ELSE 0 END), 0) AS BIGINT)
             FROM shared_ban WHERE withdrawn IS NULL AND until > $2"
        )
        .bind(host.0)
        .bind(self.now)
        .fetch_one(db)
        })?;
        let left = i64::try_from(SHARED).unwrap_or(i64::MAX) - in_force;
        if !is_known && left <= 0 {
            return Ok(Fate::Unfit);
        }
        if !is_known && of_host >= MOST_IN_FORCE_OF_A_HOST {
            return Ok(Fate::Over);
        }
        let shared = self.count(all, host, "shared", 0).await?;
        let of_tenant = self.of_tenant(all, host).await?;
        if shared >= MOST_OF_A_HOST || of_tenant.is_over(is_known, left) {
            return Ok(Fate::Over);
        }
        of_tenant.shared += 1;
        of_tenant.in_force += i64::from(!is_known);
        self.count(all, host, "shared", 1).await?;
        Ok(Fate::Shared)
    }

    /// What the organisation of a host has. It is counted once for all that is decided together.
    async fn of_tenant(
        &mut self,
        all: &mut Writing,
        host: HostId,
    ) -> Result<&mut OfTenant, sqlx::Error> {
        let tenant: i64 = on!(all, |db| {
            sqlx::query_scalar(
            "SELECT tenant FROM member JOIN host_group ON host_group.id = host_group WHERE member.id = $1"
        )
        .bind(host.0)
        .fetch_one(db)
        })?;
        let new = match self.tenants.entry(tenant) {
            Entry::Occupied(known) => return Ok(known.into_mut()),
            Entry::Vacant(new) => new,
        };
        let counted = on!(all, |db| {
            sqlx::query_as(
                "WITH other AS (SELECT 1 FROM member JOIN host_group ON host_group.id = host_group
                                WHERE tenant <> $1 AND revoked IS NULL),
                      own AS (SELECT member.id FROM member JOIN host_group ON host_group.id = host_group WHERE tenant = $1)
                 SELECT NOT EXISTS (SELECT 1 FROM other) AS is_alone,
                     (SELECT count(*) FROM shared_ban JOIN own ON own.id = host WHERE withdrawn IS NULL AND until > $2) AS in_force,
                     (SELECT CAST(coalesce(sum(shared), 0) AS BIGINT) FROM ban_budget JOIN own ON own.id = host
                      WHERE hour = $3) AS shared"
            )
            .bind(tenant)
            .bind(self.now)
            .bind(self.now / HOUR)
            .fetch_one(db)
        })?;
        Ok(new.insert(counted))
    }

    async fn share(
        &mut self,
        all: &mut Writing,
        host: HostId,
        made: &MadeBan,
        hosts: i64,
        until: i64,
    ) -> Result<(), sqlx::Error> {
        let number = self.number(all).await?;
        // One that was withdrawn begins anew. Who only has it last longer does not take it from whom it is of, nor away when he goes.
        run!(
            all,
            sqlx::query(
                "INSERT INTO shared_ban (target, since, until, proven, hosts, host, why, changed)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                 ON CONFLICT (target) DO UPDATE SET
                     since = CASE WHEN shared_ban.withdrawn IS NULL THEN shared_ban.since ELSE excluded.since END,
                     until = CASE WHEN shared_ban.withdrawn IS NULL AND shared_ban.until > excluded.until
                         THEN shared_ban.until ELSE excluded.until END,
                     proven = excluded.proven OR (shared_ban.withdrawn IS NULL AND shared_ban.proven),
                     hosts = excluded.hosts,
                     host = CASE WHEN shared_ban.withdrawn IS NULL AND (shared_ban.proven OR NOT excluded.proven)
                         THEN shared_ban.host ELSE excluded.host END,
                     why = CASE WHEN shared_ban.withdrawn IS NULL AND (shared_ban.proven OR NOT excluded.proven)
                         THEN shared_ban.why ELSE excluded.why END,
                     changed = excluded.changed, withdrawn = NULL"
            )
            .bind(made.target.to_string())
            .bind(self.now)
            .bind(until)
            .bind(made.proven)
            .bind(hosts)
            .bind(host.0)
            .bind(&made.why)
            .bind(number)
        )
        .map(drop)
    }

    /// A host protects these, and no others any more. What is shared of them is withdrawn.
    async fn protect(
        &mut self,
        all: &mut Writing,
        host: HostId,
        protects: &Protected,
    ) -> Result<(), sqlx::Error> {
        let said = serde_json::to_vec(protects).unwrap_or_default();
        let digest = Sha256::digest(said).to_vec();
        let is_new = run!(
            all,
            sqlx::query(
                "INSERT INTO protection (host, digest, left_out) VALUES ($1, $2, $3)
                 ON CONFLICT (host) DO UPDATE SET digest = excluded.digest, left_out = excluded.left_out
                 WHERE protection.digest <> excluded.digest"
            )
            .bind(host.0)
            .bind(digest)
            .bind(i64::try_from(protects.left_out).unwrap_or(i64::MAX))
        )?;
        if is_new == 0 {
            return Ok(());
        }
        run!(all, sqlx::query("DELETE FROM protected WHERE host = $1").bind(host.0))?;
        let ends = |of: fn(&IpNet) -> std::net::IpAddr| -> Vec<Vec<u8>> {
            protects.prefixes.iter().map(|prefix| ordered(of(prefix))).collect()
        };
        let (first, last) = (ends(IpNet::network), ends(IpNet::broadcast));
        match all {
            Writing::Sqlite(all) => {
                for (first, last) in first.iter().zip(&last) {
                    let query = sqlx::query(
                        "INSERT INTO protected (first, last, host) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                    );
                    query.bind(first).bind(last).bind(host.0).execute(&mut **all).await?;
                }
            }
            Writing::Postgres(all) => {
                sqlx::query(
                    "INSERT INTO protected (first, last, host)
                     SELECT first, last, $3 FROM unnest($1::bytea[], $2::bytea[]) AS said (first, last)
                     ON CONFLICT DO NOTHING",
                )
                .bind(first)
                .bind(last)
                .bind(host.0)
                .execute(&mut **all)
                .await?;
            }
        }
        self.withdraw_from(all, &Prefixes::of(protects.prefixes.iter().copied())).await
    }

    async fn withdraw_from(
        &mut self,
        all: &mut Writing,
        protected: &Prefixes,
    ) -> Result<(), sqlx::Error> {
        let shared: Vec<String> = on!(all, |db| sqlx::query_scalar(
            "SELECT target FROM shared_ban WHERE withdrawn IS NULL AND until > $1"
        )
        .bind(self.now)
        .fetch_all(db))?;
        for target in shared {
            if !target.parse().is_ok_and(|prefix| protected.overlap(prefix)) {
                continue;
            }
            let number = self.number(all).await?;
            let query = "UPDATE shared_ban SET withdrawn = $1, changed = $2 WHERE target = $3";
            run!(all, sqlx::query(query).bind(self.now).bind(number).bind(&target))?;
        }
        Ok(())
    }
}

/// Whether an operator withdrew it in the last day.
async fn is_unshared(all: &mut Writing, target: &str) -> Result<bool, sqlx::Error> {
    // What has ended is tidied away.
    on!(all, |db| sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM unshared WHERE target = $1)")
        .bind(target)
        .fetch_one(db))
}

/// Whether a host protects somebody there.
async fn is_protected(all: &mut Writing, target: IpNet) -> Result<bool, sqlx::Error> {
    // None is wider than this, so whatever has the target in it begins here or later.
    let widest = match target {
        IpNet::V4(_) => geofilter_fleet::bans::WIDEST_PROTECTED_V4,
        IpNet::V6(_) => geofilter_fleet::bans::WIDEST_PROTECTED_V6,
    };
    let around = IpNet::new(target.addr(), widest).map_or(target, |around| around.trunc());
    on!(all, |db| sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM protected WHERE first >= $1 AND first <= $2 AND last >= $3)"
    )
    .bind(ordered(around.network()))
    .bind(ordered(target.broadcast()))
    .bind(ordered(target.network()))
    .fetch_one(db))
}

fn milliseconds(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX)
}

fn seconds(milliseconds: i64) -> u64 {
    u64::try_from(milliseconds / 1000).unwrap_or(0)
}

#[cfg(test)]
mod tests;
