//! [`Portal`]: the real binary's portal, beside an agent in a namespace; a [`Client`] is somebody at it.

use std::io::{BufRead, BufReader, Lines};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use std::{fs, io, thread};

use anyhow::{Context, Result, anyhow, bail, ensure};
use geofilter_core::geodata::embedded;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use ureq::http::{Request, Response};
use ureq::tls::TlsConfig;

use crate::addresses::Addresses;
use crate::gun::{Gun, frame};
use crate::namespace::Namespace;
use crate::phones::{INVITE, Phones};
use crate::process::{Agent, binary};
use crate::site::{PBX_V4, SIP, Site, WAN};

/// Who the portal runs as in tests, and what an agent's configuration says of it.
const USER: &str = "nobody";

/// Where the API has the host of a scene.
pub const HOST: &str = "/api/v1/hosts/local";

const PATIENCE: Duration = Duration::from_secs(20);
/// Guesses that are sent together.
const BURST: usize = 64;
/// What every other one knows in tests.
pub const ANOTHER: &str = "a fairly long password";
/// What every other one is given before.
pub const GIVEN: &str = "fairly long and given";
/// What the first operator is called in tests, and knows.
const OPERATOR: [&str; 2] = ["Ana Popescu", "correct horse battery"];

/// A portal that serves.
#[derive(Debug)]
pub struct Portal<'a> {
    namespace: &'a Namespace,
    state_dir: PathBuf,
    words: Vec<String>,
    child: Child,
    /// Where it serves.
    pub url: String,
    /// What follows the `#` of the one-time link, if nobody may sign in yet.
    pub first: Option<String>,
    /// Where the folder is, if it goes with the portal.
    folder: Option<TempDir>,
    /// What its host is called, if not what this machine is.
    host_name: Option<String>,
    /// Where it logs, if not where whoever started it does.
    log: Option<PathBuf>,
}

/// Somebody at a portal, who may have signed in.
#[derive(Debug, Clone)]
pub struct Client<'a> {
    namespace: &'a Namespace,
    url: String,
    /// The session's cookie.
    pub cookie: Option<String>,
    csrf: Option<String>,
}

/// What a portal answered.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The head.
    pub head: Response<()>,
    /// The body; null if it is not JSON.
    pub body: Value,
    /// The same as it came.
    pub text: String,
}

/// A configuration that has an agent serve the portal.
///
/// # Errors
/// If it can't be written.
fn config() -> Result<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), format!("[portal]\nuser = \"{USER}\"\n"))?;
    Ok(file)
}

/// A host with an agent and its portal, and somebody in China who calls.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The agent, which is off.
    pub agent: Agent<'a>,
    /// Its portal.
    pub portal: Portal<'a>,
    phones: &'a Phones<'a>,
    abroad: UdpSocket,
}

