//! [`Log`]: packets that rules log, over netlink (linux/netfilter/nfnetlink_log.h).

use std::io;

use netlink_packet_core::NLM_F_ACK;
use netlink_sys::Socket;
use rustix::io::Errno;

use super::netfilter::{
    self, Kind, NFPROTO_UNSPEC, Request, attributes, be32, connect, messages, text_in, unreadable,
};

/// Messages of NFNL_SUBSYS_ULOG.
const PACKET: Kind = (4, 0);
const CONFIG: Kind = (4, 1);
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
        let mode = [&u32::MAX.to_be_bytes()[..], &[NFULNL_COPY_PACKET, 0]].concat();
        let settings: [(u16, &[u8]); 4] = [
            (NFULA_CFG_CMD, &[NFULNL_CFG_CMD_BIND]),
            (NFULA_CFG_MODE, &mode),
            (NFULA_CFG_NLBUFSIZ, &ROOM.to_be_bytes()),
            (NFULA_CFG_QTHRESH, &1_u32.to_be_bytes()),
        ];
        let mut message = Vec::new();
        Request {
            kind: CONFIG,
            flags: NLM_F_ACK,
            family: NFPROTO_UNSPEC,
            resource: group,
            attributes: &settings,
        }
        .write(&mut message);
        netfilter::tell(&socket, &message)?;
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
        .filter(|message| message.is(PACKET))
        .filter_map(|message| logged_in(message.content()?))
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
