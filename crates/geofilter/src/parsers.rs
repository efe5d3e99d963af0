//! What the program reads of what others wrote, without where it comes from: for the tests of hostile input alone.

use std::io::Read;
use std::path::Path;

use geofilter_core::apply::Saved;
use geofilter_core::book::Book;
use geofilter_core::change::Change;

use crate::{agent, backup, detect, fleet};

/// What the process that speaks to the portal of a fleet says, and the policy that it is to be.
pub fn link(line: &[u8]) -> Option<Change> {
    match serde_json::from_slice(line).ok()? {
        fleet::Heard::Snapshot { snapshot } => snapshot.policy,
        fleet::Heard::Preview { question } => question.policy,
        fleet::Heard::Enrolled { .. }
        | fleet::Heard::Connected
        | fleet::Heard::Sent
        | fleet::Heard::Noted { .. }
        | fleet::Heard::Bans { .. }
        | fleet::Heard::Renewed { .. }
        | fleet::Heard::World { .. }
        | fleet::Heard::Lost { .. } => None,
    }
}

/// The file that configures an agent.
///
/// # Errors
/// If it can't be used on any host.
pub fn config(text: &str) -> anyhow::Result<()> {
    agent::check_text(text)
}

/// `overrides.jsonl`, and how many lines of it could not be read.
///
/// # Errors
/// If it was written by a newer version.
pub fn overrides(content: &[u8]) -> anyhow::Result<(Book, usize)> {
    agent::Journal::parse(content)
}

/// `state.json`.
pub fn state(content: &[u8]) -> Option<Saved> {
    agent::parse_state(content)
}

/// A backup, taken apart into an empty folder.
///
/// # Errors
/// If it is not whole.
pub fn backup(file: impl Read, into: &Path) -> anyhow::Result<()> {
    backup::take_apart(file, into)
}

/// What the attack log shows of a packet: its first line, its method, and who it says it is.
pub fn payload(payload: &[u8]) -> [Option<String>; 3] {
    let agent::Sip { first_line, method, user_agent } = agent::read_sip(payload);
    [first_line, method, user_agent]
}

/// Whether an answer of Asterisk's manager is whole, which is asked after each piece of it.
pub fn manager_answer_is_whole(answer: &[u8], last: &str) -> bool {
    detect::is_whole(answer, last)
}
