//! The client's end of the agent's socket.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use geofilter_core::wire::{Failure, FailureKind, Reply, Request};

/// Detaching from a busy host may take a while; nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes of a reply: more than all the exemptions and bans that there is room for.
const LONGEST: u64 = 1 << 28;

/// The replies to one request.
pub(crate) struct Replies {
    socket: PathBuf,
    reader: BufReader<UnixStream>,
}

/// Asks for one reply.
///
/// # Errors
/// What the agent answered with, or that no agent answers.
pub(crate) fn ask(socket: &Path, request: &Request) -> Result<Reply, Failure> {
    let mut replies = stream(socket, request, Some(PATIENCE))?;
    replies.next().unwrap_or_else(|| Err(silent(socket, "it closed the connection")))
}

/// Asks for replies until the agent has no more.
///
/// # Errors
/// That no agent answers.
pub(crate) fn stream(
    socket: &Path,
    request: &Request,
    patience: Option<Duration>,
) -> Result<Replies, Failure> {
    let unreachable = |error: std::io::Error| unreachable(socket, &error);
    let mut connection = UnixStream::connect(socket).map_err(unreachable)?;
    connection.set_read_timeout(patience).map_err(unreachable)?;
    let line = serde_json::to_string(request).map_err(|error| {
        Failure::new(FailureKind::Failed, format!("cannot write the request: {error}"))
    })?;
    match writeln!(connection, "{line}") {
        // Whoever does not want to hear it may have said why.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written.map_err(unreachable)?,
    }
    Ok(Replies { socket: socket.to_owned(), reader: BufReader::new(connection) })
}

impl Iterator for Replies {
    type Item = Result<Reply, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = String::new();
        match self.reader.by_ref().take(LONGEST).read_line(&mut line) {
            Ok(0) => return None,
            Ok(_) if line.ends_with('\n') => {}
            Ok(_) => return Some(Err(silent(&self.socket, "its answer breaks off"))),
            Err(error) => return Some(Err(silent(&self.socket, &error.to_string()))),
        }
        Some(match serde_json::from_str(&line) {
            Ok(Reply::Error(failure)) => Err(failure),
            Ok(reply) => Ok(reply),
            Err(error) => Err(silent(
                &self.socket,
                &format!("its answer can't be read, is it another version? ({error})"),
            )),
        })
    }
}

fn unreachable(socket: &Path, error: &std::io::Error) -> Failure {
    let advice = match error.kind() {
        ErrorKind::PermissionDenied => "run this as root",
        _ => {
            "start one with `geofilter up` to try it or `geofilter agent` to stay, or name its socket with --socket"
        }
    };
    Failure::new(
        FailureKind::Unreachable,
        format!("no agent answers at {}: {error}; {advice}", socket.display()),
    )
}

fn silent(socket: &Path, why: &str) -> Failure {
    Failure::new(
        FailureKind::Unreachable,
        format!("the agent at {} did not answer: {why}", socket.display()),
    )
}
