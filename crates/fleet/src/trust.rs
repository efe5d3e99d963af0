//! Who trusts whom: [`server`] hears hosts that its authority vouches for, and those that are to be; hosts hear the portal of their
//! authority, whatever its address.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use webpki::EndEntityCert;

use crate::authority::{PORTAL, host_named};
use crate::{Authority, HostId, Pin};

const HTTP: &[u8] = b"http/1.1";

/// How a portal serves. Who shows no certificate is heard too: whoever is to be enrolled has none.
///
/// # Errors
/// If it can't be.
pub fn server(authority: &Authority, now: SystemTime) -> Result<ServerConfig, Error> {
    let roots = Arc::new(only(authority.der().clone())?);
    let clients = WebPkiClientVerifier::builder_with_provider(roots, provider())
        .allow_unauthenticated()
        .build()
        .map_err(other)?;
    let (chain, key) = authority.portal(now).map_err(other)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![HTTP.to_vec()];
    // Who comes back within a day is known again without signatures.
    config.ticketer = ring::Ticketer::new()?;
    Ok(config)
}

/// The host that a certificate of our authority is for.
pub fn host_of(certificate: &CertificateDer<'_>) -> Option<HostId> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    certificate.valid_dns_names().find_map(host_named)
}

/// How a host connects that has only a pin.
pub(crate) fn stranger(pin: Pin) -> Result<ClientConfig, Error> {
    Ok(connecting(Arc::new(Pinned { pin, provider: provider() }))?.with_no_client_auth())
}

/// How a host connects that is enrolled.
pub(crate) fn member(
    authority: CertificateDer<'static>,
    certificate: CertificateDer<'static>,
    key: rustls::pki_types::PrivateKeyDer<'static>,
) -> Result<ClientConfig, Error> {
    let known = Arc::new(Known { verifier: verifier(authority)? });
    connecting(known)?.with_client_auth_cert(vec![certificate], key)
}

type Connecting = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn connecting(verifier: Arc<dyn ServerCertVerifier>) -> Result<Connecting, Error> {
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn only(authority: CertificateDer<'static>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority)?;
    Ok(roots)
}

fn verifier(authority: CertificateDer<'static>) -> Result<Arc<WebPkiServerVerifier>, Error> {
    let roots = Arc::new(only(authority)?);
    WebPkiServerVerifier::builder_with_provider(roots, provider()).build().map_err(other)
}

fn other(error: impl std::fmt::Display) -> Error {
    Error::General(error.to_string())
}

/// Believes who has a certificate of the authority for the portal, whatever the address that was dialled.
#[derive(Debug)]
struct Known {
    verifier: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let portal = ServerName::try_from(PORTAL).map_err(other)?;
        self.verifier.verify_server_cert(certificate, between, &portal, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Believes whoever the authority with this pin vouches for, which the portal shows beside its own certificate.
#[derive(Debug)]
struct Pinned {
    pin: Pin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned = between.iter().find(|shown| Pin::of(shown) == self.pin);
        let authority = pinned.ok_or(CertificateError::UnknownIssuer)?.clone().into_owned();
        Known { verifier: verifier(authority)? }.verify_server_cert(
            certificate,
            &[],
            name,
            ocsp,
            now,
        )
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
