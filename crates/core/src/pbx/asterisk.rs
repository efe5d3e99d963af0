//! What Asterisk's command line says. Each function reads the answer to the command it is named after;
//! what it does not understand it leaves out. [`ANSI`](plain) codes and the greeting of the control socket
//! are to be taken off before, by [`plain`].
//!
//! Tables of the command line cut long names off, so names and URIs are read from the answers about a
//! single object, which are not cut, and from `database show registrar`.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;

use super::{Carrier, Device, How, LogFile, MOST, SipTransport, Trunk, printable};

/// The longest name or URI that is asked for.
const LONGEST_NAME: usize = 512;

/// The text without terminal codes, and without the line that a control socket greets with.
pub fn plain(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let text = match text.split_once('\n') {
        Some((first, rest)) if is_greeting(first) => rest,
        _ => &text,
    };
    let mut pieces = text.split('\x1b');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    // A code is a bracket, parameters, and one letter.
    for piece in pieces {
        let parameter = |c: char| c.is_ascii_digit() || c == ';' || c == '?';
        let after = piece.strip_prefix('[').map(|code| code.trim_start_matches(parameter));
        let after = after.and_then(|code| code.strip_prefix(|c: char| c.is_ascii_alphabetic()));
        plain.push_str(after.unwrap_or(piece));
    }
    plain
}

/// `host/pid/version`.
fn is_greeting(line: &str) -> bool {
    line.split('/').count() >= 3
        && line.split('/').nth(1).is_some_and(|pid| pid.parse::<u32>().is_ok())
}

/// Whether Asterisk does not know the command, as when a module is not loaded.
pub fn is_unknown(answer: &str) -> bool {
    answer.trim_start().starts_with("No such command")
}

/// `core show version`.
pub fn version(answer: &str) -> Option<String> {
    let line = answer.lines().find_map(|line| line.trim().strip_prefix("Asterisk "))?;
    line.split_whitespace().next().map(printable)
}

/// `core show settings`: where it writes its logs.
pub fn log_folder(answer: &str) -> Option<&str> {
    answer
        .lines()
        .find_map(|line| rest(line, "Log directory:"))
        .filter(|path| path.starts_with('/'))
}

/// `logger show channels`: the files it logs to, and what it writes there.
pub fn log_files(answer: &str) -> Vec<LogFile> {
    let file = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // A name may hold spaces, so the row is split where its type is.
        let at = words.iter().position(|word| *word == "File")?;
        let (path, rest) = (words[..at].join(" "), &words[at + 1..]);
        let [_format, status, "-", levels @ ..] = rest else { return None };
        (path.starts_with('/') && *status == "Enabled").then(|| LogFile {
            path: printable(&path),
            levels: levels.iter().map(|level| printable(level)).collect(),
        })
    };
    answer.lines().filter_map(file).take(MOST).collect()
}

/// The list cuts long names off. What they are is seen from the files that Asterisk holds open, and one
/// whose name can't be told is left as it is.
pub fn whole_names(mut logs: Vec<LogFile>, open: &[PathBuf]) -> Vec<LogFile> {
    /// The width of the column.
    const CUT: usize = 35;
    for log in logs.iter_mut().filter(|log| log.path.len() == CUT) {
        let mut names = open.iter().filter_map(|path| path.to_str());
        let whole = names.find(|name| name.starts_with(&log.path));
        log.path = whole.map_or_else(|| log.path.clone(), printable);
    }
    logs
}

/// `pjsip list transports`.
pub fn transports(answer: &str) -> Vec<SipTransport> {
    let transport = |line: &str| {
        let words: Vec<&str> = rest(line, "Transport:")?.split_whitespace().collect();
        // A name may hold spaces, so the row is read from its end.
        let [name @ .., carrier, _cos, _tos, bind] = words.as_slice() else { return None };
        Some(SipTransport {
            name: printable(&name.join(" ")),
            carrier: Carrier::parse(carrier)?,
            bind: bind.parse().ok()?,
        })
    };
    answer.lines().filter_map(transport).take(MOST).collect()
}

