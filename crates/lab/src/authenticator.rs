//! [`Authenticator`]: an operator's authenticator app.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use totp_rs::{Builder, Secret, Totp};

/// An app that was told a secret.
#[derive(Debug)]
pub struct Authenticator(Totp);

impl Authenticator {
    /// One that knows this secret, in base 32.
    ///
    /// # Errors
    /// If it is none.
    pub fn told(secret: &str) -> Result<Self> {
        let secret = Secret::try_from_base32(secret).ok().context("this is no secret")?;
        Ok(Self(Builder::new().with_secret(secret).build().ok().context("it is too short")?))
    }

    /// The code that it shows so many steps from now.
    pub fn shows(&self, steps: u64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.0.generate(now + 30 * steps).to_string()
    }
}
