//! [`keep`]: keeps what is seen of a host for as long as the portal runs: what was counted there, and which policies
//! were in force. What can't be written is lost, and said once; what comes after it is kept as soon as there is room.

use std::sync::Arc;

use geofilter_core::wire::Status;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::hub::Look;
use crate::store::Store;
use geofilter_core::series::{Look as Counted, Sampler};

/// Keeps what these looks see of this host.
pub(crate) async fn keep(store: Store, host: String, mut looks: Receiver<Look>) {
    let mut keeper = Keeper { store, host, sampler: Sampler::default(), noted: None };
    let mut fails = false;
    loop {
        let look = match looks.recv().await {
            Ok(look) => look,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let kept = keeper.take(&look).await;
        match (&kept, fails) {
            (Err(error), false) => {
                tracing::error!(%error, "what is seen of the host can't be kept: make room for the portal's database");
            }
            (Ok(true), true) => tracing::info!("what is seen of the host is kept again"),
            (Ok(_) | Err(_), _) => {}
        }
        fails = kept.map_or(true, |wrote| fails && !wrote);
    }
}

struct Keeper {
    store: Store,
    host: String,
    sampler: Sampler,
    /// With which policy it was noted last.
    noted: Option<Arc<Status>>,
}

impl Keeper {
    /// Says whether there was something to write.
    async fn take(&mut self, look: &Look) -> Result<bool, sqlx::Error> {
        let status = look.status.as_ref().ok();
        let slots = self.sampler.take(look.time, status.map(|status| Counted::of(status)));
        let changed = status.filter(|status| !self.is_noted(status));
        if let Some(status) = changed {
            self.store.see(&self.host, look.time, status).await?;
            self.noted = Some(Arc::clone(status));
        }
        if !slots.is_empty() {
            self.store.add_slots(&self.host, &slots).await?;
        }
        Ok(changed.is_some() || !slots.is_empty())
    }

    fn is_noted(&self, status: &Status) -> bool {
        let told = |of: &Status| (of.state, of.generation, of.policy());
        self.noted.as_ref().is_some_and(|noted| told(noted) == told(status))
    }
}
