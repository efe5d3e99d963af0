//! Opens the data plane. Everything that depends on which one it is is here.

use anyhow::bail;
use geofilter_core::desired::AttachmentKind;
use geofilter_core::wire::Proof;
use geofilter_dataplane::Backend;
use geofilter_dataplane::memory::Memory;

use super::settings::Settings;
use crate::cli::args::Choice;

/// The data plane the settings ask for.
pub(crate) fn open(settings: &Settings) -> anyhow::Result<Box<dyn Backend>> {
    match settings.backend {
        Choice::Memory => Ok(Box::new(Memory::new(settings.interfaces.clone()))),
        Choice::Auto | Choice::Xdp | Choice::XdpGeneric | Choice::Tc => {
            bail!("this build has no data plane for the kernel")
        }
    }
}

/// Compares the machine with what it was before the first change.
pub(crate) fn prove(_settings: &Settings) -> anyhow::Result<Option<Proof>> {
    Ok(None)
}

/// What a data plane is called.
pub(crate) fn name(kind: AttachmentKind) -> &'static str {
    match kind {
        AttachmentKind::XdpNative => "xdp",
        AttachmentKind::XdpGeneric => "xdp-generic",
        AttachmentKind::Tc => "tc",
        AttachmentKind::Memory => "memory",
    }
}
