//! The system calls that no library here wraps.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya::maps::MapError;
use aya::sys::SyscallError;
use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
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

/// Puts a map into a place of an array of maps; returns when no program uses what was there.
pub(crate) fn put_inner_map(outer: impl AsFd, index: u32, inner: impl AsFd) -> io::Result<()> {
    let mut descriptor = inner.as_fd().as_raw_fd() as u32;
    element(BPF_MAP_UPDATE_ELEM, outer, index, &mut descriptor)
}

/// Empties a place of an array of maps; one that is empty already is fine, and takes no time.
pub(crate) fn remove_inner_map(outer: impl AsFd, index: u32) -> io::Result<()> {
    let outer = outer.as_fd();
    // Older kernels wait for a grace period even if nothing is there to be removed.
    let removed = element(BPF_MAP_LOOKUP_ELEM, outer, index, &mut 0)
        .and_then(|()| element(BPF_MAP_DELETE_ELEM, outer, index, &mut 0));
    match removed {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        removed => removed,
    }
}

#[expect(unsafe_code, reason = "elements of an array of maps, which the library can't remove")]
fn element(command: libc::c_long, map: impl AsFd, index: u32, value: &mut u32) -> io::Result<()> {
    let attr = ElementAttr {
        map: map.as_fd().as_raw_fd() as u32,
        reserved: 0,
        key: (&raw const index) as u64,
        value: if command == BPF_MAP_DELETE_ELEM { 0 } else { (&raw mut *value) as u64 },
        flags: 0,
    };
    // SAFETY: the kernel reads `attr` and, through it, `index`, and reads or writes `value`; they live until
    // it returns.
    match unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attr, size_of_val(&attr)) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a key is not in a map. The library says so in two ways, by what was asked.
pub(crate) fn is_absent(error: &MapError) -> bool {
    match error {
        MapError::KeyNotFound => true,
        MapError::SyscallError(SyscallError { io_error, .. }) => {
            io_error.raw_os_error() == Some(libc::ENOENT)
        }
        _ => false,
    }
}

/// The part of `union bpf_attr` that opens pins.
#[repr(C)]
struct PinAttr {
    path: u64,
    object: u32,
    flags: u32,
}

/// Opens what is pinned.
#[expect(unsafe_code, reason = "the library keeps the descriptor of a link to itself")]
pub(crate) fn open_pin(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let attr = PinAttr { path: path.as_ptr() as u64, object: 0, flags: 0 };
    // SAFETY: the kernel reads `attr` and, through it, `path`; the descriptor it returns is ours.
    unsafe {
        match libc::syscall(libc::SYS_bpf, BPF_OBJ_GET, &raw const attr, size_of_val(&attr)) {
            descriptor @ 0.. => Ok(OwnedFd::from_raw_fd(descriptor as i32)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// The part of `union bpf_attr` that asks for an object's description.
#[repr(C)]
struct InfoAttr {
    object: u32,
    length: u32,
    info: u64,
}

/// Pins a link that this process holds.
#[expect(unsafe_code, reason = "the library pins no link that it did not make")]
pub(crate) fn pin(link: impl AsFd, pin: &Path) -> io::Result<()> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    let object = link.as_fd().as_raw_fd() as u32;
    let attr = PinAttr { path: path.as_ptr() as u64, object, flags: 0 };
    // SAFETY: the kernel reads `attr` and, through it, `path`; both live until it returns.
    match unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_PIN, &raw const attr, size_of_val(&attr)) }
    {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The index of the interface that an XDP or TCX link holds; 0 once that is gone.
#[expect(unsafe_code, reason = "the library's description of a link lacks the interface")]
pub(crate) fn interface_of(link: impl AsFd) -> io::Result<u32> {
    // struct bpf_link_info: type, id, prog_id, padding, then by type; of both it is the first word.
    let mut info = [0_u32; 16];
    let attr = InfoAttr {
        object: link.as_fd().as_raw_fd() as u32,
        length: size_of_val(&info) as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the kernel reads `attr` and writes at most `length` bytes to `info`.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &raw const attr, size_of_val(&attr))
    };
    match result {
        0 => Ok(info[4]),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Waits until every packet that was being judged when this was called has been judged: a global
/// memory barrier waits for a grace period of RCU, under which programs run.
#[expect(unsafe_code, reason = "membarrier(2)")]
pub(crate) fn wait_for_packets() -> io::Result<()> {
    // SAFETY: takes no memory of this process.
    match unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) } {
        0 => Ok(()),
        _ => visit_every_cpu(),
    }
}

/// Where the barrier is refused, as with `nohz_full`: programs run with bottom halves off, so a CPU that
/// runs this thread is in the middle of none. Also where it does not run otherwise, as with systemd's `CPUAffinity`.
fn visit_every_cpu() -> io::Result<()> {
    let home = sched_getaffinity(None)?;
    for cpu in 0..CpuSet::MAX_CPU {
        let mut only = CpuSet::new();
        only.set(cpu);
        match sched_setaffinity(None, &only) {
            // There is none of that number.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(sched_setaffinity(None, &home)?)
}

/// Whether the kernel believes that something keeps its clock right.
///
/// # Errors
/// If it does not say.
#[expect(unsafe_code, reason = "adjtimex(2)")]
pub fn clock_is_synchronised() -> io::Result<bool> {
    // SAFETY: all of it are numbers, for which zero is a value; no mode is set, so nothing is changed.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes to `state`, which lives until it returns.
    match unsafe { libc::adjtimex(&raw mut state) } {
        -1 => Err(io::Error::last_os_error()),
        libc::TIME_ERROR => Ok(false),
        _ => Ok(state.status & libc::STA_UNSYNC == 0),
    }
}

/// What `ETHTOOL_GFLAGS` asks and answers with.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Whether an interface takes VLAN tags off what arrives; `None` if it does not say.
#[expect(unsafe_code, reason = "the ioctl of ethtool")]
pub(crate) fn strips_vlan_tags(interface: &str) -> Option<bool> {
    const GFLAGS: u32 = 0x25;
    const RXVLAN: u32 = 1 << 8;
    let mut value = EthtoolValue { command: GFLAGS, data: 0 };
    // SAFETY: zero is a value of every field.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if interface.len() >= request.ifr_name.len() {
        return None;
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None);
    let socket = socket.ok()?;
    // SAFETY: the kernel reads `request` and, through it, writes to `value`; both live until it returns.
    let result =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    (result == 0).then_some(value.data & RXVLAN != 0)
}
