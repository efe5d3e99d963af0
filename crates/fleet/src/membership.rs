//! [`Request`]: what it takes to become a host of a portal, or to stay one.

use geofilter_core::wire::Membership;
use rcgen::{CertificateParams, KeyPair};

use crate::{Enrolled, HostId, Renewed};

/// A key, and the request for a certificate for it.
pub struct Request {
    key: KeyPair,
    pem: String,
}

impl Request {
    /// With a new key.
    ///
    /// # Errors
    /// If there are no random bits.
    pub fn new() -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let pem = CertificateParams::default().serialize_request(&key)?.pem()?;
        Ok(Self { key, pem })
    }

    /// In PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    fn key(&self) -> String {
        self.key.serialize_pem()
    }

    /// What the host is now.
    pub fn enrolled(&self, portal: &str, enrolled: Enrolled) -> Membership {
        let Enrolled { host: HostId(host), certificate, authority, until } = enrolled;
        Membership {
            portal: portal.to_owned(),
            host,
            authority,
            certificate,
            key: self.key(),
            until,
        }
    }

    /// What it is after it got another certificate.
    pub fn renewed(&self, before: &Membership, renewed: Renewed) -> Membership {
        let Renewed { certificate, until } = renewed;
        Membership { certificate, key: self.key(), until, ..before.clone() }
    }
}
