//! [`Forwarder`]: passes connections on as they are, as what stands before portals, or between them and their database; and fails as a
//! network does when it is told to.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::namespace::Namespace;

const MOMENT: Duration = Duration::from_millis(2);
/// How long what is lost takes to be sent again.
const AGAIN: Duration = Duration::from_millis(200);
/// Bytes at a time. Small, so that a message that is long may be lost in parts.
const CHUNK: usize = 1460;

/// See the module. It ends, and all that it passes on with it, when it is dropped.
#[derive(Debug)]
pub struct Forwarder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The first of them that answers is taken.
    to: Mutex<Vec<SocketAddr>>,
    /// Both sides of what was passed on.
    passed: Mutex<Vec<TcpStream>>,
    ends: AtomicBool,
    holds: AtomicBool,
    /// Connections that were made before this one are forgotten.
    forgotten: AtomicU64,
    made: AtomicU64,
    /// How many of a hundred chunks are late, and a tenth as many end the connection.
    loses: AtomicU32,
}

impl Forwarder {
    /// One that listens in a namespace, and connects from it to the first of these that answers.
    ///
    /// # Errors
    /// If it can't listen there.
    pub fn within(namespace: &Namespace, at: SocketAddr, to: &[SocketAddr]) -> Result<Self> {
        namespace.inside(|| -> Result<Self> {
            let (forwarder, listener) = Self::of(TcpListener::bind(at)?, to)?;
            let shared = Arc::clone(&forwarder.0);
            // It stays in the namespace of who starts it.
            thread::spawn(move || shared.serve(&listener));
            Ok(forwarder)
        })?
    }

    /// One that listens in a namespace, and connects from outside of it.
    ///
    /// # Errors
    /// If it can't listen there.
    pub fn out_of(namespace: &Namespace, at: SocketAddr, to: SocketAddr) -> Result<Self> {
        let listener = namespace.inside(|| TcpListener::bind(at))??;
        let (forwarder, listener) = Self::of(listener, &[to])?;
        let shared = Arc::clone(&forwarder.0);
        thread::spawn(move || shared.serve(&listener));
        Ok(forwarder)
    }

    fn of(listener: TcpListener, to: &[SocketAddr]) -> Result<(Self, TcpListener)> {
        listener.set_nonblocking(true)?;
        let shared = Shared {
            to: Mutex::new(to.to_vec()),
            passed: Mutex::default(),
            ends: AtomicBool::default(),
            holds: AtomicBool::default(),
            forgotten: AtomicU64::default(),
            made: AtomicU64::default(),
            loses: AtomicU32::default(),
        };
        Ok((Self(Arc::new(shared)), listener))
    }

    /// Nothing passes any more, and nobody is told: as a cable that is cut. Or all that waits does.
    pub fn hold(&self, holds: bool) {
        self.0.holds.store(holds, Ordering::Relaxed);
    }

    /// Of the connections that there are nothing passes ever again, and nobody is told: as a NAT that was restarted. New ones are as before.
    pub fn forget(&self) {
        self.0.forgotten.store(self.0.made.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// So many of a hundred packets are lost from now on.
    pub fn lose(&self, percent: u32) {
        self.0.loses.store(percent, Ordering::Relaxed);
    }

    /// How many connections were made by it.
    pub fn made(&self) -> u64 {
        self.0.made.load(Ordering::Relaxed)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.0.ends.store(true, Ordering::Relaxed);
        for stream in self.0.passed().iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn passed(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(self: &Arc<Self>, listener: &TcpListener) {
        while !self.ends.load(Ordering::Relaxed) {
            let Ok((stream, _)) = listener.accept() else {
                thread::sleep(MOMENT);
                continue;
            };
            let shared = Arc::clone(self);
            thread::spawn(move || shared.pass(stream));
        }
    }

    /// Passes one connection on, until either side ends.
    fn pass(self: Arc<Self>, near: TcpStream) {
        let serial = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        if !self.waits(serial) {
            return;
        }
        let to = self.to.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(far) = to.iter().find_map(|to| TcpStream::connect(to).ok()) else { return };
        let _ = self.pass_between(&near, &far, serial);
        for stream in [near, far] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn pass_between(
        self: &Arc<Self>,
        near: &TcpStream,
        far: &TcpStream,
        serial: u64,
    ) -> io::Result<()> {
        near.set_nonblocking(false)?;
        for stream in [near, far] {
            stream.set_nodelay(true)?;
            self.passed().push(stream.try_clone()?);
        }
        let (shared, from, to) = (Arc::clone(self), far.try_clone()?, near.try_clone()?);
        let back = thread::spawn(move || shared.copy(&from, &to, serial));
        self.copy(near, far, serial);
        let _ = back.join();
        Ok(())
    }

    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream, serial: u64) {
        let mut chunk = [0; CHUNK];
        let mut chance = Chance(serial);
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            let loses = self.loses.load(Ordering::Relaxed);
            match chance.of_a_thousand() {
                lot if lot < loses => break,
                lot if lot < loses * 10 => thread::sleep(AGAIN),
                _ => {}
            }
            if !self.waits(serial) || to.write_all(&chunk[..length]).is_err() {
                break;
            }
        }
        // The other side ends by itself, or by what both notice: half a connection is of no use to TLS.
        if self.waits(serial) {
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        }
    }

    /// Waits for as long as nothing passes; says whether it does then.
    fn waits(&self, serial: u64) -> bool {
        loop {
            if self.ends.load(Ordering::Relaxed) {
                return false;
            }
            let is_forgotten = serial <= self.forgotten.load(Ordering::Relaxed);
            if !is_forgotten && !self.holds.load(Ordering::Relaxed) {
                return true;
            }
            thread::sleep(MOMENT);
        }
    }
}

/// The same every time.
struct Chance(u64);

impl Chance {
    fn of_a_thousand(&mut self) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % 1000).unwrap_or_default()
    }
}
