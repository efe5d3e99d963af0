//! Attaching the programs to interfaces and keeping the links pinned.

use std::fs;
use std::path::Path;

use aya::Ebpf;
use aya::programs::links::{FdLink, LinkOrder, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, SchedClassifier, Xdp, XdpMode};
use geofilter_core::desired::AttachmentKind;

use crate::interfaces::Interface;
use crate::kernel::clsact;
use crate::kernel::pins::{Hold, How, Pins, TRACKER, Task};
use crate::kernel::sys;
use crate::{Error, Preference, fault};

const XDP_PROGRAM: &str = "gf_xdp";
/// What tracks where frames have an Ethernet header, as on nearly every interface.
pub(crate) const TRACKER_PROGRAM: &str = "gf_track_tc";

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Attaches to one interface, or takes over what an earlier agent left there. What held the interface
/// before is released only when the new program is in place: a moment of judging twice harms nobody.
pub(crate) fn attach(
    programs: &mut Ebpf,
    pins: &Pins,
    interface: &Interface,
    preference: Preference,
) -> Result<AttachmentKind, Error> {
    let mut others = Vec::new();
    let mut kept = None;
    for hold in holds(pins, interface, Task::Judge)? {
        let kind = hold.kind().filter(|kind| kept.is_none() && preference.accepts(*kind));
        match kind {
            _ if !hold.is_effective() => release(pins, &hold)?,
            Some(kind) => {
                replace_program(programs, interface, &hold)
                    .map_err(|source| refused(interface, kind, source))?;
                kept = Some(kind);
            }
            None => others.push(hold),
        }
    }
    let kind = match kept {
        Some(kind) => kind,
        None => attach_new(programs, pins, interface, preference)?,
    };
    others.iter().try_for_each(|hold| release(pins, hold))?;
    Ok(kind)
}

/// Puts the tracker on an interface, or takes over the one an earlier agent left there.
pub(crate) fn track(programs: &mut Ebpf, pins: &Pins, interface: &Interface) -> Result<(), Error> {
    let fail = |source| refused(interface, AttachmentKind::Tc, source);
    let mut kept = false;
    for hold in holds(pins, interface, Task::Track)? {
        match !kept && hold.is_effective() {
            true => replace_program(programs, interface, &hold).map_err(fail)?,
            false => release(pins, &hold)?,
        }
        kept |= hold.is_effective();
    }
    match kept {
        true => Ok(()),
        false => attach_classifier(programs, pins, interface, Task::Track),
    }
}

/// What holds programs with this task on an interface, or did.
pub(crate) fn holds(pins: &Pins, interface: &Interface, task: Task) -> Result<Vec<Hold>, Error> {
    let mut holds = pins.holds()?;
    holds.retain(|hold| hold.interface == interface.index && hold.task() == task);
    Ok(holds)
}

