//! What names and passwords there may be, and the hashing of these, a few at a time.

use crate::problem::{Kind, Problem};
use crate::secret;
use crate::server::Shared;
use crate::session::BY_TOKEN;
use crate::store::Operator;

/// Characters of a password, at least; there are no other rules, as NIST SP 800-63B has it.
const SHORTEST: usize = 12;
/// Bytes of one, at most: hashing more costs without a gain.
const LONGEST: usize = 256;
/// Characters of an operator's name.
const NAME: usize = 64;

/// A name as it is kept.
pub(crate) fn check_name(name: &str) -> Result<&str, Problem> {
    let name = name.trim();
    if !(1..=NAME).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        let detail = format!("a name has 1 to {NAME} characters, in one line");
        return Err(Problem::new(Kind::Invalid, detail));
    }
    // The audit says so of what a token did.
    match name.contains(BY_TOKEN) {
        true => Err(Problem::new(Kind::Invalid, format!("a name has no `{BY_TOKEN}` in it"))),
        false => Ok(name),
    }
}

impl Shared {
    /// What is kept of a new password, if it is long enough.
    pub(crate) async fn hash(&self, password: String) -> Result<String, Problem> {
        if password.chars().count() < SHORTEST || password.len() > LONGEST {
            return Err(Problem::new(
                Kind::Invalid,
                format!(
                    "a password has at least {SHORTEST} characters, and at most {LONGEST} bytes"
                ),
            ));
        }
        let hashed = self.hashing(move || secret::hash(&password)).await?;
        hashed.map_err(|error| Problem::internal("the password can't be hashed", &error))
    }

    /// Whether it is the operator's. It takes as long for a name that nobody has.
    pub(crate) async fn verify(
        &self,
        password: String,
        operator: Option<&Operator>,
    ) -> Result<bool, Problem> {
        let hash = operator.map_or(secret::NOBODY, |operator| &operator.password).to_owned();
        if password.len() > LONGEST {
            return Ok(false);
        }
        self.hashing(move || secret::verify(&password, &hash)).await
    }

    /// Hashes on a thread where it holds nobody up.
    async fn hashing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let what = "the password can't be hashed";
        let turn = self.hashing.acquire().await;
        let _turn = turn.map_err(|error| Problem::internal(what, &error))?;
        let hashed = tokio::task::spawn_blocking(work).await;
        hashed.map_err(|error| Problem::internal(what, &error))
    }
}
