//! [`Patience`] for somebody who may hang, and [`open`], a control socket of a PBX.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketType, sockopt};

use super::processes::Found;

/// The longest answer that is read.
const LONGEST: usize = 32 << 20;

/// Why a PBX could not be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("it has no control socket that can be seen from here")]
    NoSocket,
    #[error("its control socket {0} is closed to you: ask as root")]
    Forbidden(String),
    #[error("its control socket {0} belongs to another process, so it was not asked")]
    Foreign(String),
    #[error("it did not answer in time")]
    Slow,
    #[error("it closed the connection in the middle of its answer")]
    Cut,
    #[error("its answer is too long")]
    TooLong,
    #[error("cannot talk to it: {0}")]
    Broken(#[source] io::Error),
    #[error("its manager refused the login: look at ami-user and the file of the secret")]
    Login,
    #[error("the secret for its manager can't be read from {path}: {error}")]
    Secret { path: String, error: io::Error },
    #[error("{0}")]
    Wrong(#[from] geofilter_core::pbx::binrpc::Wrong),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Slow,
            _ => Self::Broken(error),
        }
    }
}

/// How long to wait, over all that is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience(Instant);

impl Patience {
    /// From now on.
    pub(super) fn new(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// What is left of it.
    pub(super) fn left(self) -> Result<Duration, Trouble> {
        let left = self.0.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Trouble::Slow) } else { Ok(left) }
    }
}

/// A connection whose every step can be limited.
pub(super) trait Limited: Read + Write {
    /// Sets how long the next step may take.
    fn limit(&self, time: Duration) -> io::Result<()>;
}

impl Limited for UnixStream {
    fn limit(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time)).and_then(|()| self.set_write_timeout(Some(time)))
    }
}

impl Limited for TcpStream {
    fn limit(&self, time: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(time)).and_then(|()| self.set_write_timeout(Some(time)))
    }
}

/// Sends a request.
pub(super) fn send(
    stream: &mut impl Limited,
    request: &[u8],
    patience: Patience,
) -> Result<(), Trouble> {
    stream.limit(patience.left()?)?;
    Ok(stream.write_all(request)?)
}

/// Reads until `whole` says that this is all, or the other side closes the connection. What was read
/// before is in `answer`.
pub(super) fn receive(
    stream: &mut impl Limited,
    answer: &mut Vec<u8>,
    patience: Patience,
    mut whole: impl FnMut(&[u8]) -> Result<bool, Trouble>,
) -> Result<(), Trouble> {
    let mut buffer = [0; 16_384];
    while !whole(answer)? {
        stream.limit(patience.left()?)?;
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        if answer.len() > LONGEST {
            return Err(Trouble::TooLong);
        }
    }
    Ok(())
}

/// Connects to a control socket of a PBX, and makes sure that one of its processes listens there: the path
/// may be anybody's by now.
pub(super) fn open(found: &Found, path: &Path, patience: Patience) -> Result<UnixStream, Trouble> {
    let shown = || path.display().to_string();
    let socket = found.open(path, OFlags::PATH);
    let stream = socket.and_then(|socket| connect(&socket, patience));
    let stream = stream.map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => Trouble::Forbidden(shown()),
        ErrorKind::NotFound => Trouble::NoSocket,
        _ => error.into(),
    })?;
    let peer = sockopt::socket_peercred(&stream).map_err(io::Error::from)?;
    if !found.pids.contains(&peer.pid.as_raw_nonzero().get()) {
        return Err(Trouble::Foreign(shown()));
    }
    Ok(stream)
}

/// Connecting blocks when a hung process has its queue full.
fn connect(place: &OwnedFd, patience: Patience) -> io::Result<UnixStream> {
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    let socket = net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    let left = patience.left().map_err(|_| io::Error::from(ErrorKind::TimedOut))?;
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(left))?;
    net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}
