//! [`Asterisk`]: a real one, running in a namespace with a [`Config`] of its own.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::pbx::{Fetched, Kept, PATIENCE, within_patience};

/// What it loads: PJSIP with all that registers and identifies, WebSocket, IAX2.
const MODULES: [&str; 22] = [
    "app_dial",
    "bridge_simple",
    "codec_ulaw",
    "pbx_config",
    "res_sorcery_config",
    "res_sorcery_memory",
    "res_sorcery_astdb",
    "res_pjproject",
    "res_timing_timerfd",
    "res_rtp_asterisk",
    "res_http_websocket",
    "res_security_log",
    "res_pjsip",
    "res_pjsip_session",
    "res_pjsip_authenticator_digest",
    "res_pjsip_outbound_authenticator_digest",
    "res_pjsip_endpoint_identifier_ip",
    "res_pjsip_endpoint_identifier_user",
    "res_pjsip_outbound_registration",
    "res_pjsip_registrar",
    "res_pjsip_nat",
    "chan_iax2",
];

/// What an Asterisk is told. What is not said is left out, but for the RTP ports and the logs.
#[derive(Debug, Clone, Default)]
pub struct Config {
    pjsip: String,
    http: String,
    manager: String,
    extensions: String,
    logger: Option<String>,
    without: Vec<&'static str>,
    modules: Vec<&'static str>,
}

impl Config {
    /// An Asterisk that takes SIP on port 5060 over UDP and TCP, IPv4 and IPv6.
    pub fn new() -> Self {
        Self::default()
            .transport("udp", "udp", "0.0.0.0:5060")
            .transport("tcp", "tcp", "0.0.0.0:5060")
            .transport("udp6", "udp", "[::]:5060")
    }

    /// Takes SIP there as well.
    pub fn transport(self, name: &str, protocol: &str, bind: &str) -> Self {
        self.pjsip(&format!("[{name}]\ntype=transport\nprotocol={protocol}\nbind={bind}\n"))
    }

    /// A device may register under this name, without a password.
    pub fn endpoint(self, name: &str) -> Self {
        self.pjsip(&format!(
            "[{name}]\ntype=endpoint\ncontext=phones\ndisallow=all\nallow=ulaw\naors={name}\n\
             rewrite_contact=yes\n[{name}]\ntype=aor\nmax_contacts=10\n"
        ))
    }

    /// A device may register under this name, with a password.
    pub fn endpoint_with_password(self, name: &str, password: &str) -> Self {
        self.endpoint(name).pjsip(&format!(
            "[{name}](+)\nauth={name}\n[{name}]\ntype=auth\nauth_type=userpass\nusername={name}\n\
             password={password}\n"
        ))
    }

    /// Registers there, as often as it may, and with a password.
    pub fn trunk_with_registration(self, name: &str, at: SocketAddr, password: &str) -> Self {
        self.pjsip(&format!(
            "[{name}]\ntype=registration\nserver_uri=sip:{at}\nclient_uri=sip:{name}@{at}\n\
             retry_interval=1\nmax_retries=10000\nexpiration=60\noutbound_auth={name}\n\
             [{name}]\ntype=auth\nauth_type=userpass\nusername={name}\npassword={password}\n"
        ))
    }

    /// Asks whether it is there (OPTIONS) every so many seconds; 0 is never.
    pub fn trunk_qualified_every(self, name: &str, seconds: u32, at: SocketAddr) -> Self {
        self.pjsip(&format!(
            "[{name}]\ntype=endpoint\ncontext=trunk\ndisallow=all\nallow=ulaw\naors={name}\n\
             [{name}]\ntype=aor\ncontact=sip:{at}\nqualify_frequency={seconds}\n"
        ))
    }

    /// Plays back to whoever calls this extension what he says, for endpoints of a context.
    pub fn echo(mut self, context: &str, extension: &str) -> Self {
        let _ = write!(
            self.extensions,
            "[{context}](+)\nexten => {extension},1,Answer()\nsame => n,Echo()\n"
        );
        self.modules.extend(["res_pjsip_pubsub", "chan_pjsip", "res_pjsip_sdp_rtp", "app_echo"]);
        self
    }

    /// Takes calls from a prefix as those of this endpoint.
    pub fn identify(self, endpoint: &str, prefix: &str) -> Self {
        self.pjsip(&format!("[{endpoint}]\ntype=identify\nendpoint={endpoint}\nmatch={prefix}\n"))
    }

    /// More of `pjsip.conf`.
    pub fn pjsip(mut self, lines: &str) -> Self {
        self.pjsip.push_str(lines);
        self
    }

    /// Serves SIP over WebSocket.
    pub fn websocket(mut self, address: SocketAddr) -> Self {
        let (ip, port) = (address.ip(), address.port());
        let _ = write!(self.http, "[general]\nenabled=yes\nbindaddr={ip}\nbindport={port}\n");
        self.modules.push("res_pjsip_transport_websocket");
        self
    }

