//! `why`: asks the agent, or the embedded data where none runs. A host name stands for its addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use geofilter_core::book::{Answer, HostName};
use geofilter_core::wire::{Failure, FailureKind, Reply, Request, Why, WhyName};

use super::args::{self, Global, Subject};
use super::{Outcome, client, confused, failed, render, show};
use crate::agent::resolve;
use crate::geo;

pub(super) fn run(args: &args::Why, global: &Global) -> Outcome {
    match &args.subject {
        Subject::Address(address) => show(global, why(*address, args, global)?, render::why),
        Subject::Name(name) => {
            let (addresses, incomplete) = resolved(name)
                .map_err(|why| failed(format!("{name} cannot be resolved: {why}")))?;
            let addresses = addresses.into_iter().map(|address| why(address, args, global));
            let addresses = addresses.collect::<Result<_, _>>()?;
            let name = name.to_string();
            show(global, WhyName { name, addresses, incomplete }, render::why_name)
        }
    }
}

/// The addresses of a name, and what could not be found out of them.
fn resolved(name: &HostName) -> Result<(BTreeSet<IpAddr>, Option<String>), String> {
    match resolve(name).map_err(|error| format!("{error:#}"))? {
        Answer::Addresses { addresses, .. } if addresses.is_empty() => {
            Err("it has no address".to_owned())
        }
        Answer::Addresses { addresses, incomplete, .. } => Ok((addresses, incomplete)),
        Answer::Failed(why) => Err(why),
    }
}

fn why(address: IpAddr, args: &args::Why, global: &Global) -> Result<Why, Failure> {
    let (port, protocol) = (args.port, args.proto);
    match client::ask(&global.socket, &Request::Why { address, port, protocol }) {
        Ok(Reply::Why(why)) => Ok(*why),
        Ok(_) => Err(confused()),
        Err(failure) if failure.kind == FailureKind::Unreachable => {
            let lookup = geo::lookup(address).map_err(|error| failed(format!("{error:#}")))?;
            Ok(Why {
                lookup,
                verdict: None,
                reason: None,
                port,
                protocol,
                state: None,
                decided_by: None,
                seen: None,
                of_country: None,
            })
        }
        Err(failure) => Err(failure),
    }
}
