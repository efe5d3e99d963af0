//! TC without TCX links, on kernels before 6.6: a filter on the interface's clsact qdisc. Neither can be
//! pinned, but both stay without an agent; marks beside the pins tell which of them are ours.

use std::collections::BTreeSet;
use std::io;

use aya::programs::links::Link;
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact,
};
use aya::programs::{SchedClassifier, TcAttachType};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcMessage};

use crate::fault;
use crate::interfaces::{self, Interface};
use crate::kernel::pins::{Hold, How, Pins, Task};
use crate::{netlink, tc};

/// "gf": whoever lists the filters sees whose it is.
const NAME: (u16, u16) = (0x6766, 1);
const HANDLE: TcHandle = TcHandle::new(NAME.0, NAME.1);
/// The priority before which there is none.
pub(crate) const FIRST: u16 = 1;
/// `ffff:` and `ffff:fff1`: the handle of a clsact qdisc and its place.
const QDISC: (u16, u16) = (tc::MAJOR, 0);
const PLACE: (u16, u16) = (tc::MAJOR, 0xfff1);
type Cause = Box<dyn std::error::Error + Send + Sync>;

impl Task {
    /// Which way the packets go that it is about.
    pub(crate) fn direction(self) -> TcAttachType {
        match self {
            Self::Judge => TcAttachType::Ingress,
            Self::Track => TcAttachType::Egress,
        }
    }
}

/// Attaches a program, before the filters of others where a priority is free.
pub(crate) fn attach(
    program: &mut SchedClassifier,
    pins: &Pins,
    interface: &Interface,
    task: Task,
) -> Result<(), Cause> {
    if !has_qdisc(interface.index, task)? {
        pins.mark_qdisc(interface.index)?;
        fault::point("clsact-marked");
        qdisc_add_clsact(&interface.name)?;
        fault::point("clsact-added");
    }
    let taken = priorities(interface.index)?;
    let priority =
        (FIRST..u16::MAX).find(|free| !taken.contains(free)).ok_or("no priority is free")?;
    pins.mark_filter(interface.index, task, priority)?;
    fault::point("filter-marked");
    let options = NlOptions { priority, handle: HANDLE, classid: None };
    let options = TcAttachOptions::Netlink(options);
    let id = program.attach_with_options(&interface.name, task.direction(), options)?;
    // Dropping the link would take the filter away again.
    std::mem::forget(program.take_link(id)?);
    Ok(())
}

/// Puts a program into the filter an earlier agent left, in place.
pub(crate) fn replace(
    program: &mut SchedClassifier,
    interface: &Interface,
    task: Task,
    priority: u16,
) -> Result<(), Cause> {
    let id = program.attach_to_link(filter(&interface.name, task, priority)?)?;
    std::mem::forget(program.take_link(id)?);
    Ok(())
}

/// Removes the filter. An interface that is gone has taken it along.
pub(crate) fn release_filter(pins: &Pins, index: u32, task: Task, priority: u16) -> io::Result<()> {
    if let Some(name) = name_of(index)?
        && has_filter(index, task, priority)?
    {
        Link::detach(filter(&name, task, priority)?).map_err(io::Error::other)?;
    }
    pins.unmark_filter(index, task, priority)
}

/// Removes the qdisc, unless others use it by now. As long as a filter of ours is on it, it stays ours.
pub(crate) fn release_qdisc(pins: &Pins, index: u32) -> io::Result<()> {
    let is_on_it = |hold: &Hold| hold.interface == index && matches!(hold.how, How::Filter { .. });
    if pins.holds().map_err(io::Error::other)?.iter().any(is_on_it) {
        return Ok(());
    }
    if name_of(index)?.is_some() && has_qdisc(index, Task::Track)? && priorities(index)?.is_empty()
    {
        let mut qdisc = TcMessage::with_index(index as i32);
        qdisc.header.handle = handle(QDISC);
        qdisc.header.parent = handle(PLACE);
        netlink::request(RouteNetlinkMessage::DelQueueDiscipline(qdisc))?;
    }
    pins.unmark_qdisc(index)
}

/// Whether the kernel has what a mark stands for.
pub(crate) fn is_there(mark: &Hold) -> bool {
    match &mark.how {
        How::Filter { task, priority } => has_filter(mark.interface, *task, *priority),
        How::Qdisc => has_qdisc(mark.interface, Task::Track),
        How::Link { .. } => Ok(true),
    }
    .unwrap_or(false)
}

/// Marks the filters of ours whose marks somebody has removed while no agent ran: they would judge by an old policy
/// beside the new one.
pub(crate) fn adopt(pins: &Pins, all: &[Interface]) -> io::Result<()> {
    let qdiscs = tc::qdiscs()?;
    let has_qdisc = |index| {
        let mut on_it = qdiscs.iter().filter(|qdisc| qdisc.header.index == index as i32);
        on_it.any(|qdisc| qdisc.attributes.iter().any(|kind| serves(kind, Task::Judge)))
    };
    for interface in all.iter().filter(|interface| has_qdisc(interface.index)) {
        for (task, direction) in [(Task::Judge, tc::INGRESS), (Task::Track, tc::EGRESS)] {
            for filter in tc::filters(interface.index, direction)?.iter().filter(|it| is_ours(it)) {
                pins.mark_filter(interface.index, task, priority_of(filter))?;
            }
        }
    }
    Ok(())
}

fn name_of(index: u32) -> io::Result<Option<String>> {
    let all = interfaces::all().map_err(io::Error::other)?;
    Ok(all.into_iter().find(|found| found.index == index).map(|found| found.name))
}

fn filter(interface: &str, task: Task, priority: u16) -> io::Result<SchedClassifierLink> {
    SchedClassifierLink::attached(interface, task.direction(), priority, HANDLE, None)
}

fn handle((major, minor): (u16, u16)) -> netlink_packet_route::tc::TcHandle {
    netlink_packet_route::tc::TcHandle { major, minor }
}

/// Whether filters can be put there; for ingress an ingress qdisc of somebody else serves as well.
fn has_qdisc(index: u32, task: Task) -> io::Result<bool> {
    let serves = |qdisc: &TcMessage| qdisc.attributes.iter().any(|kind| serves(kind, task));
    Ok(tc::qdiscs()?.iter().any(|qdisc| qdisc.header.index == index as i32 && serves(qdisc)))
}

fn serves(kind: &TcAttribute, task: Task) -> bool {
    match kind {
        TcAttribute::Kind(kind) => kind == "clsact" || kind == "ingress" && task == Task::Judge,
        _ => false,
    }
}

fn priority_of(filter: &TcMessage) -> u16 {
    (filter.header.info >> 16) as u16
}

/// The priorities in use, in both directions.
fn priorities(index: u32) -> io::Result<BTreeSet<u16>> {
    let mut taken = BTreeSet::new();
    for direction in [tc::INGRESS, tc::EGRESS] {
        taken.extend(tc::filters(index, direction)?.iter().map(priority_of));
    }
    Ok(taken)
}

/// Whether our filter is on an interface.
pub(crate) fn has_filter(index: u32, task: Task, priority: u16) -> io::Result<bool> {
    let direction = match task {
        Task::Judge => tc::INGRESS,
        Task::Track => tc::EGRESS,
    };
    Ok(tc::filters(index, direction)?
        .iter()
        .any(|filter| is_ours(filter) && priority_of(filter) == priority))
}

/// Whether a filter carries our name.
pub(crate) fn is_ours(filter: &TcMessage) -> bool {
    filter.header.handle == handle(NAME)
}
