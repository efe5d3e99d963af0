//! [`Notice`]: what admins want to be told of when no page is open. [`Watch`] finds occasions in looks at a host, and
//! [`mind`] has the [courier](crate::courier) carry them to whoever wants to know.

mod jump;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;
use utoipa::ToSchema;

use crate::courier::Letter;
use crate::host;
use crate::server::Shared;
use crate::store::Recipient;
use crate::{clock, store};
use watch::Watch;

/// How long after a letter was not delivered it is tried again.
const AGAIN: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(600)];

/// What it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Occasion {
    /// Much more is dropped than usual.
    AttemptsJump,
    /// A change is on trial, or went back.
    ChangePending,
    /// The host was changed by somebody else than this portal.
    Drift,
    /// The world data is old.
    OldData,
    /// The agent does not answer, or does again.
    AgentAway,
    /// Somebody wanted to see whether it arrives.
    Test,
}

/// What happened, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notice {
    pub(crate) event: Occasion,
    /// The name of the host.
    pub(crate) host: String,
    /// When, in RFC 3339.
    pub(crate) time: String,
    /// In a few words.
    pub(crate) subject: String,
    /// In one sentence or two.
    pub(crate) text: String,
}

impl Notice {
    /// One of the host of this portal.
    pub(crate) fn of_this_host(event: Occasion, time: i64, subject: String, text: String) -> Self {
        Self { event, host: host::name(), time: clock::written(time), subject, text }
    }
}

/// Minds the host for as long as the portal serves.
pub(crate) async fn mind(shared: Arc<Shared>) {
    let mut looks = shared.hub.looks();
    let mut watch = Watch::default();
    loop {
        let look = match looks.recv().await {
            Ok(look) => look,
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        for found in watch.look(&look, shared.newest()) {
            let notice = Notice::of_this_host(found.event, look.time, found.subject, found.text);
            shared.tell(&notice).await;
        }
    }
}

impl Shared {
    /// Tells whoever wants to know.
    async fn tell(self: &Arc<Self>, notice: &Notice) {
        let recipients = match self.store.recipients().await {
            Ok(recipients) => recipients,
            Err(error) => {
                tracing::error!(%error, "whom to tell of something can't be read");
                return;
            }
        };
        for recipient in recipients.into_iter().filter(|one| one.wants.contains(&notice.event)) {
            let (shared, notice) = (Arc::clone(self), notice.clone());
            tokio::spawn(async move { shared.insist(recipient, notice).await });
        }
    }

    /// Tries until it is delivered, or has been tried often.
    async fn insist(&self, recipient: Recipient, notice: Notice) {
        let Recipient { name, target, .. } = recipient;
        let letter = Letter { target, notice };
        let mut pauses = AGAIN.iter();
        while let Err(error) = self.deliver(&name, &letter).await {
            tracing::warn!(recipient = name, error, "a notice was not delivered");
            match pauses.next() {
                Some(pause) => sleep(*pause).await,
                None => return,
            }
        }
    }

    /// Has a letter delivered, and writes down what came of it.
    pub(crate) async fn deliver(&self, name: &str, letter: &Letter) -> Result<(), String> {
        let answer = self.courier.deliver(letter).await;
        let Notice { event, subject, .. } = &letter.notice;
        let error = answer.as_ref().err().map(String::as_str);
        let delivery = store::Delivery { recipient: name, event: *event, subject, error };
        if let Err(error) = self.store.note_delivery(&delivery, clock::now()).await {
            tracing::error!(%error, "what came of a notice could not be written down");
        }
        answer
    }
}
