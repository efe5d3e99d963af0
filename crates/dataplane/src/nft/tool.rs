//! Talks to nftables: scripts go to `nft -f`, each as one transaction; what there is comes as JSON, or, where it has to be
//! cheap, from the kernel itself.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use netlink_sys::{Socket, SocketAddr};
use serde_json::Value;

use super::script::Script;
use crate::Error;

/// NETLINK_NETFILTER, and the messages of nf_tables (linux/netfilter/nf_tables.h).
const NETLINK_NETFILTER: isize = 12;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_NEWTABLE: u16 = 0;
const NFT_MSG_GETTABLE: u16 = 1;
const NFT_MSG_GETGEN: u16 = 16;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_GEN_ID: u16 = 1;
const NFPROTO_UNSPEC: u8 = 0;
const NFPROTO_INET: u8 = 1;
const NLM_F_REQUEST: u16 = 1;
/// Bytes of a netlink header, and of that of netfilter's messages.
const HEADERS: usize = 16 + 4;

/// Applies a script as one transaction: all of it, or nothing.
///
/// # Errors
/// [`Error::Nft`] with what nft said.
pub(super) fn run(operation: &'static str, script: &str) -> Result<(), Error> {
    nft(operation, &["-f", "-"], script).map(drop)
}

/// The same of what may be done in pieces. In a container of somebody without privileges a socket takes little at once, and then
/// it is.
///
/// # Errors
/// [`Error::Nft`]. What was done before stays.
pub(super) fn run_long(operation: &'static str, script: &Script<'_>) -> Result<(), Error> {
    match run(operation, script.text()) {
        Err(Error::Nft { said, .. }) if said.contains("Message too long") => {
            script.pieces().iter().try_for_each(|piece| run(operation, piece))
        }
        ran => ran,
    }
}

/// What there is, as nft's JSON says it; `None` if there is no such thing.
///
/// # Errors
/// [`Error::Nft`].
pub(super) fn list(operation: &'static str, what: &[&str]) -> Result<Option<Vec<Value>>, Error> {
    match listed(operation, &[&["-t", "list"], what].concat()) {
        Err(Error::Nft { said, .. }) if said.contains("No such file or directory") => Ok(None),
        listed => listed.map(Some),
    }
}

/// The elements of a set, as nft's JSON says it.
///
/// # Errors
/// [`Error::Nft`].
pub(super) fn elements(
    operation: &'static str,
    table: &str,
    set: &str,
) -> Result<Vec<Value>, Error> {
    let items = listed(operation, &["list", "set", "inet", table, set])?;
    let elements = items.iter().filter_map(|item| item["set"]["elem"].as_array());
    Ok(elements.flatten().cloned().collect())
}

fn listed(operation: &'static str, words: &[&str]) -> Result<Vec<Value>, Error> {
    #[derive(serde::Deserialize)]
    struct Listed {
        nftables: Vec<Value>,
    }
    let said = nft(operation, &[&["-j"], words].concat(), "")?;
    let listed: Result<Listed, _> = serde_json::from_slice(&said);
    let fail = |error: serde_json::Error| Error::Nft { operation, said: error.to_string() };
    Ok(listed.map_err(fail)?.nftables)
}

fn nft(operation: &'static str, words: &[&str], script: &str) -> Result<Vec<u8>, Error> {
    let fail = |said: String| Error::Nft { operation, said };
    let mut command = Command::new("nft");
    command.args(words).env("LC_ALL", "C");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => fail("there is no nft here: install nftables".to_owned()),
        _ => fail(error.to_string()),
    })?;
    // It reads all before it says anything. If it ended early, it says why.
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(script.as_bytes()));
    let output = child.wait_with_output().map_err(|error| fail(error.to_string()))?;
    if !output.status.success() {
        return Err(fail(first_line(&output.stderr)));
    }
    written.transpose().map_err(|error| fail(error.to_string()))?;
    Ok(output.stdout)
}

/// What nft says at length repeats the script.
fn first_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    said.lines().next().unwrap_or("it failed").chars().take(300).collect()
}

/// The number of the ruleset: whoever changes anything in this network namespace makes it another one.
///
/// # Errors
/// If the kernel does not answer.
pub(super) fn generation() -> io::Result<u32> {
    let answer = ask(NFT_MSG_GETGEN, NFPROTO_UNSPEC, &[])?;
    generation_in(&answer).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// Whether there is a table of this name; where there is no nftables there is none.
///
/// # Errors
/// If the kernel does not answer.
pub(super) fn has_table(name: &str) -> io::Result<bool> {
    let length = 4 + name.len() + 1;
    let mut attribute = Vec::from((length as u16).to_ne_bytes());
    attribute.extend(NFTA_TABLE_NAME.to_ne_bytes());
    attribute.extend(name.as_bytes());
    attribute.resize(length.next_multiple_of(4), 0);
    let answer = ask(NFT_MSG_GETTABLE, NFPROTO_INET, &attribute)?;
    let kind = answer.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes);
    Ok(kind == Some(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE))
}

/// Asks nf_tables, and returns its answer.
fn ask(message: u16, family: u8, attributes: &[u8]) -> io::Result<Vec<u8>> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let length = HEADERS + attributes.len();
    let mut request = Vec::with_capacity(length);
    request.extend((length as u32).to_ne_bytes());
    request.extend((NFNL_SUBSYS_NFTABLES << 8 | message).to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence and port; then the family, the version, and no resource.
    request.extend([0; 8]);
    request.extend([family, 0, 0, 0]);
    request.extend(attributes);
    socket.send(&request, 0)?;
    Ok(socket.recv_from_full()?.0)
}

/// The number in an answer: the value of its attribute, in network byte order.
fn generation_in(answer: &[u8]) -> Option<u32> {
    let mut rest = answer.get(HEADERS..)?;
    loop {
        let (length, kind) = (rest.get(..2)?, rest.get(2..4)?);
        let length = usize::from(u16::from_ne_bytes(length.try_into().ok()?));
        if u16::from_ne_bytes(kind.try_into().ok()?) == NFTA_GEN_ID {
            return Some(u32::from_be_bytes(rest.get(4..8)?.try_into().ok()?));
        }
        rest = rest.get(length.next_multiple_of(4).max(4)..)?;
    }
}
