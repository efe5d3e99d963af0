//! What comes from this host: its kernel, programs and files. Packets are anybody's, files of others may be damaged.

use std::cell::Cell;
use std::io::Write;
use std::net::IpAddr;

use flate2::Compression;
use flate2::write::GzEncoder;
use geofilter::parsers;
use geofilter_core::country::CountryId;
use geofilter_core::desired::BootTime;
use geofilter_core::doctor::dump;
use geofilter_core::doctor::redact::Redactor;
use geofilter_core::evidence::Evidence;
use geofilter_core::packet::{Departure, Frame, Packet};
use geofilter_core::surroundings;
use geofilter_core::tracker::Method;
use geofilter_dataplane::parsers as kernel;

/// A frame, as the oracle reads it beside the programs in the kernel.
pub fn frame(data: &[u8]) {
    let _ = Frame::from_ethernet(data);
    if let Some(departure) = Departure::from_ethernet(data) {
        let within = data.as_ptr_range();
        let payload = departure.payload.as_ptr_range();
        assert!(
            departure.payload.is_empty()
                || within.start <= payload.start && payload.end <= within.end
        );
        let _ = Method::of(departure.payload);
    }
    for ethertype in [0x0800, 0x86dd] {
        let _ = Packet::from_ip(ethertype, data);
    }
    let _ = Method::of(data);
}

/// A record of the ring buffer, and what the attack log shows of the packet in it.
pub fn ring_buffer(data: &[u8]) {
    if let Some(event) = kernel::event(data) {
        assert!(event.payload.len() <= 512 && event.payload.len() <= data.len());
        shown(&event.payload);
    }
    shown(data);
}

/// Netfilter's messages: packets that nftables logged, what the attack log shows of them, and what is listed of our table.
pub fn logged(data: &[u8]) {
    let listed = kernel::listed(data, BootTime(1 << 40));
    assert!(listed.peers.iter().all(|peer| peer.until >= Some(BootTime(1 << 40))));
    for packet in kernel::logged(data) {
        assert!(packet.payload.len() <= data.len());
        shown(&packet.payload);
    }
}

fn shown(payload: &[u8]) {
    let parts = parsers::payload(payload);
    parts.iter().flatten().for_each(|part| super::assert_printable(part));
}

/// What `nft -j` says of the tables of others.
pub fn nft(data: &[u8]) {
    if let Ok((firewalls, forwards)) = surroundings::nft(data) {
        firewalls.iter().for_each(|firewall| super::assert_printable(&firewall.name));
        forwards.iter().for_each(|forward| super::assert_printable(&forward.by));
    }
}

/// What fail2ban's client and Docker's proxy say.
pub fn surroundings(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let jails = surroundings::jails(&text).unwrap_or_default();
    jails.iter().for_each(|jail| super::assert_printable(jail));
    let _: Vec<IpAddr> = surroundings::banned(&text);
    let words: Vec<String> = text.split('\0').map(str::to_owned).collect();
    let _ = surroundings::docker_proxy(&words);
    dump::jails(&text).iter().for_each(|jail| super::assert_printable(&jail.name));
}

/// What a support file is made of: nobody's address or name is left in it.
pub fn redaction(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (names, text) = text.split_once('\n').unwrap_or(("", &text));
    let asked = Cell::new(0);
    let country = |_: IpAddr| {
        asked.set(asked.get() + 1);
        CountryId::UNKNOWN.code()
    };
    let mut redactor = Redactor::new(&country, names.split(',').map(str::to_owned));
    let redacted = redactor.text(text);
    // Once more it finds nothing.
    let mut again = Redactor::new(&country, std::iter::empty());
    asked.set(0);
    again.text(&redacted);
    assert_eq!(asked.get(), 0, "an address is left: {redacted:?}");
}

/// The configuration.
pub fn configuration(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        drop(parsers::config(text));
    }
}

/// What the agent has saved: exemptions and bans, its state, and what the logs told. What can be read is written as it
/// was.
pub fn state(data: &[u8]) {
    if let Ok((book, _)) = parsers::overrides(data) {
        let mut file = b"{\"schema\":1}\n".to_vec();
        for edit in book.edits() {
            file.extend(serde_json::to_vec(&edit).unwrap());
            file.push(b'\n');
        }
        let (again, unreadable) = parsers::overrides(&file).unwrap();
        assert_eq!((again, unreadable), (book, 0));
    }
    parsers::state(data).iter().for_each(super::comes_back);
    serde_json::from_slice::<Evidence>(data).iter().for_each(super::comes_back);
}

/// A backup. Whatever it says, nothing is written but below the folder. After a `T` follows what is compressed in it: few
/// random bytes have the right checksum.
pub fn backup(data: &[u8]) {
    let packed = match data.split_first() {
        Some((b'T', archive)) => {
            let mut packed = GzEncoder::new(Vec::new(), Compression::none());
            packed.write_all(archive).unwrap();
            packed.finish().unwrap()
        }
        _ => data.to_vec(),
    };
    let folder = tempfile::Builder::new().prefix("gf-backup").tempdir_in(memory()).unwrap();
    let into = folder.path().join("into");
    std::fs::create_dir(&into).unwrap();
    drop(parsers::backup(&packed[..], &into));
    let beside: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
}

/// A folder that is no disk, where there is one and no other is asked for.
pub(crate) fn memory() -> std::path::PathBuf {
    if let Some(folder) = std::env::var_os("TMPDIR") {
        return folder.into();
    }
    let shared = std::path::PathBuf::from("/dev/shm");
    if shared.is_dir() { shared } else { std::env::temp_dir() }
}
