//! [`others`]: the programs of somebody else on this host's interfaces.

use std::collections::BTreeMap;
use std::io;

use aya::programs::{SchedClassifier, TcAttachType, loaded_programs};
use geofilter_core::surroundings::Program;
use netlink_packet_route::tc::{TcAttribute, TcFilterBpfOption, TcMessage, TcOption};

use crate::interfaces::{self, Interface};
use crate::kernel::is_our_filter;
use crate::{Error, tc};

/// How the programs of GeoFilter are called.
const OURS: &str = "gf_";

/// The XDP programs, TCX programs and filters that are not GeoFilter's.
///
/// # Errors
/// [`Error::Programs`] if they may not be listed, [`Error::Netlink`] if the kernel does not tell of its
/// interfaces.
pub fn others() -> Result<Vec<Program>, Error> {
    if let Some(Err(error)) = loaded_programs().next() {
        return Err(Error::Programs(error.into()));
    }
    let names: BTreeMap<u32, String> = loaded_programs()
        .filter_map(Result::ok)
        .map(|program| (program.id(), program.name_as_str().unwrap_or("?").to_owned()))
        .collect();
    let mut found = Vec::new();
    for interface in interfaces::all()? {
        found.extend(xdp(&interface, &names));
        found.extend(tcx(&interface));
        found.extend(filters(&interface).map_err(Error::Netlink)?);
    }
    found.retain(|program| !program.name.starts_with(OURS));
    found.sort();
    Ok(found)
}

fn program(interface: &Interface, hook: &'static str, name: &str) -> Program {
    let name = geofilter_core::pbx::printable(name);
    Program { interface: interface.name.clone(), hook, name }
}

fn xdp(interface: &Interface, names: &BTreeMap<u32, String>) -> Option<Program> {
    let name = names.get(&interface.xdp_program?).map_or("?", String::as_str);
    Some(program(interface, "xdp", name))
}

fn tcx(interface: &Interface) -> Vec<Program> {
    let hooks = [("tc ingress", TcAttachType::Ingress), ("tc egress", TcAttachType::Egress)];
    // Kernels before 6.6 have no TCX, and so no programs on it.
    let queried = hooks.into_iter().filter_map(|(hook, kind)| {
        let (_, programs) = SchedClassifier::query_tcx(&interface.name, kind).ok()?;
        Some((hook, programs))
    });
    let programs =
        queried.flat_map(|(hook, programs)| programs.into_iter().map(move |it| (hook, it)));
    programs.map(|(hook, it)| program(interface, hook, it.name_as_str().unwrap_or("?"))).collect()
}

fn filters(interface: &Interface) -> io::Result<Vec<Program>> {
    let mut found = Vec::new();
    for (hook, direction) in [("tc ingress", tc::INGRESS), ("tc egress", tc::EGRESS)] {
        let filters = tc::filters(interface.index, direction)?;
        // A priority is listed once more, without options, for all of its filters.
        let theirs = filters.iter().filter(|filter| !is_our_filter(filter));
        found.extend(theirs.filter_map(bpf_name).map(|name| program(interface, hook, &name)));
    }
    Ok(found)
}

/// What a BPF filter calls itself.
fn bpf_name(filter: &TcMessage) -> Option<String> {
    filter.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => options.iter().find_map(|option| match option {
            TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => Some(name.clone()),
            _ => None,
        }),
        _ => None,
    })
}
