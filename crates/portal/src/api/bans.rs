//! The bans that the hosts of the fleet share.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use geofilter_core::book::{Kind as Book, Target};
use geofilter_fleet::bans::is_single;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Body, Path};
use crate::clock;
use crate::problem::{Kind, Problem};
use crate::server::Shared;
use crate::session::{By, Changing, Seeing};
use crate::store::{Deed, ENOUGH, KeptBack, MOST_OF_A_HOST};

/// The bans that hosts share.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SharedBans {
    /// Whether any are shared.
    sharing: bool,
    /// Those that are, the newest first.
    bans: Vec<SharedBan>,
    /// How many sources hosts banned in the last hour that are not shared for it: nothing proves who it was, and too few hosts did.
    counting: i64,
    /// How many hosts it takes.
    enough: i64,
    /// What of the last day was not shared.
    kept_back: KeptBackReport,
    /// How many prefixes hosts protect that are too wide, or too many, to be kept from all: each host spares its own.
    unprotected: i64,
}

/// A ban that hosts share.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SharedBan {
    /// Whom it is for: an address, or the /64 of an IPv6 one.
    address: String,
    /// Since when it is shared, in RFC 3339.
    since: String,
    /// Until when.
    until: String,
    /// Nobody forged it: it came by TCP or TLS, or of an administrator.
    proven: bool,
    /// How many hosts made it in an hour.
    hosts: i64,
    /// By which host it came to be shared.
    host: String,
    /// By what that made it.
    why: String,
}

/// What was not shared.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeptBackReport {
    /// Because a host had had enough shared in that hour.
    by_host_budget: i64,
    /// Because as many were shared as may be.
    by_fleet_budget: i64,
    /// Because a host protects whom it is for, or an operator withdrew it.
    by_protection: i64,
    /// How many of a host may be shared in an hour.
    most_of_a_host: i64,
}

/// Whether bans are shared.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SharingWish {
    /// Whether they are.
    sharing: bool,
}

/// The bans that hosts share, and what they do not.
#[utoipa::path(
    get, path = "/api/v1/fleet/bans", tag = "fleet",
    responses((status = 200, body = SharedBans), Problem)
)]
pub(super) async fn shared_bans(
    State(shared): State<Arc<Shared>>,
    _by: By<Seeing>,
) -> Result<Body<SharedBans>, Problem> {
    let (store, now) = (&shared.store, clock::now());
    let bans = store.shared_bans(now).await?.into_iter().filter_map(|ban| {
        let target = ban.target()?;
        Some(SharedBan {
            address: Target::of_prefix(target).to_string(),
            since: clock::written(ban.since),
            until: clock::written(ban.until),
            proven: ban.proven,
            hosts: ban.hosts,
            host: ban.name,
            why: ban.why,
        })
    });
    let bans = bans.collect();
    let sharing = store.sharing().await?.is_some_and(|sharing| sharing.shares);
    let KeptBack { excess, unfit, protected } = store.kept_back(now).await?;
    Ok(Body(SharedBans {
        sharing,
        bans: if sharing { bans } else { Vec::new() },
        counting: store.counting(now).await?,
        enough: ENOUGH,
        kept_back: KeptBackReport {
            by_host_budget: excess,
            by_fleet_budget: unfit,
            by_protection: protected,
            most_of_a_host: MOST_OF_A_HOST,
        },
        unprotected: store.unprotected().await?,
    }))
}

/// Have hosts share bans, or not. Without, each is left with its own at once.
#[utoipa::path(
    put, path = "/api/v1/fleet/bans", tag = "fleet", request_body = SharingWish,
    responses((status = 204, description = "It is so."), Problem)
)]
pub(super) async fn share_bans(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    Body(SharingWish { sharing }): Body<SharingWish>,
) -> Result<StatusCode, Problem> {
    let deaf = || Problem::new(Kind::Unfit, "this portal has no fleet");
    let before = shared.store.sharing().await?.ok_or_else(deaf)?.shares;
    let (before, after) = (json!({ "sharing": before }), json!({ "sharing": sharing }));
    let deed = Deed { before: Some(before), after: Some(after), ..by.deed("share bans") };
    shared.store.write_down(&deed, clock::now()).await?;
    shared.store.share_bans(sharing).await?;
    shared.tell_hosts().await;
    Ok(StatusCode::NO_CONTENT)
}

/// Have no host have a ban that is shared any more; it is not shared again within a day. A host's own stays.
#[utoipa::path(
    delete, path = "/api/v1/fleet/bans/{address}", tag = "fleet",
    params(("address" = String, Path, description = "As it is listed.", example = "198.51.100.7")),
    responses((status = 204, description = "It is shared no more."), Problem)
)]
pub(super) async fn withdraw_ban(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    Path(address): Path<String>,
) -> Result<StatusCode, Problem> {
    let target = Target::parse(&address, Book::Ban);
    let target = target.map_err(|error| Problem::new(Kind::Invalid, error.to_string()))?;
    let missing = || Problem::new(Kind::Missing, format!("no ban of {target} is shared"));
    let prefix = target.prefix().filter(|prefix| is_single(*prefix)).ok_or_else(missing)?;
    // Where there is no fleet nothing is.
    shared.store.sharing().await?.ok_or_else(missing)?;
    let before = Some(json!({ "address": target.to_string() }));
    let deed = Deed { before, ..by.deed("withdraw ban") };
    shared.store.write_down(&deed, clock::now()).await?;
    if !shared.store.withdraw(prefix, clock::now()).await? {
        return Err(missing());
    }
    shared.tell_hosts().await;
    Ok(StatusCode::NO_CONTENT)
}
