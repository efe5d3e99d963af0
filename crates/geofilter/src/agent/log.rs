//! [`AttackLog`]: the most recent drops in memory, and those who follow them.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use geofilter_core::counters::Reason;
use geofilter_core::country::CountryCode;
use geofilter_core::desired::BootTime;
use geofilter_core::event::DropEvent;
use geofilter_core::wire::LogEntry;
use rustix::net::{AddressFamily, SocketType, netdevice, socket};
use tokio::sync::broadcast;

use super::sip;
use crate::geo::Geo;

const KEPT: usize = 10_000;
/// How far a follower may fall behind before it loses entries.
const BEHIND: usize = 1_024;

/// Which entries are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filter {
    pub(crate) country: Option<CountryCode>,
    pub(crate) reason: Option<Reason>,
}

impl Filter {
    pub(crate) fn matches(&self, entry: &LogEntry) -> bool {
        self.country.is_none_or(|country| country == entry.country)
            && self.reason.is_none_or(|reason| reason == entry.reason)
    }
}

/// The two clocks, read together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) boot: BootTime,
    pub(crate) wall: Duration,
}

#[derive(Debug)]
pub(crate) struct AttackLog {
    /// Without who announces their sources: that is looked up for who asks.
    entries: VecDeque<Arc<LogEntry>>,
    /// How many of them no follower was told of.
    untold: usize,
    followers: broadcast::Sender<Arc<LogEntry>>,
    /// To ask the kernel for the names of interfaces.
    socket: Option<OwnedFd>,
}

impl AttackLog {
    pub(crate) fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            untold: 0,
            followers: broadcast::Sender::new(BEHIND),
            socket: socket(AddressFamily::INET, SocketType::DGRAM, None).ok(),
        }
    }

    pub(crate) fn add(&mut self, event: DropEvent, now: Now) {
        let entry = Arc::new(self.entry(event, now));
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
        self.untold = KEPT.min(self.untold + 1);
    }

    /// Tells followers of what was added.
    pub(crate) fn tell(&mut self, geo: &Geo) {
        let untold = std::mem::take(&mut self.untold);
        if untold == 0 || self.followers.receiver_count() == 0 {
            return;
        }
        let told = self.entries.iter().skip(self.entries.len() - untold);
        for entry in announced(told.cloned().collect(), geo) {
            // It fails when nobody follows any more.
            let _ = self.followers.send(entry);
        }
    }

    /// The entries kept, oldest first.
    pub(crate) fn recent(&self, filter: Filter, geo: &Geo) -> Vec<Arc<LogEntry>> {
        let entries = self.entries.iter().filter(|entry| filter.matches(entry));
        announced(entries.cloned().collect(), geo)
    }

    /// Those to come.
    pub(crate) fn follow(&self) -> broadcast::Receiver<Arc<LogEntry>> {
        self.followers.subscribe()
    }

    fn entry(&self, event: DropEvent, now: Now) -> LogEntry {
        let sip = sip::read(&event.payload);
        LogEntry {
            time: timestamp(event.time, now),
            enforced: event.enforced,
            source: event.source,
            source_port: event.source_port,
            port: event.destination_port,
            protocol: protocol(event.protocol),
            country: event.country.code(),
            asn: None,
            as_name: None,
            reason: event.reason,
            interface: self.interface(event.interface),
            length: event.length,
            packets: event.packets,
            method: sip.method,
            first_line: sip.first_line,
            user_agent: sip.user_agent,
            generation: event.generation,
        }
    }

    fn interface(&self, index: u32) -> String {
        let name = self.socket.as_ref().and_then(|fd| netdevice::index_to_name(fd, index).ok());
        name.unwrap_or_else(|| format!("interface {index}"))
    }
}

