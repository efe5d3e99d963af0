//! World data that a portal serves to its hosts, by the SHA-256 of its bytes. They hear of it by the stream, and [pull](Client::world) it over a
//! connection of its own, each at another time.

use std::time::Duration;

use data_encoding::HEXLOWER;
use geofilter_core::geodata::bundle;
use http_body_util::{BodyExt, Full, Limited};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::message::{DIGEST, REASON, cut};
use crate::{Client, Error, WORLD};

/// How long a portal gives a host to pull it, and a host its portal.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// Seconds over which hosts pull at most, whatever their portal says.
pub const WIDEST: u64 = 86_400;

/// What a portal serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// SHA-256 of it, in hexadecimal.
    pub digest: String,
    /// Seconds over which hosts pull it, so that not all do at once.
    pub spread: u64,
}

/// What a host says of its world data.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Report {
    /// SHA-256 of what is in use, in hexadecimal.
    pub digest: String,
    /// The date of the source that decides.
    pub date: String,
    /// SHA-256 of what the portal serves and this host holds.
    pub held: Option<String>,
    /// Why it holds it, or did not get it.
    pub why: Option<String>,
    /// Whether it keeps to sources of its own.
    pub own: bool,
}

impl Report {
    /// What of it is kept, as of all that a host says.
    pub(crate) fn tidy(self) -> Self {
        let digest = |text: String| cut(text, DIGEST);
        Self {
            digest: digest(self.digest),
            date: cut(self.date, DIGEST),
            held: self.held.map(digest),
            why: self.why.map(|why| cut(why, REASON)),
            own: self.own,
        }
    }
}

/// SHA-256 of world data, in hexadecimal.
pub fn digest(content: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(content))
}

/// Whether this could be one.
pub fn is_digest(text: &str) -> bool {
    text.len() == DIGEST && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
}

impl Client {
    /// Pulls world data. That it is what was asked for is to be seen by its digest.
    ///
    /// # Errors
    /// Any; [`Error::Refused`] with status 503 if too many pull just now.
    pub async fn world(&self, digest: &str) -> Result<Vec<u8>, Error> {
        let request = hyper::Request::get(format!("{WORLD}{digest}")).body(Full::default());
        let answer = self.ask(request, StatusCode::OK).await?;
        let body = Limited::new(answer.into_body(), bundle::LONGEST).collect();
        let body = timeout(PATIENCE, body).await;
        let body = body.map_err(|_| Error::Unreadable("it takes too long".to_owned()))?;
        let body = body.map_err(|error| Error::Unreadable(error.to_string()))?;
        Ok(body.to_bytes().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_told_from_whatever_else_follows_a_path() {
        let own = digest(b"anything");
        assert!(is_digest(&own));
        for other in ["", "../x", &own[1..], &own.to_uppercase(), &format!("{own}0")] {
            assert!(!is_digest(other), "{other}");
        }
    }
}
