use std::net::SocketAddr;

use geofilter_reach::{is_here, shown};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use utoipa::ToSchema;

use super::{PATIENCE, look_up};
use crate::notices::Notice;

/// Where the signature stands.
const SIGNATURE: &str = "x-geofilter-signature";

/// An HTTP server that takes notices as JSON documents: `event`, `host`, `time`, `subject`, `text`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = WebhookTarget)]
pub(crate) struct Webhook {
    /// Its address, by `https`, or `http` on this machine.
    pub(crate) url: String,
    /// If there is one, each request is signed with it: `x-geofilter-signature: sha256=` and the HMAC of the body.
    #[serde(default)]
    pub(crate) secret: Option<String>,
}

impl Webhook {
    /// What is wrong with the address, if anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.server().map(drop)
    }

    /// The scheme, host and port: what may be shown of it, since its path is often a secret.
    pub(crate) fn shown(&self) -> String {
        shown(&self.url)
    }

    fn server(&self) -> Result<(String, u16), String> {
        let uri: Uri = self.url.parse().map_err(|error| format!("this is no address: {error}"))?;
        let port = match uri.scheme_str() {
            Some("https") => 443,
            Some("http") => 80,
            Some(_) | None => return Err("an address begins with https:// or http://".to_owned()),
        };
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("an address names no user: sign with a secret instead".to_owned());
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or("it names no server")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if port == 80 && !is_here(host) {
            return Err("notices go to others by https:// alone".to_owned());
        }
        Ok((host.to_owned(), uri.port_u16().unwrap_or(port)))
    }

    /// Posts a notice.
    ///
    /// # Errors
    /// Why it was not taken.
    pub(super) fn post(&self, notice: &Notice, roots: &RootCerts) -> Result<(), String> {
        let (host, port) = self.server()?;
        let found = Found(look_up(&host, port)?);
        let body = serde_json::to_vec(notice).map_err(|error| error.to_string())?;
        let tls = TlsConfig::builder().root_certs(roots.clone()).build();
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            .http_status_as_error(false)
            .proxy(None)
            .tls_config(tls)
            .user_agent(concat!("geofilter/", env!("CARGO_PKG_VERSION")))
            .build();
        let mut request = ureq::Agent::with_parts(config, DefaultConnector::new(), found)
            .post(&self.url)
            .header("content-type", "application/json");
        if let Some(secret) = &self.secret {
            request = request.header(SIGNATURE, signature(secret, &body));
        }
        let shown = self.shown();
        let answer = request.send(&body[..]).map_err(|error| format!("{shown}: {error}"))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("{shown} answered {status}")),
        }
    }
}

/// More addresses of a server are not tried.
const MOST: usize = 4;

/// Where the server was found, whatever the name servers answer next.
#[derive(Debug)]
struct Found(Vec<SocketAddr>);

impl Resolver for Found {
    fn resolve(
        &self,
        _: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut found = self.empty();
        self.0.iter().take(MOST).for_each(|address| found.push(*address));
        Ok(found)
    }
}

fn signature(secret: &str, body: &[u8]) -> String {
    // It takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(body);
    let bytes = mac.finalize().into_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> Webhook {
        Webhook { url: url.to_owned(), secret: None }
    }

    #[test]
    fn an_address_is_of_an_http_server() {
        assert_eq!(
            at("https://hooks.example/T/secret").server(),
            Ok(("hooks.example".into(), 443))
        );
        assert_eq!(at("https://[2001:db8::1]:8080/x").server(), Ok(("2001:db8::1".into(), 8080)));
        assert_eq!(at("http://[::1]:8080/x").server(), Ok(("::1".into(), 8080)));
        assert_eq!(at("https://hooks.example/T/secret").shown(), "https://hooks.example");
        for wrong in [
            "",
            "http://hooks.example/",
            "http://192.168.1.1:8080/",
            "hooks.example",
            "ftp://x/",
            "file:///etc/passwd",
            "https://a:b@x/",
            "https:///x",
        ] {
            assert!(at(wrong).check().is_err(), "{wrong}");
        }
    }

    /// RFC 4231, test case 2.
    #[test]
    fn a_signature_is_an_hmac() {
        assert_eq!(
            signature("Jefe", b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
