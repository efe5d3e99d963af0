//! [`Proxy`]: a real tinyproxy, by which alone a host reaches others.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::pbx::{Kept, within_patience};

/// What comes before a request in its log.
const REQUEST: &str = "): ";
const CONFIG: &str = "Listen @IP@
Port @PORT@
ConnectPort @TO@
MaxClients 20
Timeout 600
LogLevel Connect
LogFile \"@FOLDER@/log\"
";

/// See the module. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    _kept: Kept,
    folder: TempDir,
}

impl Proxy {
    /// Starts one in a namespace, which connects to this port of others and to no other one.
    ///
    /// # Errors
    /// If it is not installed (`scripts/deps lab`), or does not answer.
    pub fn start(namespace: &Namespace, at: SocketAddr, to: u16) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("gf-proxy").tempdir()?;
        let place = |name: &str| folder.path().join(name);
        let config = CONFIG
            .replace("@IP@", &at.ip().to_string())
            .replace("@PORT@", &at.port().to_string())
            .replace("@TO@", &to.to_string())
            .replace("@FOLDER@", &folder.path().display().to_string());
        fs::write(place("config"), config)?;
        let mut command = Command::new("tinyproxy");
        command.arg("-d").arg("-c").arg(place("config"));
        let kept = Kept::start(namespace, &command, "TERM", &place("output"))?;
        let proxy = Self { _kept: kept, folder };
        within_patience(|| Ok(namespace.inside(|| TcpStream::connect(at))??))
            .with_context(|| proxy.read("output"))?;
        Ok(proxy)
    }

    /// The first line of each request that it was sent.
    pub fn requests(&self) -> Vec<String> {
        let log = self.read("log");
        let requests = log.lines().filter(|line| line.contains("Request (file descriptor"));
        let requests = requests.filter_map(|line| line.split_once(REQUEST));
        requests.map(|(_, request)| request.to_owned()).collect()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}
