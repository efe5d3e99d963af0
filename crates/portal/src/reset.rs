//! [`reset`]: the way back in for an operator who has lost password or device, from the host itself.

use std::path::Path;

use crate::error::Error;
use crate::secret;
use crate::store::{Deed, Server, Store};
use crate::{clock, totp};

/// What the audit names instead of an operator, and instead of an address.
const WHO: &str = "(an administrator of this host)";
const WHERE: &str = "shell";

/// Gives an operator of the portal in this folder a new password, which is returned and must be changed soon, and asks for codes no longer; all of the
/// operator's sessions end. The portal may serve meanwhile. Who calls is the portal's user.
///
/// # Errors
/// If there is no such operator, or the database can't be used.
pub fn reset(state_dir: &Path, server: Option<&Server>, name: &str) -> Result<String, Error> {
    let system = |what| move |source| Error::System { what, source };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("start the runtime"))?;
    let random = |_| Error::System {
        what: "get random bits",
        source: std::io::Error::other("the kernel gave none"),
    };
    let password = totp::recovery_code().map_err(random)?;
    let hash = secret::hash(&password).map_err(|error| Error::System {
        what: "hash the password",
        source: std::io::Error::other(error.to_string()),
    })?;
    runtime.block_on(async {
        let store = Store::open(state_dir, server).await?;
        let database = |source| Error::Database { at: store.at().to_owned(), source };
        let operator = store.operator(name).await.map_err(database)?;
        let Some(operator) = operator else {
            let there = store.operators().await.map_err(database)?;
            let there = there.into_iter().map(|it| it.name).collect::<Vec<_>>().join(", ");
            return Err(Error::NoOperator { name: name.to_owned(), there });
        };
        let before = Some(serde_json::json!({ "name": operator.name }));
        let action = "reset operator";
        let deed = Deed { operator: WHO, source: WHERE, host: None, action, before, after: None };
        store.write_down(&deed, clock::now()).await.map_err(database)?;
        store.remove_factor(operator.id, None).await.map_err(database)?;
        store.give_password(operator.id, &hash, clock::now()).await.map_err(database)?;
        Ok(password)
    })
}
