//! [`within`]: what comes true by itself, and has a time to do so. For tests: it fails by panicking.

use std::time::{Duration, Instant};

/// Waits until something is so, as long after a moment as it may take.
pub fn within(
    most: Duration,
    since: Instant,
    mut is_so: impl FnMut() -> bool,
    what_is_not: impl Fn() -> String,
) {
    while !is_so() {
        assert!(since.elapsed() < most, "{}", what_is_not());
    }
}
