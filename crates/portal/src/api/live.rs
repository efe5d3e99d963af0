//! What happens at hosts now.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{self, KeepAlive, Sse};
use geofilter_core::counters::Reason;
use geofilter_core::country::CountryCode;
use geofilter_core::wire::{LogEntry, Reply, Request};
use serde::{Deserialize, Serialize};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tokio_stream::{Stream, StreamExt};
use utoipa::{IntoParams, ToSchema};

use super::{Body, Query};
use crate::clock;
use crate::host::Host;
use crate::hub::Event;
use crate::problem::Problem;
use crate::server::Shared;
use crate::session::{By, Pass, Seeing};

/// A comment this often keeps the stream open where something between closes what is silent.
const ALIVE: Duration = Duration::from_secs(15);

/// Milliseconds between two looks at whether the session goes on.
const EVERY: i64 = 2_000;

/// Which drops.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Only from this country.
    country: Option<CountryCode>,
    /// Only for this reason.
    reason: Option<Reason>,
}

/// Drops.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Log {
    /// They, the oldest first.
    entries: Vec<LogEntry>,
}

/// Recent drops, sampled by source.
#[utoipa::path(
    get, path = "/api/v1/hosts/{host}/log", tag = "live", params(Host, Which),
    responses((status = 200, body = Log), Problem)
)]
pub(super) async fn log(
    State(shared): State<Arc<Shared>>,
    _by: By<Seeing>,
    _host: Host,
    Query(Which { country, reason }): Query<Which>,
) -> Result<Body<Log>, Problem> {
    let request = Request::Log { follow: false, country, reason };
    let mut replies = shared.hub.agent().replies(&request).await?;
    let mut entries = Vec::new();
    while let Some(reply) = replies.next().await? {
        if let Reply::Entry(entry) = reply {
            entries.push(*entry);
        }
    }
    Ok(Body(Log { entries }))
}

/// What happens from now on, for as long as the session goes on.
///
/// Server-sent events: `status` with the state, every second; `drop` with a line of the log; `skipped` with how
/// many `entries` could not be told; `away` with why, while the agent does not answer.
#[utoipa::path(
    get, path = "/api/v1/hosts/{host}/events", tag = "live", params(Host),
    responses((status = 200, body = String, content_type = "text/event-stream"), Problem)
)]
pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    by: By<Seeing>,
    _host: Host,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let events = BroadcastStream::new(shared.hub.watch());
    let looked = Arc::new(AtomicI64::new(clock::now()));
    // At least the status comes every second.
    let events = events.then(move |event| {
        let (shared, looked, pass) = (Arc::clone(&shared), Arc::clone(&looked), by.pass);
        async move { shared.may_still_see(pass, &looked).await.then_some(event) }
    });
    let events = events.map_while(|event| event).map(|event| {
        let missed = |BroadcastStreamRecvError::Lagged(entries)| Event::skipped(entries);
        let Event { name, data } = event.unwrap_or_else(missed);
        Ok(sse::Event::default().event(name).data(&*data))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE))
}

impl Shared {
    /// Whether what was shown is still good; looked at now and then.
    async fn may_still_see(&self, pass: Pass, looked: &AtomicI64) -> bool {
        let now = clock::now();
        if now - looked.load(Ordering::Relaxed) < EVERY {
            return true;
        }
        looked.store(now, Ordering::Relaxed);
        let goes_on = match pass {
            Pass::Session { id, .. } => self.store.goes_on(id, now).await,
            Pass::Token(id) => self.store.token_goes_on(id, now).await,
        };
        goes_on.unwrap_or(false)
    }
}
