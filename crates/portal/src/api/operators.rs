//! Who may do what. What is done here is written down before, or it is not done.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Body, Path};
use crate::clock;
use crate::passwords;
use crate::problem::{Kind, Problem};
use crate::server::Shared;
use crate::session::{Administering, Proved, Signed};
use crate::store::{Deed, Operator, Role};

/// The operators.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Operators {
    /// They, by name.
    operators: Vec<OperatorReport>,
}

/// An operator.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OperatorReport {
    /// The name.
    name: String,
    /// What the operator may do.
    role: Role,
    /// Since when, in RFC 3339.
    created: String,
    /// Whether codes are asked for besides the password.
    totp: bool,
    /// The name of the organisation whose operator this is; the whole portal's if none.
    tenant: Option<String>,
}

/// Another operator.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewOperator {
    /// A name that nobody has.
    name: String,
    /// A password of at least 12 characters, good for seven days, which the operator changes before anything else.
    password: String,
    /// What the operator may do.
    role: Role,
    /// The number of the organisation whose operator this is, who then sees nothing else; the whole portal's without.
    #[serde(default)]
    tenant: Option<i64>,
}

/// What an operator may do from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRole {
    /// This.
    role: Role,
}

/// The operators.
#[utoipa::path(
    get, path = "/api/v1/operators", tag = "operators", security(("session" = [])),
    responses((status = 200, body = Operators), Problem)
)]
pub(super) async fn operators(
    State(shared): State<Arc<Shared>>,
    _by: Signed<Administering>,
) -> Result<Body<Operators>, Problem> {
    let operators = shared.store.operators().await?.into_iter().map(|operator| OperatorReport {
        name: operator.name,
        role: operator.role,
        created: clock::written(operator.created),
        totp: operator.totp,
        tenant: operator.tenant,
    });
    Ok(Body(Operators { operators: operators.collect() }))
}

/// Add an operator.
#[utoipa::path(
    post, path = "/api/v1/operators", tag = "operators", security(("session" = [])), request_body = NewOperator,
    responses((status = 201, description = "The operator may sign in."), Problem)
)]
pub(super) async fn add_operator(
    State(shared): State<Arc<Shared>>,
    by: Signed<Proved<Administering>>,
    Body(NewOperator { name, password, role, tenant }): Body<NewOperator>,
) -> Result<StatusCode, Problem> {
    let name = passwords::check_name(&name)?;
    check_role(role, tenant)?;
    if let Some(tenant) = tenant
        && shared.store.tenant(tenant).await?.is_none()
    {
        return Err(Problem::new(Kind::Missing, "there is no such organisation"));
    }
    let taken = || Problem::new(Kind::Invalid, format!("there is an operator `{name}` already"));
    if shared.store.operator(name).await?.is_some() {
        return Err(taken());
    }
    let hash = shared.hash(password, name).await?;
    let after = json!({ "name": name, "role": role, "tenant": tenant });
    let deed = Deed { after: Some(after), ..by.deed("add operator") };
    shared.store.write_down(&deed, clock::now()).await?;
    let added = shared.store.add_operator(name, &hash, role, tenant, clock::now()).await?;
    added.map(|_| StatusCode::CREATED).ok_or_else(taken)
}

/// Give an operator another role, at once.
#[utoipa::path(
    put, path = "/api/v1/operators/{name}", tag = "operators", security(("session" = [])), request_body = NewRole,
    params(("name" = String, Path, description = "The operator's name.")),
    responses((status = 204, description = "It is in force."), Problem)
)]
pub(super) async fn set_role(
    State(shared): State<Arc<Shared>>,
    by: Signed<Proved<Administering>>,
    Path(name): Path<String>,
    Body(NewRole { role }): Body<NewRole>,
) -> Result<StatusCode, Problem> {
    let operator = shared.operator(&name).await?;
    check_role(role, operator.tenant)?;
    let told = |role: Role| Some(json!({ "name": operator.name, "role": role }));
    let (before, after) = (told(operator.role), told(role));
    let deed = Deed { before, after, ..by.deed("set role") };
    shared.store.write_down(&deed, clock::now()).await?;
    match shared.store.set_role(&operator, role).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(last_admin()),
    }
}

/// Remove an operator, whose sessions end at once.
#[utoipa::path(
    delete, path = "/api/v1/operators/{name}", tag = "operators", security(("session" = [])),
    params(("name" = String, Path, description = "The operator's name.")),
    responses((status = 204, description = "The operator may do nothing any more."), Problem)
)]
pub(super) async fn remove_operator(
    State(shared): State<Arc<Shared>>,
    by: Signed<Proved<Administering>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let operator = shared.operator(&name).await?;
    let before = json!({ "name": operator.name, "role": operator.role });
    let deed = Deed { before: Some(before), ..by.deed("remove operator") };
    shared.store.write_down(&deed, clock::now()).await?;
    match shared.store.remove_operator(&operator).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(last_admin()),
    }
}

/// End all sessions of an operator, at once.
#[utoipa::path(
    delete, path = "/api/v1/operators/{name}/sessions", tag = "operators", security(("session" = [])),
    params(("name" = String, Path, description = "The operator's name.")),
    responses((status = 204, description = "They have ended."), Problem)
)]
pub(super) async fn end_sessions_of(
    State(shared): State<Arc<Shared>>,
    by: Signed<Proved<Administering>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let operator = shared.note_of(&by, &name, "end sessions of").await?;
    shared.store.end_sessions(operator.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Shared {
    /// The operator of this name, to whom this is about to be done, which is written down.
    pub(super) async fn note_of<N>(
        &self,
        by: &Signed<N>,
        name: &str,
        action: &str,
    ) -> Result<Operator, Problem> {
        let operator = self.operator(name).await?;
        let before = Some(json!({ "name": operator.name }));
        self.store.write_down(&Deed { before, ..by.deed(action) }, clock::now()).await?;
        Ok(operator)
    }

    async fn operator(&self, name: &str) -> Result<Operator, Problem> {
        let missing = || Problem::new(Kind::Missing, format!("there is no operator `{name}`"));
        self.store.operator(name).await?.ok_or_else(missing)
    }
}

/// An admin says who may do what, which is a matter of the whole portal.
fn check_role(role: Role, tenant: Option<i64>) -> Result<(), Problem> {
    match (role, tenant) {
        (Role::Admin, Some(_)) => {
            let detail = "an operator of an organisation is a viewer or an operator: admins are those of the whole portal";
            Err(Problem::new(Kind::Invalid, detail))
        }
        _ => Ok(()),
    }
}

fn last_admin() -> Problem {
    Problem::new(Kind::Invalid, "this is the last admin: make somebody else one first")
}
