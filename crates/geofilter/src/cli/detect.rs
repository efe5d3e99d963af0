//! `detect`.

use super::args::{Detect, Global};
use super::{Outcome, failed, render_detect, show};
use crate::{agent, detect};

pub(super) fn run(asked: &Detect, global: &Global) -> Outcome {
    let manager = agent::manager(asked.config.as_deref());
    let manager = manager.map_err(|error| failed(format!("{error:#}")))?;
    show(global, detect::host(manager.as_ref()), render_detect::detected)
}
