//! World data that the portal fetches once for all hosts of the fleet.

use std::sync::Arc;

use axum::extract::State;
use geofilter_core::wire::{Attempt, Data};
use geofilter_fleet::world::Report;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::Body;
use crate::clock;
use crate::problem::{Kind, Problem};
use crate::server::Shared;
use crate::session::{Administering, By, Changing, Seeing};
use crate::store::{Deed, KeptWorld};

/// World data of the fleet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FleetWorld {
    /// Whether hosts of this portal are served any, once there is some.
    serves: bool,
    /// Whether this portal fetches.
    fetches: bool,
    /// What hosts pull.
    current: Option<WorldEdition>,
    /// What they pulled before, and `rollback` serves again.
    previous: Option<WorldEdition>,
    /// What came from the sources and is not served, because it differs too much.
    held: Option<WorldEdition>,
    /// Whether a portal asks the sources now.
    running: bool,
    /// What came of the last time.
    last: Option<Attempt>,
    /// When this portal asks them by itself at the earliest, in RFC 3339.
    next: Option<String>,
}

/// World data, once made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorldEdition {
    /// SHA-256 of it, in hexadecimal.
    digest: String,
    /// What it is.
    data: Data,
    /// When it was made, in RFC 3339.
    made: String,
    /// Why it is held, each in a sentence, if it is.
    reasons: Vec<String>,
}

impl From<KeptWorld> for WorldEdition {
    fn from(kept: KeptWorld) -> Self {
        let (about, made) = (kept.about.0, clock::written(kept.made));
        Self { digest: kept.digest, data: about, made, reasons: kept.reasons.0 }
    }
}

/// How a host is with the world data of the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WorldProgress {
    /// It has what is served.
    Current,
    /// It holds what is served: somebody whom it serves would be cut, or let in.
    Held,
    /// It does not have it yet, or somebody chose other data there.
    Older,
    /// It keeps to sources of its own, or none is served.
    Own,
}

/// The world data of a host.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HostWorld {
    /// The date of the source that decides.
    date: String,
    /// How far it is with what is served.
    progress: WorldProgress,
    /// Why it holds it, or did not get it.
    why: Option<String>,
}

impl HostWorld {
    /// What a host says of it, where this is served.
    pub(super) fn of(report: &Report, served: Option<&str>) -> Self {
        let progress = match served {
            _ if report.own => WorldProgress::Own,
            None => WorldProgress::Own,
            Some(served) if report.digest == served => WorldProgress::Current,
            Some(served) if report.held.as_deref() == Some(served) => WorldProgress::Held,
            Some(_) => WorldProgress::Older,
        };
        Self { date: report.date.clone(), progress, why: report.why.clone() }
    }

    /// Whether it has something older than what is served.
    pub(super) fn is_behind(&self) -> bool {
        matches!(self.progress, WorldProgress::Held | WorldProgress::Older)
    }
}

/// World data of the fleet: what hosts pull, what was before, what is held, and what came of asking the sources.
#[utoipa::path(
    get, path = "/api/v1/fleet/world", tag = "fleet",
    responses((status = 200, body = FleetWorld), Problem)
)]
pub(super) async fn fleet_world(
    State(shared): State<Arc<Shared>>,
    _by: By<Seeing>,
) -> Result<Body<FleetWorld>, Problem> {
    Ok(Body(shared.fleet_world().await?))
}

/// Ask the sources now. What is new is served, unless it differs too much.
#[utoipa::path(
    post, path = "/api/v1/fleet/world/update", tag = "fleet",
    responses((status = 200, body = FleetWorld), Problem)
)]
pub(super) async fn update_fleet_world(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
) -> Result<Body<FleetWorld>, Problem> {
    let deaf = "this portal fetches no world data: it does with `portal run --fleet ADDRESS`, unless `--no-world-data` says otherwise or its process has ended";
    let world = shared.world.as_ref().filter(|world| world.fetches());
    let world = world.ok_or_else(|| Problem::new(Kind::Unfit, deaf))?;
    shared.store.write_down(&by.deed("update world data of the fleet"), clock::now()).await?;
    match world.ask().await? {
        true => Ok(Body(shared.fleet_world().await?)),
        false => Err(Problem::new(Kind::Unfit, "a portal asks the sources already")),
    }
}

/// Serve what is held. Hosts that listen pull it within the time over which they spread.
#[utoipa::path(
    post, path = "/api/v1/fleet/world/approve", tag = "fleet",
    responses((status = 200, body = FleetWorld), Problem)
)]
pub(super) async fn approve_fleet_world(
    State(shared): State<Arc<Shared>>,
    by: By<Administering>,
) -> Result<Body<FleetWorld>, Problem> {
    let nothing = || Problem::new(Kind::Unfit, "no world data of the fleet is held");
    let held = shared.store.worlds(clock::now()).await?.held.ok_or_else(nothing)?;
    let after = Some(json!({ "digest": held.digest, "sources": held.about.0.sources }));
    let deed = Deed { after, ..by.deed("approve world data of the fleet") };
    shared.store.write_down(&deed, clock::now()).await?;
    // What somebody looked at is approved, and nothing that came since.
    if !shared.store.approve_world(&held.digest).await? {
        return Err(nothing());
    }
    shared.tell_hosts().await;
    Ok(Body(shared.fleet_world().await?))
}

/// Serve what was served before. What is served now is not served again by itself.
#[utoipa::path(
    post, path = "/api/v1/fleet/world/rollback", tag = "fleet",
    responses((status = 200, body = FleetWorld), Problem)
)]
pub(super) async fn roll_back_fleet_world(
    State(shared): State<Arc<Shared>>,
    by: By<Administering>,
) -> Result<Body<FleetWorld>, Problem> {
    let nothing =
        || Problem::new(Kind::Unfit, "no other world data was served to the fleet before");
    let previous = shared.store.worlds(clock::now()).await?.previous.ok_or_else(nothing)?;
    let after = Some(json!({ "digest": previous.digest }));
    let deed = Deed { after, ..by.deed("roll back world data of the fleet") };
    shared.store.write_down(&deed, clock::now()).await?;
    shared.store.roll_back_world().await?.ok_or_else(nothing)?;
    shared.tell_hosts().await;
    Ok(Body(shared.fleet_world().await?))
}

impl Shared {
    async fn fleet_world(&self) -> Result<FleetWorld, Problem> {
        let worlds = self.store.worlds(clock::now()).await?;
        let world = self.world.as_ref();
        let next = world.and_then(|world| world.next(&worlds)).map(|next| next.max(clock::now()));
        Ok(FleetWorld {
            serves: world.is_some(),
            fetches: world.is_some_and(|world| world.fetches()),
            running: worlds.is_fetched,
            last: worlds.last.map(|(asked, attempt)| Attempt {
                time: clock::written(asked),
                outcome: attempt.outcome,
                why: attempt.why,
            }),
            next: next.map(clock::written),
            current: worlds.current.map(Into::into),
            previous: worlds.previous.map(Into::into),
            held: worlds.held.map(Into::into),
        })
    }
}
