//! What was counted at hosts, step by step: short steps for hours, longer ones for years. A step that is added goes into the
//! longer ones too, and what is older than is kept goes out with it, so the database never grows beyond the steps that
//! there is room for, however long it lives and whatever its clock says.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use geofilter_core::counters::Reason;
use geofilter_core::country::CountryCode;

use sqlx::PgConnection;

use super::Store;
use super::database::{Writing, on, run};
use super::parts::Parts;
use geofilter_core::series::{Counts, Packets, STEP, Slot};

/// How long a step is, and how many are kept of each host: on a server, all that is in so many parts.
struct Kept {
    seconds: i64,
    slots: i64,
    parts: Parts,
}

impl Kept {
    const fn of(seconds: i64, slots: i64, span: i64, most: usize) -> Self {
        Self { seconds, slots, parts: Parts { step: seconds, span, most } }
    }
}

/// Milliseconds that the clock of a host may be ahead.
const AHEAD: i64 = 600_000;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Two hours, seven days, two years.
const KEPT: [Kept; 3] = [
    Kept::of(STEP / 1000, 720, HOUR, 4),
    Kept::of(60, 10_080, DAY, 9),
    Kept::of(3600, 17_520, 31 * DAY, 25),
];

impl Store {
    /// Adds steps of the shortest kind to what is known of a host.
    pub(crate) async fn add_slots(&self, host: &str, slots: &[Slot]) -> Result<(), sqlx::Error> {
        let added = self.try_to_add(host, slots).await;
        if added.is_err() {
            self.forget_parts();
        }
        added
    }

    async fn try_to_add(&self, host: &str, slots: &[Slot]) -> Result<(), sqlx::Error> {
        for slot in slots {
            for kept in &KEPT {
                self.make_room(kept.parts, slot.time).await?;
            }
        }
        let mut all = self.begin_alone(&format!("series of {host}")).await?;
        for slot in slots {
            for kept in KEPT.iter().filter(|kept| self.has_room(kept.parts, slot.time)) {
                add(&mut all, host, kept, slot).await?;
            }
        }
        all.commit().await
    }

    /// Queries that hold together with the adding of steps of the shortest kind, each with its host, at this time. One that is known
    /// already counts once; one whose time can't be is left out.
    pub(super) async fn begin_counting(
        &self,
        counted: &[(String, &Slot)],
        now: i64,
    ) -> Result<Writing, sqlx::Error> {
        let begun = self.try_to_count(counted, now).await;
        if begun.is_err() {
            self.forget_parts();
        }
        begun
    }

    async fn try_to_count(
        &self,
        counted: &[(String, &Slot)],
        now: i64,
    ) -> Result<Writing, sqlx::Error> {
        let may_be = |slot: &Slot| {
            slot.time % STEP == 0
                && (0..=STEP).contains(&slot.watched)
                && (now - KEPT[0].slots * STEP..now + AHEAD).contains(&slot.time)
        };
        let counted: Vec<_> = counted.iter().filter(|(_, slot)| may_be(slot)).collect();
        let times: BTreeSet<i64> = counted.iter().map(|(_, slot)| slot.time).collect();
        for time in times {
            for kept in &KEPT {
                self.make_room(kept.parts, time).await?;
            }
        }
        let mut all = self.begin_alone("counting").await?;
        if counted.is_empty() {
            return Ok(all);
        }
        match &mut all {
            Writing::Sqlite(_) => {
                for (host, slot) in counted {
                    count(&mut all, host, slot).await?;
                }
            }
            Writing::Postgres(on) => count_together(on, &counted).await?,
        }
        Ok(all)
    }

    /// What is known of a host in steps of so many seconds, from one time until before another; steps in which nobody
    /// looked are left out.
    pub(crate) async fn slots(
        &self,
        host: &str,
        seconds: i64,
        from: i64,
        to: i64,
    ) -> Result<Vec<Slot>, sqlx::Error> {
        let kept = KEPT.iter().rev().find(|kept| seconds % kept.seconds == 0);
        let kept = kept.unwrap_or(&KEPT[0]).seconds;
        let rows: Vec<(i64, i64, Vec<u8>)> = on!(self, |db| sqlx::query_as(
            "SELECT time, watched, counts FROM series
             WHERE host = $1 AND step = $2 AND time >= $3 AND time < $4 ORDER BY time",
        )
        .bind(host)
        .bind(kept)
        .bind(from)
        .bind(to)
        .fetch_all(db))?;
        let mut slots: Vec<Slot> = Vec::new();
        for (time, watched, counts) in rows {
            let slot = Slot { time: begins(time, seconds), watched, counts: read(&counts)? };
            match slots.last_mut() {
                Some(last) if last.time == slot.time => last.add(slot),
                Some(_) | None => slots.push(slot),
            }
        }
        Ok(slots)
    }
}

