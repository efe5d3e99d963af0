//! [`Names`]: by what names the portal is asked for. Others are refused: whoever owns a name may have it mean this host, so
//! that a page of theirs would count as one of the portal's.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::{Kind, Problem};
use crate::server::Shared;

/// By these names, and by any address.
#[derive(Debug)]
pub(crate) struct Names(Vec<String>);

impl Names {
    /// This host's, and further ones; `*.example.net` stands for any one label.
    pub(crate) fn new(host: String, further: impl IntoIterator<Item = String>) -> Self {
        let all = [host, "localhost".to_owned()].into_iter().chain(further);
        Self(all.map(|name| name.to_lowercase()).collect())
    }

    fn has(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches([']', '.']).to_lowercase();
        host.parse::<IpAddr>().is_ok() || self.0.iter().any(|name| is(name, &host))
    }
}

fn is(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(rest) => host.split_once('.').is_some_and(|(_, of)| of == rest),
        None => name == host,
    }
}

/// Refuses who asks for another.
pub(crate) async fn by_its_name(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let said = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let said = said.and_then(|host| host.parse().ok());
    let asked: Option<&Authority> = request.uri().authority().or(said.as_ref());
    match asked {
        Some(asked) if shared.names.has(asked.host()) => next.run(request).await,
        asked => {
            let asked = asked.map_or("", Authority::host);
            let detail = format!(
                "this portal is not known as `{asked}`: ask by its address, or start it with `--name {asked}`"
            );
            Problem::new(Kind::Forbidden, detail).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_a_name_of_its_own_is_asked_for() {
        let names = Names::new("PBX-01".to_owned(), ["*.example.net".to_owned()]);
        for own in [
            "127.0.0.1",
            "[::1]",
            "203.0.113.10",
            "localhost",
            "pbx-01",
            "PBX.example.net",
            "pbx.example.net.",
        ] {
            assert!(names.has(own), "{own}");
        }
        for other in
            ["", "example.net", "a.b.example.net", "evil.example", "127.0.0.1.evil.example"]
        {
            assert!(!names.has(other), "{other}");
        }
    }
}
