//! [`Baseline`]: the machine's state before the first change, to be compared after the last. What is new
//! and of our making must not be; everything else that differs is the work of others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::Command;

use aya::programs::{SchedClassifier, TcAttachType, loaded_programs};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::tc::{TcAttribute, TcMessage};
use serde::{Deserialize, Serialize};

use crate::interfaces::Interface;
use crate::netlink::dump;
use crate::{Error, interfaces, tc};

/// Reads one area.
type Capture = fn() -> io::Result<BTreeSet<String>>;

/// The state of the machine, as sorted lines by area.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Baseline(BTreeMap<String, BTreeSet<String>>);

/// What an agent makes, by which its remains are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    /// Paths that are there only while something is attached: see [`crate::kernel::paths`].
    pub paths: Vec<String>,
    /// The names of the interfaces that its programs, named `gf_…`, sit on.
    pub interfaces: Vec<String>,
    /// The table of nftables that is there only while something is attached: see [`crate::nft::table_of`].
    pub table: String,
}

impl Traces {
    fn include(&self, line: &str) -> bool {
        let is_in_table = ["table", "name"].iter().any(|key| {
            !self.table.is_empty() && line.contains(&format!("\"{key}\":\"{}\"", self.table))
        });
        is_in_table
            || self.paths.iter().any(|path| starts_with(line, path))
            || line.contains("gf_") && self.interfaces.iter().any(|name| starts_with(line, name))
            || line.contains("gf_track")
    }
}

/// A line that is there in only one of two states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Which part of the machine.
    pub area: String,
    /// The line.
    pub line: String,
    /// Whether it came or went.
    pub appeared: bool,
}

/// The proof: how now differs from the baseline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// How many lines were compared, by area.
    pub compared: BTreeMap<String, usize>,
    /// Remains of ours. Empty, or something is wrong.
    pub ours: Vec<Difference>,
    /// What others changed meanwhile.
    pub theirs: Vec<Difference>,
}

impl Proof {
    /// Whether nothing of ours remains.
    pub fn holds(&self) -> bool {
        self.ours.is_empty()
    }
}

impl Baseline {
    /// Captures the state of the machine.
    ///
    /// # Errors
    /// [`Error::Baseline`] names the area that can't be read.
    pub fn capture() -> Result<Self, Error> {
        let areas: [(&str, Capture); 8] = [
            ("interfaces", capture_interfaces),
            ("XDP programs", capture_xdp),
            ("TCX programs", capture_tcx),
            ("qdiscs and filters", capture_tc),
            ("nftables", capture_nftables),
            ("mounts", capture_mounts),
            ("pinned BPF objects", capture_pins),
            ("kernel settings", capture_settings),
        ];
        let capture = |(area, capture): (&str, Capture)| {
            let fail = |source| Error::Baseline { area: area.to_owned(), source };
            Ok((area.to_owned(), capture().map_err(fail)?))
        };
        areas.into_iter().map(capture).collect::<Result<_, _>>().map(Self)
    }

    /// Compares a later state with this one. Nothing of `ours` may be new.
    pub fn compare(&self, now: &Self, ours: &Traces) -> Proof {
        let empty = BTreeSet::new();
        let mut proof = Proof { compared: BTreeMap::new(), ours: Vec::new(), theirs: Vec::new() };
        for area in self.0.keys().chain(now.0.keys()).collect::<BTreeSet<_>>() {
            let before = self.0.get(area).unwrap_or(&empty);
            let after = now.0.get(area).unwrap_or(&empty);
            proof.compared.insert(area.clone(), after.len());
            let gone = before.difference(after).map(|line| (line, false));
            for (line, appeared) in gone.chain(after.difference(before).map(|line| (line, true))) {
                let is_ours = appeared && ours.include(line);
                let list = if is_ours { &mut proof.ours } else { &mut proof.theirs };
                let other = if appeared { before } else { after };
                let line = whole_folder(line, other).unwrap_or_else(|| line.clone());
                let difference = Difference { area: area.clone(), line, appeared };
                if list.last() != Some(&difference) {
                    list.push(difference);
                }
            }
        }
        proof
    }
}

/// A setting whose whole folder is missing in the other state, as that of an interface that came or went:
/// one line stands for all of them.
fn whole_folder(line: &str, other: &BTreeSet<String>) -> Option<String> {
    let (setting, _) = line.split_once(" = ").filter(|(path, _)| path.starts_with('/'))?;
    let folder = &setting[..=setting.rfind('/')?];
    let next = other.range(folder.to_owned()..).next();
    let missing = next.is_none_or(|next| !next.starts_with(folder));
    missing.then(|| format!("{folder}*"))
}

/// Whether a line tells of an interface, or of a path or something below it.
fn starts_with(line: &str, name: &str) -> bool {
    line.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ' ']))
}