/// When the step begins that this time is in.
fn begins(time: i64, seconds: i64) -> i64 {
    time.div_euclid(seconds * 1000) * seconds * 1000
}

async fn add(all: &mut Writing, host: &str, kept: &Kept, slot: &Slot) -> Result<(), sqlx::Error> {
    let mut slot = Slot { time: begins(slot.time, kept.seconds), ..slot.clone() };
    let known: Option<(i64, Vec<u8>)> = on!(all, |db| sqlx::query_as(
        "SELECT watched, counts FROM series WHERE host = $1 AND step = $2 AND time = $3",
    )
    .bind(host)
    .bind(kept.seconds)
    .bind(slot.time)
    .fetch_optional(db))?;
    let is_new = known.is_none();
    if let Some((watched, counts)) = known {
        slot.add(Slot { time: slot.time, watched, counts: read(&counts)? });
    }
    let counts = written(&slot.counts)?;
    run!(all, sqlx::query(
        "INSERT INTO series (host, step, time, watched, counts) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (host, step, time) DO UPDATE SET watched = excluded.watched, counts = excluded.counts",
    )
    .bind(host)
    .bind(kept.seconds)
    .bind(slot.time)
    .bind(slot.watched)
    .bind(counts))?;
    match all {
        Writing::Sqlite(_) if is_new => forget(all, host, kept).await,
        Writing::Sqlite(_) | Writing::Postgres(_) => Ok(()),
    }
}

/// Adds a step unless it is known.
async fn count(all: &mut Writing, host: &str, slot: &Slot) -> Result<(), sqlx::Error> {
    let [shortest, longer @ ..] = &KEPT;
    let is_new = run!(
        all,
        sqlx::query(
            "INSERT INTO series (host, step, time, watched, counts) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT DO NOTHING"
        )
        .bind(host)
        .bind(shortest.seconds)
        .bind(slot.time)
        .bind(slot.watched)
        .bind(written(&slot.counts)?)
    )?;
    if is_new == 0 {
        return Ok(());
    }
    forget(all, host, shortest).await?;
    for kept in longer {
        add(all, host, kept, slot).await?;
    }
    Ok(())
}

/// The same for many, by a few queries.
async fn count_together(
    on: &mut PgConnection,
    counted: &[&(String, &Slot)],
) -> Result<(), sqlx::Error> {
    let [shortest, longer @ ..] = &KEPT;
    let all = counted.iter().map(|(host, slot)| ((host.as_str(), slot.time), *slot));
    let columns = Columns::of(all.clone())?;
    let new: Vec<(String, i64)> = sqlx::query_as(
        "INSERT INTO series (host, step, time, watched, counts)
         SELECT host, $1, time, watched, counts
         FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bytea[]) AS new (host, time, watched, counts)
         ON CONFLICT DO NOTHING RETURNING host, time",
    )
    .bind(shortest.seconds)
    .bind(&columns.hosts)
    .bind(&columns.times)
    .bind(&columns.watched)
    .bind(&columns.counts)
    .fetch_all(&mut *on)
    .await?;
    let new: HashSet<(&str, i64)> = new.iter().map(|(host, time)| (host.as_str(), *time)).collect();
    // Of one that came twice at once the first counts.
    let mut slots: BTreeMap<(&str, i64), &Slot> = BTreeMap::new();
    for (key, slot) in all.filter(|(key, _)| new.contains(key)) {
        slots.entry(key).or_insert(slot);
    }
    for kept in longer {
        let mut sums: BTreeMap<(&str, i64), Slot> = BTreeMap::new();
        for ((host, time), slot) in &slots {
            let time = begins(*time, kept.seconds);
            sums.entry((host, time))
                .or_insert_with(|| Slot { time, ..Slot::default() })
                .add((*slot).clone());
        }
        let (hosts, times): (Vec<&str>, Vec<i64>) = sums.keys().copied().unzip();
        let known: Vec<(String, i64, i64, Vec<u8>)> = sqlx::query_as(
            "SELECT series.host, series.time, watched, counts
             FROM unnest($2::text[], $3::bigint[]) AS key (host, time)
             JOIN series ON step = $1 AND series.host = key.host AND series.time = key.time",
        )
        .bind(kept.seconds)
        .bind(hosts)
        .bind(times)
        .fetch_all(&mut *on)
        .await?;
        for (host, time, watched, counts) in &known {
            if let Some(sum) = sums.get_mut(&(host.as_str(), *time)) {
                sum.add(Slot { time: *time, watched: *watched, counts: read(counts)? });
            }
        }
        let columns = Columns::of(sums.iter().map(|(key, slot)| (*key, slot)))?;
        sqlx::query(
            "INSERT INTO series (host, step, time, watched, counts)
             SELECT host, $1, time, watched, counts
             FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bytea[]) AS new (host, time, watched, counts)
             ON CONFLICT (host, step, time) DO UPDATE SET watched = excluded.watched, counts = excluded.counts",
        )
        .bind(kept.seconds)
        .bind(&columns.hosts)
        .bind(&columns.times)
        .bind(&columns.watched)
        .bind(&columns.counts)
        .execute(&mut *on)
        .await?;
    }
    Ok(())
}

