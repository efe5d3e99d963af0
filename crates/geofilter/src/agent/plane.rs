//! Opens the data plane. Everything that depends on which one it is is here.

use geofilter_core::desired::AttachmentKind;
use geofilter_dataplane::kernel::Kernel;
use geofilter_dataplane::memory::Memory;
use geofilter_dataplane::nft::Nft;
use geofilter_dataplane::{Backend, Preference, features};

use super::settings::Settings;
use crate::cli::args::Choice;

/// The data plane the settings ask for.
pub(crate) fn open(settings: &Settings) -> Box<dyn Backend> {
    let names = settings.names();
    let kernel = |names, preference| -> Box<dyn Backend> {
        let kernel = Kernel::new(names, preference, settings.runtime_dir.clone());
        Box::new(kernel.awaiting(settings.awaited.clone()))
    };
    // It needs no interface to be there.
    let nft = || -> Box<dyn Backend> {
        let (names, by_route) = (settings.all_names(), settings.awaited.by_route);
        Box::new(Nft::new(names, by_route, &settings.runtime_dir))
    };
    match settings.backend {
        Choice::Auto => match features::takes_programs() {
            Ok(()) => kernel(names, Preference::Auto),
            Err(why) => {
                tracing::warn!(
                    "this host lets nobody load BPF programs ({why}): nftables filters instead"
                );
                nft()
            }
        },
        Choice::Xdp => kernel(names, Preference::Xdp),
        Choice::XdpGeneric => kernel(names, Preference::XdpGeneric),
        Choice::Tc => kernel(names, Preference::Tc),
        Choice::Nft => nft(),
        Choice::Memory => Box::new(Memory::new(names)),
    }
}

/// What a data plane is called.
pub(crate) fn name(kind: AttachmentKind) -> &'static str {
    match kind {
        AttachmentKind::XdpNative => "xdp",
        AttachmentKind::XdpGeneric => "xdp-generic",
        AttachmentKind::Tc => "tc",
        AttachmentKind::Nft => "nft",
        AttachmentKind::Memory => "memory",
    }
}
