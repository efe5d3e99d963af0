//! [`Bans`]: what the hosts that listen to this portal are told of the bans that are shared. What is told is the same for all: a line whose
//! bytes they share, and each host keeps only how far it is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use geofilter_fleet::Heard;
use geofilter_fleet::bans::{Part, SHARED_AT_A_TIME, SharedBan, SharedBans};
use ipnet::IpNet;

use super::connected::Line;
use crate::clock;
use crate::store::{Shared, Sharing, Store};

/// Lines that are kept for whoever is not as far. Who is further behind is told all there is.
const KEPT: usize = 256;

/// See the module.
#[derive(Default)]
pub(crate) struct Bans {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// None until it is known.
    sharing: Option<Sharing>,
    in_force: BTreeMap<IpNet, SharedBan>,
    /// The last lines of those that say what changed.
    changes: VecDeque<Line>,
    /// How many lines there were.
    said: u64,
    /// How many there were when all of it was other than what changes say.
    begun: u64,
    /// All there is, with how many lines there were, once somebody had to be told.
    all: Option<(u64, Vec<Line>)>,
}

/// How far a host is: nothing was told yet, or so many lines.
pub(super) type Place = Option<u64>;

impl Bans {
    /// What a host is to be told that is this far, and how far it is then.
    pub(super) fn after(&self, place: Place) -> (Vec<Line>, Place) {
        let mut state = self.lock();
        if state.sharing.is_none() {
            return (Vec::new(), place);
        }
        let said = state.said;
        let kept = place
            .filter(|place| *place >= state.begun)
            .and_then(|place| usize::try_from(said - place).ok())
            .filter(|missing| *missing <= state.changes.len());
        match kept {
            Some(missing) => {
                let from = state.changes.len() - missing;
                (state.changes.range(from..).cloned().collect(), Some(said))
            }
            None => (state.all(), Some(said)),
        }
    }