/// Steps as a server takes many at a time.
#[derive(Default)]
struct Columns<'a> {
    hosts: Vec<&'a str>,
    times: Vec<i64>,
    watched: Vec<i64>,
    counts: Vec<Vec<u8>>,
}

impl<'a> Columns<'a> {
    fn of<'s>(
        slots: impl Iterator<Item = ((&'a str, i64), &'s Slot)>,
    ) -> Result<Self, sqlx::Error> {
        let mut columns = Self::default();
        for ((host, time), slot) in slots {
            columns.hosts.push(host);
            columns.times.push(time);
            columns.watched.push(slot.watched);
            columns.counts.push(written(&slot.counts)?);
        }
        Ok(columns)
    }
}

/// Counted, and not by age: a clock that is wrong for a while must not cost years.
async fn forget(all: &mut Writing, host: &str, kept: &Kept) -> Result<(), sqlx::Error> {
    run!(all, sqlx::query(
        "DELETE FROM series WHERE host = $1 AND step = $2 AND time <= (
             SELECT time FROM series WHERE host = $1 AND step = $2 ORDER BY time DESC LIMIT 1 OFFSET $3)",
    )
    .bind(host)
    .bind(kept.seconds)
    .bind(kept.slots))
    .map(drop)
}

/// [`Counts`] as they are kept: by the number of a reason, and the letters of a country.
type Row = (Vec<(u8, Packets)>, Vec<([u8; 2], Packets)>);