    /// Has a manager on port 5038, with this login.
    pub fn manager(self, user: &str, secret: &str) -> Self {
        self.manager_conf(&format!(
            "[general]\nenabled=yes\nbindaddr=127.0.0.1\nport=5038\n[{user}]\nsecret={secret}\n\
             read=system,reporting,security,command\nwrite=system,reporting,command\n"
        ))
    }

    /// Logs to these files, as `logger.conf` has them, instead of everything to one.
    pub fn logger(mut self, files: &str) -> Self {
        self.logger = Some(files.to_owned());
        self
    }

    /// Does not load this module.
    pub fn without(mut self, module: &'static str) -> Self {
        self.without.push(module);
        self
    }

    /// More of `manager.conf`.
    pub fn manager_conf(mut self, lines: &str) -> Self {
        self.manager.push_str(lines);
        self
    }
}

/// A real Asterisk, until it is dropped.
#[derive(Debug)]
pub struct Asterisk {
    _kept: Kept,
    folder: TempDir,
}

impl Asterisk {
    /// Starts one and waits until it has booted.
    ///
    /// # Errors
    /// If it can't be fetched, or does not boot.
    pub fn start(namespace: &Namespace, config: &Config) -> Result<Self> {
        let fetched = Fetched::new("asterisk")?;
        let folder = tempfile::Builder::new().prefix("gf-asterisk").tempdir()?;
        write_config(&fetched, folder.path(), config)?;
        let mut command = fetched.command("usr/sbin/asterisk", &["asterisk", "systemd"])?;
        command.arg("-C").arg(folder.path().join("asterisk.conf")).arg("-f");
        let kept = Kept::start(namespace, &command, "KILL", &folder.path().join("output"))?;
        let asterisk = Self { _kept: kept, folder };
        asterisk.wait_until_booted().with_context(|| format!("Asterisk: {}", asterisk.log()))?;
        Ok(asterisk)
    }

    /// Asks its command line.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn cli(&self, command: &str) -> Result<String> {
        ask(&self.control(), command)
    }

    /// Its process.
    ///
    /// # Errors
    /// If it did not write that down.
    pub fn pid(&self) -> Result<i32> {
        let text = fs::read_to_string(self.folder.path().join("run/asterisk.pid"))?;
        text.trim().parse().context("the process id of Asterisk")
    }

    /// Where it logs.
    pub fn logs(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// What it logged.
    pub fn log(&self) -> String {
        let files = ["output", "log/messages.log"].map(|name| self.folder.path().join(name));
        files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect()
    }

    /// The socket of its command line.
    pub fn control(&self) -> PathBuf {
        self.folder.path().join("run/asterisk.ctl")
    }

    /// Early in its boot it may take a connection and give it up again.
    fn wait_until_booted(&self) -> Result<()> {
        within_patience(|| {
            let answer = self.cli("core waitfullybooted")?;
            ensure!(answer.contains("has fully booted"), "it said: {answer}");
            Ok(())
        })
    }
}

fn ask(control: &Path, command: &str) -> Result<String> {
    let mut stream = UnixStream::connect(control)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("cli quit after {command}\0").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    // The first line greets.
    Ok(answer.split_once('\n').unwrap_or_default().1.to_owned())
}

fn write_config(fetched: &Fetched, folder: &Path, config: &Config) -> Result<()> {
    for name in ["run", "log", "spool", "lib", "keys", "db"] {
        fs::create_dir(folder.join(name))?;
    }
    let here = folder.display();
    let directories = format!(
        "[directories]\nastetcdir => {here}\nastmoddir => {modules}\nastvarlibdir => {here}/lib\n\
         astdbdir => {here}/db\nastkeydir => {here}/keys\nastdatadir => {data}\nastagidir => {here}/lib\n\
         astspooldir => {here}/spool\nastrundir => {here}/run\nastlogdir => {here}/log\n[options]\n",
        modules = fetched.library("asterisk/modules").display(),
        data = fetched.path("usr/share/asterisk").display(),
    );
    let load = |name: &&str| format!("load={name}.so\n");
    let wanted = MODULES.iter().chain(&config.modules);
    let loaded: String = wanted.filter(|name| !config.without.contains(name)).map(load).collect();
    let usual = "messages.log => notice,warning,error,security\n";
    let logger = config.logger.as_deref().unwrap_or(usual);
    let files = [
        ("asterisk.conf", directories),
        ("modules.conf", format!("[modules]\nautoload=no\n{loaded}")),
        ("logger.conf", format!("[logfiles]\n{logger}")),
        ("rtp.conf", "[general]\nrtpstart=10000\nrtpend=10100\n".to_owned()),
        ("iax.conf", "[general]\nbindaddr=0.0.0.0\n".to_owned()),
        ("extensions.conf", format!("[phones]\n[trunk]\n{}", config.extensions)),
        ("pjsip.conf", config.pjsip.clone()),
        ("http.conf", config.http.clone()),
        ("manager.conf", config.manager.clone()),
    ];
    files.iter().try_for_each(|(name, text)| Ok(fs::write(folder.join(name), text)?))
}
