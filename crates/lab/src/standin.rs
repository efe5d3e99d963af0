//! [`StandIn`]: answers on a PBX's ports as a PBX would, and counts. It is not one.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::sip;
use crate::site::SIP;

/// How often it looks whether it should end.
const LOOK: Duration = Duration::from_millis(20);
/// How long a TCP client may take to say something.
const PATIENCE: Duration = Duration::from_millis(500);

/// A stand-in for a PBX, until it is dropped.
#[derive(Debug)]
pub struct StandIn {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    requests: AtomicU64,
}

impl StandIn {
    /// Listens on the SIP port over UDP and TCP, IPv4 and IPv6.
    ///
    /// # Errors
    /// If the ports are taken.
    pub fn start(host: &Namespace) -> Result<Self> {
        let bind = || {
            let everywhere = (Ipv6Addr::UNSPECIFIED, SIP);
            Ok::<_, std::io::Error>((UdpSocket::bind(everywhere)?, TcpListener::bind(everywhere)?))
        };
        let (udp, tcp) = host.inside(bind)?.context("listen as the PBX")?;
        udp.set_read_timeout(Some(LOOK))?;
        tcp.set_nonblocking(true)?;
        let shared = Arc::new(Shared::default());
        let (one, two) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            thread::spawn(move || one.serve_udp(&udp)),
            thread::spawn(move || two.serve_tcp(&tcp)),
        ];
        Ok(Self { shared, threads })
    }

    /// Requests that reached it.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn answer(&self, request: &[u8]) -> Option<String> {
        let answer = sip::answer(&String::from_utf8_lossy(request))?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        Some(answer)
    }

    fn serve_udp(&self, socket: &UdpSocket) {
        let mut buffer = [0; 4096];
        while !self.ended() {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
            if let Some(answer) = self.answer(&buffer[..length]) {
                let _ = socket.send_to(answer.as_bytes(), from);
            }
        }
    }

    fn serve_tcp(&self, listener: &TcpListener) {
        while !self.ended() {
            match listener.accept() {
                Ok((stream, _)) => drop(self.serve_stream(stream)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(LOOK),
                Err(_) => return,
            }
        }
    }

    /// One request; a client that says nothing holds the next one up for a moment only.
    fn serve_stream(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut buffer = [0; 4096];
        let length = stream.read(&mut buffer)?;
        if let Some(answer) = self.answer(&buffer[..length]) {
            stream.write_all(answer.as_bytes())?;
        }
        Ok(())
    }
}
