//! [`Tls`]: what the portal shows browsers from elsewhere who it is by. An administrator names a certificate; without one the
//! portal makes its own and keeps it, and tells its fingerprint, for whoever opens the page to compare.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sha2::{Digest, Sha256};
use webpki::EndEntityCert;

use crate::clock;
use crate::host;

/// Where the portal keeps its own certificate with its key, in its folder.
const KEPT: &str = "tls.pem";
/// Years for which that is good: nobody renews it.
const YEARS: i32 = 10;

/// A certificate and its key, in PEM, as an administrator gives them.
#[derive(Clone)]
pub struct Pem {
    /// The certificate, and those between it and whom browsers trust.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was given is not what it should be.
    #[error("cannot read the {what} in PEM: {source}")]
    Pem {
        /// Certificate or key.
        what: &'static str,
        /// Why.
        source: rustls::pki_types::pem::Error,
    },
    /// There is none in it.
    #[error("there is no certificate in what was given as one")]
    Empty,
    /// They don't belong together, or are of a kind that is not known.
    #[error("cannot use the certificate with its key: {0}")]
    Unusable(#[from] rustls::Error),
    /// Its own could not be made.
    #[error("cannot make a certificate: {0}")]
    Unmade(#[from] rcgen::Error),
    /// Its own could not be kept.
    #[error("cannot keep a certificate in the portal's folder: {0}")]
    Unkept(#[from] io::Error),
}

/// What it takes to serve by TLS.
pub(crate) struct Tls {
    pub(crate) config: Arc<ServerConfig>,
    /// SHA-256 of the certificate, if it is the portal's own.
    pub(crate) fingerprint: Option<String>,
    /// That one.
    certificate: Option<CertificateDer<'static>>,
    /// Whom the certificate names.
    pub(crate) names: Vec<String>,
}

impl Tls {
    /// With what an administrator gave.
    pub(crate) fn given(pem: &Pem) -> Result<Self, Error> {
        let certificate = |source| Error::Pem { what: "certificate", source };
        let chain = CertificateDer::pem_slice_iter(&pem.certificate);
        let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&pem.key);
        let key = key.map_err(|source| Error::Pem { what: "key", source })?;
        let names = names(chain.first().ok_or(Error::Empty)?);
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config: Arc::new(config), fingerprint: None, certificate: None, names })
    }

    /// With the portal's own certificate, which is made when there is none yet for all of these names and where it listens.
    pub(crate) fn own(state_dir: &Path, names: &[String], listen: IpAddr) -> Result<Self, Error> {
        let path = state_dir.join(KEPT);
        let mut all = vec![host::name(), "localhost".to_owned()];
        all.extend(names.iter().cloned());
        if !listen.is_unspecified() {
            all.push(listen.to_string());
        }
        let kept = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => Some(Self::kept(&read?)?),
        };
        match kept.filter(|kept| all.iter().all(|name| kept.is_for(name))) {
            Some(kept) => Ok(kept),
            None => Self::kept(&make(&path, all)?),
        }
    }

    fn kept(pem: &[u8]) -> Result<Self, Error> {
        let tls = Self::given(&Pem { certificate: pem.to_owned(), key: pem.to_owned() })?;
        let certificate = CertificateDer::from_pem_slice(pem)
            .map_err(|source| Error::Pem { what: "certificate", source })?;
        let fingerprint = Some(fingerprint(&certificate));
        Ok(Self { fingerprint, certificate: Some(certificate), ..tls })
    }

    /// Whether browsers take its certificate for that of this name or address.
    fn is_for(&self, name: &str) -> bool {
        let certificate = self.certificate.as_ref().map(EndEntityCert::try_from);
        match (certificate, ServerName::try_from(name)) {
            (Some(Ok(certificate)), Ok(name)) => {
                certificate.verify_is_valid_for_subject_name(&name).is_ok()
            }
            // `*.example.net`, or a host whose name no other can ask for.
            (Some(Ok(_)), Err(_)) => true,
            (Some(Err(_)) | None, _) => false,
        }
    }
}

/// Makes a certificate for this host, and keeps it for its user alone.
fn make(path: &Path, names: Vec<String>) -> Result<Vec<u8>, Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("GeoFilter on {}", host::name()));
    // From the first of a month to the first of one: not every year has a 29 February.
    let (year, month) = clock::month();
    params.not_before = rcgen::date_time_ymd(year - 1, month, 1);
    params.not_after = rcgen::date_time_ymd(year + YEARS, month, 1);
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem() + &key.serialize_pem();
    let part = path.with_extension("part");
    let _ = fs::remove_file(&part);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&part)?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    Ok(pem.into_bytes())
}

/// As browsers show it: pairs of hexadecimal digits.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let digest = Sha256::digest(certificate);
    digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let certificate = EndEntityCert::try_from(certificate);
    certificate.map_or_else(|_| Vec::new(), |it| it.valid_dns_names().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_certificate_is_kept_for_its_user_until_it_has_to_name_more() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let name = ["pbx.example.net".to_owned()];
        let (anywhere, here) = ("0.0.0.0".parse().unwrap(), "192.0.2.1".parse().unwrap());
        let first = Tls::own(folder.path(), &name, anywhere).unwrap();
        assert_eq!(first.fingerprint.as_ref().unwrap().len(), 95);
        assert!(first.names.contains(&name[0]) && first.names.contains(&"localhost".to_owned()));
        let kept = fs::metadata(folder.path().join(KEPT)).unwrap().permissions();
        assert_eq!(kept.mode() & 0o777, 0o600);
        let again = Tls::own(folder.path(), &[], anywhere).unwrap();
        assert_eq!(again.fingerprint, first.fingerprint);
        let there = Tls::own(folder.path(), &name, here).unwrap();
        assert_ne!(there.fingerprint, first.fingerprint);
        assert!(there.is_for("192.0.2.1") && there.is_for(&name[0]) && !there.is_for("192.0.2.2"));
        let other = Tls::own(folder.path(), &["other.example.net".to_owned()], here).unwrap();
        assert_ne!(other.fingerprint, there.fingerprint);
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let pem = |certificate: &[u8], key: &[u8]| Pem {
            certificate: certificate.to_vec(),
            key: key.to_vec(),
        };
        assert!(matches!(Tls::given(&pem(b"", b"")), Err(Error::Pem { what: "key", .. })));
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        let [one, other] =
            [one, other].map(|path| make(&path, vec!["localhost".to_owned()]).unwrap());
        assert!(Tls::given(&pem(&one, &one)).is_ok());
        assert!(matches!(Tls::given(&pem(&one, &other)), Err(Error::Unusable(_))), "another's key");
    }
}