fn attach_new(
    programs: &mut Ebpf,
    pins: &Pins,
    interface: &Interface,
    preference: Preference,
) -> Result<AttachmentKind, Error> {
    let mut attach = |kind| attach_as(programs, pins, interface, kind).map(|()| kind);
    match preference {
        Preference::Tc => attach(AttachmentKind::Tc),
        Preference::Xdp => attach(AttachmentKind::XdpNative),
        Preference::XdpGeneric => attach(AttachmentKind::XdpGeneric),
        Preference::Auto => match why_not_xdp(interface) {
            Some(reason) => {
                tracing::info!(interface = interface.name, reason, "attaching by TC");
                attach(AttachmentKind::Tc)
            }
            None => attach(AttachmentKind::XdpNative).or_else(|error| {
                tracing::info!(interface = interface.name, %error, "no native XDP: attaching by TC");
                attach(AttachmentKind::Tc)
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

/// Whether anybody has the SIP port, over UDP.
fn pbx_is_listening() -> bool {
    const SIP: &str = ":13C4"; // 5060
    ["/proc/net/udp", "/proc/net/udp6"].iter().any(|table| {
        let table = fs::read_to_string(table).unwrap_or_default();
        table
            .lines()
            .any(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(SIP)))
    })
}

/// Puts this program in the place of the one an earlier agent left.
fn replace_program(programs: &mut Ebpf, interface: &Interface, hold: &Hold) -> Result<(), Cause> {
    let pin = match &hold.how {
        How::Link { pin, .. } => pin,
        How::Filter { task, priority } => {
            let program = classifier(programs, interface, *task)?;
            return clsact::replace(program, interface, *task, *priority);
        }
        How::Qdisc => return Err("there is no filter on it".into()),
    };
    // The link is pinned: closing our descriptor of it detaches nothing.
    let link = FdLink::from(PinnedLink::from_pin(pin)?);
    if hold.is_by_tc() {
        let program = classifier(programs, interface, hold.task())?;
        let id = program.attach_to_link(SchedClassifierLink::try_from(link)?)?;
        drop(program.take_link(id)?);
    } else {
        let program = xdp(programs)?;
        let id = program.attach_to_link(XdpLink::try_from(link)?)?;
        drop(program.take_link(id)?);
    }
    Ok(())
}

fn attach_as(
    programs: &mut Ebpf,
    pins: &Pins,
    interface: &Interface,
    kind: AttachmentKind,
) -> Result<(), Error> {
    let mode = match kind {
        AttachmentKind::XdpNative => XdpMode::Driver,
        AttachmentKind::XdpGeneric => XdpMode::Skb,
        AttachmentKind::Tc | AttachmentKind::Nft | AttachmentKind::Memory => {
            return attach_classifier(programs, pins, interface, Task::Judge);
        }
    };
    let link = create_xdp_link(programs, interface, mode)
        .map_err(|source| refused(interface, kind, source))?;
    pin_link(link, &pins.link(interface.index, label(kind)))?;
    fault::point("attach-pinned");
    Ok(())
}

fn attach_classifier(
    programs: &mut Ebpf,
    pins: &Pins,
    interface: &Interface,
    task: Task,
) -> Result<(), Error> {
    let fail = |source| refused(interface, AttachmentKind::Tc, source);
    let label = match task {
        Task::Judge => label(AttachmentKind::Tc),
        Task::Track => TRACKER,
    };
    match create_tc_link(programs, interface, task) {
        Ok(link) => pin_link(link, &pins.link(interface.index, label))?,
        // Kernels before 6.6 know no TCX.
        Err(source) if is_unknown(&*source) => {
            let program = classifier(programs, interface, task).map_err(fail)?;
            clsact::attach(program, pins, interface, task).map_err(fail)?;
        }
        Err(source) => return Err(fail(source)),
    }
    fault::point("attach-pinned");
    Ok(())
}

fn refused(interface: &Interface, kind: AttachmentKind, source: Cause) -> Error {
    let advice = advice(interface, kind);
    Error::Attach { interface: interface.name.clone(), kind: describe(kind), advice, source }
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

fn create_tc_link(programs: &mut Ebpf, interface: &Interface, task: Task) -> Result<FdLink, Cause> {
    if fault::is_asked_for("no-tcx") {
        return Err(std::io::Error::from_raw_os_error(libc::EINVAL).into());
    }
    let program = classifier(programs, interface, task)?;
    // Before the programs of others: what they would do with a packet we drop is moot, and what leaves is
    // still as the PBX sent it.
    let first = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program.attach_with_options(&interface.name, task.direction(), first)?;
    Ok(program.take_link(id)?.try_into()?)
}

fn create_xdp_link(
    programs: &mut Ebpf,
    interface: &Interface,
    mode: XdpMode,
) -> Result<FdLink, Cause> {
    if !interface.ethernet {
        return Err("its packets have no Ethernet header".into());
    }
    let program = xdp(programs)?;
    let id = program.attach_to_if_index(interface.index, mode)?;
    Ok(program.take_link(id)?.try_into()?)
}

/// What to do when an interface refuses.
fn advice(interface: &Interface, kind: AttachmentKind) -> String {
    match (kind, interface.xdp_program) {
        (AttachmentKind::Tc | AttachmentKind::Nft | AttachmentKind::Memory, _) => {
            ": see `tc qdisc show` for what is there".to_owned()
        }
        (_, Some(id)) => format!(
            ": the XDP program with id {id} holds it (`bpftool prog show id {id}` tells whose it is); \
             use --backend tc"
        ),
        (_, None) => {
            ": its driver, its MTU or its kind does not allow it; use --backend tc".to_owned()
        }
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
        How::Filter { task, priority } => {
            clsact::release_filter(pins, hold.interface, *task, *priority)
        }
        How::Qdisc => clsact::release_qdisc(pins, hold.interface),
    };
    released.map_err(|source| Error::Detach { interface: hold.interface, source })
}

impl Hold {
    /// Whether it still holds a program on its interface.
    pub(crate) fn is_effective(&self) -> bool {
        match &self.how {
            How::Link { pin, .. } => sys::open_pin(pin)
                .and_then(sys::interface_of)
                .is_ok_and(|held| held == self.interface),
            How::Filter { task, priority } => {
                clsact::has_filter(self.interface, *task, *priority).unwrap_or(false)
            }
            How::Qdisc => true,
        }
    }

    /// Whether it holds nothing any more, if its interface is gone.
    pub(crate) fn is_left_over(&self) -> bool {
        matches!(self.how, How::Qdisc) || !self.is_effective()
    }

    fn is_by_tc(&self) -> bool {
        self.task() == Task::Track || self.kind() == Some(AttachmentKind::Tc)
    }

    /// The kind of the attachment it stands for; a tracker is none.
    pub(crate) fn kind(&self) -> Option<AttachmentKind> {
        match &self.how {
            How::Link { kind, .. } => kind_of(kind),
            How::Filter { task: Task::Judge, .. } => Some(AttachmentKind::Tc),
            How::Filter { task: Task::Track, .. } | How::Qdisc => None,
        }
    }
}

fn xdp(programs: &mut Ebpf) -> Result<&mut Xdp, Cause> {
    let program = programs.program_mut(XDP_PROGRAM).ok_or("the object has no program gf_xdp")?;
    let program: &mut Xdp = program.try_into().map_err(|error: ProgramError| error)?;
    if program.fd().is_err() {
        program.load()?;
    }
    Ok(program)
}

fn classifier_name(interface: &Interface, task: Task) -> &'static str {
    match (task, interface.ethernet) {
        (Task::Judge, true) => "gf_tc",
        (Task::Judge, false) => "gf_tc_l3",
        (Task::Track, true) => TRACKER_PROGRAM,
        (Task::Track, false) => "gf_track_tc_l3",
    }
}

fn classifier<'a>(
    programs: &'a mut Ebpf,
    interface: &Interface,
    task: Task,
) -> Result<&'a mut SchedClassifier, Cause> {
    let name = classifier_name(interface, task);
    let program = programs.program_mut(name).ok_or("the object lacks a program")?;
    let program: &mut SchedClassifier = program.try_into().map_err(|error: ProgramError| error)?;
    if program.fd().is_err() {
        program.load()?;
    }
    Ok(program)
}

/// The programs that these interfaces will most likely get. The others are loaded when an interface needs them: a host needs
/// one or two, and the verifier takes most of the time in which an agent starts.
pub(crate) fn needed(
    pins: &Pins,
    interfaces: &[Interface],
    preference: Preference,
) -> Result<Vec<&'static str>, Error> {
    let mut names = Vec::new();
    for interface in interfaces {
        let kept = holds(pins, interface, Task::Judge)?.iter().find_map(Hold::kind);
        let by_tc = match kept.filter(|kind| preference.accepts(*kind)) {
            Some(kind) => kind == AttachmentKind::Tc,
            None if preference == Preference::Auto => why_not_xdp(interface).is_some(),
            None => preference == Preference::Tc,
        };
        names.push(if by_tc { classifier_name(interface, Task::Judge) } else { XDP_PROGRAM });
    }
    Ok(names)
}

/// The word for a kind in the name of a pin.
fn label(kind: AttachmentKind) -> &'static str {
    match kind {
        AttachmentKind::XdpNative => "xdp",
        AttachmentKind::XdpGeneric => "generic",
        AttachmentKind::Tc | AttachmentKind::Nft | AttachmentKind::Memory => "tc",
    }
}

fn describe(kind: AttachmentKind) -> &'static str {
    match kind {
        AttachmentKind::XdpNative => "native XDP",
        AttachmentKind::XdpGeneric => "generic XDP",
        AttachmentKind::Tc | AttachmentKind::Nft | AttachmentKind::Memory => "TC",
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
