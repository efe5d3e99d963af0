//! Logs and answers of PBXs: whoever sends a packet to one has his words in them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use geofilter_core::fail2ban;
use geofilter_core::logs::kept::Kept;
use geofilter_core::logs::{Attempts, Calendar, Event, Reader, Stamp};
use geofilter_core::pbx::{
    Device, MOST, SipTransport, Trunk, ami, asterisk, binrpc, kamailio, uri,
};

/// 2026-11-22 in UTC.
const CALENDAR: Calendar = Calendar { now: Stamp(1_795_400_000_000), ahead: 0 };

/// Every address that a text names, in any of the ways in which logs write one.
fn addresses(data: &[u8]) -> BTreeSet<IpAddr> {
    let text = String::from_utf8_lossy(data);
    let is_part = |letter: char| letter.is_ascii_hexdigit() || matches!(letter, '.' | ':');
    let mut found = BTreeSet::new();
    for word in text.split(|letter| !is_part(letter)) {
        // Before it may stand a colon or a letter, after it a port or a dot.
        let starts = word.char_indices().map(|(at, _)| at).take(64);
        for start in starts {
            for end in (start + 1..=word.len()).rev().take(64) {
                found.extend(word[start..end].parse::<IpAddr>().map(|ip| ip.to_canonical()));
            }
        }
    }
    found
}

/// A log. Read line by line it says the same, and it tells of no address that does not stand in it.
pub fn logs(data: &[u8]) {
    let read = |blocks: &mut dyn Iterator<Item = &[u8]>| {
        let mut events: Vec<Event> = Vec::new();
        let mut reader = Reader::new(CALENDAR);
        blocks.for_each(|block| reader.read(block, |event| events.push(event)));
        (events, reader.lines())
    };
    let (events, lines) = read(&mut [data].into_iter());
    let by_line = read(&mut data.split_inclusive(|byte| *byte == b'\n'));
    assert_eq!((&events, lines), (&by_line.0, by_line.1));
    assert!(lines.understood <= lines.total && lines.ambiguous <= lines.total);
    assert!(events.len() as u64 <= lines.total);
    if !events.is_empty() && data.len() <= 4096 {
        let named = addresses(data);
        for event in &events {
            assert!(named.contains(&event.source.to_canonical()), "{event:?}");
        }
    }
    let mut attempts = Attempts::default();
    let mut counted = 0;
    let mut count = |burst: geofilter_core::logs::Counted| counted += burst.attempts + burst.probes;
    events.iter().for_each(|event| attempts.add(event, &mut count));
    attempts.finish(&mut count);
    assert!(counted <= events.len() as u64, "{counted} attempts of {} events", events.len());
}

/// A ban as fail2ban's database keeps it, and the lines that its action hands over: jail, address and lines, with zero bytes
/// between them.
pub fn kept_bans(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let mut text = || std::str::from_utf8(parts.next().unwrap_or_default()).unwrap_or_default();
    let (jail, ip) = (text(), text());
    let data = parts.next().unwrap_or_default();
    for time in [0, 1_795_400_000, i64::MAX, i64::MIN] {
        let kept = Kept { jail, ip, time, data };
        let mut events = Vec::new();
        let read = kept.read(CALENDAR, |event| events.push(event));
        assert_eq!(read.is_some(), !events.is_empty());
        assert!(events.len() <= 1001, "{}", events.len());
        let source = ip.parse::<IpAddr>().map(|ip| ip.to_canonical());
        assert!(events.iter().all(|event| Ok(event.source) == source && event.kept));
    }
    if let Ok(address) = ip.parse::<IpAddr>()
        && fail2ban::proves(data, address, CALENDAR)
    {
        assert!(addresses(data).contains(&address.to_canonical()) || data.len() > 4096);
    }
}

fn assert_trunks(trunks: &[Trunk]) {
    assert!(trunks.len() <= MOST);
    for trunk in trunks {
        super::assert_printable(&trunk.name);
        let hosts = trunk.hosts.iter().map(ToString::to_string);
        hosts
            .for_each(|host| assert!(host.bytes().all(|byte| byte.is_ascii_graphic()), "{host:?}"));
    }
}

