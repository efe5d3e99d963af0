use std::net::SocketAddr;
use std::path::PathBuf;

/// Where a portal serves, and what it works on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its own folder, with the database.
    pub state_dir: PathBuf,
    /// The socket that the agent of this host keeps for it.
    pub agent: PathBuf,
}