    /// Learns what has changed since the last time. Returns how many lines there were by then, if there are more.
    pub(super) async fn catch_up(&self, store: &Store) -> Result<Option<u64>, sqlx::Error> {
        let Some(sharing) = store.sharing().await? else { return Ok(None) };
        let known = self.lock().sharing;
        if known == Some(sharing) {
            return Ok(None);
        }
        // Of a database that was taken back all is new.
        let is_step =
            known.is_some_and(|known| known.shares == sharing.shares && known.bans < sharing.bans);
        let since = known.filter(|_| is_step).map_or(0, |known| known.bans);
        let changed = store.shared_since(since).await?;
        Ok(Some(self.lock().learn(sharing, is_step, changed, clock::now())))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes what changed, or all there is. Returns how many lines there were by now.
    fn learn(&mut self, sharing: Sharing, is_step: bool, changed: Vec<Shared>, now: i64) -> u64 {
        let now = u64::try_from(now / 1000).unwrap_or(0);
        self.in_force.retain(|_, ban| ban.until > now);
        if !is_step {
            self.in_force.clear();
        }
        let (mut put, mut withdrawn) = (Vec::new(), Vec::new());
        for shared in changed {
            let Some(target) = shared.target() else { continue };
            match shared.told().filter(|ban| sharing.shares && !shared.withdrawn && ban.until > now)
            {
                Some(ban) => {
                    self.in_force.insert(target, ban.clone());
                    put.push(ban);
                }
                None => {
                    self.in_force.remove(&target);
                    withdrawn.push(target);
                }
            }
        }
        self.sharing = Some(sharing);
        self.all = None;
        match is_step {
            true => self.tell(&put, &withdrawn),
            false => {
                self.changes.clear();
                self.said += 1;
                self.begun = self.said;
            }
        }
        self.said
    }

    /// Says what changed.
    fn tell(&mut self, put: &[SharedBan], withdrawn: &[IpNet]) {
        let part = Part::Change;
        let puts = put.chunks(SHARED_AT_A_TIME).map(|put| SharedBans {
            part,
            put: put.to_vec(),
            withdrawn: Vec::new(),
        });
        let withdrawals = withdrawn.chunks(SHARED_AT_A_TIME).map(|withdrawn| SharedBans {
            part,
            put: Vec::new(),
            withdrawn: withdrawn.to_vec(),
        });
        for bans in puts.chain(withdrawals) {
            self.changes.push_back(Heard::Bans(bans).line().into());
            self.said += 1;
        }
        let over = self.changes.len().saturating_sub(KEPT);
        self.changes.drain(..over);
    }

    /// All there is.
    fn all(&mut self) -> Vec<Line> {
        if let Some((said, all)) = &self.all
            && *said == self.said
        {
            return all.clone();
        }
        let bans: Vec<SharedBan> = self.in_force.values().cloned().collect();
        let mut chunks: Vec<&[SharedBan]> = bans.chunks(SHARED_AT_A_TIME).collect();
        if chunks.is_empty() {
            chunks.push(&[]);
        }
        let last = chunks.len() - 1;
        let line = |(at, put): (usize, &&[SharedBan])| {
            let part = match at {
                0 if last == 0 => Part::Whole,
                0 => Part::First,
                at if at == last => Part::Last,
                _ => Part::Next,
            };
            Heard::Bans(SharedBans { part, put: put.to_vec(), withdrawn: Vec::new() }).line().into()
        };
        let all: Vec<Line> = chunks.iter().enumerate().map(line).collect();
        self.all = Some((self.said, all.clone()));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use geofilter_fleet::HostId;
    use geofilter_fleet::bans::{MadeBan, OfBans};

    use super::*;
    use crate::fleet::Statement;
    use crate::store::tests::{in_a_file, member};
    use geofilter_fleet::Said;

    fn heard(lines: &[Line]) -> Vec<SharedBans> {
        let bytes: Vec<u8> = lines.iter().flat_map(|line| line.to_vec()).collect();
        let all = geofilter_fleet::heard(bytes).into_iter();
        let bans = all.map(|heard| match heard {
            Heard::Bans(bans) => bans,
            other => panic!("{other:?}"),
        });
        bans.collect()
    }

    fn made(number: u32, now: i64) -> MadeBan {
        let target = IpNet::from(std::net::IpAddr::from((0x4000_0000 + number).to_be_bytes()));
        let until = u64::try_from(now / 1000 + 600).unwrap();
        MadeBan { target, until, proven: true, why: "asterisk".to_owned() }
    }

    #[tokio::test]
    async fn who_comes_is_told_all_and_then_what_changes_in_lines_that_all_share() {
        let store = in_a_file().await;
        let bans = Bans::default();
        assert_eq!(bans.after(None).0.len(), 0, "nothing is known yet");
        let hosts = [member(&store, "a").await, member(&store, "b").await];
        let now = clock::now();
        let say = async |host: HostId, number: u32| {
            let bans = OfBans { made: vec![made(number, now)], protects: None };
            let said = Said { bans, ..Said::default() };
            store.note_bans(&[Statement::of(host, said, now)], now).await.unwrap()
        };
        bans.catch_up(&store).await.unwrap();
        let (lines, place) = bans.after(None);
        assert_eq!(heard(&lines)[0].part, Part::Whole);

        assert!(say(hosts[0], 1).await && say(hosts[1], 2).await);
        bans.catch_up(&store).await.unwrap();
        let (changes, further) = bans.after(place);
        let told: Vec<_> = heard(&changes).into_iter().flat_map(|bans| bans.put).collect();
        assert_eq!(
            told.iter().map(|ban| ban.target).collect::<Vec<_>>(),
            [made(1, now).target, made(2, now).target]
        );
        assert_eq!(bans.after(further).0.len(), 0);
        // Both hosts are told by the same bytes, and so are all who come.
        assert!(Arc::ptr_eq(&changes[0], &bans.after(place).0[0]));
        assert!(Arc::ptr_eq(&bans.after(None).0[0], &bans.after(None).0[0]));
        assert_eq!(heard(&bans.after(None).0)[0].put.len(), 2);

        store.withdraw(made(1, now).target, now).await.unwrap();
        bans.catch_up(&store).await.unwrap();
        let (changes, further) = bans.after(further);
        assert_eq!(heard(&changes)[0].withdrawn, [made(1, now).target]);
        // Once nothing is shared, all are told that there is nothing.
        store.share_bans(false).await.unwrap();
        bans.catch_up(&store).await.unwrap();
        let (all, further) = bans.after(further);
        assert_eq!((heard(&all)[0].part, heard(&all)[0].put.len()), (Part::Whole, 0));
        store.share_bans(true).await.unwrap();
        bans.catch_up(&store).await.unwrap();
        assert_eq!(heard(&bans.after(further).0)[0].put.len(), 1);
    }

    #[test]
    fn who_is_far_behind_is_told_all_in_lines_of_bearable_length() {
        let mut state = State::default();
        let ban = |number: u32| {
            let made = made(number, clock::now());
            SharedBan {
                target: made.target,
                until: made.until,
                proven: true,
                hosts: 1,
                why: "x".repeat(64),
            }
        };
        state.sharing = Some(Sharing { shares: true, bans: 1 });
        for number in 0..1000 {
            state.in_force.insert(ban(number).target, ban(number));
            state.tell(&[ban(number)], &[]);
        }
        let bans = Bans { state: Mutex::new(state) };
        assert_eq!(bans.after(Some(1000 - 256)).0.len(), 256);
        let (all, _) = bans.after(Some(1000 - 257));
        assert!(all.iter().all(|line| line.len() < 64 * 1024));
        let all = heard(&all);
        let parts: Vec<_> = all.iter().map(|bans| bans.part).collect();
        assert_eq!(parts, [Part::First, Part::Next, Part::Next, Part::Last]);
        assert_eq!(all.iter().map(|bans| bans.put.len()).sum::<usize>(), 1000);
    }
}
