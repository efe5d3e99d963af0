//! The two system calls that no library here wraps.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const MEMBARRIER_CMD_GLOBAL: libc::c_long = 1;

/// The part of `union bpf_attr` that map elements use.
#[repr(C)]
struct ElementAttr {
    map: u32,
    reserved: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Empties a place of an array of maps; one that is empty already is fine.
#[expect(unsafe_code, reason = "BPF_MAP_DELETE_ELEM on an array of maps")]
pub(crate) fn remove_inner_map(outer: impl AsFd, index: u32) -> io::Result<()> {
    let attr = ElementAttr {
        map: outer.as_fd().as_raw_fd() as u32,
        reserved: 0,
        key: (&raw const index) as u64,
        value: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads `attr` and, through it, `index`; both live until it returns.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_MAP_DELETE_ELEM, &raw const attr, size_of_val(&attr))
    };
    match result {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            error => Err(error),
        },
    }
}

/// Waits until every packet that was being judged when this was called has been judged: a global
/// memory barrier waits for a grace period of RCU, under which programs run.
#[expect(unsafe_code, reason = "membarrier(2)")]
pub(crate) fn wait_for_packets() -> io::Result<()> {
    // SAFETY: takes no memory of this process.
    match unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
