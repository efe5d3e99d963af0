//! [`Crowd`]: thousands of hosts of a fleet in one process. Each speaks to the portal by the protocol that the real agent speaks, over a
//! connection and with a certificate of its own; what it is told it has in force at once, in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use geofilter_core::apply::nothing_selected;
use geofilter_core::counters::Reason;
use geofilter_core::country::CountryCode;
use geofilter_core::desired::State;
use geofilter_core::series::{Counts, Packets, STEP, Slot};
use geofilter_core::wire::Membership;
use geofilter_fleet::bans::{MadeBan, OfBans};
use geofilter_fleet::{
    Authority, Client, Enrolled, Heard, HostId, Mark, Previewed, Report, Request, SLOTS, Said,
    Served, Standing, digest, pause,
};
use ipnet::IpNet;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::sleep;

/// How often a host says what it counted.
const EVERY: Duration = Duration::from_secs(10);

/// What the hosts of a crowd are told by whoever measures, and what they come to.
struct Shared {
    /// Since when each is connected; not, if it is not.
    connected: Mutex<Vec<Option<Instant>>>,
    /// What each has in force, and since when.
    applied: Mutex<Vec<Option<(Mark, Instant)>>>,
    /// How often one was told something older than what it had.
    taken_back: AtomicU64,
    /// Steps that were counted.
    counted: AtomicU64,
    /// Whether they count.
    counts: watch::Receiver<bool>,
    /// What the first of them banned.
    made: watch::Receiver<Option<MadeBan>>,
    /// Whom each heard last that it is to ban, and when.
    banned: Mutex<Vec<Option<(IpNet, Instant)>>>,
}

/// See the module.
pub struct Crowd {
    shared: Arc<Shared>,
    counts: watch::Sender<bool>,
    made: watch::Sender<Option<MadeBan>>,
    /// Ends them when it goes.
    _runtime: Runtime,
}

