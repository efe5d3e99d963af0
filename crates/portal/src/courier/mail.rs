use geofilter_reach::is_here;
use lettre::message::{Mailbox, Mailboxes, header::ContentType};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Message, SmtpTransport, Transport};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{PATIENCE, look_up};
use crate::notices::Notice;

/// How the connection to a mail server is kept from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Security {
    /// TLS from its first byte, usually on port 465.
    #[default]
    Tls,
    /// TLS once the server was greeted, usually on port 587.
    StartTls,
    /// Not at all: for a server on this machine.
    None,
}

/// Mailboxes, and the server that mail to them is given to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = MailTarget)]
pub(crate) struct Mail {
    /// The server.
    pub(crate) server: String,
    /// Its port.
    pub(crate) port: u16,
    /// How the connection is kept from others.
    #[serde(default)]
    pub(crate) security: Security,
    /// The name to sign in with, if the server wants one.
    #[serde(default)]
    pub(crate) user: Option<String>,
    /// The password that belongs to it.
    #[serde(default)]
    pub(crate) password: Option<String>,
    /// Whom it is from: `GeoFilter <pbx@example.net>`.
    pub(crate) from: String,
    /// Whom it is for, separated by commas.
    pub(crate) to: String,
}

impl Mail {
    /// What is wrong with the addresses, if anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.server.is_empty() || self.server.contains(['/', ' ', ':', '@']) {
            return Err(format!("`{}` is no name of a server", self.server));
        }
        if self.security == Security::None && (self.password.is_some() || !is_here(&self.server)) {
            return Err(
                "passwords, and notices for others, are sent over TLS alone: choose tls or starttls".to_owned()
            );
        }
        self.parties().map(drop)
    }

    fn parties(&self) -> Result<(Mailbox, Mailboxes), String> {
        let from = self.from.parse().map_err(|error| format!("from `{}`: {error}", self.from))?;
        let to: Mailboxes =
            self.to.parse().map_err(|error| format!("to `{}`: {error}", self.to))?;
        match to.iter().next() {
            Some(_) => Ok((from, to)),
            None => Err("it is for nobody: name a mailbox".to_owned()),
        }
    }

    /// Gives a notice to the server.
    ///
    /// # Errors
    /// Why it was not taken.
    pub(super) fn send(&self, notice: &Notice) -> Result<(), String> {
        let found = look_up(&self.server, self.port)?;
        let (from, to) = self.parties()?;
        let message =
            to.into_iter().fold(Message::builder().from(from), |message, one| message.to(one));
        let message = message
            .subject(format!("[GeoFilter] {}: {}", notice.host, notice.subject))
            .header(ContentType::TEXT_PLAIN)
            .body(format!("{}\n\n{}, {}\n", notice.text, notice.host, notice.time))
            .map_err(|error| format!("the mail can't be written: {error}"))?;
        let told = |error: lettre::transport::smtp::Error| {
            format!("{}:{}: {error}", self.server, self.port)
        };
        let tls = || TlsParameters::new(self.server.clone()).map_err(told);
        let tls = match self.security {
            Security::Tls => Tls::Wrapper(tls()?),
            Security::StartTls => Tls::Required(tls()?),
            Security::None => Tls::None,
        };
        let mut answer = Err(format!("{} has no address", self.server));
        for address in found {
            let mut server = SmtpTransport::builder_dangerous(address.ip().to_string())
                .port(self.port)
                .timeout(Some(PATIENCE))
                .tls(tls.clone());
            if let (Some(user), Some(password)) = (&self.user, &self.password) {
                server = server.credentials(Credentials::new(user.clone(), password.clone()));
            }
            let sent = server.build().send(&message);
            let heard = !sent.as_ref().is_err_and(is_unreached);
            answer = sent.map(drop).map_err(told);
            if heard {
                break;
            }
        }
        answer
    }
}

/// Whether there was nobody: another address of the server may do better.
fn is_unreached(error: &lettre::transport::smtp::Error) -> bool {
    let answered = error.is_permanent() || error.is_transient() || error.is_response();
    !(answered || error.is_client() || error.is_tls() || error.is_timeout())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(from: &str, to: &str) -> Mail {
        Mail {
            server: "mail.example".to_owned(),
            port: 465,
            security: Security::Tls,
            user: None,
            password: None,
            from: from.to_owned(),
            to: to.to_owned(),
        }
    }

    #[test]
    fn mail_is_for_somebody() {
        assert_eq!(
            mail("GeoFilter <pbx@example.net>", "a@x.example, B <b@x.example>").check(),
            Ok(())
        );
        for (from, to) in [
            ("", "a@x.example"),
            ("a@x.example", ""),
            ("a@x.example", "b"),
            ("a@x.example\r\nBcc: c@x.example", "b@x.example"),
        ] {
            assert!(mail(from, to).check().is_err(), "{from} {to}");
        }
    }

    #[test]
    fn a_password_is_sent_over_tls_alone() {
        let open = Mail {
            security: Security::None,
            user: Some("a".to_owned()),
            password: Some("b".to_owned()),
            ..mail("a@x.example", "b@x.example")
        };
        assert!(open.check().is_err());
    }
}
