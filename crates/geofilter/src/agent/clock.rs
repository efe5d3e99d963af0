//! The only place that reads a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use geofilter_core::desired::BootTime;
use geofilter_dataplane::fault;
use rustix::time::{ClockId, clock_gettime};

/// Time since boot, sleep included: the clock of the kernel's dead-man.
pub(crate) fn boot() -> BootTime {
    let time = clock_gettime(ClockId::Boottime);
    BootTime(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Time since 1970.
pub(crate) fn wall() -> Duration {
    let seconds = |fault| Duration::from_secs(fault::number(fault).unwrap_or_default());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now + seconds("wall-clock-ahead")).saturating_sub(seconds("wall-clock-behind"))
}
