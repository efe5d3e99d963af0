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
    entries: VecDeque<Arc<LogEntry>>,
    followers: broadcast::Sender<Arc<LogEntry>>,
    /// To ask the kernel for the names of interfaces.
    socket: Option<OwnedFd>,
}

impl AttackLog {
    pub(crate) fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            followers: broadcast::Sender::new(BEHIND),
            socket: socket(AddressFamily::INET, SocketType::DGRAM, None).ok(),
        }
    }

    pub(crate) fn add(&mut self, event: DropEvent, geo: &Geo, now: Now) {
        let entry = Arc::new(self.entry(event, geo, now));
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(Arc::clone(&entry));
        // It fails when nobody follows.
        let _ = self.followers.send(entry);
    }

    /// The entries kept, oldest first.
    pub(crate) fn recent(&self, filter: Filter) -> Vec<Arc<LogEntry>> {
        self.entries.iter().filter(|entry| filter.matches(entry)).cloned().collect()
    }

    /// Those to come.
    pub(crate) fn follow(&self) -> broadcast::Receiver<Arc<LogEntry>> {
        self.followers.subscribe()
    }

    fn entry(&self, event: DropEvent, geo: &Geo, now: Now) -> LogEntry {
        let sip = sip::read(&event.payload);
        let announced = geo.announced_by(event.source);
        LogEntry {
            time: timestamp(event.time, now),
            enforced: event.enforced,
            source: event.source,
            source_port: event.source_port,
            port: event.destination_port,
            protocol: protocol(event.protocol),
            country: event.country.code(),
            asn: announced.as_ref().map(|(asn, _)| *asn),
            as_name: announced.map(|(_, name)| name),
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
        log.add(event("RU", 4_000_000_000), &Geo::embedded().unwrap(), NOW);
        let all = Filter { country: None, reason: None };
        let entry = &log.recent(all)[0];
        assert_eq!(entry.time, "1970-01-12T13:46:39Z");
        assert_eq!((entry.protocol.as_str(), entry.method.as_deref()), ("udp", Some("OPTIONS")));
    }

    #[test]
    fn the_log_is_bounded_and_filtered() {
        let mut log = AttackLog::new();
        let geo = Geo::embedded().unwrap();
        let mut follower = log.follow();
        for number in 0..KEPT as u64 + 10 {
            log.add(event(if number % 2 == 0 { "RU" } else { "CN" }, number), &geo, NOW);
        }
        let china = Filter { country: CountryCode::parse("CN").ok(), reason: None };
        assert_eq!(log.recent(china).len(), KEPT / 2);
        assert!(log.recent(Filter { reason: Some(Reason::Ban), ..china }).is_empty());
        assert!(matches!(follower.try_recv(), Err(broadcast::error::TryRecvError::Lagged(_))));
    }
}
