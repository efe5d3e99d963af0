//! The second factor: codes of RFC 6238 as every authenticator app makes them, and recovery codes for who lost the device.

use qrcode::QrCode;
use qrcode::render::svg::Color;
use totp_rs::{Builder, Totp, TotpError};

use crate::problem::{Kind, Problem};
use crate::secret::digest;
use crate::server::Shared;
use crate::store::{Factor, Operator};
use crate::{clock, host};

/// What apps call the portal.
const ISSUER: &str = "GeoFilter";
/// Codes before and after that of this moment that are taken: the clocks of devices differ.
const SKEW: u16 = 1;
/// Bytes of a secret, as RFC 4226 recommends.
const SECRET: usize = 20;
/// Recovery codes that an operator is given.
const RECOVERY: usize = 10;
/// Letters and digits of a recovery code, five bits each; none is taken for another. As many as make a digest enough to keep.
const LENGTH: usize = 24;
const ALPHABET: &[u8; 32] = b"abcdefghjkmnopqrstuvwxyz23456789";
/// Under what source wrong codes count, wherever they come from: who has the password could ask from many places.
const ANYWHERE: &str = "anywhere";
/// The side of the picture, in pixels at least.
const SIDE: u32 = 200;

/// A secret that nobody had before.
///
/// # Errors
/// If the kernel gives no random bits.
pub(crate) fn new_secret() -> Result<[u8; SECRET], getrandom::Error> {
    let mut secret = [0; SECRET];
    getrandom::fill(&mut secret)?;
    Ok(secret)
}

/// What the operator's device is told.
#[derive(Debug)]
pub(crate) struct Enrolment {
    /// The secret in base 32, to be typed.
    pub(crate) secret: String,
    /// The same with what it is for, as a link.
    pub(crate) uri: String,
    /// The link as a QR code, an SVG image.
    pub(crate) qr: String,
}

impl Enrolment {
    /// How a device is told this secret.
    ///
    /// # Errors
    /// If it can't be written.
    pub(crate) fn new(secret: &[u8], operator: &str) -> Result<Self, Problem> {
        let broken = |error: &(dyn std::error::Error + 'static)| {
            Problem::internal("the secret can't be written", error)
        };
        // A colon would separate what is on both sides of it.
        let account = format!("{operator}@{}", host::name()).replace(':', " ");
        let totp = totp(secret, &account).map_err(|error| broken(&error))?;
        let uri = totp.to_url().map_err(|error| broken(&error))?;
        let code = QrCode::new(&uri).map_err(|error| broken(&error))?;
        let qr = code.render::<Color<'_>>().min_dimensions(SIDE, SIDE).build();
        Ok(Self { secret: totp.secret().to_base32(), uri, qr })
    }
}

/// The step whose code this is, of those that are taken at this time (seconds since 1970).
fn step(secret: &[u8], code: &str, seconds: u64) -> Option<i64> {
    let totp = totp(secret, ISSUER).ok()?;
    i64::try_from(totp.check(code, seconds)?).ok()
}

/// Six digits of HMAC-SHA-1 every 30 seconds: all that many apps know.
fn totp(secret: &[u8], account: &str) -> Result<Totp, TotpError> {
    let builder = Builder::new().with_secret(secret).with_skew(SKEW);
    builder.with_issuer(Some(ISSUER)).with_account_name(account).build()
}

/// New recovery codes, as they are told once.
///
/// # Errors
/// If the kernel gives no random bits.
pub(crate) fn recovery_codes() -> Result<Vec<String>, getrandom::Error> {
    (0..RECOVERY).map(|_| recovery_code()).collect()
}

/// One of them: 120 random bits, easy to write down.
///
/// # Errors
/// If the kernel gives no random bits.
pub(crate) fn recovery_code() -> Result<String, getrandom::Error> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes)?;
    let letters = bytes.map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
    Ok(letters.chunks(4).map(String::from_iter).collect::<Vec<_>>().join("-"))
}

/// What is kept of a recovery code, however it is written.
pub(crate) fn recovery_digest(code: &str) -> [u8; 32] {
    let letters: String = code.chars().filter(|it| it.is_ascii_alphanumeric()).collect();
    digest(&letters.to_ascii_lowercase())
}

impl Shared {
    /// Passes an operator whose password was right, if no code is asked for or this is one; each is taken once.
    ///
    /// # Errors
    /// If not, or the operator has to wait.
    pub(crate) async fn check_code(
        &self,
        operator: &Operator,
        code: Option<&str>,
    ) -> Result<(), Problem> {
        let factor = self.store.factor(operator.id).await?.filter(|factor| factor.since.is_some());
        let Some(factor) = factor else { return Ok(()) };
        let missing = "give the code that your authenticator app shows, or a recovery code";
        let code = code.ok_or_else(|| Problem::new(Kind::Code, missing))?.trim();
        self.try_once(&operator.name, ANYWHERE)?;
        let right = self.takes(&factor, code).await?
            || self.store.take_recovery_code(operator.id, &recovery_digest(code)).await?;
        if !right {
            let wrong = "this code is wrong, or was used: wait for the next one. If it is never right, see to the clock of the device and of this host";
            return Err(Problem::new(Kind::Code, wrong));
        }
        self.succeeded(&operator.name, ANYWHERE);
        Ok(())
    }

    /// Takes a code that the device shows now. Says whether it was one.
    pub(crate) async fn takes(&self, factor: &Factor, code: &str) -> Result<bool, Problem> {
        let seconds = u64::try_from(clock::now() / 1000).unwrap_or_default();
        match step(&factor.secret, code, seconds) {
            Some(step) => Ok(self.store.take_step(factor, step).await?),
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of RFC 6238, appendix B.
    const RFC: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_the_rfc_and_of_the_steps_beside_them() {
        // The last six digits of the eight in the table.
        assert_eq!(step(RFC, "287082", 59), Some(1));
        assert_eq!(step(RFC, "081804", 1_111_111_109), Some(37_037_036));
        for (seconds, taken) in [(29, true), (30, true), (89, true), (90, false), (119, false)] {
            assert_eq!(step(RFC, "287082", seconds).is_some(), taken, "{seconds}");
        }
        for wrong in ["287083", "", "87082", "0287082", "28708 ", "２87082"] {
            assert_eq!(step(RFC, wrong, 59), None, "{wrong}");
        }
    }

    #[test]
    fn a_device_is_told_all_it_needs() {
        let told = Enrolment::new(RFC, "Ana: Popescu").unwrap();
        assert_eq!(told.secret, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let begins = "otpauth://totp/GeoFilter:Ana%20%20Popescu%40";
        assert!(told.uri.starts_with(begins), "{}", told.uri);
        assert!(told.uri.contains(&told.secret) && told.uri.contains("issuer=GeoFilter"));
        assert!(told.qr.contains("<svg") && !told.qr.contains(&told.secret));
        assert_ne!(new_secret().unwrap(), new_secret().unwrap());
    }

    #[test]
    fn a_recovery_code_is_known_however_it_is_written() {
        let codes = recovery_codes().unwrap();
        assert_eq!(codes.len(), RECOVERY);
        let code = &codes[0];
        assert_eq!(code.len(), LENGTH + 5, "{code}");
        let known = recovery_digest(code);
        assert_eq!(recovery_digest(&format!(" {} ", code.to_uppercase().replace('-', " "))), known);
        assert_ne!(recovery_digest(&codes[1]), known);
    }
}
