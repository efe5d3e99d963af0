use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a portal does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is taken, or not this user's to take.
    #[error(
        "cannot listen on {address}: {source}; name another one with --listen, or --fleet for hosts"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// It can't show who it is.
    #[error(transparent)]
    Tls(#[from] crate::tls::Error),
    /// Its folder can't be used.
    #[error("cannot use the portal's folder {}: {source}; see that it is the portal's user's", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another one has its folder.
    #[error("another portal keeps its database in {}: stop it first, or give this one a --state-dir of its own", .0.display())]
    Taken(PathBuf),
    /// It could not be confined, and does not serve so.
    #[error(transparent)]
    Sandbox(#[from] crate::sandbox::Error),
    /// Its database can't be used.
    #[error("cannot use the portal's database {at}: {source}")]
    Database {
        /// Where it is.
        at: String,
        /// Why.
        source: sqlx::Error,
    },
    /// It can't be the portal of a fleet.
    #[error(transparent)]
    Fleet(#[from] crate::fleet::Error),
    /// It can't be called so.
    #[error("that is no name of a group or an organisation: {0}")]
    Name(String),
    /// Several organisations have a group of that name.
    #[error("several organisations have a group {0}: name one with --organisation")]
    Ambiguous(String),
    /// Nobody has that name.
    #[error("there is no operator {name}; there are: {there}")]
    NoOperator {
        /// The name.
        name: String,
        /// Who there is.
        there: String,
    },
    /// Something that every process has.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}
