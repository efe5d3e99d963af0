//! What operators choose and don't apply yet: the draft of a host, and profiles, which have names.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Body, Path};
use crate::clock;
use crate::host::Host;
use crate::passwords::check_name;
use crate::problem::{Kind, Problem};
use crate::server::Shared;
use crate::session::{By, Changing, Own, Seeing};
use crate::store::{Choice, Deed, Draft, Profile};

/// Profiles that there may be.
pub(super) const MOST: i64 = 200;

/// What is being chosen for a host.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DraftReport {
    /// It, if there is one.
    draft: Option<Written>,
}

/// A choice, with who wrote it and when.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WrittenDraft)]
pub(crate) struct Written {
    /// It.
    choice: Choice,
    /// Who wrote it last.
    operator: String,
    /// When, in RFC 3339.
    time: String,
}

/// The profiles.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Profiles {
    /// They, by name.
    profiles: Vec<ProfileReport>,
}

/// A choice that has a name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProfileReport {
    /// Its number.
    id: i64,
    /// Its name.
    name: String,
    /// Whether it is everybody's, and not one of your organisation.
    shared: bool,
    /// It.
    choice: Choice,
    /// Who wrote it last.
    operator: String,
    /// When, in RFC 3339.
    time: String,
}

/// A name for a choice.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewProfile {
    /// A name that no other profile has.
    pub(super) name: String,
    /// The choice.
    pub(super) choice: Choice,
}

impl From<Profile> for ProfileReport {
    fn from(profile: Profile) -> Self {
        let Profile { id, tenant, name, operator, time, choice } = profile;
        let shared = tenant.is_none();
        Self { id, name, shared, choice: choice.0, operator, time: clock::written(time) }
    }
}

/// What is being chosen for a host, and is not applied.
#[utoipa::path(
    get, path = "/api/v1/hosts/{host}/draft", tag = "choices", params(Host),
    responses((status = 200, body = DraftReport), Problem)
)]
pub(super) async fn draft(
    State(shared): State<Arc<Shared>>,
    _by: By<Seeing>,
    _host: Host,
) -> Result<Body<DraftReport>, Problem> {
    let draft = shared.store.draft(&shared.here).await?.map(|Draft { operator, time, choice }| {
        Written { choice: choice.0, operator, time: clock::written(time) }
    });
    Ok(Body(DraftReport { draft }))
}

/// Keep what is being chosen, for whoever opens the page next. It is forgotten once a policy is applied.
#[utoipa::path(
    put, path = "/api/v1/hosts/{host}/draft", tag = "choices", params(Host), request_body = Choice,
    responses((status = 204, description = "It is kept."), Problem)
)]
pub(super) async fn set_draft(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    _host: Host,
    Body(choice): Body<Choice>,
) -> Result<StatusCode, Problem> {
    shared.store.set_draft(&shared.here, &by.draft(choice)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forget what was being chosen.
#[utoipa::path(
    delete, path = "/api/v1/hosts/{host}/draft", tag = "choices", params(Host),
    responses((status = 204, description = "It is forgotten."), Problem)
)]
pub(super) async fn remove_draft(
    State(shared): State<Arc<Shared>>,
    _by: By<Changing>,
    _host: Host,
) -> Result<StatusCode, Problem> {
    shared.store.remove_draft(&shared.here).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The profiles: choices that have a name. An operator of an organisation sees those of it, and everybody's.
#[utoipa::path(
    get, path = "/api/v1/profiles", tag = "choices",
    responses((status = 200, body = Profiles), Problem)
)]
pub(super) async fn profiles(
    State(shared): State<Arc<Shared>>,
    by: By<Own<Seeing>>,
) -> Result<Body<Profiles>, Problem> {
    let profiles = shared.store.profiles(by.tenant).await?.into_iter().map(ProfileReport::from);
    Ok(Body(Profiles { profiles: profiles.collect() }))
}