impl Scene<'_> {
    /// Sets it, with an agent that has these further words, for a test.
    ///
    /// # Errors
    /// If something of it does not start.
    pub fn set(words: &[&str], test: impl FnOnce(&mut Scene<'_>)) -> Result<()> {
        let world = embedded::world()?.world;
        let addresses = Addresses::new(&world);
        let site = Site::new()?;
        site.host.ip("link set lo up")?;
        let phones = Phones::new(&site, &addresses);
        let config = config()?;
        let config = config.path().to_string_lossy();
        let agent = [&["--config", &config, "--interface", WAN], words].concat();
        let agent = Agent::start(&site.host, &agent)?;
        let portal = Portal::start(&site.host, &agent)?;
        let abroad = phones.somebody(addresses.v4("CN"), 0);
        test(&mut Scene { agent, portal, phones: &phones, abroad });
        Ok(())
    }

    /// Serves there from now on, with these further words.
    ///
    /// # Errors
    /// If it does not end, or serve there.
    pub fn serve_at(&mut self, listen: &str, words: &[&str]) -> Result<()> {
        self.portal.end()?;
        let at = self.portal.words.iter().position(|word| word == "--listen");
        let at = at.context("where it listens")? + 1;
        self.portal.words[at] = listen.to_owned();
        self.portal.words.extend(words.iter().map(|&word| word.to_owned()));
        self.portal.serve()
    }

    /// Somebody abroad who has not signed in, at this address of the internet.
    ///
    /// # Errors
    /// If there is no way from there.
    pub fn abroad(&self, address: std::net::Ipv4Addr) -> Result<Client<'_>> {
        let internet = &self.phones.site.internet;
        internet.ip(&format!("route replace {PBX_V4}/32 dev net0 table local src {address}"))?;
        Ok(Client { namespace: internet, ..self.portal.stranger() })
    }

    /// Where it is.
    pub fn site(&self) -> &Site {
        self.phones.site
    }

    /// When the last packet from China reached the PBX, one of which is sent every millisecond from before something is done until
    /// a while after.
    ///
    /// # Errors
    /// If it can't be done, or nothing came at all.
    pub fn last_from_china<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<(T, SystemTime)> {
        const WHILE: Duration = Duration::from_millis(500);
        let ends = AtomicBool::new(false);
        thread::scope(|scope| {
            let sender = scope.spawn(|| -> io::Result<()> {
                while !ends.load(Ordering::Relaxed) {
                    self.abroad.send_to(INVITE.as_bytes(), (PBX_V4, SIP))?;
                    thread::sleep(Duration::from_millis(1));
                }
                Ok(())
            });
            let last = scope.spawn(|| self.phones.last_heard(&ends));
            let done = act();
            thread::sleep(WHILE);
            ends.store(true, Ordering::Relaxed);
            sender.join().map_err(|_| anyhow!("the sender panicked"))??;
            let last = last.join().map_err(|_| anyhow!("the PBX panicked"))??;
            Ok((done?, last.context("nothing came from China")?))
        })
    }

    /// Each of these addresses guesses at the PBX once.
    ///
    /// # Errors
    /// If that can't be sent.
    pub fn guess_from(&self, sources: &[std::net::Ipv4Addr]) -> Result<()> {
        let gun = Gun::new(&self.site().internet, "net0")?;
        let frames: Vec<_> = sources.iter().map(|source| frame((*source).into())).collect();
        // The log is read a burst at a time.
        for burst in frames.chunks(BURST) {
            gun.fire(burst)?;
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Whether a call from this address of the internet reaches the PBX.
    pub fn lets_in(&self, address: std::net::Ipv4Addr) -> bool {
        self.phones.lets_in(address)
    }

    /// Whether China reaches the PBX. Spain does in any case, or this fails.
    pub fn reached(&self) -> bool {
        self.phones.reaches(&self.abroad, INVITE)
    }
}

impl<'a> Portal<'a> {
    /// The namespace of its host.
    pub fn namespace(&self) -> &'a Namespace {
        self.namespace
    }

    /// Starts one beside this agent, which has [`config`], and waits until it serves.
    ///
    /// # Errors
    /// If it does not.
    pub fn start(namespace: &'a Namespace, agent: &Agent<'_>) -> Result<Self> {
        let folder = folder()?;
        let state_dir = folder.path().join("state");
        let mut portal = Self::start_in(namespace, agent, &state_dir)?;
        portal.folder = Some(folder);
        Ok(portal)
    }

    /// The same in a folder that stays.
    ///
    /// # Errors
    /// If it does not serve.
    pub fn start_in(namespace: &'a Namespace, agent: &Agent<'_>, state_dir: &Path) -> Result<Self> {
        let socket = agent.runtime_dir().join("portal.sock");
        Self::run(namespace, &socket, state_dir, &[], None, None)
    }

    /// One that leads a fleet and has no host of its own: hosts connect to it there, and its database is on this server, or in its folder.
    ///
    /// # Errors
    /// If it does not serve.
    pub fn lead(
        namespace: &'a Namespace,
        fleet: SocketAddr,
        database: Option<&str>,
    ) -> Result<Self> {
        let words = database.map(|database| ["--database", database]);
        Self::lead_with(namespace, fleet, words.as_ref().map_or(&[], |words| words))
    }

    /// The same with these words in the place of a server.
    ///
    /// # Errors
    /// If it does not serve.
    pub fn lead_with(namespace: &'a Namespace, fleet: SocketAddr, words: &[&str]) -> Result<Self> {
        let folder = folder()?;
        let mut portal = Self::lead_in(namespace, fleet, folder.path(), words)?;
        portal.folder = Some(folder);
        Ok(portal)
    }

    /// The same in a folder that stays.
    ///
    /// # Errors
    /// If it does not serve.
    pub fn lead_in(
        namespace: &'a Namespace,
        fleet: SocketAddr,
        folder: &Path,
        words: &[&str],
    ) -> Result<Self> {
        let (socket, state_dir) = (folder.join("no.sock"), folder.join("state"));
        let fleet = fleet.to_string();
        let further = [&["--fleet", &*fleet], words].concat();
        let log = folder.join("log");
        Self::run(namespace, &socket, &state_dir, &further, None, Some(log))
    }

    fn run(
        namespace: &'a Namespace,
        socket: &Path,
        state_dir: &Path,
        further: &[&str],
        host_name: Option<&str>,
        log: Option<PathBuf>,
    ) -> Result<Self> {
        let (socket, folder) = (socket.to_string_lossy(), state_dir.to_string_lossy());
        let words = ["portal", "run", "--json", "--listen", "127.0.0.1:0", "--user", USER];
        let places = ["--agent", &socket, "--state-dir", &folder];
        let words = words.iter().chain(&places).chain(further);
        let words: Vec<String> = words.map(|&word| word.to_owned()).collect();
        let (child, url, first) = serve(namespace, &words, host_name, log.as_deref())?;
        let state_dir = state_dir.to_owned();
        let (folder, host_name) = (None, host_name.map(str::to_owned));
        Ok(Self { namespace, state_dir, words, child, url, first, folder, host_name, log })
    }

    /// Another one beside the same agent, on a host that is called so, with these further words.
    ///
    /// # Errors
    /// If it does not serve.
    pub fn beside(&self, host_name: &str, words: &[&str]) -> Result<Self> {
        let folder = folder()?;
        let at = self.words.iter().position(|word| word == "--agent").context("its agent")?;
        let (socket, state_dir) = (PathBuf::from(&self.words[at + 1]), folder.path().join("state"));
        let name = Some(host_name);
        let mut portal = Self::run(self.namespace, &socket, &state_dir, words, name, None)?;
        portal.folder = Some(folder);
        Ok(portal)
    }

    /// Ends it and starts it again at the same place.
    ///
    /// # Errors
    /// If it does not end, or serve again.
    pub fn restart(&mut self) -> Result<()> {
        self.end()?;
        let at = self.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let words = self.words.iter().map(|word| match word.as_str() {
            "127.0.0.1:0" => at.clone(),
            word => word.to_owned(),
        });
        self.words = words.collect();
        self.serve()
    }

    /// Starts it again at the same place, on a host that is called so.
    ///
    /// # Errors
    /// If it does not end, or serve again.
    pub fn restart_on(&mut self, host_name: &str) -> Result<()> {
        self.host_name = Some(host_name.to_owned());
        self.restart()
    }

    /// Starts it again at the same place after it was killed.
    ///
    /// # Errors
    /// If it does not serve again.
    pub fn restart_after_a_kill(&mut self) -> Result<()> {
        self.child.wait()?;
        self.serve()
    }

    fn serve(&mut self) -> Result<()> {
        let name = self.host_name.as_deref();
        let log = self.log.as_deref();
        (self.child, self.url, self.first) = serve(self.namespace, &self.words, name, log)?;
        Ok(())
    }

    /// Ends it as an administrator would.
    ///
    /// # Errors
    /// If it does not end well.
    pub fn end(&mut self) -> Result<()> {
        // It may have been ended before.
        if self.child.try_wait()?.is_none() {
            kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        }
        let ended = self.child.wait()?;
        ensure!(ended.success(), "the portal ended with {ended}");
        Ok(())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// If it does not die.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Its folder.
    pub fn state_dir(&self) -> PathBuf {
        self.state_dir.clone()
    }

    /// Its database, which it may have open.
    ///
    /// # Errors
    /// If it can't be opened.
    pub fn database(&self) -> Result<rusqlite::Connection> {
        Ok(rusqlite::Connection::open(self.state_dir().join("portal.db"))?)
    }

    /// As if all that anybody proved had been so many seconds before.
    ///
    /// # Errors
    /// If the database can't be written.
    pub fn age_proofs(&self, seconds: i64) -> Result<()> {
        let milliseconds = [seconds * 1000];
        self.database()?.execute("UPDATE session SET proved = proved - ?", milliseconds)?;
        Ok(())
    }

    /// Another operator with this name and role, whom an admin adds, signed in.
    ///
    /// # Errors
    /// If that is refused.
    pub fn operator(&self, admin: &Client<'_>, name: &str, role: &str) -> Result<Client<'a>> {
        self.operator_of(admin, name, role, None)
    }

    /// The same, of one organisation.
    ///
    /// # Errors
    /// If that is refused.
    pub fn operator_of(
        &self,
        admin: &Client<'_>,
        name: &str,
        role: &str,
        tenant: Option<i64>,
    ) -> Result<Client<'a>> {
        let body = json!({ "name": name, "password": GIVEN, "role": role, "tenant": tenant });
        admin.must("POST", "/api/v1/operators", Some(&body))?;
        let mut client = self.stranger();
        client.sign_in_as(name, GIVEN)?;
        client.choose_password(GIVEN, ANOTHER)?;
        Ok(client)
    }

    /// Somebody who has not signed in.
    pub fn stranger(&self) -> Client<'a> {
        Client { namespace: self.namespace, url: self.url.clone(), cookie: None, csrf: None }
    }

    /// The first operator, made by the one-time link.
    ///
    /// # Errors
    /// If it is refused.
    pub fn first_operator(&self) -> Result<Client<'a>> {
        let mut client = self.stranger();
        let token = self.first.as_deref().context("there is no one-time link")?;
        let [name, password] = OPERATOR;
        let body = json!({ "token": token, "name": name, "password": password });
        client.begin("/api/v1/session/first", &body)?;
        Ok(client)
    }
}