fn assert_devices<'a>(devices: impl IntoIterator<Item = &'a Device>) {
    for device in devices {
        super::assert_printable(&device.endpoint);
        device.user_agent.iter().for_each(|agent| super::assert_printable(agent));
    }
}

fn assert_transports(transports: &[SipTransport]) {
    transports.iter().for_each(|transport| super::assert_printable(&transport.name));
}

/// What Asterisk's command line says, which shows what devices call themselves. A name that is asked for in turn can't
/// end the command that it is asked for by.
pub fn asterisk(data: &[u8]) {
    let answer = asterisk::plain(data);
    asterisk::version(&answer).iter().for_each(|version| super::assert_printable(version));
    let logs =
        asterisk::whole_names(asterisk::log_files(&answer), &["/var/log/asterisk/messages".into()]);
    logs.iter().for_each(|log| super::assert_printable(&log.path));
    assert!(asterisk::log_folder(&answer).is_none_or(|folder| folder.starts_with('/')));
    assert_transports(&asterisk::transports(&answer));
    assert!(asterisk::rtp(&answer).is_none_or(|(first, last)| 0 < first && first <= last));
    let _: Vec<SocketAddr> = asterisk::websockets(&answer);
    let _ = asterisk::is_unknown(&answer);
    assert_trunks(&asterisk::identifies(&answer));
    let registered = asterisk::registered(&answer);
    assert_devices(registered.iter().filter_map(|one| one.device.as_ref()));
    let known = asterisk::registrations(&answer);
    let aors = asterisk::aors_with_static_contacts(&answer, &registered);
    let names = known.iter().map(|(name, _)| name);
    for name in names.chain(&aors).take(8) {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'\\".contains(&byte);
        assert!(!name.is_empty() && name.bytes().all(plain), "{name:?}");
        assert_trunks(&[asterisk::registration(name, true, &answer)]);
        let uris = asterisk::other_contacts(name, &answer, &registered);
        assert!(uris.iter().all(|uri| uri.bytes().all(plain)), "{uris:?}");
        assert_trunks(&[asterisk::static_contacts(name, &answer, &uris)]);
    }
    let _ = asterisk::is_static(&answer);
    let first = answer.lines().next().unwrap_or_default();
    let _ = (uri::host(first), uri::carrier(first));
}

/// What Asterisk's manager says: an answer, which may come in any pieces.
pub fn manager(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let events = ami::events(&text);
    assert!(events.len() <= MOST);
    let registered = ami::registered(&events);
    assert_devices(registered.iter().filter_map(|(_, device)| device.as_ref()));
    assert_trunks(&ami::static_contacts(&events, &registered));
    assert_trunks(&ami::registrations(&events));
    assert!(ami::output(&text).is_none_or(|output| output.len() <= text.len()));
    for end in [data.len(), data.len() / 2] {
        if geofilter::parsers::manager_answer_is_whole(&data[..end], "EventList: Complete") {
            assert!(data[..end].ends_with(b"\r\n\r\n"));
        }
    }
}

/// What Kamailio answers. Whether an answer is whole is told by how it begins.
pub fn kamailio(data: &[u8]) {
    let length = binrpc::length(data);
    match binrpc::reply(data) {
        Ok(items) => {
            let whole = length.unwrap().unwrap();
            assert!(whole <= data.len() && items.len() <= data.len());
            assert_eq!(binrpc::reply(&data[..whole]).as_ref(), Ok(&items));
            kamailio::version(&items).iter().for_each(|version| super::assert_printable(version));
            assert_transports(&kamailio::transports(&items));
            assert_devices(&kamailio::devices(&items));
            assert_trunks(&kamailio::dispatched(&items));
        }
        Err(binrpc::Wrong::Fault(said)) => super::assert_printable(&said),
        Err(binrpc::Wrong::Malformed) => {}
    }
}