/// Give a choice a name.
#[utoipa::path(
    post, path = "/api/v1/profiles", tag = "choices", request_body = NewProfile,
    responses((status = 201, body = ProfileReport), Problem)
)]
pub(super) async fn add_profile(
    State(shared): State<Arc<Shared>>,
    by: By<Own<Changing>>,
    Body(NewProfile { name, choice }): Body<NewProfile>,
) -> Result<(StatusCode, Body<ProfileReport>), Problem> {
    let name = check_name(&name)?;
    let after = json!({ "name": name, "choice": choice });
    let most = shared.most_profiles(by.tenant).await?;
    let profile = shared.store.add_profile(by.tenant, name, &by.draft(choice), most).await?;
    let profile = profile.ok_or_else(|| taken(name, most))?;
    let deed = Deed { after: Some(after), ..by.deed("add profile") };
    shared.store.write_down(&deed, clock::now()).await?;
    Ok((StatusCode::CREATED, Body(profile.into())))
}

/// Give a profile another name or choice.
#[utoipa::path(
    put, path = "/api/v1/profiles/{id}", tag = "choices", request_body = NewProfile,
    params(("id" = i64, Path, description = "The profile's number.")),
    responses((status = 204, description = "It is what was sent."), Problem)
)]
pub(super) async fn set_profile(
    State(shared): State<Arc<Shared>>,
    by: By<Own<Changing>>,
    Path(id): Path<i64>,
    Body(NewProfile { name, choice }): Body<NewProfile>,
) -> Result<StatusCode, Problem> {
    let name = check_name(&name)?;
    let before = shared.profile(id, by.tenant).await?;
    let after = json!({ "name": name, "choice": choice });
    if !shared.store.set_profile(id, name, &by.draft(choice)).await? {
        return Err(taken(name, shared.most_profiles(by.tenant).await?));
    }
    let before = json!({ "name": before.name, "choice": before.choice });
    let deed = Deed { before: Some(before), after: Some(after), ..by.deed("set profile") };
    shared.store.write_down(&deed, clock::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Remove a profile. What was applied with it stays in force.
#[utoipa::path(
    delete, path = "/api/v1/profiles/{id}", tag = "choices",
    params(("id" = i64, Path, description = "The profile's number.")),
    responses((status = 204, description = "It is removed."), Problem)
)]
pub(super) async fn remove_profile(
    State(shared): State<Arc<Shared>>,
    by: By<Own<Changing>>,
    Path(id): Path<i64>,
) -> Result<StatusCode, Problem> {
    let before = shared.profile(id, by.tenant).await?;
    shared.store.remove_profile(id).await?;
    let before = json!({ "name": before.name, "choice": before.choice });
    let deed = Deed { before: Some(before), ..by.deed("remove profile") };
    shared.store.write_down(&deed, clock::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl<N> By<N> {
    /// A choice of this operator's, now.
    pub(super) fn draft(&self, choice: Choice) -> Draft {
        Draft { operator: self.name.clone(), time: clock::now(), choice: choice.into() }
    }
}

impl Shared {
    /// One that an operator of this organisation, or of the whole portal, may change.
    async fn profile(&self, id: i64, tenant: Option<i64>) -> Result<Profile, Problem> {
        let missing = || Problem::new(Kind::Missing, format!("there is no profile {id} of yours"));
        let profile = self.store.profile(id).await?;
        profile.filter(|profile| profile.tenant == tenant).ok_or_else(missing)
    }

    /// Profiles that an organisation may have, or that everybody may share.
    async fn most_profiles(&self, tenant: Option<i64>) -> Result<i64, Problem> {
        let Some(tenant) = tenant else { return Ok(MOST) };
        let tenant = self.store.tenant(tenant).await?;
        let limit = tenant.and_then(|tenant| tenant.limits.0.profiles);
        Ok(limit.map_or(MOST, |limit| i64::from(limit).min(MOST)))
    }
}

fn taken(name: &str, most: i64) -> Problem {
    let detail = format!(
        "there is a profile `{name}` already, or there are {most}, and that is the most: choose another name, or remove one"
    );
    Problem::new(Kind::Invalid, detail)
}
