//! `check`: whether a configuration makes sense, before an agent is started or told to read it.

use std::path::Path;

use serde::Serialize;

use super::args::Global;
use super::render::{Style, row};
use super::{Outcome, failed, show};
use crate::agent;

/// What is wrong with a configuration.
#[derive(Debug, Serialize)]
struct Checked {
    config: String,
    problems: Vec<String>,
}

pub(super) fn run(config: &Path, global: &Global) -> Outcome {
    let problems = agent::check(config);
    let wrong = !problems.is_empty();
    let checked = Checked { config: config.display().to_string(), problems };
    show(global, checked, render)?;
    match wrong {
        // Each problem was said.
        true => Err(failed(String::new())),
        false => Ok(()),
    }
}

fn render(checked: &Checked, style: Style) -> String {
    let mut text = String::new();
    row(&mut text, "File", &checked.config);
    match checked.problems.as_slice() {
        [] => row(&mut text, "Problems", "none"),
        problems => {
            problems.iter().for_each(|problem| row(&mut text, "Problem", &style.red(problem)));
        }
    }
    text
}