fn capture_interfaces() -> io::Result<BTreeSet<String>> {
    let links = dump(RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    Ok(links
        .into_iter()
        .filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(describe_link(&link)),
            _ => None,
        })
        .collect())
}

/// What an administrator may have set and a program on the interface may disturb.
fn describe_link(link: &LinkMessage) -> String {
    let mut line = format!("{}: flags {:?}", link.header.index, link.header.flags);
    for attribute in &link.attributes {
        let kept = match attribute {
            LinkAttribute::IfName(name) => format!("name {name}"),
            LinkAttribute::Mtu(mtu) => format!("mtu {mtu}"),
            LinkAttribute::MaxMtu(mtu) => format!("max mtu {mtu}"),
            LinkAttribute::Qdisc(qdisc) => format!("qdisc {qdisc}"),
            LinkAttribute::Promiscuity(count) => format!("promiscuity {count}"),
            LinkAttribute::NumTxQueues(queues) => format!("tx queues {queues}"),
            LinkAttribute::NumRxQueues(queues) => format!("rx queues {queues}"),
            LinkAttribute::GsoMaxSize(size) => format!("gso {size}"),
            LinkAttribute::GroMaxSize(size) => format!("gro {size}"),
            LinkAttribute::Xdp(xdp) => format!("xdp {xdp:?}"),
            _ => continue,
        };
        line.push_str(", ");
        line.push_str(&kept);
    }
    line
}

fn capture_xdp() -> io::Result<BTreeSet<String>> {
    let programs: BTreeMap<u32, String> = loaded_programs()
        .filter_map(Result::ok)
        .map(|program| (program.id(), program.name_as_str().unwrap_or("?").to_owned()))
        .collect();
    let line = |interface: Interface| {
        let id = interface.xdp_program?;
        let name = programs.get(&id).map_or("?", String::as_str);
        Some(format!("{} xdp: program {id} {name}", interface.name))
    };
    Ok(interfaces::all().map_err(io::Error::other)?.into_iter().filter_map(line).collect())
}

fn capture_tcx() -> io::Result<BTreeSet<String>> {
    let mut lines = BTreeSet::new();
    for interface in interfaces::all().map_err(io::Error::other)? {
        for (name, kind) in [("ingress", TcAttachType::Ingress), ("egress", TcAttachType::Egress)] {
            // Kernels before 6.6 have no TCX, and so no programs on it.
            let Ok((_, programs)) = SchedClassifier::query_tcx(&interface.name, kind) else {
                continue;
            };
            lines.extend(programs.iter().enumerate().map(|(place, program)| {
                let (id, tag) = (program.id(), program.name_as_str().unwrap_or("?"));
                format!("{} {name} {place}: program {id} {tag}", interface.name)
            }));
        }
    }
    Ok(lines)
}

fn capture_tc() -> io::Result<BTreeSet<String>> {
    let interfaces = interfaces::all().map_err(io::Error::other)?;
    let name = |message: &TcMessage| {
        let index = message.header.index as u32;
        let found = interfaces.iter().find(|interface| interface.index == index);
        found.map_or_else(|| format!("#{index}"), |interface| interface.name.clone())
    };
    let line =
        |what, message: &TcMessage| format!("{} {what} {}", name(message), describe_tc(message));
    let mut lines: BTreeSet<String> =
        tc::qdiscs()?.iter().map(|qdisc| line("qdisc", qdisc)).collect();
    for interface in &interfaces {
        for direction in [tc::INGRESS, tc::EGRESS] {
            let filters = tc::filters(interface.index, direction)?;
            lines.extend(filters.iter().map(|filter| line("filter", filter)));
        }
    }
    Ok(lines)
}

fn describe_tc(message: &TcMessage) -> String {
    let header = &message.header;
    let mut line =
        format!("handle {:x?} parent {:x?} info {:x}", header.handle, header.parent, header.info);
    for attribute in &message.attributes {
        match attribute {
            TcAttribute::Kind(kind) => line.push_str(&format!(" {kind}")),
            // The options of other kinds count packets.
            TcAttribute::Options(options) if line.ends_with(" bpf") => {
                line.push_str(&format!(" {options:?}"));
            }
            _ => {}
        }
    }
    line
}

/// The ruleset without counters and without the elements of sets, which others change all the time.
fn capture_nftables() -> io::Result<BTreeSet<String>> {
    let output = match Command::new("nft").args(["-j", "-s", "-t", "list", "ruleset"]).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        output => output?,
    };
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let ruleset: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let items = ruleset["nftables"].as_array().into_iter().flatten();
    Ok(items.filter(|item| item.get("metainfo").is_none()).map(ToString::to_string).collect())
}

fn capture_mounts() -> io::Result<BTreeSet<String>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let source = fields.iter().skip_while(|field| **field != "-").skip(1).take(2);
        let source: Vec<&str> = source.copied().collect();
        Some(format!("{} {}", fields.get(4)?, source.join(" ")))
    };
    Ok(mounts.lines().filter_map(line).collect())
}