/// The entries with who announces their sources.
fn announced(entries: Vec<Arc<LogEntry>>, geo: &Geo) -> Vec<Arc<LogEntry>> {
    let systems = geo.announced_by(entries.iter().map(|entry| entry.source));
    let announced = |entry: Arc<LogEntry>| match systems.get(&entry.source) {
        None => entry,
        Some((asn, name)) => {
            let (asn, as_name) = (Some(*asn), Some(name.clone()));
            Arc::new(LogEntry { asn, as_name, ..Arc::unwrap_or_clone(entry) })
        }
    };
    entries.into_iter().map(announced).collect()
}

fn timestamp(event: BootTime, now: Now) -> String {
    let ago = Duration::from_nanos(now.boot.0.saturating_sub(event.0));
    let wall = now.wall.saturating_sub(ago);
    jiff::Timestamp::from_millisecond(wall.as_millis() as i64).unwrap_or_default().to_string()
}

fn protocol(number: u8) -> String {
    match number {
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use geofilter_core::country::CountryId;
    use geofilter_core::desired::Generation;

    fn event(country: &str, time: u64) -> DropEvent {
        DropEvent {
            time: BootTime(time),
            generation: Generation(1),
            enforced: true,
            reason: Reason::Country,
            country: CountryCode::parse(country).map_or(CountryId::UNKNOWN, CountryCode::id),
            interface: u32::MAX,
            source: "198.51.100.7".parse().unwrap(),
            protocol: 17,
            source_port: 5070,
            destination_port: 5060,
            length: 442,
            packets: 1,
            payload: b"OPTIONS sip:x SIP/2.0\r\n".to_vec(),
        }
    }

    const NOW: Now = Now { boot: BootTime(5_000_000_000), wall: Duration::from_secs(1_000_000) };

    #[test]
    fn entries_have_wall_time_and_words() {
        let mut log = AttackLog::new();
        log.add(event("RU", 4_000_000_000), NOW);
        let all = Filter { country: None, reason: None };
        let entry = &log.recent(all, &Geo::embedded().unwrap())[0];
        assert_eq!(entry.time, "1970-01-12T13:46:39Z");
        assert_eq!((entry.protocol.as_str(), entry.method.as_deref()), ("udp", Some("OPTIONS")));
    }

    #[test]
    fn the_log_is_bounded_and_filtered() {
        let mut log = AttackLog::new();
        let geo = Geo::embedded().unwrap();
        let mut follower = log.follow();
        for number in 0..KEPT as u64 + 10 {
            log.add(event(if number % 2 == 0 { "RU" } else { "CN" }, number), NOW);
        }
        log.tell(&geo);
        let china = Filter { country: CountryCode::parse("CN").ok(), reason: None };
        assert_eq!(log.recent(china, &geo).len(), KEPT / 2);
        assert!(log.recent(Filter { reason: Some(Reason::Ban), ..china }, &geo).is_empty());
        assert!(matches!(follower.try_recv(), Err(broadcast::error::TryRecvError::Lagged(_))));
    }

    #[test]
    fn who_announces_a_source_is_looked_up_for_who_asks_and_the_whole_table_is_not_read() {
        let (mut log, geo) = (AttackLog::new(), Geo::embedded().unwrap());
        let mut follower = log.follow();
        for source in ["51.254.0.1", "198.51.100.7", "2001:41d0::1"] {
            log.add(DropEvent { source: source.parse().unwrap(), ..event("FR", 1) }, NOW);
        }
        log.tell(&geo);
        let all = Filter { country: None, reason: None };
        let recent = log.recent(all, &geo);
        let systems: Vec<_> =
            recent.iter().map(|entry| (entry.asn, entry.as_name.as_deref())).collect();
        assert_eq!(systems, [(Some(16276), Some("OVH")), (None, None), (Some(16276), Some("OVH"))]);
        let told: Vec<_> = std::iter::from_fn(|| follower.try_recv().ok()).collect();
        assert_eq!(told, recent);
        assert!(!geo.has_read_systems());
    }
}
