//! [`of`]: the logs of this host, rotated ones included.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use geofilter_core::pbx::{Kind, LogFile, Pbx};

const FAIL2BAN: &str = "/var/log/fail2ban.log";
/// Where Asterisk writes unless told otherwise; of each row the first that is there.
const USUAL: [[&str; 4]; 2] = [
    [
        "/var/log/asterisk/security.log",
        "/var/log/asterisk/security",
        "/var/log/asterisk/security_log",
        "",
    ],
    [
        "/var/log/asterisk/messages.log",
        "/var/log/asterisk/messages",
        "/var/log/asterisk/full",
        "/var/log/asterisk/full.log",
    ],
];

/// The logs that these PBXs write, and that of fail2ban. Those of containers are in file systems of their own.
pub(super) fn of(pbxs: &[Pbx]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let asterisks = pbxs.iter().filter(|pbx| pbx.kind == Kind::Asterisk && !pbx.container);
    for pbx in asterisks {
        match &pbx.logs {
            Some(logs) => {
                files.extend(chosen(logs).into_iter().map(|log| PathBuf::from(&log.path)))
            }
            None => files.extend(usual()),
        }
    }
    if pbxs.is_empty() {
        files.extend(usual());
    }
    files.push(FAIL2BAN.into());
    files.sort();
    files.dedup();
    files.iter().flat_map(|file| with_rotated(file)).collect()
}

fn usual() -> impl Iterator<Item = PathBuf> {
    let there = |names: [&str; 4]| names.into_iter().map(PathBuf::from).find(|path| path.is_file());
    USUAL.into_iter().filter_map(there)
}

/// Of the files that a PBX writes as few as hold everything once: a line in two of them would count twice.
fn chosen(logs: &[LogFile]) -> Vec<&LogFile> {
    let smallest = |has: &dyn Fn(&LogFile) -> bool| {
        logs.iter().filter(|log| has(log)).min_by_key(|log| log.levels.len())
    };
    let security = smallest(&|log| log.writes("SECURITY"));
    if let Some(both) = security.filter(|log| log.writes("NOTICE")) {
        return vec![both];
    }
    let notices = smallest(&|log| log.writes("NOTICE") && !log.writes("SECURITY"));
    security.into_iter().chain(notices).collect()
}

/// A log and those it was rotated to: `messages`, `messages.1`, `messages.2.gz`, `messages-20261122.gz`.
fn with_rotated(log: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (log.parent(), log.file_name()) else { return Vec::new() };
    let name = name.to_string_lossy();
    let is_of = |other: &str| match other.strip_prefix(&*name) {
        Some("") => true,
        Some(rest) => {
            let number = rest.strip_suffix(".gz").unwrap_or(rest);
            number.strip_prefix(['.', '-']).is_some_and(is_number)
        }
        None => false,
    };
    let Ok(entries) = fs::read_dir(folder) else { return vec![log.to_owned()] };
    let names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
    let mut files: Vec<PathBuf> = names
        .filter(|other| is_of(&other.to_string_lossy()))
        .map(|other| folder.join(other))
        .collect();
    files.sort();
    files
}

fn is_number(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(is_part)
}

/// Whether a file can be read; a pipe under its name would hold us up.
pub(super) fn readable(path: &Path) -> io::Result<()> {
    match fs::metadata(path)?.is_file() {
        true => File::open(path).map(drop),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(path: &str, levels: &[&str]) -> LogFile {
        LogFile {
            path: path.to_owned(),
            levels: levels.iter().map(|&level| level.to_owned()).collect(),
        }
    }

    #[test]
    fn a_line_is_read_from_one_of_the_files_that_hold_it() {
        let paths = |logs: &[LogFile]| -> Vec<String> {
            chosen(logs).iter().map(|log| log.path.clone()).collect()
        };
        let messages = log("messages", &["NOTICE", "WARNING", "ERROR"]);
        let full = log("full", &["NOTICE", "WARNING", "ERROR", "VERBOSE", "DTMF"]);
        let security = log("security", &["SECURITY"]);
        let all = log("all", &["NOTICE", "WARNING", "ERROR", "VERBOSE", "SECURITY"]);
        let debug = log("debug", &["DEBUG"]);
        let of = |logs: &[&LogFile]| paths(&logs.iter().map(|&it| it.clone()).collect::<Vec<_>>());
        assert_eq!(of(&[&messages, &full, &security, &debug]), ["security", "messages"]);
        assert_eq!(of(&[&full, &all]), ["all"]);
        assert_eq!(of(&[&all, &security, &messages]), ["security", "messages"]);
        assert_eq!(of(&[&all, &security]), ["security"], "what it lacks, it tells as well");
        assert_eq!(of(&[&full, &messages]), ["messages"]);
        assert_eq!(of(&[&debug]), [""; 0]);
    }

    #[test]
    fn rotated_logs_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let mine = ["messages", "messages.1", "messages.2.gz", "messages-20261122.gz"];
        let others = ["messages.log", "messages.old", "messages.1.xz", "messages2", "x.messages"];
        for name in mine.iter().chain(&others) {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = with_rotated(&folder.path().join("messages"));
        let names = found.iter().map(|path| path.file_name().unwrap().to_str().unwrap());
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        let mut expected = mine;
        expected.sort_unstable();
        assert_eq!(names, expected);
        let nowhere = Path::new("/nonexistent/messages");
        assert_eq!(with_rotated(nowhere), [nowhere]);
        assert!(readable(nowhere).is_err() && readable(folder.path()).is_err());
    }
}
