//! Where work is done: on one processor, so that what one costs the other is not the scheduler's doing.

use std::thread;

use anyhow::{Context, Result, anyhow};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Does something on one processor, with all threads and processes that it starts.
///
/// # Errors
/// If there is no such processor.
pub fn pinned<T: Send>(cpu: usize, work: impl FnOnce() -> T + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            pin(cpu)?;
            Ok(work())
        });
        thread.join().map_err(|_| anyhow!("a pinned thread panicked"))?
    })
}

/// Keeps this thread on one processor, and those that it starts from then on.
///
/// # Errors
/// If there is no such processor.
pub fn pin(cpu: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).with_context(|| format!("run on processor {cpu}"))
}
