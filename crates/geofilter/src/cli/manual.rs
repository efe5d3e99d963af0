//! `completions` and `man`.

use std::path::Path;

use clap::CommandFactory;

use super::args::Line;
use super::{Outcome, failed, print};

pub(super) fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Line::command(), "geofilter", &mut text);
    print(&String::from_utf8_lossy(&text))
}

pub(super) fn man(dir: Option<&Path>) -> Outcome {
    let Some(dir) = dir else {
        let mut text = Vec::new();
        let rendered = clap_mangen::Man::new(Line::command()).render(&mut text);
        rendered.map_err(|error| failed(format!("cannot write the man page: {error}")))?;
        return print(&String::from_utf8_lossy(&text));
    };
    let cannot = |error| failed(format!("cannot write man pages to {}: {error}", dir.display()));
    std::fs::create_dir_all(dir).map_err(cannot)?;
    clap_mangen::generate_to(Line::command(), dir).map_err(cannot)
}
