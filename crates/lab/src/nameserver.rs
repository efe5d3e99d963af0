//! [`NameServer`]: gives every name the IPv4 addresses that it is told.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result};

use crate::namespace::Namespace;

const HEADER: usize = 12;
/// Type A, class IN.
const IPV4: [u8; 4] = [0, 1, 0, 1];

/// A name server on loopback, over UDP. It serves until the program ends.
#[derive(Debug)]
pub struct NameServer {
    /// Where it listens.
    pub at: SocketAddr,
    addresses: Arc<Mutex<Vec<Ipv4Addr>>>,
}

impl NameServer {
    /// Starts one that knows no address, on this port, or any if it is 0.
    ///
    /// # Errors
    /// If it can't listen.
    pub fn start(namespace: &Namespace, port: u16) -> Result<Self> {
        let socket = namespace.inside(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)))?;
        let socket = socket.context("a name server")?;
        let server = Self { at: socket.local_addr()?, addresses: Arc::default() };
        let addresses = Arc::clone(&server.addresses);
        thread::spawn(move || {
            let mut query = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                let addresses = addresses.lock().map_or_else(|_| Vec::new(), |held| held.clone());
                if let Some(answer) = answer(&query[..length], &addresses) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Ok(server)
    }

    /// From now on every name has these addresses.
    pub fn set(&self, addresses: &[Ipv4Addr]) {
        if let Ok(mut held) = self.addresses.lock() {
            *held = addresses.to_vec();
        }
    }
}

/// RFC 1035, 4.1; no more of it than a query with one question needs.
fn answer(query: &[u8], addresses: &[Ipv4Addr]) -> Option<Vec<u8>> {
    let name = query.get(HEADER..)?.iter().position(|byte| *byte == 0)?;
    let question = query.get(HEADER..HEADER + name + 5)?;
    let addresses = if question.ends_with(&IPV4) { addresses } else { &[] };
    let count = u8::try_from(addresses.len()).ok()?;
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(question);
    for address in addresses {
        // The name of the question, for 60 seconds, in four bytes.
        answer.extend([0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
