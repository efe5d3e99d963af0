//! What the portal reads of what others wrote, without where it comes from: for the tests of hostile input alone.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::courier::Letter;
use crate::secret::digest;
use crate::server::{Shared, open};
use crate::store::Role;
use crate::{Settings, api, clock};

/// The operator who asks, what its session shows and repeats, and the token of a program.
const NAME: &str = "hostile";
/// A page that watches is answered without end.
const PATIENCE: Duration = Duration::from_millis(100);

/// A portal whose agent is away, and which knows an admin who is signed in: `cookie: __Host-geofilter=hostile`,
/// `x-csrf-token: hostile`. Its programs show `authorization: Bearer hostile-token`.
pub struct Portal {
    runtime: Runtime,
    shared: Arc<Shared>,
    app: Router,
}

impl Portal {
    /// One that keeps what it keeps in this folder.
    ///
    /// # Errors
    /// If it can't be used.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let settings = Settings {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            fleet: None,
            tls: None,
            names: vec!["*.example.net".to_owned()],
            state_dir: folder.to_owned(),
            database: None,
            agent: folder.join("nobody.sock"),
            world: None,
        };
        let (courier, _) = UnixStream::pair()?;
        let (shared, _) =
            runtime.block_on(open(&settings, None, courier.into())).map_err(io::Error::other)?;
        let from = ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 50_000)));
        let app = api::router(Arc::clone(&shared), false).layer(Extension(from));
        let portal = Self { runtime, shared, app };
        portal.runtime.block_on(portal.begin()).map_err(io::Error::other)?;
        Ok(portal)
    }

    /// All that is answered to these bytes of a connection.
    ///
    /// # Errors
    /// If its own state can't be put back.
    pub fn answer(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.runtime.block_on(async {
            let answer = self.converse(request).await;
            let reads = [&b"GET "[..], b"HEAD "].iter().any(|method| request.starts_with(method));
            if !reads {
                self.begin().await.map_err(io::Error::other)?;
            }
            Ok(answer)
        })
    }

    async fn converse(&self, request: &[u8]) -> Vec<u8> {
        let (mut client, server) = duplex(1 << 20);
        let mut builder = Builder::new(TokioExecutor::new()).http1_only();
        builder.http1().half_close(true).keep_alive(false);
        let service = TowerToHyperService::new(self.app.clone());
        let serves = builder.serve_connection(TokioIo::new(server), service);
        let mut answer = Vec::new();
        let asks = async {
            let _ = client.write_all(request).await;
            let _ = client.shutdown().await;
            let _ = client.read_to_end(&mut answer).await;
        };
        let _ = timeout(PATIENCE, async { tokio::join!(serves, asks) }).await;
        answer
    }

    /// Whatever was asked before, it begins anew.
    async fn begin(&self) -> Result<(), sqlx::Error> {
        let store = &self.shared.store;
        *self.shared.throttle.lock().unwrap_or_else(PoisonError::into_inner) = Default::default();
        store.forget_all_but_the_audit().await?;
        let now = clock::now();
        let Some(admin) = store.add_first_operator(NAME, "", now).await? else { return Ok(()) };
        store.begin_session(&digest(NAME), &admin, NAME, "192.0.2.1", now).await?;
        let digest = &digest("hostile-token");
        let (operator, role) = (admin.id, Role::Admin);
        let token = crate::store::NewToken { digest, operator, name: NAME, role, expires: None };
        store.add_token(&token, now).await.map(drop)
    }
}

/// What is wrong with where a letter goes that the portal gives its courier, or that it is none.
///
/// # Errors
/// With that.
pub fn letter(line: &[u8]) -> Result<(), String> {
    let letter: Letter = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    letter.target.check()
}
