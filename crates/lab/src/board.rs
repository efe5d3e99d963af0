//! [`asked`]: what a board for Grafana in `packaging/grafana` asks for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// The names of all figures of ours that a board shows.
///
/// # Errors
/// If it is no board.
pub fn asked(board: &str) -> Result<BTreeSet<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/grafana");
    let board: Value = serde_json::from_str(&fs::read_to_string(folder.join(board))?)?;
    let panels = board["panels"].as_array().context("panels")?;
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let mut asked = BTreeSet::new();
    for target in targets {
        let letters = |letter: char| letter.is_ascii_lowercase() || letter == '_';
        let words =
            target["expr"].as_str().context("an expression")?.split(|letter| !letters(letter));
        let ours = |word: &&str| word.starts_with("geofilter_") || word.starts_with("process_");
        asked.extend(words.filter(ours).map(str::to_owned));
    }
    Ok(asked)
}
