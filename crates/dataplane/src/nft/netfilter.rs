//! What is asked of netfilter over netlink, where a run of nft would cost too much: the number of the ruleset, the counters,
//! what ends at a time, and packets that rules log (linux/netfilter/nf_tables.h, nfnetlink_log.h).

use std::collections::BTreeMap;
use std::io;

use geofilter_core::counters::Traffic;
use geofilter_core::desired::BootTime;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NlasIterator,
};
use netlink_sys::{Socket, SocketAddr};
use rustix::io::Errno;
use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

use crate::boot_time;

const NETLINK_NETFILTER: isize = 12;
const NFPROTO_UNSPEC: u8 = 0;
const NFPROTO_INET: u8 = 1;

/// NFNL_SUBSYS_NFTABLES, and its messages.
const NFTABLES: u8 = 10;
const NFT_MSG_NEWTABLE: u8 = 0;
const NFT_MSG_GETTABLE: u8 = 1;
const NFT_MSG_GETGEN: u8 = 16;
const NFT_MSG_NEWOBJ: u8 = 18;
const NFT_MSG_GETOBJ: u8 = 19;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_GEN_ID: u16 = 1;
const NFTA_OBJ_TABLE: u16 = 1;
const NFTA_OBJ_NAME: u16 = 2;
const NFTA_OBJ_TYPE: u16 = 3;
const NFTA_OBJ_DATA: u16 = 4;
const NFT_MSG_NEWSETELEM: u8 = 12;
const NFT_MSG_DELSETELEM: u8 = 14;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_TIMEOUT: u16 = 4;
const NFTA_DATA_VALUE: u16 = 1;
const NFT_OBJECT_COUNTER: u32 = 1;
const NFTA_COUNTER_BYTES: u16 = 1;
const NFTA_COUNTER_PACKETS: u16 = 2;

/// What is changed comes between these.
const NFNL_MSG_BATCH_BEGIN: u8 = 16;
const NFNL_MSG_BATCH_END: u8 = 17;

/// NFNL_SUBSYS_ULOG, and its messages.
const ULOG: u8 = 4;
const NFULNL_MSG_PACKET: u8 = 0;
const NFULNL_MSG_CONFIG: u8 = 1;
const NFULA_CFG_CMD: u16 = 1;
const NFULA_CFG_MODE: u16 = 2;
const NFULA_CFG_NLBUFSIZ: u16 = 3;
const NFULA_CFG_QTHRESH: u16 = 5;
const NFULNL_CFG_CMD_BIND: u8 = 1;
const NFULNL_COPY_PACKET: u8 = 2;
const NFULA_IFINDEX_INDEV: u16 = 4;
const NFULA_PAYLOAD: u16 = 9;
const NFULA_PREFIX: u16 = 10;

/// The first group of logged packets that is tried, of so many.
const FIRST_GROUP: u16 = 5060;
const GROUPS: u16 = 64;
/// Bytes that the kernel makes room for with each packet: our excerpt, and what it says beside it.
const ROOM: u32 = 1024;
/// Bytes of packets that wait to be read. A container's socket takes less, and loses some in a flood.
const WAITING: usize = 4 << 20;
/// Netlink's own kinds of messages.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Bytes of netfilter's own header.
const HEADER: usize = 4;

