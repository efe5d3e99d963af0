//! Runs nft: scripts go to `nft -f`, each as one transaction.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use super::script::Script;
use crate::Error;

/// Applies a script as one transaction: all of it, or nothing.
///
/// # Errors
/// [`Error::Nft`] with what nft said.
pub(super) fn run(operation: &'static str, script: &str) -> Result<(), Error> {
    let fail = |said: String| Error::Nft { operation, said };
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).env("LC_ALL", "C");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
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
    written.transpose().map_err(|error| fail(error.to_string())).map(drop)
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

/// What nft says at length repeats the script.
fn first_line(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    said.lines().next().unwrap_or("it failed").chars().take(300).collect()
}
