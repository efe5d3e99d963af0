//! `geodb`: the world data itself; needs no agent.

use std::net::IpAddr;

use super::args::Global;
use super::{Outcome, failed, render, show};
use crate::geo::{self, Geo};

pub(super) fn status(global: &Global) -> Outcome {
    let geo = Geo::embedded().map_err(|error| failed(format!("{error:#}")))?;
    show(global, geo.data(), render::data)
}

pub(super) fn lookup(address: IpAddr, global: &Global) -> Outcome {
    let found = geo::lookup(address).map_err(|error| failed(format!("{error:#}")))?;
    show(global, found, render::lookup)
}
