//! [`run`]: listens, gives up what it no longer needs, and serves until it is told to end.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use axum_server::tls_rustls::RustlsConfig;
use geofilter_core::desired::Generation;
use geofilter_fleet::HostId;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use crate::agent::Agent;
use crate::connections::{self, Few};
use crate::courier::Courier;
use crate::error::Error;
use crate::fleet::{self, Connected, Fetcher, Follower, Statements, World};
use crate::hub::Hub;
use crate::keeper::keep;
use crate::names::Names;
use crate::problem::{Kind, Problem};
use crate::secret::{Token, same};
use crate::store::Store;
use crate::throttle::Throttle;
use crate::tls::Tls;
use crate::{Settings, api, host, notices, sandbox};

/// Passwords that are hashed at a time: each takes 19 MiB and a processor.
const HASHING: usize = 2;
/// Who waits for that at most.
const WAITING: usize = 64;
const BURIAL: Duration = Duration::from_secs(2);
const MOMENT: Duration = Duration::from_millis(20);

/// How long the head of a request may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a portal says once it serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Where.
    pub url: String,
    /// The one-time link that makes the first operator, if there is none.
    pub first: Option<String>,
    /// SHA-256 of its certificate, if that is its own: browsers warn of it, and show this.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// Where the hosts of its fleet connect.
    #[serde(default)]
    pub fleet: Option<String>,
}

/// What handlers share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    /// What its own host is called there.
    pub(crate) here: String,
    pub(crate) hub: Hub,
    pub(crate) throttle: Mutex<Throttle>,
    pub(crate) hashing: Semaphore,
    pub(crate) waiting: Semaphore,
    /// Held by whoever has a report of a month written.
    pub(crate) reporting: Semaphore,
    /// Held by whoever changes what a traveller's link exempts.
    pub(crate) travelling: tokio::sync::Mutex<()>,
    pub(crate) courier: Courier,
    /// Tells the hosts of the fleet what they are to do.
    pub(crate) follower: Arc<Follower>,
    /// What hosts of the fleet pull, if that is anything.
    pub(crate) world: Option<Arc<World>>,
    pub(crate) names: Names,
    /// The newest generation that was made here, none if it is 0.
    newest: AtomicU64,
    /// The digest of the one-time link.
    first: Mutex<Option<[u8; 32]>>,
}

impl Shared {
    /// A generation was made here.
    pub(crate) fn made(&self, generation: Generation) {
        self.newest.fetch_max(generation.0, Ordering::Relaxed);
    }

    /// The newest that was made here.
    pub(crate) fn newest(&self) -> Option<Generation> {
        Some(self.newest.load(Ordering::Relaxed)).filter(|newest| *newest > 0).map(Generation)
    }

    /// Whether this is the one-time link. It still is until [`Self::spend_first`].
    pub(crate) fn is_first(&self, digest: &[u8; 32]) -> bool {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.as_ref().is_some_and(|first| same(first, digest))
    }

