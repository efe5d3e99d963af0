//! Whom to tell of what, when no page is open.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Body, Path};
use crate::clock;
use crate::courier::{Letter, Target};
use crate::notices::{Notice, Occasion};
use crate::passwords;
use crate::problem::{Kind, Problem};
use crate::server::Shared;
use crate::session::{Administering, Proved, Signed};
use crate::store::{Deed, Delivered, Recipient};

/// The recipients of notices.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Recipients {
    /// They, by name.
    recipients: Vec<RecipientReport>,
    /// What they were told lately, the newest first.
    deliveries: Vec<Delivered>,
}

/// A recipient. What of its address is secret is not told again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecipientReport {
    /// Its number.
    id: i64,
    /// Its name.
    name: String,
    /// Where notices go: the server of a webhook, or mailboxes.
    at: String,
    /// Of what it is told.
    wants: Vec<Occasion>,
}

/// Somebody to be told.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRecipient {
    /// A name that no other has.
    name: String,
    /// Where notices go.
    target: Target,
    /// Of what it is told.
    wants: Vec<Occasion>,
}

/// Of what somebody is told from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wants {
    /// This.
    wants: Vec<Occasion>,
}

/// The recipients of notices, and what they were told lately.
#[utoipa::path(
    get, path = "/api/v1/recipients", tag = "notices", security(("session" = [])),
    responses((status = 200, body = Recipients), Problem)
)]
pub(super) async fn recipients(
    State(shared): State<Arc<Shared>>,
    _by: Signed<Administering>,
) -> Result<Body<Recipients>, Problem> {
    let recipients = shared.store.recipients().await?.into_iter().map(RecipientReport::of);
    let deliveries = shared.store.deliveries().await?;
    Ok(Body(Recipients { recipients: recipients.collect(), deliveries }))
}

/// Tell somebody from now on.
#[utoipa::path(
    post, path = "/api/v1/recipients", tag = "notices", security(("session" = [])), request_body = NewRecipient,
    responses((status = 201, body = RecipientReport), Problem)
)]
pub(super) async fn add_recipient(
    State(shared): State<Arc<Shared>>,
    by: Signed<Proved<Administering>>,
    Body(NewRecipient { name, target, wants }): Body<NewRecipient>,
) -> Result<(StatusCode, Body<RecipientReport>), Problem> {
    let name = passwords::check_name(&name)?.to_owned();
    target.check().map_err(|why| Problem::new(Kind::Invalid, why))?;
    let taken = || Problem::new(Kind::Invalid, format!("there is a recipient `{name}` already"));
    let after = json!({ "name": name, "at": target.shown(), "wants": wants });
    if shared.store.recipients().await?.iter().any(|it| it.name.eq_ignore_ascii_case(&name)) {
        return Err(taken());
    }
    let deed = Deed { after: Some(after), ..by.deed("add recipient") };
    shared.store.write_down(&deed, clock::now()).await?;
    let id = shared.store.add_recipient(&name, &target, &wants).await?.ok_or_else(taken)?;
    let report = RecipientReport::of(Recipient { id, name, target, wants });
    Ok((StatusCode::CREATED, Body(report)))
}

/// Say of what somebody is told.
#[utoipa::path(
    put, path = "/api/v1/recipients/{id}", tag = "notices", security(("session" = [])), request_body = Wants,
    params(("id" = i64, Path, description = "Its number.")),
    responses((status = 204, description = "It is in force."), Problem)
)]
pub(super) async fn set_wants(
    State(shared): State<Arc<Shared>>,
    by: Signed<Proved<Administering>>,
    Path(id): Path<i64>,
    Body(Wants { wants }): Body<Wants>,
) -> Result<StatusCode, Problem> {
    let recipient = shared.recipient(id).await?;
    let told = |wants: &[Occasion]| Some(json!({ "name": recipient.name, "wants": wants }));
    let (before, after) = (told(&recipient.wants), told(&wants));
    let deed = Deed { before, after, ..by.deed("set recipient") };
    shared.store.write_down(&deed, clock::now()).await?;
    match shared.store.set_wants(id, &wants).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(missing()),
    }
}

/// Tell somebody nothing any more.
#[utoipa::path(
    delete, path = "/api/v1/recipients/{id}", tag = "notices", security(("session" = [])),
    params(("id" = i64, Path, description = "Its number.")),
    responses((status = 204, description = "It is told nothing any more."), Problem)
)]
pub(super) async fn remove_recipient(
    State(shared): State<Arc<Shared>>,
    by: Signed<Proved<Administering>>,
    Path(id): Path<i64>,
) -> Result<StatusCode, Problem> {
    let recipient = shared.recipient(id).await?;
    let before = Some(json!({ "name": recipient.name, "at": recipient.target.shown() }));
    let deed = Deed { before, ..by.deed("remove recipient") };
    shared.store.write_down(&deed, clock::now()).await?;
    match shared.store.remove_recipient(id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(missing()),
    }
}

/// Tell somebody something, to see whether it arrives. It is answered once it did.
#[utoipa::path(
    post, path = "/api/v1/recipients/{id}/test", tag = "notices", security(("session" = [])),
    params(("id" = i64, Path, description = "Its number.")),
    responses((status = 204, description = "It was taken."), Problem)
)]
pub(super) async fn test_recipient(
    State(shared): State<Arc<Shared>>,
    by: Signed<Administering>,
    Path(id): Path<i64>,
) -> Result<StatusCode, Problem> {
    let Recipient { name, target, .. } = shared.recipient(id).await?;
    let text = format!("{} wanted to see whether this arrives.", by.session.name);
    let subject = "a test".to_owned();
    let notice = Notice::of_this_host(Occasion::Test, clock::now(), subject, text);
    let delivered = shared.deliver(&name, &Letter { target, notice }).await;
    delivered.map_err(|why| Problem::new(Kind::Failed, format!("it was not delivered: {why}")))?;
    Ok(StatusCode::NO_CONTENT)
}

impl RecipientReport {
    fn of(Recipient { id, name, target, wants }: Recipient) -> Self {
        Self { id, name, at: target.shown(), wants }
    }
}

impl Shared {
    async fn recipient(&self, id: i64) -> Result<Recipient, Problem> {
        self.store.recipient(id).await?.ok_or_else(missing)
    }
}

fn missing() -> Problem {
    Problem::new(Kind::Missing, "there is no such recipient: it was removed")
}
