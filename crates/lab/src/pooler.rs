//! [`Pooler`]: a real PgBouncer between portals and their database, which gives a connection to whoever has a transaction.

use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::pbx::{Fetched, Kept, within_patience};

/// Where it listens.
const AT: ([u8; 4], u16) = ([127, 0, 0, 1], 6432);
const CONFIG: &str = "[databases]
* = host=127.0.0.1 port=@PORT@
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = 6432
unix_socket_dir =
auth_type = scram-sha-256
auth_file = @FOLDER@/users
pool_mode = transaction
max_prepared_statements = 200
default_pool_size = @SIZE@
user = nobody
";

/// See the module. It ends when it is dropped.
#[derive(Debug)]
pub struct Pooler {
    _kept: Kept,
    folder: TempDir,
}

impl Pooler {
    /// Starts one in a namespace, with so many connections to the server of this URL, which is there on loopback. Returns the URL of
    /// the same database by it.
    ///
    /// # Errors
    /// If it can't be fetched, or does not answer.
    pub fn start(namespace: &Namespace, url: &str, size: u32) -> Result<(Self, String)> {
        let (user, server) = url
            .strip_prefix("postgres://")
            .and_then(|url| url.split_once('@'))
            .context("who is to connect, and where")?;
        let (name, password) = user.split_once(':').context("a password")?;
        let (at, database) = server.split_once('/').context("a database")?;
        let (_, port) = at.split_once(':').context("a port")?;
        let fetched = Fetched::new("pgbouncer")?;
        let readable = Permissions::from_mode(0o755);
        let folder =
            tempfile::Builder::new().prefix("gf-pooler").permissions(readable).tempdir()?;
        let place = |name: &str| folder.path().join(name);
        fs::write(place("users"), format!("\"{name}\" \"{password}\"\n"))?;
        let config = CONFIG
            .replace("@PORT@", port)
            .replace("@FOLDER@", &folder.path().display().to_string())
            .replace("@SIZE@", &size.to_string());
        fs::write(place("config"), config)?;
        let mut command = fetched.command("usr/sbin/pgbouncer", &[])?;
        command.arg(place("config"));
        // By TERM it would wait until its clients are gone.
        let kept = Kept::start(namespace, &command, "QUIT", &place("output"))?;
        let pooler = Self { _kept: kept, folder };
        within_patience(|| Ok(namespace.inside(|| TcpStream::connect(SocketAddr::from(AT)))??))
            .with_context(|| pooler.log())?;
        Ok((pooler, format!("postgres://{user}@127.0.0.1:{}/{database}", AT.1)))
    }

    /// What it said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }
}