    /// The one-time link is used up.
    pub(crate) fn spend_first(&self) {
        *self.first.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How a request without a session is refused.
    pub(crate) async fn nobody(&self) -> Result<Problem, Problem> {
        Ok(match self.store.has_operators().await? {
            true => Problem::new(Kind::Session, "sign in"),
            false => Problem {
                first: true,
                ..Problem::new(
                    Kind::Session,
                    "nobody may sign in yet: open the one-time link that the portal printed when it started",
                )
            },
        })
    }
}

/// Serves until SIGTERM or SIGINT, with this [courier](crate::courier::start), and the process that fetches world data for a fleet, if there is one.
///
/// # Errors
/// If it can't listen, or can't use its folder.
pub fn run(
    settings: Settings,
    courier: OwnedFd,
    fetcher: Option<OwnedFd>,
    ready: impl FnOnce(&Ready),
) -> Result<(), Error> {
    let folder = |source| Error::Folder { path: settings.state_dir.clone(), source };
    make(&settings.state_dir).map_err(folder)?;
    // Held, not used: as long as this process lives nobody else takes the folder for one that is not in use.
    let _lock = lock(&settings.state_dir)
        .map_err(folder)?
        .ok_or_else(|| Error::Taken(settings.state_dir.clone()))?;
    let system = |what| move |source| Error::System { what, source };
    let tls = match (&settings.tls, settings.listen.ip().is_loopback()) {
        (Some(pem), _) => Some(Tls::given(pem)?),
        (None, false) => {
            Some(Tls::own(&settings.state_dir, &settings.names, settings.listen.ip())?)
        }
        (None, true) => None,
    };
    // All of it while there is one thread: what confines it holds for those it starts.
    let listener = TcpListener::bind(settings.listen)
        .map_err(|source| Error::Listen { address: settings.listen, source })?;
    listener.set_nonblocking(true).map_err(system("use its socket"))?;
    let hosts = settings.fleet.map(|address| {
        let listener =
            TcpListener::bind(address).map_err(|source| Error::Listen { address, source })?;
        listener.set_nonblocking(true).map_err(system("use its socket"))?;
        Ok::<_, Error>(listener)
    });
    let hosts = hosts.transpose()?;
    connections::make_room(hosts.is_some());
    sandbox::enter(&settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(system("start the runtime"))?;
    runtime.block_on(async {
        let at = listener.local_addr().map_err(system("say where it listens"))?;
        let ends = ends().map_err(system("listen for signals"))?;
        let (shared, first) = open(&settings, tls.as_ref(), courier).await?;
        tokio::spawn(notices::mind(Arc::clone(&shared)));
        let fleet = match hosts {
            Some(hosts) => {
                let fetcher = fetcher.map(|socket| Fetcher::of(socket, &settings.state_dir));
                let fetcher = fetcher
                    .transpose()
                    .map_err(system("use the socket of the process that fetches"))?;
                if let Some((fetcher, world)) = fetcher.zip(shared.world.clone()) {
                    tokio::spawn(world.keep(fetcher));
                }
                Some(lead(hosts, &shared, &settings).await?)
            }
            None if settings.database.is_none() => {
                shared.store.set_fleet_address("").await.map_err(fleet::Error::from)?;
                None
            }
            // Another one that shares the database may hear hosts.
            None => None,
        };
        let url = url(at, &settings, tls.is_some());
        let first = first.map(|token| format!("{url}first#{}", token.as_str()));
        let fingerprint = tls.as_ref().and_then(|tls| tls.fingerprint.clone());
        // Whoever trusts the portal's own certificate trusts it by hand, which this would forbid when it changes.
        let strict = settings.tls.is_some();
        let app = api::router(shared, strict);
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        ready(&Ready { url, first, fingerprint, fleet });
        // Pages that are open have streams that never end: they are not waited for.
        tokio::select! {
            served = async {
                match tls {
                    Some(tls) => {
                        let config = RustlsConfig::from_config(tls.config);
                        let server = axum_server::from_tcp_rustls(listener, config)?;
                        let mut server = server.map(Few::of);
                        be_impatient(server.http_builder());
                        server.serve(app).await
                    }
                    None => {
                        let server = axum_server::from_tcp(listener)?;
                        let mut server = server.map(Few::of);
                        be_impatient(server.http_builder());
                        server.serve(app).await
                    }
                }
            } => served.map_err(system("serve")),
            () = ends => Ok(()),
        }
    })
}

/// Hears the hosts of the fleet. Returns where they are to connect.
async fn lead(
    hosts: TcpListener,
    shared: &Arc<Shared>,
    settings: &Settings,
) -> Result<String, Error> {
    let system = |what| move |source| Error::System { what, source };
    let at = hosts.local_addr().map_err(system("say where it listens"))?;
    let hosts = tokio::net::TcpListener::from_std(hosts).map_err(system("use its socket"))?;
    let address = fleet::address(&host_at(at, settings), at.port());
    let (store, statements) = (shared.store.clone(), Arc::new(Statements::default()));
    let follower = &shared.follower;
    let connected = follower.connected();
    let authority = fleet::authority(&store).await?;
    store.set_fleet_address(&address).await.map_err(fleet::Error::from)?;
    let listener = fleet::Listener::new(
        store.clone(),
        authority,
        Arc::clone(connected),
        Arc::clone(&statements),
        Arc::clone(follower.bans()),
        shared.world.clone(),
    )?;
    // By chance: nobody gives numbers to portals.
    let portal = HostId::new().map_err(fleet::Error::from)?.0;
    tokio::spawn(Arc::clone(follower).follow());
    tokio::spawn(Arc::new(listener).serve(hosts));
    tokio::spawn(fleet::attend(store.clone(), portal, Arc::clone(connected)));
    tokio::spawn(fleet::conduct(store.clone(), Arc::clone(follower)));
    tokio::spawn(fleet::note(store, statements, Arc::clone(follower)));
    Ok(address)
}

/// Whoever says nothing for long loses the connection.
fn be_impatient(builder: &mut Builder<TokioExecutor>) {
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(PATIENCE);
}

/// Where a browser finds it.
fn url(at: SocketAddr, settings: &Settings, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{}:{}/", host_at(at, settings), at.port())
}

/// The host of its addresses: a name where it listens on all of its own. An IPv6 one is in brackets.
fn host_at(at: SocketAddr, settings: &Settings) -> String {
    let ip = match at.ip() {
        ip if ip.is_unspecified() => {
            let name = settings.names.first().cloned().unwrap_or_else(host::name);
            match name.parse() {
                Ok(ip) => ip,
                Err(_) => return name,
            }
        }
        ip => ip,
    };
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

pub(crate) async fn open(
    settings: &Settings,
    tls: Option<&Tls>,
    courier: OwnedFd,
) -> Result<(Arc<Shared>, Option<Token>), Error> {
    let store = Store::open(&settings.state_dir, settings.database.as_ref()).await?;
    let database = |source| Error::Database { at: store.at().to_owned(), source };
    let first = match store.has_operators().await.map_err(database)? {
        true => None,
        false => Some(Token::new().map_err(|error| Error::System {
            what: "get random bits",
            source: io::Error::other(error),
        })?),
    };
    let hub = Hub::of(Agent::at(settings.agent.clone()));
    // Portals that share a database have a host each.
    let here = settings.database.as_ref().map_or_else(|| host::HOST.to_owned(), |_| host::name());
    tokio::spawn(keep(store.clone(), here.clone(), hub.looks()));
    let world = match settings.world {
        Some(keeping) => {
            let portal = HostId::new().map_err(fleet::Error::from)?;
            Some(Arc::new(World::new(store.clone(), keeping, portal)))
        }
        None => None,
    };
    let follower = Follower::new(store.clone(), Arc::<Connected>::default(), world.clone());
    let shared = Shared {
        store,
        here,
        hub,
        throttle: Mutex::default(),
        hashing: Semaphore::new(HASHING),
        waiting: Semaphore::new(WAITING),
        reporting: Semaphore::new(1),
        travelling: tokio::sync::Mutex::default(),
        courier: Courier::of(courier)
            .map_err(|source| Error::System { what: "use the courier's socket", source })?,
        follower: Arc::new(follower),
        world,
        newest: AtomicU64::default(),
        names: Names::new(
            host::name(),
            settings.names.iter().chain(tls.iter().flat_map(|tls| &tls.names)).cloned(),
        ),
        first: Mutex::new(first.as_ref().map(Token::digest)),
    };
    Ok((Arc::new(shared), first))
}

/// A folder that is its user's alone.
fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    match fs::metadata(dir)?.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => fs::set_permissions(dir, fs::Permissions::from_mode(0o700)),
    }
}

/// The lock of the folder; none if another process has it. The kernel needs a moment to bury one that was killed.
fn lock(dir: &Path) -> io::Result<Option<File>> {
    let folder = File::open(dir)?;
    let began = Instant::now();
    loop {
        match folder.try_lock() {
            Ok(()) => return Ok(Some(folder)),
            Err(TryLockError::WouldBlock) if began.elapsed() < BURIAL => thread::sleep(MOMENT),
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Comes true once it is told to end.
fn ends() -> io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
