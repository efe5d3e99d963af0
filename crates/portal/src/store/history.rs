//! The policies that were in force at hosts, as they were seen there. One that is on trial stands beside the one that comes
//! back unless it is kept.

use geofilter_core::apply::Stance;
use geofilter_core::desired::State;
use geofilter_core::policy::Policy;
use geofilter_core::wire::{POLICY_LOST, Status};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use utoipa::ToSchema;

use super::Store;
use super::database::{Writing, on, run};

/// Policies that are kept for each host.
const MOST: i64 = 1_000;
/// Milliseconds for which what was seen before something was noted is taken for old, and not for a clock that was set back.
const OLD: i64 = 60_000;

/// How a policy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "kebab-case")]
#[sqlx(type_name = "text", rename_all = "kebab-case")]
pub(crate) enum Ending {
    /// Nobody kept it, or somebody went back.
    WentBack,
    /// Another one took its place.
    Replaced,
    /// The filter was turned off.
    Off,
}

/// A policy that was in force, or is.
#[derive(Debug, Clone, FromRow)]
pub(crate) struct Past {
    pub(crate) id: i64,
    pub(crate) generation: i64,
    stance: String,
    policy: String,
    pub(crate) operator: Option<String>,
    pub(crate) began: i64,
    pub(crate) kept: Option<i64>,
    pub(crate) ended: Option<i64>,
    pub(crate) ending: Option<Ending>,
    former_stance: Option<String>,
    former_policy: Option<String>,
}

impl Past {
    /// What it was.
    pub(crate) fn policy(&self) -> Result<(Stance, Policy), sqlx::Error> {
        read(&self.stance, &self.policy)
    }

    /// What stood when it began, if that is known.
    pub(crate) fn former(&self) -> Result<Option<(Stance, Policy)>, sqlx::Error> {
        let both = self.former_stance.as_deref().zip(self.former_policy.as_deref());
        both.map(|(stance, policy)| read(stance, policy)).transpose()
    }

    /// Going back gives a policy another number, and makes no other one of it.
    fn is(&self, now: &Now) -> bool {
        (&*self.stance, &self.policy) == (now.stance, &now.policy)
    }
}

fn read(stance: &str, policy: &str) -> Result<(Stance, Policy), sqlx::Error> {
    let undone = |error: serde_json::Error| sqlx::Error::Decode(error.into());
    let stance = match stance {
        "observe" => Stance::Observe,
        _ => Stance::Enforce,
    };
    Ok((stance, serde_json::from_str(policy).map_err(undone)?))
}

/// What is in force.
struct Now {
    generation: i64,
    stance: &'static str,
    policy: String,
    trial: bool,
}

impl Now {
    fn of(status: &Status) -> Result<Option<Self>, sqlx::Error> {
        let (stance, trial) = match status.state {
            State::Off => return Ok(None),
            State::Observing => ("observe", false),
            State::Enforcing | State::Paused => ("enforce", false),
            State::Pending => ("enforce", true),
        };
        let policy = serde_json::to_string(&status.policy());
        let policy = policy.map_err(|error| sqlx::Error::Encode(error.into()))?;
        let generation = i64::try_from(status.generation.0).unwrap_or(i64::MAX);
        Ok(Some(Self { generation, stance, policy, trial }))
    }
}

impl Store {
    /// Notes what was in force at a host at this time, if that is another policy than before.
    pub(crate) async fn see(
        &self,
        host: &str,
        time: i64,
        status: &Status,
    ) -> Result<(), sqlx::Error> {
        // A pause ends by itself, and what is in force then was so before. What is not known can't be told.
        if status.state == State::Paused || status.warnings.iter().any(|it| it == POLICY_LOST) {
            return Ok(());
        }
        let now = Now::of(status)?;
        let mut all = self.begin_alone(&format!("history of {host}")).await?;
        if is_old(&mut all, host, time).await? {
            return Ok(());
        }
        let (standing, trial) = open(&mut all, host).await?;
        match now {
            None => {
                let ending = if standing.is_some() { Ending::Off } else { Ending::WentBack };
                end(&mut all, trial.as_ref(), ending, time).await?;
                end(&mut all, standing.as_ref(), Ending::Off, time).await?;
            }
            Some(now) if now.trial => match trial.as_ref().filter(|trial| trial.is(&now)) {
                Some(trial) => number(&mut all, trial, &now).await?,
                None => {
                    end(&mut all, trial.as_ref(), Ending::Replaced, time).await?;
                    begin(&mut all, host, &now, time, standing.as_ref()).await?;
                }
            },
            Some(now) => stands(&mut all, host, &now, time, standing, trial).await?,
        }
        all.commit().await
    }