/// `rtp show settings`: the first and the last port.
pub fn rtp(answer: &str) -> Option<(u16, u16)> {
    let port = |name| answer.lines().find_map(|line| rest(line, name)?.trim().parse().ok());
    let (first, last): (u16, u16) = (port("Port start:")?, port("Port end:")?);
    (first <= last && first > 0).then_some((first, last))
}

/// `http show status`: where SIP over WebSocket is served.
pub fn websockets(answer: &str) -> Vec<SocketAddr> {
    if !answer.lines().any(|line| line.contains("=> Asterisk HTTP WebSocket")) {
        return Vec::new();
    }
    let bound = |line: &str| line.split_once("Enabled and Bound to ")?.1.trim().parse().ok();
    answer.lines().filter_map(bound).collect()
}

/// `pjsip show identifies`. Headers that identify are not read: they may be secrets.
pub fn identifies(answer: &str) -> Vec<Trunk> {
    let mut trunks: Vec<Trunk> = Vec::new();
    for line in answer.lines().take(MOST) {
        if let Some(name) = rest(line, "Identify:").filter(|name| !name.trim().starts_with('<')) {
            let endpoint = name.rsplit_once('/').map_or(name, |(_, endpoint)| endpoint);
            trunks.push(Trunk::new(endpoint, How::Identify));
        } else if let Some(prefix) = rest(line, "Match:").and_then(prefix)
            && let Some(trunk) = trunks.last_mut()
        {
            trunk.prefixes.push(prefix);
        }
    }
    trunks.retain(|trunk| !trunk.prefixes.is_empty());
    trunks
}

/// An address with the length of a prefix, or alone.
fn prefix(text: &str) -> Option<IpNet> {
    let text = text.trim();
    let prefix: Option<IpNet> = text.parse().ok();
    prefix.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)).map(|prefix| prefix.trunc())
}

/// What Asterisk says of a registration that holds.
pub(super) const REGISTERED: &str = "Registered";

/// `pjsip show registrations`: the names, to be asked one by one, and whether Asterisk is registered there.
pub fn registrations(answer: &str) -> Vec<(String, bool)> {
    let one = |line: &str| {
        let row = line.strip_prefix(' ').filter(|row| !row.starts_with([' ', '<', '=']))?;
        let end = row.find("/sip:").or_else(|| row.find("/sips:"))?;
        let holds = row[end..].split_whitespace().any(|word| word == REGISTERED);
        Some((sayable(&row[..end])?, holds))
    };
    answer.lines().filter_map(one).take(MOST).collect()
}

/// `pjsip show registration NAME`.
pub fn registration(name: &str, holds: bool, answer: &str) -> Trunk {
    let mut trunk = Trunk::new(name, How::Registration);
    trunk.registered = Some(holds);
    for uri in parameters(answer, &["server_uri", "outbound_proxy"]) {
        trunk.lead(uri);
    }
    trunk
}

/// `pjsip show aor NAME`: the contacts that are not known to be registered. Where the registrar keeps its
/// contacts elsewhere than in Asterisk's own database, each is still to be asked for, see [`is_static`].
pub fn other_contacts(name: &str, answer: &str, registered: &[Registered]) -> Vec<String> {
    let known: BTreeSet<&str> =
        registered.iter().filter(|one| one.aor == name).map(|one| one.uri.as_str()).collect();
    let uris = parameters(answer, &["contact"]).filter(|uri| !known.contains(uri));
    uris.filter_map(sayable).collect()
}

/// `pjsip show contact NAME/URI`: whether it is configured, and so never expires.
pub fn is_static(answer: &str) -> bool {
    parameters(answer, &["expiration_time"]).eq(["0"])
}

