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
use crate::kernel::clsact;
use crate::kernel::pins::{Hold, How, Pins};
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

/// Puts this program in the place of the one an earlier agent left; `None` if there is none that can be
/// kept.
fn take_over(
    programs: &mut Ebpf,
    pins: &Pins,
    interface: &Interface,
    preference: Preference,
) -> Result<Option<Attachment>, Error> {
    for hold in pins.holds()?.into_iter().filter(|hold| hold.interface == interface.name) {
        let kept = hold.kind().filter(|kind| preference.accepts(*kind));
        let replaced = kept.is_some() && replace_program(programs, interface, &hold).is_ok();
        if let Some(kind) = kept.filter(|_| replaced) {
            return Ok(Some(Attachment { interface: hold.interface, kind }));
        }
        // Another kind is wanted, or the interface is gone and another has its name.
        release(pins, &hold)?;
    }
    Ok(None)
}

fn replace_program(programs: &mut Ebpf, interface: &Interface, hold: &Hold) -> Result<(), Cause> {
    let (pin, kind) = match &hold.how {
        How::Link { pin, .. } => (pin, hold.kind()),
        How::Filter { priority } => {
            return clsact::replace(classifier(programs, interface)?, &hold.interface, *priority);
        }
        How::Qdisc => return Err("there is no filter on it".into()),
    };
    // The link is pinned: closing our descriptor of it detaches nothing.
    let link = FdLink::from(PinnedLink::from_pin(pin)?);
    if kind == Some(AttachmentKind::Tc) {
        let program = classifier(programs, interface)?;
        let id = program.attach_to_link(SchedClassifierLink::try_from(link)?)?;
        drop(program.take_link(id)?);
    } else {
        let program = xdp(programs)?;
        let id = program.attach_to_link(XdpLink::try_from(link)?)?;
        drop(program.take_link(id)?);
    }
    Ok(())
}

fn attach_new(
    programs: &mut Ebpf,
    pins: &Pins,
    interface: &Interface,
    kind: AttachmentKind,
) -> Result<(), Error> {
    let fail = |source| Error::Attach {
        interface: interface.name.clone(),
        kind: describe(kind),
        advice: advice(interface, kind),
        source,
    };
    match create_link(programs, interface, kind) {
        Ok(link) => pin_link(link, &pins.link(&interface.name, label(kind)))?,
        // Kernels before 6.6 know no TCX.
        Err(source) if kind == AttachmentKind::Tc && is_unknown(&*source) => {
            clsact::attach(classifier(programs, interface).map_err(fail)?, pins, interface)
                .map_err(fail)?;
        }
        Err(source) => return Err(fail(source)),
    }
    fault::point("attach-pinned");
    Ok(())
}

fn pin_link(link: FdLink, path: &Path) -> Result<(), Error> {
    fault::point("attach-linked");
    // Dropping the descriptor of a link that could not be pinned detaches it again.
    let pinned = link.pin(path);
    pinned.map(drop).map_err(|source| Error::Pins {
        path: path.to_owned(),
        source: std::io::Error::other(source),
    })
}

/// Whether the kernel does not know this kind of link.
fn is_unknown(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let code = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        if code == Some(libc::EINVAL) {
            return true;
        }
        cause = error.source();
    }
    false
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
            if fault::is_asked_for("no-tcx") {
                return Err(std::io::Error::from_raw_os_error(libc::EINVAL).into());
            }
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
            ": see `tc qdisc show` for what is there".to_owned()
        }
        (_, Some(id)) => format!(
            ": the XDP program with id {id} holds it (`bpftool prog show id {id}` tells whose it is); \
             use --backend tc"
        ),
        (_, None) => ": its driver or its MTU does not allow it; use --backend tc".to_owned(),
    }
}

/// Takes a program off an interface.
pub(crate) fn release(pins: &Pins, hold: &Hold) -> Result<(), Error> {
    let released = match &hold.how {
        How::Link { pin, .. } => match PinnedLink::from_pin(pin) {
            // The last descriptor goes here, and the program leaves before this returns.
            Ok(link) => link.unpin().map(drop),
            Err(_) => std::fs::remove_file(pin),
        },
        How::Filter { priority } => clsact::release_filter(pins, &hold.interface, *priority),
        How::Qdisc => clsact::release_qdisc(pins, &hold.interface),
    };
    released.map_err(|source| Error::Detach { interface: hold.interface.clone(), source })
}

impl Hold {
    /// The kind of the attachment it stands for.
    pub(crate) fn kind(&self) -> Option<AttachmentKind> {
        match &self.how {
            How::Link { kind, .. } => kind_of(kind),
            How::Filter { .. } => Some(AttachmentKind::Tc),
            How::Qdisc => None,
        }
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
fn kind_of(label: &str) -> Option<AttachmentKind> {
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
