//! How long a bench may take.

use std::time::Duration;

use criterion::Criterion;

/// Half a second to warm up and one to be measured: all benches take two minutes.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
}