/// A trunk at these configured contacts of an AOR; `aor` is the answer to `pjsip show aor NAME`.
pub fn static_contacts(name: &str, aor: &str, uris: &[String]) -> Trunk {
    let mut trunk = Trunk::new(name, How::StaticContact);
    let proxies = parameters(aor, &["outbound_proxy"]);
    for uri in uris.iter().map(String::as_str).chain(proxies) {
        trunk.lead(uri);
    }
    trunk
}

/// The values of these parameters of an object.
fn parameters<'a>(answer: &'a str, names: &'a [&str]) -> impl Iterator<Item = &'a str> {
    let value = |line: &'a str| {
        let (name, value) = line.split_once(" : ")?;
        names.contains(&name.trim()).then_some(value.trim())
    };
    answer.lines().filter_map(value).take(MOST)
}

/// `pjsip show contacts`: the names of the AORs that have a contact which nobody registered.
pub fn aors_with_static_contacts(contacts: &str, registered: &[Registered]) -> Vec<String> {
    let known: BTreeSet<(&str, &str)> =
        registered.iter().map(|one| (one.aor.as_str(), one.hash.as_str())).collect();
    let aor = |line: &str| {
        let row = rest(line, "Contact:")?;
        let end = row.find("/sip:").or_else(|| row.find("/sips:"))?;
        let hash = row.split_whitespace().rev().nth(2)?;
        (!known.contains(&(&row[..end], hash))).then(|| sayable(&row[..end]))?
    };
    let aors: BTreeSet<String> = contacts.lines().filter_map(aor).take(MOST).collect();
    aors.into_iter().collect()
}

/// A contact that a device registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The AOR it registered to.
    pub aor: String,
    /// The start of the hash that tells its contacts apart, as long as tables show it.
    pub hash: String,
    /// Where it is.
    pub uri: String,
    /// The device, unless its URI names no address.
    pub device: Option<Device>,
}

/// What the registrar writes down of a contact, as far as it is of use.
#[derive(Deserialize)]
struct Record {
    uri: String,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    endpoint: String,
}

/// `database show registrar`: who registered.
pub fn registered(answer: &str) -> Vec<Registered> {
    const HASH_SHOWN: usize = 10;
    let entry = |line: &str| {
        let (key, value) = line.strip_prefix("/registrar/contact/")?.split_once(": {")?;
        let record: Record = serde_json::from_str(&format!("{{{value}")).ok()?;
        let (aor, hash) = key.trim_end().rsplit_once(";@")?;
        let endpoint = if record.endpoint.is_empty() { aor } else { &record.endpoint };
        Some(Registered {
            aor: aor.to_owned(),
            hash: hash.chars().take(HASH_SHOWN).collect(),
            device: Device::at(endpoint, &record.uri, &record.user_agent),
            uri: record.uri,
        })
    };
    answer.lines().filter_map(entry).take(MOST).collect()
}

/// What follows a label, once the spaces before it are gone.
fn rest<'a>(line: &'a str, label: &str) -> Option<&'a str> {
    Some(line.trim_start().strip_prefix(label)?.trim())
}

/// A name that can be put into a command.
fn sayable(name: &str) -> Option<String> {
    let plain = |c: char| matches!(c, '!'..='~') && !matches!(c, '"' | '\'' | '\\');
    (!name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(plain))
        .then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greeting_and_colours_go() {
        assert_eq!(plain(b"vm/5509/22.10.1\nAsterisk \x1b[1;32m22\x1b[0m\n"), "Asterisk 22\n");
        assert_eq!(plain(b"a/b/c\n\x1bx\x1b["), "a/b/c\nx[");
        assert_eq!(plain(b""), "");
    }

    #[test]
    fn a_name_that_could_end_the_command_is_not_asked_for() {
        let answer = " good/sip:192.0.2.1    auth  Registered        (exp. 27s)\n \
                      other/sip:192.0.2.2    auth  Unregistered\n \
                      bad name/sip:192.0.2.1    auth  Registered\n \
                      b\"d/sip:192.0.2.1   auth   Registered\n";
        let known = [("good".to_owned(), true), ("other".to_owned(), false)];
        assert_eq!(registrations(answer), known);
    }
}