    /// Whoever chose what has this number.
    pub(crate) async fn chose(
        &self,
        host: &str,
        generation: u64,
        operator: &str,
    ) -> Result<(), sqlx::Error> {
        run!(self, sqlx::query(
            "UPDATE history SET operator = $1 WHERE host = $2 AND generation = $3 AND ended IS NULL",
        )
        .bind(operator)
        .bind(host)
        .bind(i64::try_from(generation).unwrap_or(i64::MAX)))
        .map(drop)
    }

    /// So many of the policies of a host before this one, the newest first.
    pub(crate) async fn history(
        &self,
        host: &str,
        before: i64,
        limit: u32,
    ) -> Result<Vec<Past>, sqlx::Error> {
        on!(self, |db| sqlx::query_as(
            "SELECT * FROM past WHERE host = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
        )
        .bind(host)
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(db))
    }

    /// One of the policies of a host.
    pub(crate) async fn past(&self, host: &str, id: i64) -> Result<Option<Past>, sqlx::Error> {
        on!(self, |db| sqlx::query_as("SELECT * FROM past WHERE host = $1 AND id = $2")
            .bind(host)
            .bind(id)
            .fetch_optional(db))
    }
}

/// A look that was taken before something was noted, and comes late.
async fn is_old(all: &mut Writing, host: &str, time: i64) -> Result<bool, sqlx::Error> {
    let last: (Option<i64>, Option<i64>, Option<i64>) = on!(all, |db| sqlx::query_as(
        "SELECT MAX(began), MAX(kept), MAX(ended) FROM history WHERE host = $1",
    )
    .bind(host)
    .fetch_one(db))?;
    let last = last.0.max(last.1).max(last.2);
    Ok(last.is_some_and(|last| (1..OLD).contains(&(last - time))))
}

/// What stands, and what is on trial.
async fn open(all: &mut Writing, host: &str) -> Result<(Option<Past>, Option<Past>), sqlx::Error> {
    let open: Vec<Past> = on!(all, |db| sqlx::query_as(
        "SELECT * FROM past WHERE host = $1 AND ended IS NULL ORDER BY id"
    )
    .bind(host)
    .fetch_all(db))?;
    let (mut standing, mut trial) = (None, None);
    for past in open {
        match past.kept {
            Some(_) => standing = Some(past),
            None => trial = Some(past),
        }
    }
    Ok((standing, trial))
}

/// It is more than a trial.
async fn stands(
    all: &mut Writing,
    host: &str,
    now: &Now,
    time: i64,
    standing: Option<Past>,
    trial: Option<Past>,
) -> Result<(), sqlx::Error> {
    let stood = standing.as_ref().filter(|standing| standing.is(now));
    match trial {
        Some(trial) if trial.is(now) => {
            run!(
                all,
                sqlx::query("UPDATE history SET kept = $1 WHERE id = $2").bind(time).bind(trial.id)
            )?;
            return end(all, standing.as_ref(), Ending::Replaced, trial.began).await;
        }
        trial => {
            let ending = if stood.is_some() { Ending::WentBack } else { Ending::Replaced };
            end(all, trial.as_ref(), ending, time).await?;
        }
    }
    match stood {
        Some(standing) => number(all, standing, now).await,
        None => {
            end(all, standing.as_ref(), Ending::Replaced, time).await?;
            begin(all, host, now, time, standing.as_ref()).await
        }
    }
}

async fn number(all: &mut Writing, past: &Past, now: &Now) -> Result<(), sqlx::Error> {
    run!(
        all,
        sqlx::query("UPDATE history SET generation = $1 WHERE id = $2")
            .bind(now.generation)
            .bind(past.id)
    )
    .map(drop)
}

async fn begin(
    all: &mut Writing,
    host: &str,
    now: &Now,
    time: i64,
    former: Option<&Past>,
) -> Result<(), sqlx::Error> {
    run!(
        all,
        sqlx::query(
            "INSERT INTO history (host, generation, stance, policy, began, kept, former)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(host)
        .bind(now.generation)
        .bind(now.stance)
        .bind(&now.policy)
        .bind(time)
        .bind((!now.trial).then_some(time))
        .bind(former.map(|former| former.id))
    )?;
    run!(
        all,
        sqlx::query(
            "DELETE FROM history WHERE host = $1 AND id <= (
             SELECT id FROM history WHERE host = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)",
        )
        .bind(host)
        .bind(MOST)
    )
    .map(drop)
}

async fn end(
    all: &mut Writing,
    past: Option<&Past>,
    ending: Ending,
    time: i64,
) -> Result<(), sqlx::Error> {
    let Some(past) = past else { return Ok(()) };
    run!(
        all,
        sqlx::query("UPDATE history SET ended = $1, ending = $2 WHERE id = $3")
            .bind(time)
            .bind(ending)
            .bind(past.id)
    )
    .map(drop)
}

#[cfg(test)]
mod tests {
    use geofilter_core::apply::nothing_selected;
    use geofilter_core::counters::Counters;
    use geofilter_core::country::CountryCode;
    use geofilter_core::desired::Generation;
    use geofilter_core::wire::{Counts, Data, Tally};

