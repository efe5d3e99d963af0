//! Netfilter's messages over netlink (linux/netfilter/nfnetlink.h), where a run of nft would cost too much: [`ruleset`](super::ruleset)
//! reads, [`elements`](super::elements) changes, [`log`](super::log) hears of packets.

use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NlasIterator,
};
use netlink_sys::{Socket, SocketAddr};

const NETLINK_NETFILTER: isize = 12;
pub(super) const NFPROTO_UNSPEC: u8 = 0;
pub(super) const NFPROTO_INET: u8 = 1;

/// NFNL_SUBSYS_NFTABLES.
pub(super) const NFTABLES: u8 = 10;
/// Netlink's own kinds of messages.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Bytes of netfilter's own header.
const HEADER: usize = 4;
/// A list that somebody changes meanwhile is asked for anew, so often.
const TRIES: usize = 10;

/// A message, by its subsystem and kind in it.
pub(super) type Kind = (u8, u8);

/// What is asked of the kernel, or told it.
pub(super) struct Request<'a> {
    pub(super) kind: Kind,
    /// Beside NLM_F_REQUEST.
    pub(super) flags: u16,
    pub(super) family: u8,
    pub(super) resource: u16,
    pub(super) attributes: &'a [(u16, &'a [u8])],
}

impl Request<'_> {
    /// Netlink's header, netfilter's, and the attributes.
    pub(super) fn write(&self, into: &mut Vec<u8>) {
        let start = into.len();
        into.extend([0; 4]);
        into.extend(kind_of(self.kind).to_ne_bytes());
        into.extend((NLM_F_REQUEST | self.flags).to_ne_bytes());
        // Sequence and port.
        into.extend([0; 8]);
        into.extend([self.family, 0]);
        into.extend(self.resource.to_be_bytes());
        self.attributes.iter().for_each(|(kind, value)| attribute(into, *kind, value));
        let length = (into.len() - start) as u32;
        into[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    fn send(&self, socket: &Socket) -> io::Result<()> {
        let mut message = Vec::new();
        self.write(&mut message);
        socket.send(&message, 0).map(drop)
    }
}

/// Asks for one thing.
///
/// # Errors
/// If the kernel does not answer. That there is no such thing is an answer without a message of the kind.
pub(super) fn ask(request: &Request<'_>) -> io::Result<Vec<u8>> {
    let socket = connect()?;
    request.send(&socket)?;
    Ok(socket.recv_from_full()?.0)
}

/// Asks for all things of a kind, each as the attributes of a message.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] if there is nothing of what is asked for, or if the kernel does not answer, or if somebody
/// changes it all the time.
pub(super) fn list(
    asked: Kind,
    family: u8,
    which: &[(u16, &[u8])],
    answered: Kind,
) -> io::Result<Vec<Vec<u8>>> {
    let request =
        Request { kind: asked, flags: NLM_F_DUMP, family, resource: 0, attributes: which };
    for _ in 0..TRIES {
        if let Some(listed) = list_once(&request, answered)? {
            return Ok(listed);
        }
    }
    Err(io::ErrorKind::Interrupted.into())
}

/// Nothing if it was changed meanwhile.
fn list_once(request: &Request<'_>, answered: Kind) -> io::Result<Option<Vec<Vec<u8>>>> {
    let socket = connect()?;
    request.send(&socket)?;
    let (mut listed, mut is_whole) = (Vec::new(), true);
    loop {
        let (answer, _) = socket.recv_from_full()?;
        for message in messages(&answer) {
            is_whole &= message.flags & NLM_F_DUMP_INTR == 0;
            match message.kind {
                NLMSG_DONE => return Ok(is_whole.then_some(listed)),
                NLMSG_ERROR => message.result()?,
                kind if kind == kind_of(answered) => {
                    listed.extend(message.content().map(Vec::from))
                }
                _ => {}
            }
        }
    }
}

/// Sends what was written, and waits until the kernel says that it was done, or why not.
///
/// # Errors
/// Why not.
pub(super) fn tell(socket: &Socket, messages: &[u8]) -> io::Result<()> {
    socket.send(messages, 0)?;
    loop {
        // What an earlier agent's rules log may come first.
        let (answer, _) = socket.recv_from_full()?;
        if let Some(told) = self::messages(&answer).find(|message| message.kind == NLMSG_ERROR) {
            return told.result();
        }
    }
}

/// A socket of its own.
///
/// # Errors
/// If there is no netfilter, or no room.
pub(super) fn connect() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// A message of the kernel's.
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    flags: u16,
    /// What follows netlink's header.
    body: &'a [u8],
}

impl<'a> Message<'a> {
    pub(super) fn is(&self, kind: Kind) -> bool {
        self.kind == kind_of(kind)
    }

    /// Its attributes.
    pub(super) fn content(&self) -> Option<&'a [u8]> {
        self.body.get(HEADER..)
    }

    /// What an answer of this kind says: done, or why not.
    fn result(&self) -> io::Result<()> {
        match self.body.get(..4).and_then(|code| code.try_into().ok()).map(i32::from_ne_bytes) {
            Some(0) => Ok(()),
            Some(code) => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
            None => Err(unreadable()),
        }
    }
}

/// The messages of a datagram.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(datagram).ok()?;
        let length = message.length() as usize;
        let (kind, flags) = (message.message_type(), message.flags());
        let read = Message { kind, flags, body: datagram.get(16..length)? };
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(read)
    })
}

/// The kind of each attribute, and its value.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(|attribute| {
        let attribute = attribute.ok()?;
        let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
        Some((kind, attribute.into_inner().get(4..length)?))
    })
}

/// The value of the attribute of this kind.
pub(super) fn value(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(of, _)| *of == kind).map(|(_, value)| value)
}

/// Writes an attribute.
pub(super) fn attribute(into: &mut Vec<u8>, kind: u16, value: &[u8]) {
    nest(into, kind, |into| into.extend(value));
}

/// Writes an attribute whose value is written by this. It may have 64 KiB.
pub(super) fn nest(into: &mut Vec<u8>, kind: u16, write: impl FnOnce(&mut Vec<u8>)) {
    let start = into.len();
    into.extend([0; 2]);
    into.extend(kind.to_ne_bytes());
    write(into);
    let length = (into.len() - start) as u16;
    into[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    into.resize(into.len().next_multiple_of(4), 0);
}

/// The kind of a message of a subsystem.
fn kind_of((subsystem, message): Kind) -> u16 {
    u16::from_be_bytes([subsystem, message])
}

/// A number as netfilter writes it.
pub(super) fn be32(value: &[u8]) -> Option<u32> {
    value.try_into().map(u32::from_be_bytes).ok()
}

/// The same of a long one.
pub(super) fn be64(value: &[u8]) -> Option<u64> {
    value.try_into().map(u64::from_be_bytes).ok()
}

/// A text as the kernel wants it.
pub(super) fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// A text of the kernel's.
pub(super) fn text_in(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value.split(|byte| *byte == 0).next()?).ok()
}

/// What the kernel says is not what it is known to say.
pub(super) fn unreadable() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
