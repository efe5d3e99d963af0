//! [`Authority`]: who vouches for a portal and its hosts.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use crate::{HostId, LIFETIME, Pin};

/// What every portal is called in its certificate: who asks for it knows it by its authority, whatever its address.
pub(crate) const PORTAL: &str = "portal.geofilter.internal";
/// After the number of a host, in its certificate.
const HOST: &str = ".host.geofilter.internal";
/// For so long an authority vouches: nobody renews it.
const YEARS: Duration = Duration::from_secs(20 * 365 * 86_400);
/// By so much the clock of a host may be behind.
const BEHIND: Duration = Duration::from_secs(5 * 365 * 86_400);
/// Bytes of a serial number.
const SERIAL: usize = 16;

/// See the module. Its key never leaves the portal.
pub struct Authority {
    key: KeyPair,
    certificate: String,
    der: CertificateDer<'static>,
}

/// A certificate that was given to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// In PEM.
    pub certificate: String,
    /// Seconds since 1970 at which it ends.
    pub until: i64,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// If there are no random bits.
    pub fn new(now: SystemTime) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = of(&format!("GeoFilter fleet {}", hex(&random()?)));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        (params.not_before, params.not_after) = good(now, YEARS);
        let made = params.self_signed(&key)?;
        Ok(Self { certificate: made.pem(), der: made.der().clone(), key })
    }

    /// The one whose key and certificate these are, in PEM.
    ///
    /// # Errors
    /// If they are not.
    pub fn read(key: &str, certificate: &str) -> Result<Self, rcgen::Error> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
        let key = KeyPair::from_pem(key)?;
        Ok(Self { key, certificate: certificate.to_owned(), der })
    }

    /// Its key in PEM, to be kept where nobody else reads.
    pub fn key(&self) -> String {
        self.key.serialize_pem()
    }

    /// Its certificate in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// By which hosts know it before they have its certificate.
    pub fn pin(&self) -> Pin {
        Pin::of(&self.der)
    }

    pub(crate) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// A certificate for a host that asked for it in PEM. Nothing of what it asks is in it but its key.
    ///
    /// # Errors
    /// If it is no request that was signed with that key.
    pub fn vouch(
        &self,
        request: &str,
        host: HostId,
        now: SystemTime,
    ) -> Result<Issued, rcgen::Error> {
        let mut asked = CertificateSigningRequestParams::from_pem(request)?;
        asked.params = params(&name_of(host), ExtendedKeyUsagePurpose::ClientAuth)?;
        (asked.params.not_before, asked.params.not_after) = good(now, LIFETIME);
        let until = asked.params.not_after;
        let issued = asked.signed_by(&self.issuer()?)?;
        Ok(Issued { certificate: issued.pem(), until: until.unix_timestamp() })
    }

    /// What the portal shows its hosts: a certificate with that of the authority, and its key. It is made for each process.
    pub(crate) fn portal(
        &self,
        now: SystemTime,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = params(PORTAL, ExtendedKeyUsagePurpose::ServerAuth)?;
        (params.not_before, params.not_after) = good(now, YEARS);
        let made = params.signed_by(&key, &self.issuer()?)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok((vec![made.der().clone(), self.der.clone()], key.into()))
    }

    fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, rcgen::Error> {
        Issuer::from_ca_cert_der(&self.der, &self.key)
    }
}

/// Whoever has this name.
fn of(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// The same in a certificate that is for this.
fn params(name: &str, purpose: ExtendedKeyUsagePurpose) -> Result<CertificateParams, rcgen::Error> {
    let mut params = of(name);
    params.subject_alt_names = vec![SanType::DnsName(name.try_into()?)];
    params.serial_number = Some(SerialNumber::from_slice(&random()?));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// From when on it is good and until when: also for those whose clock is behind.
fn good(now: SystemTime, long: Duration) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::from(now);
    (now - BEHIND, now + long)
}

/// What a host is called in its certificate.
fn name_of(host: HostId) -> String {
    format!("{host}{HOST}")
}

/// The host that is called so.
pub(crate) fn host_named(name: &str) -> Option<HostId> {
    name.strip_suffix(HOST)?.parse().ok().map(HostId)
}

fn random() -> Result<[u8; SERIAL], rcgen::Error> {
    let mut bytes = [0; SERIAL];
    getrandom::fill(&mut bytes).map_err(|_| rcgen::Error::RingUnspecified)?;
    // A serial number is positive.
    bytes[0] &= 0x7f;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&bytes[..4])
}
