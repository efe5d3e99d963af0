//! Attaching the programs to interfaces and keeping the links pinned.

use std::net::Ipv4Addr;
use std::path::Path;

use aya::Ebpf;
use aya::programs::links::{FdLink, LinkOrder, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode};
use geofilter_core::desired::{Attachment, AttachmentKind};

use crate::interfaces::Interface;
use crate::kernel::pins::Pins;
use crate::{Error, Preference, fault};

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Attaches to one interface, or takes over the link an earlier agent left there.
pub(crate) fn attach(
    programs: &mut Ebpf,
    pins: &Pins,
    interface: &Interface,
    preference: Preference,
) -> Result<Attachment, Error> {
    if let Some(kept) = take_over(programs, pins, interface, preference)? {
        return Ok(kept);
    }
    let attached = |kind| Attachment { interface: interface.name.clone(), kind };
    let attach = |programs: &mut Ebpf, kind| {
        attach_new(programs, pins, interface, kind).map(|()| attached(kind))
    };
    match preference {
        Preference::Tc => attach(programs, AttachmentKind::Tc),
        Preference::Xdp => attach(programs, AttachmentKind::XdpNative),
        Preference::XdpGeneric => attach(programs, AttachmentKind::XdpGeneric),
        Preference::Auto => match why_not_xdp(interface) {
            Some(reason) => {
                tracing::info!(interface = interface.name, reason, "attaching by TC");
                attach(programs, AttachmentKind::Tc)
            }
            None => attach(programs, AttachmentKind::XdpNative).or_else(|error| {
                tracing::info!(interface = interface.name, %error, "no native XDP: attaching by TC");
                attach(programs, AttachmentKind::Tc)
            }),
        },
    }
}

/// Why `auto` leaves native XDP alone.
fn why_not_xdp(interface: &Interface) -> Option<&'static str> {
    if !interface.ethernet {
        return Some("its packets have no Ethernet header");
    }
    if interface.xdp_program.is_some() {
        return Some("another XDP program holds the interface");
    }
    pbx_is_listening().then_some(
        "a PBX is listening, and native XDP may reset the interface: choose --backend xdp in a quiet \
         moment",
    )
}

/// Whether the SIP port can't be bound: somebody has it.
fn pbx_is_listening() -> bool {
    std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 5060))
        .is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}

/// Puts this program into a pinned link, in place; `None` if there is none that can be kept.
fn take_over(
    programs: &mut Ebpf,
    pins: &Pins,
    interface: &Interface,
    preference: Preference,
) -> Result<Option<Attachment>, Error> {
    for (name, kind, path) in pins.links()? {
        let Some(kind) = kind_of(&kind).filter(|_| name == interface.name) else {
            continue;
        };
        if !preference.accepts(kind) || replace_program(programs, interface, kind, &path).is_err() {
            // Another kind is wanted, or the interface is gone and another has its name.
            release(&interface.name, &path)?;
            continue;
        }
        return Ok(Some(Attachment { interface: name, kind }));
    }
    Ok(None)
}

fn replace_program(
    programs: &mut Ebpf,
    interface: &Interface,
    kind: AttachmentKind,
    path: &Path,
) -> Result<(), Cause> {
    let link = FdLink::from(PinnedLink::from_pin(path)?);
    // The link is pinned: closing our descriptor of it detaches nothing.
    match kind {
        AttachmentKind::XdpNative | AttachmentKind::XdpGeneric => {
            let program = xdp(programs)?;
            let id = program.attach_to_link(XdpLink::try_from(link)?)?;
            drop(program.take_link(id)?);
        }
        AttachmentKind::Tc | AttachmentKind::Memory => {
            let program = classifier(programs, interface)?;
            let id = program.attach_to_link(SchedClassifierLink::try_from(link)?)?;
            drop(program.take_link(id)?);
        }
    }
    Ok(())
}

fn attach_new(
    programs: &mut Ebpf,
    pins: &Pins,
    interface: &Interface,
    kind: AttachmentKind,
) -> Result<(), Error> {
    let link = create_link(programs, interface, kind).map_err(|source| Error::Attach {
        interface: interface.name.clone(),
        kind: describe(kind),
        advice: advice(interface, kind),
        source,
    })?;
    fault::point("attach-linked");
    let path = pins.link(&interface.name, label(kind));
    // Dropping the descriptor of a link that could not be pinned detaches it again.
    link.pin(&path)
        .map_err(|source| Error::Pins { path, source: std::io::Error::other(source) })?;
    fault::point("attach-pinned");
    Ok(())
}