fn capture_pins() -> io::Result<BTreeSet<String>> {
    let mut lines = BTreeSet::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    for mount in mounts.lines().filter(|line| line.contains(" - bpf ")) {
        if let Some(folder) = mount.split(' ').nth(4) {
            walk(Path::new(folder), &mut lines)?;
        }
    }
    Ok(lines)
}

/// What others take away meanwhile is not there.
fn walk(folder: &Path, lines: &mut BTreeSet<String>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        lines.insert(entry.path().display().to_string());
        // The kernel's own iterators list other folders; pins have no links among them.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), lines)?;
        }
    }
    Ok(())
}

/// Settings of the network and of BPF. What the kernel counts there by itself is no setting.
fn capture_settings() -> io::Result<BTreeSet<String>> {
    const COUNTED: [&str; 3] = ["nf_conntrack_count", "/inuse", "/stable_secret"];
    let mut lines = BTreeSet::new();
    let mut folders = vec![Path::new("/proc/sys/net").to_path_buf()];
    while let Some(folder) = folders.pop() {
        // Interfaces come and go, and their folders with them.
        for entry in fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            let name = path.display().to_string();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(value) = fs::read_to_string(&path)
                && !COUNTED.iter().any(|counted| name.ends_with(counted))
            {
                lines.insert(format!("{name} = {}", value.trim()));
            }
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(lines: &[&str]) -> Baseline {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        Baseline(BTreeMap::from([("mounts".to_owned(), lines)]))
    }

    fn ours(path: &str) -> Traces {
        Traces {
            paths: vec![path.to_owned()],
            interfaces: vec!["wan0".to_owned()],
            table: String::new(),
        }
    }

    #[test]
    fn a_program_of_ours_that_stayed_is_ours_on_our_interface_only() {
        let after = state(&["wan0 ingress 0: program 7 gf_tc", "wan1 ingress 0: program 8 gf_tc"]);
        let proof = state(&[]).compare(&after, &ours("/run/gf/bpf"));
        assert_eq!(proof.ours.len(), 1);
        assert_eq!(proof.ours[0].line, "wan0 ingress 0: program 7 gf_tc");
    }

    #[test]
    fn what_is_new_below_our_paths_is_ours_and_the_rest_is_theirs() {
        let before = state(&["/sys/fs/bpf", "/docker"]);
        let after = state(&["/sys/fs/bpf", "/run/gf/bpf bpf", "/run/gf/bpf-of-others bpf"]);
        let proof = before.compare(&after, &ours("/run/gf/bpf"));
        assert!(!proof.holds());
        assert_eq!(proof.ours.len(), 1);
        assert_eq!(proof.ours[0].line, "/run/gf/bpf bpf");
        let theirs: Vec<_> = proof.theirs.iter().map(|it| (&*it.line, it.appeared)).collect();
        assert_eq!(theirs, [("/docker", false), ("/run/gf/bpf-of-others bpf", true)]);
    }

    #[test]
    fn a_tracker_that_stayed_is_ours_on_any_interface() {
        let after = state(&["wan1 egress 0: program 8 gf_track_tc"]);
        assert!(!state(&[]).compare(&after, &ours("/run/gf/bpf")).holds());
    }

    #[test]
    fn the_settings_of_an_interface_that_came_or_went_are_one_line() {
        let all = "/proc/sys/net/ipv4/conf/all/rp_filter = 0";
        let changed = "/proc/sys/net/ipv4/conf/all/rp_filter = 1";
        let veth = ["accept_local", "forwarding", "rp_filter"]
            .map(|name| format!("/proc/sys/net/ipv4/conf/veth7/{name} = 0"));
        let after = state(&[changed, &veth[0], &veth[1], &veth[2]]);
        let proof = state(&[all]).compare(&after, &ours("/run/gf/bpf"));
        let theirs: Vec<_> = proof.theirs.iter().map(|it| (&*it.line, it.appeared)).collect();
        let folder = ("/proc/sys/net/ipv4/conf/veth7/*", true);
        assert_eq!(theirs, [(all, false), (changed, true), folder]);
        let gone = after.compare(&state(&[changed]), &ours("/run/gf/bpf")).theirs;
        assert_eq!((gone.len(), gone[0].appeared), (1, false));
    }

    #[test]
    fn a_folder_that_others_take_away_meanwhile_fails_nothing() {
        let mut lines = BTreeSet::new();
        walk(Path::new("/sys/fs/bpf/geofilter-gone-by-now"), &mut lines).unwrap();
        assert!(lines.is_empty());
    }

    #[test]
    fn the_same_state_proves_itself() {
        let before = state(&["/sys/fs/bpf/geofilter"]);
        let proof = before.compare(&before, &ours("/sys/fs/bpf/geofilter"));
        assert!(proof.holds() && proof.theirs.is_empty());
    }
}