impl Crowd {
    /// Hosts 1 to `size` of a portal that knows them, whose authority this is. They begin to connect.
    ///
    /// # Errors
    /// If a certificate can't be made.
    pub fn gather(size: usize, portal: &str, key: &str, certificate: &str) -> Result<Self> {
        let authority = Authority::read(key, certificate).context("read the authority")?;
        let (counts, receiver) = watch::channel(false);
        let (made, bans) = watch::channel(None);
        let shared = Arc::new(Shared {
            connected: Mutex::new(vec![None; size]),
            applied: Mutex::new(vec![None; size]),
            taken_back: AtomicU64::new(0),
            counted: AtomicU64::new(0),
            counts: receiver,
            made: bans,
            banned: Mutex::new(vec![None; size]),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("start the runtime")?;
        for index in 0..size {
            let request = Request::new()?;
            let host = HostId(i64::try_from(index)? + 1);
            let issued = authority.vouch(request.pem(), host, SystemTime::now())?;
            let enrolled = Enrolled {
                host,
                certificate: issued.certificate,
                authority: certificate.to_owned(),
                until: issued.until,
            };
            let membership = request.enrolled(portal, enrolled);
            runtime.spawn(live(index, membership, Arc::clone(&shared)));
        }
        Ok(Self { shared, counts, made, _runtime: runtime })
    }

    /// How many are connected.
    pub fn connected(&self) -> usize {
        lock(&self.shared.connected).iter().flatten().count()
    }

    /// When each that has this in force got it.
    pub fn applied(&self, mark: Mark) -> Vec<Instant> {
        let applied = lock(&self.shared.applied);
        applied.iter().flatten().filter(|(has, _)| *has == mark).map(|(_, since)| *since).collect()
    }

    /// How many have something newer in force.
    pub fn newer_than(&self, mark: Mark) -> usize {
        lock(&self.shared.applied).iter().flatten().filter(|(has, _)| *has > mark).count()
    }

    /// How often one was told something older than what it had.
    pub fn taken_back(&self) -> u64 {
        self.shared.taken_back.load(Ordering::Relaxed)
    }

    /// The first of them banned this one for an hour, who is proven to have attacked it.
    pub fn ban(&self, target: IpNet) {
        let until = now().unsigned_abs() / 1000 + 3600;
        let _ =
            self.made.send(Some(MadeBan { target, until, proven: true, why: "asterisk".into() }));
    }

    /// When each that was told to ban this one heard it.
    pub fn banned(&self, target: IpNet) -> Vec<Instant> {
        let banned = lock(&self.shared.banned);
        banned.iter().flatten().filter(|(of, _)| *of == target).map(|(_, since)| *since).collect()
    }

    /// They count from now on, or no more. Returns how many steps they counted so far.
    pub fn count(&self, counts: bool) -> u64 {
        let _ = self.counts.send(counts);
        self.shared.counted.load(Ordering::Relaxed)
    }

    /// Waits until this is so.
    ///
    /// # Errors
    /// If it is not after so long.
    pub fn wait(
        &self,
        most: Duration,
        what: &str,
        is_so: impl Fn(&Self) -> bool,
    ) -> Result<Duration> {
        let began = Instant::now();
        while !is_so(self) {
            ensure!(
                began.elapsed() < most,
                "after {most:?} it is not so that {what}: {} connected",
                self.connected()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(began.elapsed())
    }
}

/// Milliseconds since 1970.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(0)
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One host, for as long as the crowd is there.
async fn live(index: usize, membership: Membership, shared: Arc<Shared>) {
    let mut host = Host { index, applied: None, unsent: Vec::new(), next: 0, shared };
    let Ok(client) = Client::member(&membership) else { return };
    let mut failures = 0;
    loop {
        if host.listen(&client).await {
            failures = 0;
        }
        lock(&host.shared.connected)[index] = None;
        failures += 1;
        sleep(pause(failures)).await;
    }
}

struct Host {
    index: usize,
    applied: Option<(Mark, String)>,
    unsent: Vec<Slot>,
    /// When the next step begins.
    next: i64,
    shared: Arc<Shared>,
}

impl Host {
    /// Says whether it was connected.
    async fn listen(&mut self, client: &Client) -> bool {
        let Ok(mut stream) = client.stream().await else { return false };
        lock(&self.shared.connected)[self.index] = Some(Instant::now());
        // Not all at the same time.
        let phase = EVERY.mul_f64((self.index % 1000) as f64 / 1000.0);
        let mut turn = tokio::time::interval_at(tokio::time::Instant::now() + phase, EVERY);
        let mut counts = self.shared.counts.clone();
        let mut made = self.shared.made.clone();
        loop {
            let counting = *counts.borrow_and_update();
            let heard = tokio::select! {
                heard = stream.next() => heard,
                _ = turn.tick(), if counting || !self.unsent.is_empty() => {
                    if counting {
                        self.count();
                    }
                    if stream.say(&self.said()).await.is_err() {
                        return true;
                    }
                    continue;
                }
                _ = counts.changed() => continue,
                _ = made.changed(), if self.index == 0 => {
                    let made = made.borrow_and_update().iter().cloned().collect();
                    let bans = OfBans { made, protects: None };
                    if stream.say(&Said { bans, ..self.said() }).await.is_err() {
                        return true;
                    }
                    continue;
                }
            };
            match heard {
                Ok(Heard::Snapshot(snapshot)) => {
                    let policy =
                        snapshot.policy.and_then(|it| it.policy(&nothing_selected(), 0).ok());
                    let policy = policy.map(|policy| digest(&policy)).unwrap_or_default();
                    if self.applied.as_ref().is_some_and(|(has, _)| *has > snapshot.mark) {
                        self.shared.taken_back.fetch_add(1, Ordering::Relaxed);
                    }
                    lock(&self.shared.applied)[self.index] = Some((snapshot.mark, Instant::now()));
                    self.applied = Some((snapshot.mark, policy));
                    if stream.say(&self.said()).await.is_err() {
                        return true;
                    }
                }
                Ok(Heard::Preview(question)) => {
                    // It would cut nobody.
                    let previewed = Previewed { number: question.number, ..Previewed::default() };
                    let said = Said { previewed: Some(Box::new(previewed)), ..self.said() };
                    if stream.say(&said).await.is_err() {
                        return true;
                    }
                }
                Ok(Heard::Noted(number)) => {
                    self.unsent.retain(|slot| slot.time.unsigned_abs() > number);
                }
                Ok(Heard::Bans(bans)) => {
                    let last = bans.put.last().map(|ban| (ban.target, Instant::now()));
                    lock(&self.shared.banned)[self.index] = last;
                }
                // They have no data, and pull none.
                Ok(Heard::World(_)) => {}
                Err(_) => return true,
            }
        }
    }

    /// A step more, of a host that is attacked from six countries.
    fn count(&mut self) {
        let now = now().div_euclid(STEP) * STEP;
        self.next = now.max(self.next);
        let some = |dropped| Packets { dropped, would_drop: 0, passed: 7 };
        let countries = ["CN", "RU", "BR", "VN", "US", "ES"];
        let countries =
            countries.iter().filter_map(|code| Some((CountryCode::parse(code).ok()?, some(11))));
        let counts = Counts {
            reasons: [(Reason::Country, some(66))].into(),
            countries: countries.collect(),
        };
        self.unsent.push(Slot { time: self.next, watched: STEP, counts });
        self.next += STEP;
        self.shared.counted.fetch_add(1, Ordering::Relaxed);
    }

    fn said(&self) -> Said {
        let counted: Vec<Slot> = self.unsent.iter().take(SLOTS).cloned().collect();
        let mark = self.applied.as_ref().map(|(mark, _)| *mark);
        let standing = self.applied.as_ref().map(|(_, policy)| Standing {
            state: State::Enforcing,
            policy: policy.clone(),
            confirmed: true,
            dropped: 1,
            passed: 1,
        });
        Said {
            number: counted.iter().map(|slot| slot.time.unsigned_abs()).max().unwrap_or(0),
            report: Report {
                version: "1".to_owned(),
                received: mark,
                applied: mark,
                refused: None,
                standing,
                time: now(),
                served: Some(Served { phones: 20, trunks: 1, registrations: 1, peers: 2 }),
                instead: None,
                world: None,
            },
            counted,
            ..Said::default()
        }
    }
}
