use std::net::SocketAddr;
use std::path::PathBuf;

use crate::fleet::Keeping;
use crate::store::Server;
use crate::tls::Pem;

/// Where a portal serves, and what it works on.
#[derive(Clone)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where the hosts of its fleet connect, if it has one.
    pub fleet: Option<SocketAddr>,
    /// The certificate that it shows, with its key; without one it makes its own where it can be reached from elsewhere.
    pub tls: Option<Pem>,
    /// What else it is called by those who ask for it.
    pub names: Vec<String>,
    /// Its own folder, with the database unless that is on a server.
    pub state_dir: PathBuf,
    /// The server that keeps the database, which several portals share.
    pub database: Option<Server>,
    /// The socket that the agent of this host keeps for it.
    pub agent: PathBuf,
    /// How it keeps world data for the hosts of its fleet, if it does.
    pub world: Option<Keeping>,
}
