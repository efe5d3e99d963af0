//! [`Ticket`]: what an administrator carries from the portal to a host.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};

/// Before the parts, so that it is known again, also by whoever looks for secrets that leaked.
const MARK: &str = "gf1";
const SECRET: usize = 32;

/// SHA-256 of an authority's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin(pub(crate) [u8; 32]);

impl Pin {
    pub(crate) fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

/// A secret that enrols one host, once, and whom to tell it: `gf1.SECRET.PIN`.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    secret: [u8; SECRET],
    /// The portal's authority.
    pub pin: Pin,
}

/// This is no ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no token: it begins with {MARK}. and is copied whole, as the portal shows it")]
pub struct NoTicket;

impl Ticket {
    /// A new one.
    ///
    /// # Errors
    /// If the kernel gives no random bits.
    pub fn new(pin: Pin) -> Result<Self, getrandom::Error> {
        let mut secret = [0; SECRET];
        getrandom::fill(&mut secret)?;
        Ok(Self { secret, pin })
    }

    /// The secret, as the host tells the portal.
    pub fn secret(&self) -> String {
        BASE64URL_NOPAD.encode(&self.secret)
    }

    /// What the portal keeps of a secret.
    pub fn digest(secret: &str) -> [u8; 32] {
        Sha256::digest(secret.as_bytes()).into()
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{MARK}.{}.{}", self.secret(), BASE64URL_NOPAD.encode(&self.pin.0))
    }
}

/// Its secret is not for logs.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl FromStr for Ticket {
    type Err = NoTicket;

    fn from_str(text: &str) -> Result<Self, NoTicket> {
        let mut parts = text.trim().split('.');
        let mut part = || parts.next().ok_or(NoTicket);
        if part()? != MARK {
            return Err(NoTicket);
        }
        let (secret, pin) = (bytes(part()?)?, bytes(part()?)?);
        match parts.next() {
            None => Ok(Self { secret, pin: Pin(pin) }),
            Some(_) => Err(NoTicket),
        }
    }
}

fn bytes(text: &str) -> Result<[u8; 32], NoTicket> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| NoTicket)?;
    bytes.try_into().map_err(|_| NoTicket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_as_it_was_written_and_nothing_else_is() {
        let ticket = Ticket::new(Pin::of(b"a certificate")).unwrap();
        let text = ticket.to_string();
        assert_eq!(text.parse(), Ok(ticket.clone()));
        assert_eq!(format!(" {text}\n").parse(), Ok(ticket.clone()));
        assert!(!format!("{ticket:?}").contains(&ticket.secret()));
        let cut = &text[..text.len() - 1];
        for other in ["", "gf1", "gf1..", cut, &format!("{text}.x"), &text.replace("gf1", "gf2")] {
            assert_eq!(other.parse::<Ticket>(), Err(NoTicket), "{other}");
        }
    }
}
