//! [`Gun`]: sends prepared frames onto a wire as fast as it takes them, for benchmarks.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};

use crate::namespace::Namespace;

/// Frames handed over in one system call.
const BATCH: usize = 64;
const PACKET_QDISC_BYPASS: libc::c_int = 20;

/// A packet socket on an interface.
#[derive(Debug)]
pub struct Gun(OwnedFd);

impl Gun {
    /// Opens it.
    ///
    /// # Errors
    /// If the kernel refuses: it needs root.
    pub fn new(namespace: &Namespace, interface: &str) -> Result<Self> {
        namespace.inside(|| open(interface))?.context("open a packet socket")
    }

    /// Sends every frame once, in order.
    ///
    /// # Errors
    /// If the kernel refuses one.
    pub fn fire(&self, frames: &[Vec<u8>]) -> io::Result<()> {
        frames.chunks(BATCH).try_for_each(|batch| self.send(batch))
    }

    #[expect(unsafe_code, reason = "sendmmsg(2)")]
    fn send(&self, mut frames: &[Vec<u8>]) -> io::Result<()> {
        while !frames.is_empty() {
            let mut parts: Vec<libc::iovec> = frames
                .iter()
                .map(|frame| libc::iovec {
                    iov_base: frame.as_ptr().cast_mut().cast(),
                    iov_len: frame.len(),
                })
                .collect();
            let mut messages: Vec<libc::mmsghdr> = parts
                .iter_mut()
                .map(|part| {
                    // SAFETY: all fields may be zero.
                    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                    message.msg_hdr.msg_iov = part;
                    message.msg_hdr.msg_iovlen = 1;
                    message
                })
                .collect();
            // SAFETY: the messages point at the parts and those at the frames; all live until it returns, and
            // the kernel writes nothing but the messages' lengths.
            let sent = unsafe {
                let count = messages.len() as libc::c_uint;
                libc::sendmmsg(self.0.as_raw_fd(), messages.as_mut_ptr(), count, 0)
            };
            match usize::try_from(sent) {
                Ok(sent) => frames = &frames[sent..],
                Err(_) => match io::Error::last_os_error() {
                    // The wire is full.
                    error if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                    error => return Err(error),
                },
            }
        }
        Ok(())
    }
}

#[expect(unsafe_code, reason = "packet sockets: no library here wraps them")]
fn open(interface: &str) -> io::Result<Gun> {
    let name = std::ffi::CString::new(interface)?;
    // SAFETY: plain system calls; the descriptor is ours, and what is pointed at lives until each returns.
    unsafe {
        let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(socket);
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
        let length = size_of_val(&address) as libc::socklen_t;
        let yes: libc::c_int = 1;
        let bound = libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) == 0
            && libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                PACKET_QDISC_BYPASS,
                (&raw const yes).cast(),
                size_of_val(&yes) as libc::socklen_t,
            ) == 0;
        if bound { Ok(Gun(socket)) } else { Err(io::Error::last_os_error()) }
    }
}
