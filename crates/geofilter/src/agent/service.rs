//! What systemd is told: that the agent is ready, that it ends, and as long as the engine works that it does (`sd_notify(3)`,
//! `sd_watchdog_enabled(3)`). Without systemd nothing of this happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The engine comes by at least this often, so that it is seen to work.
pub(super) const ROUND: Duration = Duration::from_secs(2);
/// So long may a round take before the engine counts as stuck: detaching from a busy host takes its time.
const STUCK: Duration = Duration::from_secs(20);

/// When the engine came by last.
#[derive(Debug, Clone)]
pub(crate) struct Pulse {
    began: Instant,
    beat: Arc<AtomicU64>,
}

impl Pulse {
    /// It comes by now.
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), beat: Arc::default() }
    }

    /// It comes by.
    pub(super) fn beat(&self) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.beat.store(since, Ordering::Relaxed);
    }

    fn is_alive(&self) -> bool {
        let last = Duration::from_millis(self.beat.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(last) < STUCK
    }
}

/// Tells systemd something, where there is one.
pub(super) fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd can't be told how the agent is");
    }
}

/// Tells systemd again and again that the engine works, for as long as it does; for ever.
pub(super) async fn watch(pulse: Pulse) {
    let Some(patience) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut rounds = tokio::time::interval(patience / 3);
    loop {
        rounds.tick().await;
        match pulse.is_alive() {
            true => tell(&[NotifyState::Watchdog]),
            false => {
                tracing::error!("the engine does not come by: systemd is not told that it works")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_does_not_come_by_is_not_alive() {
        let mut pulse = Pulse::new();
        assert!(pulse.is_alive());
        pulse.began -= STUCK;
        assert!(!pulse.is_alive());
        pulse.beat();
        assert!(pulse.is_alive());
    }
}
