//! `why`: asks the agent, or the embedded data where none runs.

use geofilter_core::wire::{FailureKind, Reply, Request, Why};

use super::args::{self, Global};
use super::{Outcome, client, confused, failed, render, show};
use crate::geo::Geo;

pub(super) fn run(args: &args::Why, global: &Global) -> Outcome {
    let (address, port, protocol) = (args.address, args.port, args.proto);
    let why = match client::ask(&global.socket, &Request::Why { address, port, protocol }) {
        Ok(Reply::Why(why)) => *why,
        Ok(_) => return Err(confused()),
        Err(failure) if failure.kind == FailureKind::Unreachable => {
            let geo = Geo::embedded().map_err(|error| failed(format!("{error:#}")))?;
            Why {
                lookup: geo.lookup(address),
                verdict: None,
                reason: None,
                port,
                protocol,
                state: None,
                decided_by: None,
            }
        }
        Err(failure) => return Err(failure),
    };
    show(global, why, render::why)
}
