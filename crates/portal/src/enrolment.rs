//! [`invite`]: a ticket for a host, from the shell of the portal's host.

use std::path::Path;

use crate::error::Error;
use crate::passwords::check_name;
use crate::store::{Deed, Server, Store};
use crate::{clock, fleet};

/// What the audit names instead of an operator, and instead of an address.
const WHO: &str = "(an administrator of this host)";
const WHERE: &str = "shell";

/// What it takes to enrol a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The ticket, which is good once, for a quarter of an hour.
    pub ticket: String,
    /// Where the portal hears hosts, if it ever did.
    pub portal: Option<String>,
    /// Whether the group was made for it.
    pub is_new: bool,
}

/// Makes a ticket for a host of this group, which is made if there is none, as is its organisation where one is named. The portal may
/// serve meanwhile. Who calls is the portal's user.
///
/// # Errors
/// If that is no name, several organisations have such a group and none is named, or the database can't be used.
pub fn invite(
    state_dir: &Path,
    server: Option<&Server>,
    tenant: Option<&str>,
    group: &str,
) -> Result<Invitation, Error> {
    let name = |name| check_name(name).map_err(|problem| Error::Name(problem.detail));
    let (tenant, group) = (tenant.map(name).transpose()?, name(group)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::System { what: "start the runtime", source })?;
    runtime.block_on(async {
        let store = Store::open(state_dir, server).await?;
        let database = |source| Error::Database { at: store.at().to_owned(), source };
        let of = match tenant {
            Some(name) => Some(tenant_of(&store, name).await.map_err(database)?),
            None => None,
        };
        let found = store.groups_named(of, group).await.map_err(database)?;
        let (id, is_new) = match found.as_slice() {
            [id] => (*id, false),
            [] => {
                let of = match of {
                    Some(of) => of,
                    None => store.first_tenant().await.map_err(database)?,
                };
                let made = store.add_group(of, group).await.map_err(database)?;
                (made.ok_or_else(|| database(sqlx::Error::RowNotFound))?, true)
            }
            [_, ..] => return Err(Error::Ambiguous(group.to_owned())),
        };
        let after = Some(serde_json::json!({ "group": group, "organisation": tenant }));
        let action = "invite host";
        let deed = Deed { operator: WHO, source: WHERE, host: None, action, before: None, after };
        store.write_down(&deed, clock::now()).await.map_err(database)?;
        let ticket = fleet::ticket(&store, id).await?.to_string();
        let portal = store.fleet_address().await.map_err(database)?;
        Ok(Invitation { ticket, portal, is_new })
    })
}

/// The organisation of this name, which is made if there is none.
async fn tenant_of(store: &Store, name: &str) -> Result<i64, sqlx::Error> {
    if let Some(known) = store.tenant_named(name).await? {
        return Ok(known);
    }
    store.add_tenant(name).await?.ok_or(sqlx::Error::RowNotFound)
}