/// The number of the ruleset: whoever changes anything in this network namespace makes it another one.
///
/// # Errors
/// If the kernel does not answer.
pub(super) fn generation() -> io::Result<u32> {
    let socket = connect()?;
    socket.send(&request((NFTABLES, NFT_MSG_GETGEN), 0, NFPROTO_UNSPEC, 0, &[]), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let number = messages(&answer).find_map(|(_, body)| {
        attributes(body.get(HEADER..)?).find(|(kind, _)| *kind == NFTA_GEN_ID)
    });
    number.and_then(|(_, number)| be32(number)).ok_or_else(unreadable)
}

/// Whether there is a table of this name; where there is no nftables there is none.
///
/// # Errors
/// If the kernel does not answer.
pub(super) fn has_table(name: &str) -> io::Result<bool> {
    let socket = connect()?;
    let which = [(NFTA_TABLE_NAME, text(name))];
    socket.send(&request((NFTABLES, NFT_MSG_GETTABLE), 0, NFPROTO_INET, 0, &which), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    Ok(messages(&answer).any(|(kind, _)| kind == kind_of((NFTABLES, NFT_MSG_NEWTABLE))))
}

/// The named counters of a table.
///
/// # Errors
/// If the kernel does not answer.
pub(super) fn counters(table: &str) -> io::Result<BTreeMap<String, Traffic>> {
    let socket = connect()?;
    let which = [
        (NFTA_OBJ_TABLE, text(table)),
        (NFTA_OBJ_TYPE, Vec::from(NFT_OBJECT_COUNTER.to_be_bytes())),
    ];
    let all = request((NFTABLES, NFT_MSG_GETOBJ), NLM_F_DUMP, NFPROTO_INET, 0, &which);
    socket.send(&all, 0)?;
    let mut counters = BTreeMap::new();
    loop {
        let (answer, _) = socket.recv_from_full()?;
        for (kind, body) in messages(&answer) {
            match kind {
                NLMSG_DONE => return Ok(counters),
                NLMSG_ERROR => result_in(body)?,
                kind if kind == kind_of((NFTABLES, NFT_MSG_NEWOBJ)) => {
                    counters.extend(body.get(HEADER..).and_then(counter_in));
                }
                _ => {}
            }
        }
    }
}

/// A counter's name and what it counted.
fn counter_in(object: &[u8]) -> Option<(String, Traffic)> {
    let (mut name, mut traffic) = (None, Traffic::default());
    for (kind, value) in attributes(object) {
        match kind {
            NFTA_OBJ_NAME => name = text_in(value).map(str::to_owned),
            NFTA_OBJ_DATA => {
                for (kind, value) in attributes(value) {
                    let number = value.try_into().map(u64::from_be_bytes).ok()?;
                    match kind {
                        NFTA_COUNTER_PACKETS => traffic.packets = number,
                        NFTA_COUNTER_BYTES => traffic.bytes = number,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some((name?, traffic))
}

/// Changes of elements of sets, in one transaction.
pub(super) struct Elements<'a> {
    table: &'a str,
    changes: Vec<Change>,
}

/// A message, by its kind and attributes.
type Change = (u8, [(u16, Vec<u8>); 3]);

impl<'a> Elements<'a> {
    /// Changes nothing yet.
    pub(super) fn of(table: &'a str) -> Self {
        Self { table, changes: Vec::new() }
    }

    /// Adds an element, which the kernel forgets at a time if one is given: with the first tick of its clock that is not
    /// before it, or the next. It must not be there.
    pub(super) fn add(&mut self, set: &str, key: &[u8], end: Option<BootTime>) {
        self.change(NFT_MSG_NEWSETELEM, set, key, end);
    }

    /// Removes an element, if it is there.
    pub(super) fn remove(&mut self, set: &str, key: &[u8]) {
        // What is not there can't be removed.
        self.change(NFT_MSG_NEWSETELEM, set, key, None);
        self.change(NFT_MSG_DELSETELEM, set, key, None);
    }

    fn change(&mut self, message: u8, set: &str, key: &[u8], end: Option<BootTime>) {
        let key = attribute(NFTA_SET_ELEM_KEY, &attribute(NFTA_DATA_VALUE, key));
        let timeout = |end| attribute(NFTA_SET_ELEM_TIMEOUT, &ticks_until(end).to_be_bytes());
        let element = [key, end.map(timeout).unwrap_or_default()].concat();
        let what = [
            (NFTA_SET_ELEM_LIST_TABLE, text(self.table)),
            (NFTA_SET_ELEM_LIST_SET, text(set)),
            (NFTA_SET_ELEM_LIST_ELEMENTS, attribute(NFTA_LIST_ELEM, &element)),
        ];
        self.changes.push((message, what));
    }

    /// Makes the changes.
    ///
    /// # Errors
    /// If the kernel refuses. Then nothing was changed.
    pub(super) fn commit(self) -> io::Result<()> {
        let limit = |message| request((0, message), 0, NFPROTO_UNSPEC, NFTABLES.into(), &[]);
        let changes = self.changes.iter().enumerate().map(|(at, (message, what))| {
            // When the last one was done all were.
            let is_last = at + 1 == self.changes.len();
            let flags = NLM_F_CREATE | if is_last { NLM_F_ACK } else { 0 };
            request((NFTABLES, *message), flags, NFPROTO_INET, 0, what)
        });
        let begin = std::iter::once(limit(NFNL_MSG_BATCH_BEGIN));
        let batch: Vec<u8> =
            begin.chain(changes).chain([limit(NFNL_MSG_BATCH_END)]).flatten().collect();
        let socket = connect()?;
        socket.send(&batch, 0)?;
        acknowledged(&socket)
    }
}

/// Milliseconds until the kernel's clock has ticked past a time. It goes by ticks, of which the coarse clock knows the last.
fn ticks_until(end: BootTime) -> u64 {
    let nanoseconds =
        |time: Timespec| time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned();
    let tick = nanoseconds(clock_getres(ClockId::MonotonicCoarse)).max(1);
    let last = nanoseconds(clock_gettime(ClockId::MonotonicCoarse));
    let since = nanoseconds(clock_gettime(ClockId::Monotonic)).saturating_sub(last);
    let left = end.0.saturating_sub(boot_time().0) + since;
    (left.div_ceil(tick) * tick).div_ceil(1_000_000)
}

/// Packets that rules log to a group of our own.
pub(super) struct Log {
    socket: Socket,
    group: u16,
}

/// A packet that a rule logged.
pub(super) struct Logged<'a> {
    /// What the rule says of it.
    pub(super) prefix: &'a str,
    /// The index of the interface that it came in by.
    pub(super) interface: u32,
    /// From its IP header on, as much as the rule copies.
    pub(super) packet: &'a [u8],
}

impl Log {
    /// Takes a group that nobody has.
    ///
    /// # Errors
    /// If the kernel can't log packets to a process, or does not let this one.
    pub(super) fn open() -> io::Result<Self> {
        let taken = |error: &io::Error| {
            let error = Errno::from_io_error(error);
            error == Some(Errno::PERM) || error == Some(Errno::BUSY)
        };
        let mut last = unreadable();
        for group in FIRST_GROUP..FIRST_GROUP + GROUPS {
            match Self::bind(group) {
                Err(error) if taken(&error) => last = error,
                bound => return bound,
            }
        }
        Err(last)
    }

    fn bind(group: u16) -> io::Result<Self> {
        let socket = connect()?;
        let forced = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, WAITING);
        if forced.is_err() {
            rustix::net::sockopt::set_socket_recv_buffer_size(&socket, WAITING)?;
        }
        // Each goes out at once: nobody is woken by that, they are read when it is time.
        let settings = [
            (NFULA_CFG_CMD, vec![NFULNL_CFG_CMD_BIND]),
            (NFULA_CFG_MODE, [&u32::MAX.to_be_bytes()[..], &[NFULNL_COPY_PACKET, 0]].concat()),
            (NFULA_CFG_NLBUFSIZ, Vec::from(ROOM.to_be_bytes())),
            (NFULA_CFG_QTHRESH, Vec::from(1_u32.to_be_bytes())),
        ];
        let bind = (ULOG, NFULNL_MSG_CONFIG);
        socket.send(&request(bind, NLM_F_ACK, NFPROTO_UNSPEC, group, &settings), 0)?;
        acknowledged(&socket)?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket, group })
    }

    /// The group that rules are to log to.
    pub(super) fn group(&self) -> u16 {
        self.group
    }

    /// Hands over what was logged since the last call. What there was no room for is lost.
    ///
    /// # Errors
    /// If the kernel does not answer.
    pub(super) fn read(&mut self, sink: &mut dyn FnMut(Logged<'_>)) -> io::Result<()> {
        loop {
            let datagram = match self.socket.recv_from_full() {
                Ok((datagram, _)) => datagram,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => continue,
                Err(error) => return Err(error),
            };
            logged(&datagram).for_each(&mut *sink);
        }
    }
}

/// The packets that a datagram tells of.
pub(super) fn logged(datagram: &[u8]) -> impl Iterator<Item = Logged<'_>> {
    messages(datagram)
        .filter(|(kind, _)| *kind == kind_of((ULOG, NFULNL_MSG_PACKET)))
        .filter_map(|(_, body)| logged_in(body.get(HEADER..)?))
}

fn logged_in(message: &[u8]) -> Option<Logged<'_>> {
    let (mut prefix, mut interface, mut packet) = (None, 0, None);
    for (kind, value) in attributes(message) {
        match kind {
            NFULA_PREFIX => prefix = text_in(value),
            NFULA_IFINDEX_INDEV => interface = be32(value)?,
            NFULA_PAYLOAD => packet = Some(value),
            _ => {}
        }
    }
    Some(Logged { prefix: prefix?, interface, packet: packet? })
}

/// Waits until the kernel says that it was done, or why not.
fn acknowledged(socket: &Socket) -> io::Result<()> {
    loop {
        // What an earlier agent's rules log may come first.
        let (answer, _) = socket.recv_from_full()?;
        if let Some((_, body)) = messages(&answer).find(|(kind, _)| *kind == NLMSG_ERROR) {
            return result_in(body);
        }
    }
}

fn connect() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// The kind of a message of a subsystem.
fn kind_of((subsystem, message): (u8, u8)) -> u16 {
    u16::from_be_bytes([subsystem, message])
}

/// A message: netlink's header, netfilter's, and the attributes.
fn request(
    what: (u8, u8),
    flags: u16,
    family: u8,
    resource: u16,
    attributes: &[(u16, Vec<u8>)],
) -> Vec<u8> {
    let mut body = vec![family, 0];
    body.extend(resource.to_be_bytes());
    attributes.iter().for_each(|(kind, value)| body.extend(attribute(*kind, value)));
    let length = 16 + body.len();
    let mut message = Vec::from((length as u32).to_ne_bytes());
    message.extend(kind_of(what).to_ne_bytes());
    message.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    // Sequence and port.
    message.extend([0; 8]);
    message.extend(body);
    message
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = 4 + value.len();
    let mut attribute = Vec::from((length as u16).to_ne_bytes());
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(length.next_multiple_of(4), 0);
    attribute
}

/// The messages of a datagram: the kind of each, and what follows netlink's header.
fn messages(mut datagram: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(datagram).ok()?;
        let length = message.length() as usize;
        let read = (message.message_type(), datagram.get(16..length)?);
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(read)
    })
}

/// The kind of each attribute, and its value.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(|attribute| {
        let attribute = attribute.ok()?;
        let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
        Some((kind, attribute.into_inner().get(4..length)?))
    })
}

/// What an answer of this kind says: done, or why not.
fn result_in(body: &[u8]) -> io::Result<()> {
    match body.get(..4).and_then(|code| code.try_into().ok()).map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
        None => Err(unreadable()),
    }
}

fn be32(value: &[u8]) -> Option<u32> {
    value.try_into().map(u32::from_be_bytes).ok()
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

fn text_in(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value.split(|byte| *byte == 0).next()?).ok()
}

fn unreadable() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