impl Drop for Portal<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folder() -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("gf-portal").tempdir()?;
    // Its user passes through.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

fn serve(
    namespace: &Namespace,
    words: &[String],
    host_name: Option<&str>,
    log: Option<&Path>,
) -> Result<(Child, String, Option<String>)> {
    let mut command = match host_name {
        Some(name) => called(name)?,
        None => Command::new(binary()?),
    };
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped());
    if let Some(log) = log {
        command.stderr(fs::File::options().create(true).append(true).open(log)?);
    }
    let mut child = namespace.inside(move || command.spawn())??;
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().context("its output")?).read_line(&mut line)?;
    let Ok(ready) = serde_json::from_str::<Value>(&line) else {
        let ended = child.wait()?;
        let said = log.and_then(|log| fs::read_to_string(log).ok()).unwrap_or_default();
        bail!("the portal does not serve: {line:?}, {ended} {said}");
    };
    let url = ready["url"].as_str().context("no url")?.to_owned();
    let first = ready["first"].as_str().and_then(|link| link.split_once('#'));
    Ok((child, url, first.map(|(_, token)| token.to_owned())))
}

/// The program on a host of this name.
fn called(host_name: &str) -> Result<Command> {
    let mut command = Command::new("unshare");
    command.args(["--uts", "sh", "-ec"]);
    command.arg("printf %s \"$1\" >/proc/sys/kernel/hostname; shift; exec \"$@\"");
    command.arg("sh").arg(host_name).arg(binary()?);
    Ok(command)
}

