//! `status`.

use geofilter_core::wire::{Reply, Request};

use super::args::Global;
use super::{Outcome, client, confused, render, show};

pub(super) fn run(global: &Global) -> Outcome {
    let Reply::Status(status) = client::ask(&global.socket, &Request::Status)? else {
        return Err(confused());
    };
    show(global, status, |status, style| render::status(status, style))
}
