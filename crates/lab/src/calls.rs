//! [`Calls`]: callers in a country who call a real PBX, speak, and hang up, over and over, so many at a time. The PBX
//! plays what they say back to them (`Config::echo`), so that every packet is accounted for, there and back:
//! [`Report`]. A [`caller`] is one of them, its [`rtp`] what it says.

pub mod caller;
pub mod rtp;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::time::Timespec;

use crate::addresses::Addresses;
use crate::site::Site;
use caller::Caller;
use rtp::Heard;

/// The extension they call, and their name, which needs no password: whoever asks for it by that name is served.
pub const EXTENSION: &str = "echo";
/// See [`EXTENSION`].
pub const NAME: &str = "caller";

/// Calls that go on in the background.
#[derive(Debug)]
pub struct Calls {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Result<Report>>,
}

/// What came of the calls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Calls that began.
    pub calls: usize,
    /// Those that were not set up within [`caller::PATIENCE`], were cut, or could not be hung up.
    pub failed: usize,
    /// What the PBX said to those that it refused.
    pub refused: Vec<String>,
    /// From the INVITE to the 200, the shortest first.
    pub set_up: Vec<Duration>,
    /// SIP messages that the callers sent again, and that the PBX did.
    pub sent_again: (usize, usize),
    /// What was said.
    pub heard: Heard,
    /// How late a packet was sent at most: the callers' own.
    pub late: Duration,
}

impl Report {
    /// The time within which this share of the calls was set up.
    pub fn set_up_within(&self, share: f64) -> Duration {
        let place = (self.set_up.len() as f64 * share).ceil() as usize;
        self.set_up.get(place.saturating_sub(1)).copied().unwrap_or(Duration::MAX)
    }

    /// What must be nothing at all: calls failed, messages sent again, packets lost.
    pub fn harm(&self) -> (usize, usize, u64) {
        let (callers, pbx) = self.sent_again;
        (self.failed, callers + pbx, self.heard.lost())
    }

    /// Those of another one too.
    pub fn add(&mut self, other: &Self) {
        let Self { calls, failed, refused, set_up, sent_again, heard, late } = other;
        self.calls += calls;
        self.failed += failed;
        self.refused.extend(refused.iter().cloned());
        self.set_up.extend(set_up);
        self.set_up.sort_unstable();
        self.sent_again.0 += sent_again.0;
        self.sent_again.1 += sent_again.1;
        self.heard.add(heard);
        self.late = self.late.max(*late);
    }
}

impl Calls {
    /// So many at a time, each from an address of its own in this country and this long; the first ones begin one
    /// after the other within that time.
    ///
    /// # Errors
    /// If the country has too few ranges, or a socket can't be opened.
    pub fn start(
        site: &Site,
        addresses: &Addresses<'_>,
        country: &str,
        at_a_time: usize,
        long: Duration,
    ) -> Result<Self> {
        let sources = addresses.several_v4(country, at_a_time);
        Self::from(site, &sources, long)
    }

    /// The same from these addresses.
    ///
    /// # Errors
    /// If a socket can't be opened.
    pub fn from(site: &Site, sources: &[Ipv4Addr], long: Duration) -> Result<Self> {
        let (began, step) = (Instant::now(), long / sources.len().max(1) as u32);
        let caller = |(number, source): (u32, &Ipv4Addr)| {
            Caller::new(site, *source, long, began + step * number)
        };
        let callers = (0..).zip(sources).map(caller).collect::<Result<Vec<_>>>()?;
        let waiting = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (caller, number) in callers.iter().zip(0..) {
            for socket in [&caller.sip, &caller.rtp] {
                let data = epoll::EventData::new_u64(number);
                epoll::add(&waiting, socket, data, epoll::EventFlags::IN)?;
            }
        }
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let thread = thread::Builder::new().name("callers".to_owned());
        let thread = thread.spawn(move || call(callers, &waiting, &told)).context("a thread")?;
        Ok(Self { ends, thread })
    }

    /// Lets all hang up, and says what came of it.
    ///
    /// # Errors
    /// If they could not go on.
    pub fn finish(self) -> Result<Report> {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the callers panicked"))?
    }
}

/// All of them on one thread, so that no two wait for each other.
fn call(mut callers: Vec<Caller>, waiting: &OwnedFd, ends: &AtomicBool) -> Result<Report> {
    let mut events = Vec::with_capacity(callers.len() * 2);
    loop {
        let now = Instant::now();
        let ends = ends.load(Ordering::Relaxed);
        // The earliest of what any of them has to do next; none once all have hung up.
        let next = callers.iter_mut().filter_map(|caller| caller.act(now, ends)).min();
        let Some(next) = next else { break };
        let time = Timespec::try_from(next.saturating_duration_since(Instant::now()))?;
        events.clear();
        epoll::wait(waiting, spare_capacity(&mut events), Some(&time))?;
        for event in &events {
            callers[event.data.u64() as usize].hear()?;
        }
    }
    let mut report = Report::default();
    callers.iter().for_each(|caller| report.add(&caller.report));
    Ok(report)
}