impl<'a> Client<'a> {
    /// Signs the first operator in.
    ///
    /// # Errors
    /// If that is refused.
    pub fn sign_in(&mut self) -> Result<()> {
        let [name, password] = OPERATOR;
        self.sign_in_as(name, password)
    }

    /// Signs somebody in.
    ///
    /// # Errors
    /// If that is refused.
    pub fn sign_in_as(&mut self, name: &str, password: &str) -> Result<()> {
        self.begin("/api/v1/session", &json!({ "name": name, "password": password }))
    }

    /// Has another password from now on, and the cookie that comes with it.
    ///
    /// # Errors
    /// If that is refused.
    pub fn choose_password(&mut self, old: &str, new: &str) -> Result<()> {
        let body = json!({ "old": old, "new": new });
        let answer = self.send("PUT", "/api/v1/session/password", Some(&body))?;
        ensure!(answer.status == 204, "{}: {}", answer.status, answer.text);
        ensure!(self.keep(&answer)?, "no cookie");
        Ok(())
    }

    fn begin(&mut self, path: &str, body: &Value) -> Result<()> {
        let answer = self.send("POST", path, Some(body))?;
        ensure!(answer.status == 201, "{}: {}", answer.status, answer.text);
        ensure!(self.keep(&answer)?, "no cookie");
        self.csrf = answer.body["csrf"].as_str().map(str::to_owned);
        Ok(())
    }

