use std::time::Duration;

/// After a connection that was lost the next one is tried within this, and then later and later.
const SOON: Duration = Duration::from_secs(2);
/// But no later than this.
pub const LATEST: Duration = Duration::from_secs(20);

/// How long a host waits before it connects again, after so many attempts that failed: not as long as the others do.
pub fn pause(failures: u32) -> Duration {
    let longest = SOON.saturating_mul(2_u32.saturating_pow(failures.min(8))).min(LATEST);
    let mut bytes = [0; 4];
    // Without chance it is the longest.
    let part = getrandom::fill(&mut bytes)
        .map_or(1.0, |()| f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX));
    longest.mul_f64(part)
}