fn create_link(
    programs: &mut Ebpf,
    interface: &Interface,
    kind: AttachmentKind,
) -> Result<FdLink, Cause> {
    let mode = match kind {
        AttachmentKind::XdpNative => XdpMode::Driver,
        AttachmentKind::XdpGeneric => XdpMode::Skb,
        AttachmentKind::Tc | AttachmentKind::Memory => {
            let program = classifier(programs, interface)?;
            // Before the programs of others: what they would do with a packet we drop is moot.
            let first = TcAttachOptions::TcxOrder(LinkOrder::first());
            let id = program.attach_with_options(&interface.name, TcAttachType::Ingress, first)?;
            return Ok(program.take_link(id)?.try_into()?);
        }
    };
    let program = xdp(programs)?;
    let id = program.attach_to_if_index(interface.index, mode)?;
    Ok(program.take_link(id)?.try_into()?)
}

/// What to do when an interface refuses.
fn advice(interface: &Interface, kind: AttachmentKind) -> String {
    match (kind, interface.xdp_program) {
        (AttachmentKind::Tc | AttachmentKind::Memory, _) => {
            ": TC links need Linux 6.6 or newer".to_owned()
        }
        (_, Some(id)) => format!(
            ": the XDP program with id {id} holds it (`bpftool prog show id {id}` tells whose it is); \
             use --backend tc"
        ),
        (_, None) => ": its driver or its MTU does not allow it; use --backend tc".to_owned(),
    }
}

/// Detaches a pinned link.
pub(crate) fn release(interface: &str, path: &Path) -> Result<(), Error> {
    let fail = |source| Error::Detach { interface: interface.to_owned(), source };
    match PinnedLink::from_pin(path) {
        // The last descriptor goes here, and the program leaves the interface before this returns.
        Ok(link) => link.unpin().map(drop).map_err(fail),
        Err(_) => std::fs::remove_file(path).map_err(fail),
    }
}

fn xdp(programs: &mut Ebpf) -> Result<&mut Xdp, Cause> {
    let program = programs.program_mut("gf_xdp").ok_or("the object has no program gf_xdp")?;
    Ok(program.try_into().map_err(|error: ProgramError| error)?)
}

fn classifier<'a>(
    programs: &'a mut Ebpf,
    interface: &Interface,
) -> Result<&'a mut SchedClassifier, Cause> {
    let name = if interface.ethernet { "gf_tc" } else { "gf_tc_l3" };
    let program = programs.program_mut(name).ok_or("the object lacks a program")?;
    Ok(program.try_into().map_err(|error: ProgramError| error)?)
}

/// The word for a kind in the name of a pin.
fn label(kind: AttachmentKind) -> &'static str {
    match kind {
        AttachmentKind::XdpNative => "xdp",
        AttachmentKind::XdpGeneric => "generic",
        AttachmentKind::Tc | AttachmentKind::Memory => "tc",
    }
}

fn describe(kind: AttachmentKind) -> &'static str {
    match kind {
        AttachmentKind::XdpNative => "native XDP",
        AttachmentKind::XdpGeneric => "generic XDP",
        AttachmentKind::Tc | AttachmentKind::Memory => "TC",
    }
}

/// The kind a pin's name stands for.
pub(crate) fn kind_of(label: &str) -> Option<AttachmentKind> {
    match label {
        "xdp" => Some(AttachmentKind::XdpNative),
        "generic" => Some(AttachmentKind::XdpGeneric),
        "tc" => Some(AttachmentKind::Tc),
        _ => None,
    }
}

impl Preference {
    fn accepts(self, kind: AttachmentKind) -> bool {
        match self {
            Self::Auto => true,
            Self::Xdp => kind == AttachmentKind::XdpNative,
            Self::XdpGeneric => kind == AttachmentKind::XdpGeneric,
            Self::Tc => kind == AttachmentKind::Tc,
        }
    }
}
