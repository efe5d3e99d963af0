//! Asking the kernel about its interfaces, and for changes to them, over route netlink.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Sends a dump request and collects every answer.
pub(crate) fn dump(request: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut answers = Vec::new();
    exchange(request, NLM_F_REQUEST | NLM_F_DUMP, &mut answers)?;
    Ok(answers)
}

/// Sends a request for a change and waits until it is done.
pub(crate) fn request(request: RouteNetlinkMessage) -> io::Result<()> {
    exchange(request, NLM_F_REQUEST | NLM_F_ACK, &mut Vec::new())
}

fn exchange(
    request: RouteNetlinkMessage,
    flags: u16,
    answers: &mut Vec<RouteNetlinkMessage>,
) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut message = NetlinkMessage::from(request);
    message.header.flags = flags;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        if !collect(&datagram, answers)? {
            return Ok(());
        }
    }
}

/// Tells that interfaces, addresses or routes changed.
pub(crate) struct Watch(Socket);

impl Watch {
    /// Watches this network namespace from now on.
    pub(crate) fn new() -> io::Result<Self> {
        // RTNLGRP_LINK, and IPv4 and IPv6 addresses and routes.
        const GROUPS: [u32; 5] = [1, 5, 7, 9, 11];
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        GROUPS.into_iter().try_for_each(|group| socket.add_membership(group))?;
        socket.set_non_blocking(true)?;
        Ok(Self(socket))
    }

    /// Whether anything changed since the last call.
    pub(crate) fn changed(&mut self) -> io::Result<bool> {
        let mut changed = false;
        loop {
            match self.0.recv_from_full() {
                Ok(_) => changed = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(changed),
                // More changed than the socket could tell.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changed = true,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Reads the messages of one datagram; false after the last one of an answer.
fn collect(datagram: &[u8], answers: &mut Vec<RouteNetlinkMessage>) -> io::Result<bool> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let length = (message.header.length as usize).next_multiple_of(4).max(16);
        match message.payload {
            NetlinkPayload::Done(_) => return Ok(false),
            NetlinkPayload::Error(error) => {
                return if error.code.is_none() { Ok(false) } else { Err(error.to_io()) };
            }
            NetlinkPayload::InnerMessage(inner) => answers.push(inner),
            _ => {}
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(true)
}
