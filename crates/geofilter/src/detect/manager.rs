//! [`Manager`]: how to log in to Asterisk's manager interface (AMI), and [`Session`], where that was done.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use geofilter_core::pbx::ami;

use super::control::{Patience, Trouble, receive, send};

/// How to log in. The secret is in the file and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manager {
    pub(crate) address: SocketAddr,
    pub(crate) user: String,
    pub(crate) secret_file: PathBuf,
}

/// A session with Asterisk's manager.
pub(super) struct Session {
    stream: TcpStream,
    patience: Patience,
}

impl Session {
    /// Logs in.
    pub(super) fn open(manager: &Manager, patience: Patience) -> Result<Self, Trouble> {
        let secret = secret(manager)?;
        let stream = TcpStream::connect_timeout(&manager.address, patience.left()?)?;
        let mut session = Self { stream, patience };
        let login = format!(
            "Action: Login\r\nUsername: {}\r\nSecret: {secret}\r\nEvents: off",
            manager.user
        );
        match session.exchange(&login, "\r\n\r\n")?.contains("Response: Success") {
            true => Ok(session),
            false => Err(Trouble::Login),
        }
    }

    /// The events of a list, such as `PJSIPShowContacts`.
    pub(super) fn list(&mut self, action: &str) -> Result<Vec<ami::Event>, Trouble> {
        let text = self.exchange(&format!("Action: {action}"), "EventList: Complete")?;
        Ok(ami::events(&text))
    }

    /// The answer to a command of the command line; `None` if this user may not ask for one.
    pub(super) fn command(&mut self, command: &str) -> Result<Option<String>, Trouble> {
        let text = self.exchange(&format!("Action: Command\r\nCommand: {command}"), "\r\n\r\n")?;
        Ok(ami::output(&text))
    }

    /// Sends an action and reads its answer, up to the blank line after `last` or an error.
    fn exchange(&mut self, action: &str, last: &str) -> Result<String, Trouble> {
        send(&mut self.stream, format!("{action}\r\n\r\n").as_bytes(), self.patience)?;
        let mut answer = Vec::new();
        let whole = |answer: &[u8]| Ok(is_whole(answer, last));
        receive(&mut self.stream, &mut answer, self.patience, whole)?;
        match is_whole(&answer, last) {
            true => Ok(String::from_utf8_lossy(&answer).into_owned()),
            false => Err(Trouble::Cut),
        }
    }
}

pub(crate) fn is_whole(answer: &[u8], last: &str) -> bool {
    if !answer.ends_with(b"\r\n\r\n") {
        return false;
    }
    // What ends an answer is near its end, however long it is.
    let tail = String::from_utf8_lossy(&answer[answer.len().saturating_sub(1024)..]);
    tail.contains(last) || tail.contains("Response: Error")
}

fn secret(manager: &Manager) -> Result<String, Trouble> {
    let path = manager.secret_file.display().to_string();
    let wrong = |error| Trouble::Secret { path, error };
    let text = fs::read_to_string(&manager.secret_file).map_err(wrong)?;
    // A line end would be taken for the end of the field.
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_at_its_last_blank_line() {
        assert!(!is_whole(b"Response: Success\r\nEventList: start\r\n\r\n", "EventList: Complete"));
        assert!(is_whole(
            b"...\r\n\r\nEventList: Complete\r\nListItems: 0\r\n\r\n",
            "EventList: Complete"
        ));
        assert!(is_whole(b"Response: Error\r\nMessage: x\r\n\r\n", "EventList: Complete"));
        assert!(!is_whole(b"Response: Success\r\nOutput: a\r\n", "\r\n\r\n"));
    }
}