    use super::*;
    use crate::store::tests::both;

    /// A host in this state, with these countries chosen by the change of this number.
    fn chosen(state: State, generation: u64, countries: &[&str]) -> Status {
        let Policy { mode, scope, hosting, unknown, disputed, time_boxes, .. } = nothing_selected();
        let code = |code: &&str| CountryCode::parse(code).unwrap().id();
        let counters = Counters::default();
        let nothing = Tally::of(&counters, |outcomes| outcomes.dropped);
        Status {
            state,
            mode,
            countries: countries.iter().map(code).collect(),
            unknown,
            hosting,
            disputed,
            scope,
            time_boxes,
            generation: Generation(generation),
            remaining: None,
            backend: None,
            interfaces: Vec::new(),
            attachments: Vec::new(),
            data: Data::default(),
            dropped: nothing.clone(),
            would_drop: nothing.clone(),
            passed: nothing,
            skipped_events: 0,
            sampled: false,
            counts: Counts::default(),
            pbx: None,
            fleet: None,
            warnings: Vec::new(),
        }
    }

    /// What is told of a host that was seen so, a second after another, the oldest first.
    async fn told(seen: &[Status]) -> Vec<(i64, Option<i64>, Option<i64>, Option<Ending>)> {
        let [file, server] = both().await;
        let told = told_by(&file, seen).await;
        assert_eq!(told_by(&server, seen).await, told);
        told
    }

    async fn told_by(
        store: &Store,
        seen: &[Status],
    ) -> Vec<(i64, Option<i64>, Option<i64>, Option<Ending>)> {
        for (second, status) in (1..).zip(seen) {
            store.see("local", second * 1000, status).await.unwrap();
        }
        let history = store.history("local", i64::MAX, 100).await.unwrap();
        let told = |past: &Past| {
            (
                past.began / 1000,
                past.kept.map(|at| at / 1000),
                past.ended.map(|at| at / 1000),
                past.ending,
            )
        };
        history.iter().rev().map(told).collect()
    }

    #[tokio::test]
    async fn a_policy_is_kept_and_takes_the_place_of_the_one_before() {
        use State::{Enforcing, Observing, Off, Pending};
        let seen = [
            chosen(Off, 0, &[]),
            chosen(Observing, 1, &[]),
            chosen(Observing, 1, &[]),
            chosen(Pending, 2, &["ES"]),
            chosen(Pending, 2, &["ES"]),
            chosen(Enforcing, 2, &["ES"]),
            chosen(Off, 3, &["ES"]),
        ];
        assert_eq!(
            told(&seen).await,
            [
                (2, Some(2), Some(4), Some(Ending::Replaced)),
                (4, Some(6), Some(7), Some(Ending::Off))
            ]
        );
    }

    #[tokio::test]
    async fn what_nobody_keeps_went_back_and_what_was_before_goes_on() {
        use State::{Enforcing, Off, Pending};
        let seen = [
            chosen(Enforcing, 1, &["ES"]),
            chosen(Pending, 2, &["PT"]),
            chosen(Pending, 3, &["FR"]),
            chosen(Enforcing, 4, &["ES"]),
            chosen(State::Paused, 5, &["ES"]),
            chosen(Enforcing, 4, &["ES"]),
        ];
        assert_eq!(
            told(&seen).await,
            [
                (1, Some(1), None, None),
                (2, None, Some(3), Some(Ending::Replaced)),
                (3, None, Some(4), Some(Ending::WentBack))
            ]
        );
        let seen = [chosen(Pending, 1, &["ES"]), chosen(Off, 0, &[])];
        assert_eq!(told(&seen).await, [(1, None, Some(2), Some(Ending::WentBack))]);
    }

    #[tokio::test]
    async fn what_is_seen_late_changes_nothing_and_only_so_many_are_kept() {
        for store in both().await {
            what_is_seen_late_changes_nothing(&store).await;
        }
    }

    async fn what_is_seen_late_changes_nothing(store: &Store) {
        let see = async |time, generation| {
            let countries = [["ES"], ["PT"]][usize::from(generation % 2 == 1)];
            let status = chosen(State::Enforcing, generation, &countries);
            store.see("local", time, &status).await.unwrap();
        };
        see(10_000, 2).await;
        see(9_999, 1).await;
        let history = store.history("local", i64::MAX, 10).await.unwrap();
        assert_eq!((history.len(), history[0].generation), (1, 2));
        store.chose("local", 2, "Ana").await.unwrap();
        for generation in 3..1_100 {
            see(10_000 + i64::try_from(generation).unwrap(), generation).await;
        }
        let history = store.history("local", i64::MAX, 10_000).await.unwrap();
        assert_eq!((history.len(), history[0].generation), (1_000, 1_099));
        assert_eq!(history[999].former().unwrap(), None, "it was forgotten");
        assert!(history[998].former().unwrap().is_some());
    }
}