fn written(counts: &Counts) -> Result<Vec<u8>, sqlx::Error> {
    let reasons = counts.reasons.iter().map(|(reason, packets)| (*reason as u8, *packets));
    let letters = |code: &CountryCode| [code.as_str().as_bytes()[0], code.as_str().as_bytes()[1]];
    let countries = counts.countries.iter().map(|(code, packets)| (letters(code), *packets));
    let row: Row = (reasons.collect(), countries.collect());
    postcard::to_allocvec(&row).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// What a later version counted by, and this one does not know, is left out.
fn read(counts: &[u8]) -> Result<Counts, sqlx::Error> {
    let (reasons, countries): Row =
        postcard::from_bytes(counts).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let reason = |number: u8| Reason::ALL.get(usize::from(number)).copied();
    let code = |letters: [u8; 2]| CountryCode::parse(str::from_utf8(&letters).ok()?).ok();
    let reasons = reasons.into_iter().filter_map(|(number, of)| Some((reason(number)?, of)));
    let countries = countries.into_iter().filter_map(|(letters, of)| Some((code(letters)?, of)));
    Ok(Counts { reasons: reasons.collect(), countries: countries.collect() })
}

#[cfg(test)]
mod tests {
    use geofilter_core::country::CountryId;

    use super::*;
    use crate::store::tests::{both, in_a_file, on_a_server};

    /// Bytes that the steps of a host may take on disk, whatever happens there.
    const MOST: u64 = 128 << 20;
    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    /// A flood of twenty million packets a second, most of which are dropped, from all the world.
    const FLOOD: Packets = Packets { dropped: 700_000, would_drop: 0, passed: 100_000 };

    /// Counts the same at each of these times.
    async fn counted(store: &Store, times: impl Iterator<Item = i64>) {
        let countries: Vec<_> = CountryId::all().map(|id| (id.code(), FLOOD)).collect();
        let counts = Counts {
            reasons: [(Reason::Country, FLOOD)].into(),
            countries: countries.into_iter().collect(),
        };
        let slot = |time| Slot { time, watched: STEP, counts: counts.clone() };
        let slots: Vec<Slot> = times.map(slot).collect();
        for some in slots.chunks(100) {
            store.add_slots("local", some).await.unwrap();
        }
    }

    fn every(step: i64, from: i64, to: i64) -> impl Iterator<Item = i64> {
        (from..to).step_by(usize::try_from(step).unwrap())
    }

    #[tokio::test]
    async fn two_years_of_a_flood_from_everywhere_take_no_more_room_than_there_is() {
        let store = in_a_file().await;
        // A month more than is kept.
        let end = 1_000_000 * HOUR;
        counted(&store, every(HOUR, end - 760 * DAY, end - 7 * DAY)).await;
        counted(&store, every(MINUTE, end - 7 * DAY, end - 2 * HOUR)).await;
        counted(&store, every(STEP, end - 2 * HOUR, end)).await;

        let kept = async |seconds| store.slots("local", seconds, 0, i64::MAX).await.unwrap();
        let lengths = [kept(10).await.len(), kept(60).await.len(), kept(3600).await.len()];
        assert_eq!(lengths, [720, 10_080, 17_520]);
        let last = store.slots("local", 3600, end - HOUR, end).await.unwrap().remove(0);
        assert_eq!((last.watched, last.counts.countries.len()), (HOUR, CountryId::all().count()));
        assert!(last.counts.countries.values().all(|of| of.dropped == 360 * FLOOD.dropped));
        let files = std::fs::read_dir(store.dir.path()).unwrap();
        let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes < MOST, "{bytes} bytes");
    }

    #[tokio::test]
    async fn longer_steps_are_made_of_shorter_ones_and_a_gap_stays_one() {
        for store in both().await {
            counted(&store, every(STEP, 0, MINUTE)).await;
            counted(&store, every(STEP, 3 * MINUTE, 3 * MINUTE + 2 * STEP)).await;
            let told = async |seconds| {
                let slots = store.slots("local", seconds, 0, i64::MAX).await.unwrap();
                slots.into_iter().map(|slot| (slot.time, slot.watched)).collect::<Vec<_>>()
            };
            assert_eq!(told(60).await, [(0, MINUTE), (3 * MINUTE, 2 * STEP)]);
            assert_eq!(told(120).await, [(0, MINUTE), (2 * MINUTE, 2 * STEP)]);
            assert_eq!(told(3600).await, [(0, MINUTE + 2 * STEP)]);
            assert!(store.slots("elsewhere", 60, 0, i64::MAX).await.unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn a_clock_that_is_wrong_for_a_while_costs_nothing() {
        for store in both().await {
            let now = 1_000_000 * HOUR;
            counted(&store, [now, 0, 4 * now].into_iter()).await;
            assert_eq!(store.slots("local", 10, now, now + 1).await.unwrap().len(), 1);
        }
    }

    #[tokio::test]
    async fn on_a_server_what_is_too_old_goes_part_by_part() {
        let store = on_a_server().await;
        let begin = 1_000_000 * HOUR;
        counted(&store, every(HOUR, begin, begin + 10 * HOUR)).await;
        let kept = async |seconds| store.slots("local", seconds, 0, i64::MAX).await.unwrap().len();
        assert_eq!((kept(10).await, kept(60).await, kept(3600).await), (4, 10, 10));
        // What is older than all parts has no room.
        counted(&store, std::iter::once(begin)).await;
        assert_eq!((kept(10).await, kept(60).await, kept(3600).await), (4, 10, 10));
        assert_eq!(
            store.slots("local", 3600, begin, begin + HOUR).await.unwrap()[0].watched,
            2 * STEP
        );
    }
}
