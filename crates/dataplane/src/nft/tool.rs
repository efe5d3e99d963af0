//! Talks to nftables: scripts go to `nft -f`, each as one transaction; what there is comes as JSON, or, where it has to be
//! cheap, from the kernel itself.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use netlink_sys::{Socket, SocketAddr};
use serde_json::Value;

use crate::Error;

/// NETLINK_NETFILTER, and the messages of nf_tables (linux/netfilter/nf_tables.h).
const NETLINK_NETFILTER: isize = 12;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_GETGEN: u16 = 16;
const NFTA_GEN_ID: u16 = 1;
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

/// What there is, as nft's JSON says it; `None` if there is no such thing.
///
/// # Errors
/// [`Error::Nft`].
pub(super) fn list(operation: &'static str, what: &[&str]) -> Result<Option<Vec<Value>>, Error> {
    let said = match nft(operation, &[&["-j", "-t", "list"], what].concat(), "") {
        Err(Error::Nft { said, .. }) if said.contains("No such file or directory") => {
            return Ok(None);
        }
        said => said?,
    };
    let fail = |said: String| Error::Nft { operation, said };
    let listed: Value = serde_json::from_slice(&said).map_err(|error| fail(error.to_string()))?;
    let items = listed["nftables"].as_array().ok_or_else(|| fail("it lists nothing".to_owned()))?;
    Ok(Some(items.clone()))
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
    let said = nft(operation, &["-j", "list", "set", "inet", table, set], "")?;
    let fail = |said: String| Error::Nft { operation, said };
    let listed: Value = serde_json::from_slice(&said).map_err(|error| fail(error.to_string()))?;
    let sets = listed["nftables"].as_array().into_iter().flatten();
    let elements = sets.filter_map(|item| item["set"]["elem"].as_array());
    Ok(elements.flatten().cloned().collect())
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
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut request = Vec::with_capacity(HEADERS);
    request.extend((HEADERS as u32).to_ne_bytes());
    request.extend((NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN).to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence and port; then the family, the version, and no resource.
    request.extend([0; 8]);
    request.extend([0; 4]);
    socket.send(&request, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    generation_in(&answer).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
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
