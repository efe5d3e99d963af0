//! What those processes share that reach others by HTTP: the courier of the portal, and who fetches world data.

use std::net::IpAddr;

use rustls_native_certs::load_native_certs;
use ureq::http::Uri;
pub use ureq::tls::RootCerts;

use ureq::tls::Certificate;

/// What this machine trusts; read before a process may read no files any more.
pub fn trusted() -> RootCerts {
    let certificates = load_native_certs().certs;
    let certificates = certificates.iter().map(|one| Certificate::from_der(one).to_owned());
    RootCerts::new_with_certs(&certificates.collect::<Vec<_>>())
}

/// Whether only this machine hears what is sent to this host, as an address has it: an IPv6 address may stand in brackets.
pub fn is_here(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    host == "localhost" || address.is_ok_and(|address: IpAddr| address.is_loopback())
}

/// The scheme, host and port of an address: what may be said of it, since its path, and a user in it, is often a secret.
pub fn shown(url: &str) -> String {
    let uri: Uri = url.parse().unwrap_or_default();
    let server = uri.authority().map_or("", |authority| authority.as_str());
    let server = server.rsplit('@').next().unwrap_or(server);
    format!("{}://{server}", uri.scheme_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_here_is_told_by_the_address() {
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"] {
            assert!(is_here(host), "{host}");
        }
        for host in ["", "localhost.example", "192.0.2.1", "[2001:db8::1]", "0.0.0.0"] {
            assert!(!is_here(host), "{host}");
        }
    }

    #[test]
    fn no_secret_of_an_address_is_shown() {
        assert_eq!(
            shown("https://a:b@hooks.example:8443/T/secret?token=x"),
            "https://hooks.example:8443"
        );
        assert_eq!(shown("no address"), "://");
    }
}
