//! What was chosen, as one file that another portal takes.

use std::sync::Arc;

use axum::extract::State;
use geofilter_core::wire::Status;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::Body;
use super::choices::{MOST, NewProfile};
use crate::clock;
use crate::host::Host;
use crate::passwords::check_name;
use crate::problem::{Kind, Problem};
use crate::server::Shared;
use crate::session::{By, Changing, Seeing};
use crate::store::{Choice, Deed};

/// The version of the file.
const SCHEMA: u32 = 1;

/// A policy and profiles, as a file.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PolicyFile)]
pub(crate) struct File {
    /// The version of the file: 1.
    schema: u32,
    /// The policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<Choice>,
    /// The profiles.
    #[serde(default)]
    profiles: Vec<NewProfile>,
}

/// What was taken from a file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Imported {
    /// Whether it had a policy, which is the host's draft now.
    draft: bool,
    /// Profiles that are new.
    added: Vec<String>,
    /// Profiles that replaced those of the same name.
    replaced: Vec<String>,
}

/// The policy in force and the profiles that are everybody's, as a file.
#[utoipa::path(
    get, path = "/api/v1/hosts/{host}/export", tag = "choices", params(Host),
    responses((status = 200, body = File), Problem)
)]
pub(super) async fn export(
    State(shared): State<Arc<Shared>>,
    _by: By<Seeing>,
    _host: Host,
) -> Result<Body<File>, Problem> {
    let profiles = shared.store.profiles(None).await?;
    let profile = |profile: crate::store::Profile| NewProfile {
        name: profile.name,
        choice: profile.choice.0,
    };
    Ok(Body(File {
        schema: SCHEMA,
        policy: Some(in_force(&shared.status().await?)),
        profiles: profiles.into_iter().map(profile).collect(),
    }))
}

fn in_force(status: &Status) -> Choice {
    Choice {
        mode: status.mode,
        countries: status.countries,
        hosting: Some(status.hosting),
        unknown: Some(status.unknown),
        disputed: Some(status.disputed),
    }
}

/// Take what such a file holds: its policy becomes the host's draft, and is not applied.
#[utoipa::path(
    post, path = "/api/v1/hosts/{host}/import", tag = "choices", params(Host), request_body = File,
    responses((status = 200, body = Imported), Problem)
)]
pub(super) async fn import(
    State(shared): State<Arc<Shared>>,
    by: By<Changing>,
    _host: Host,
    Body(file): Body<File>,
) -> Result<Body<Imported>, Problem> {
    let File { schema, policy, profiles } = file;
    if schema != SCHEMA {
        let detail = format!(
            "this file has schema {schema}, and this portal knows only {SCHEMA}: use a portal of the version that wrote it"
        );
        return Err(Problem::new(Kind::Invalid, detail));
    }
    // All of it makes sense, or none of it is taken.
    for profile in &profiles {
        check_name(&profile.name)?;
    }
    let known = shared.store.profiles(None).await?;
    let is_new = |one: &&NewProfile| !known.iter().any(|it| is_same(&it.name, one.name.trim()));
    let room = usize::try_from(MOST).unwrap_or_default().saturating_sub(known.len());
    if profiles.iter().filter(is_new).count() > room {
        return Err(full());
    }
    let mut imported =
        Imported { draft: policy.is_some(), added: Vec::new(), replaced: Vec::new() };
    for NewProfile { name, choice } in profiles {
        let name = check_name(&name)?;
        let draft = by.draft(choice);
        let known = shared.store.profiles(None).await?;
        match known.iter().find(|profile| is_same(&profile.name, name)) {
            Some(profile) => {
                shared.store.set_profile(profile.id, name, &draft).await?;
                imported.replaced.push(name.to_owned());
            }
            None => {
                let added = shared.store.add_profile(None, name, &draft, MOST).await?;
                added.ok_or_else(full)?;
                imported.added.push(name.to_owned());
            }
        }
    }
    if let Some(choice) = policy {
        shared.store.set_draft(&shared.here, &by.draft(choice)).await?;
    }
    let deed = Deed { after: Some(json!(imported)), ..by.deed("import") };
    shared.store.write_down(&deed, clock::now()).await?;
    Ok(Body(imported))
}

fn is_same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn full() -> Problem {
    let detail =
        format!("there is room for {MOST} profiles, and this would make more: remove some first");
    Problem::new(Kind::Invalid, detail)
}
