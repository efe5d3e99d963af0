//! What this kernel can do, and what it says of its clock. Features are probed, not guessed from a version.

use std::io;

use aya::maps::MapType;
use aya::programs::ProgramType;
use aya::sys::{is_map_supported, is_program_supported};

pub use crate::kernel::clock_is_synchronised;

/// Whether this process may load BPF programs here.
///
/// # Errors
/// Why not.
pub fn takes_programs() -> io::Result<()> {
    match is_program_supported(ProgramType::SchedClassifier) {
        Ok(true) => Ok(()),
        Ok(false) => Err(io::ErrorKind::Unsupported.into()),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// What of all that the programs need the kernel does not know.
///
/// # Errors
/// If it does not let this process try: it needs root (or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON).
pub fn lacking() -> io::Result<Vec<&'static str>> {
    let programs =
        [("XDP programs", ProgramType::Xdp), ("TC programs", ProgramType::SchedClassifier)];
    let maps = [
        ("arrays of maps", MapType::ArrayOfMaps),
        ("hash maps that forget (LRU)", MapType::LruHash),
        ("ring buffers", MapType::RingBuf),
    ];
    let mut lacking = Vec::new();
    for (name, kind) in programs {
        if !is_program_supported(kind).map_err(io::Error::other)? {
            lacking.push(name);
        }
    }
    for (name, kind) in maps {
        if !is_map_supported(kind).map_err(io::Error::other)? {
            lacking.push(name);
        }
    }
    Ok(lacking)
}
