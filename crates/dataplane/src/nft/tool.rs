//! Runs nft: scripts go to `nft -f`, each as one transaction; what there is comes as JSON.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::script::Script;
use crate::Error;

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
    Ok(elements_in(&items).cloned().collect())
}

fn listed(operation: &'static str, words: &[&str]) -> Result<Vec<Value>, Error> {
    let said = nft(operation, &[&["-j"], words].concat(), "")?;
    items(&said).map_err(|error| Error::Nft { operation, said: error.to_string() })
}

/// The items that nft's JSON lists.
///
/// # Errors
/// If it is no such JSON.
pub(super) fn items(said: &[u8]) -> Result<Vec<Value>, serde_json::Error> {
    #[derive(serde::Deserialize)]
    struct Listed {
        nftables: Vec<Value>,
    }
    Ok(serde_json::from_slice::<Listed>(said)?.nftables)
}

/// The elements of the sets among these items.
pub(super) fn elements_in(items: &[Value]) -> impl Iterator<Item = &Value> {
    items.iter().filter_map(|item| item["set"]["elem"].as_array()).flatten()
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