    /// Keeps the cookie that an answer brought, as browsers do. Says whether it brought one.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn keep(&mut self, answer: &Answer) -> Result<bool> {
        let Some(cookie) = answer.head.headers().get("set-cookie") else { return Ok(false) };
        self.cookie = Some(cookie.to_str()?.split(';').next().unwrap_or_default().to_owned());
        Ok(true)
    }

    /// The same somebody at a portal that was started anew elsewhere.
    #[must_use]
    pub fn on(&self, portal: &Portal<'a>) -> Self {
        self.at(&portal.url)
    }

    /// The same somebody, who asks there.
    #[must_use]
    pub fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self.clone() }
    }

    /// The same somebody, who repeats something else than the session's token, or nothing.
    pub fn repeating(&self, csrf: Option<&str>) -> Self {
        Self { csrf: csrf.map(str::to_owned), ..self.clone() }
    }

    /// Asks for something.
    ///
    /// # Errors
    /// If nothing is answered.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.send("GET", path, None)
    }

    /// The same, which must be had.
    ///
    /// # Errors
    /// If it is refused.
    pub fn read(&self, path: &str) -> Result<Value> {
        self.must("GET", path, None)
    }

    /// Has something done, which must be.
    ///
    /// # Errors
    /// If it is refused.
    pub fn must(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let answer = self.send(method, path, body)?;
        ensure!(answer.status < 300, "{method} {path}: {}: {}", answer.status, answer.text);
        Ok(answer.body)
    }

    /// Has something done, and returns what was answered.
    ///
    /// # Errors
    /// If nothing is.
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer> {
        self.send_with(method, path, body, &[])
    }

    /// The same with further headers.
    ///
    /// # Errors
    /// If nothing is answered.
    pub fn send_with(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Answer> {
        let uri = format!("{}{}", self.url.trim_end_matches('/'), path);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in self.own_headers().into_iter().chain(headers.iter().copied()) {
            request = request.header(name, value);
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.header("content-type", "application/json").body(body)?;
        self.namespace.inside(move || exchange(request))?
    }

    /// What says who asks.
    pub fn own_headers(&self) -> Vec<(&str, &str)> {
        let cookie = self.cookie.as_deref().map(|cookie| ("cookie", cookie));
        let csrf = self.csrf.as_deref().map(|csrf| ("x-csrf-token", csrf));
        cookie.into_iter().chain(csrf).collect()
    }

    /// What happens from now on, as server-sent events.
    ///
    /// # Errors
    /// If that is refused.
    pub fn events(&self, path: &str) -> Result<Events> {
        use io::Write as _;
        let at = self.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let mut stream = self.namespace.inside(move || TcpStream::connect(at))??;
        stream.set_read_timeout(Some(PATIENCE))?;
        let cookie = self.cookie.as_deref().unwrap_or_default();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n")?;
        let mut lines = BufReader::new(stream).lines();
        let status = lines.next().context("no answer")??;
        ensure!(status.contains(" 200 "), "{path}: {status}");
        Ok(Events { lines })
    }
}

fn exchange(request: Request<String>) -> Result<Answer> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .max_redirects(0)
        .timeout_global(Some(PATIENCE))
        // The portal's own certificate, which a test compares where that matters.
        .tls_config(TlsConfig::builder().disable_verification(true).build())
        .build();
    let agent = ureq::Agent::new_with_config(config);
    let (head, mut body) = agent.run(request)?.into_parts();
    let text = body.read_to_string()?;
    Ok(Answer {
        status: head.status.as_u16(),
        head: Response::from_parts(head, ()),
        body: serde_json::from_str(&text).unwrap_or_default(),
        text,
    })
}

/// Server-sent events, as they come.
#[derive(Debug)]
pub struct Events {
    lines: Lines<BufReader<TcpStream>>,
}

impl Events {
    /// The next one, and its name.
    ///
    /// # Errors
    /// If none comes in time.
    pub fn any(&mut self) -> Result<(String, Value)> {
        loop {
            let line = self.lines.next().context("the stream has ended")??;
            if let Some(name) = line.strip_prefix("event: ") {
                let data = self.lines.next().context("the stream has ended")??;
                let data = data.strip_prefix("data: ").context("no data")?;
                return Ok((name.to_owned(), serde_json::from_str(data)?));
            }
        }
    }

    /// The next one of this name, for as long as one of any name comes in time.
    ///
    /// # Errors
    /// If none does.
    pub fn next(&mut self, name: &str) -> Result<Value> {
        loop {
            let (found, data) = self.any()?;
            if found == name {
                return Ok(data);
            }
        }
    }
}
