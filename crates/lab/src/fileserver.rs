//! [`FileServer`]: serves files by HTTP, well or badly, and remembers what it was asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::namespace::Namespace;

/// How a server behaves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Manner {
    /// It knows tags, ranges and digests.
    #[default]
    Well,
    /// It closes each connection after so many bytes of a body.
    Cuts(usize),
    /// It takes a connection and says nothing.
    Silent,
    /// It sends a body without end.
    Endless,
    /// It sends whoever asks there.
    Redirects(String),
    /// It answers with this status, and nothing else.
    Answers(u16),
}

/// A server on loopback. It serves until the program ends.
#[derive(Debug, Clone)]
pub struct FileServer {
    /// Where it listens.
    pub at: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    files: HashMap<String, Arc<Vec<u8>>>,
    manner: Manner,
    asked: Vec<String>,
}

impl FileServer {
    /// Starts one that has no file.
    ///
    /// # Errors
    /// If it can't listen.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let listener = namespace.inside(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let listener = listener.context("a file server")?;
        let server = Self { at: listener.local_addr()?, shared: Arc::default() };
        let serving = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                // Who goes away in the middle is served no further.
                thread::spawn(move || serving.serve(stream));
            }
        });
        Ok(server)
    }

    /// Has this file from now on.
    pub fn put(&self, path: &str, content: Vec<u8>) {
        self.shared().files.insert(path.to_owned(), Arc::new(content));
    }

    /// Behaves so from now on, and forgets what it was asked.
    pub fn behave(&self, manner: Manner) {
        let mut shared = self.shared();
        (shared.manner, shared.asked) = (manner, Vec::new());
    }

    /// The heads of the requests since it behaves as it does.
    pub fn asked(&self) -> Vec<String> {
        self.shared().asked.clone()
    }

    /// The address of a file.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.by_ref().take(4096).read_line(&mut head)? == 0 {
                    return Ok(());
                }
            }
            self.shared().asked.push(head.clone());
            if !self.answer(&head, reader.get_mut())? {
                return Ok(());
            }
        }
    }

    /// Says whether the connection goes on.
    fn answer(&self, head: &str, stream: &mut TcpStream) -> std::io::Result<bool> {
        let (manner, file) = {
            let shared = self.shared();
            let path = head.split(' ').nth(1).unwrap_or_default();
            (shared.manner.clone(), shared.files.get(path).cloned())
        };
        match (manner, file) {
            (Manner::Silent, _) => {
                thread::sleep(Duration::from_secs(60));
                Ok(false)
            }
            (Manner::Redirects(to), _) => {
                write!(
                    stream,
                    "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"
                )?;
                Ok(true)
            }
            (Manner::Answers(status), _) => {
                write!(stream, "HTTP/1.1 {status} So\r\ncontent-length: 0\r\n\r\n")?;
                Ok(true)
            }
            (Manner::Endless, _) => {
                write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
                loop {
                    stream.write_all(&[b'1'; 1 << 16])?;
                }
            }
            (Manner::Well | Manner::Cuts(_), None) => {
                write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")?;
                Ok(true)
            }
            (manner, Some(file)) => send(&file, head, &manner, stream),
        }
    }
}

fn send(file: &[u8], head: &str, manner: &Manner, stream: &mut TcpStream) -> std::io::Result<bool> {
    let digest: String = Sha256::digest(file).iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{digest}\"");
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    if header("if-none-match") == Some(&tag) {
        write!(stream, "HTTP/1.1 304 Not Modified\r\netag: {tag}\r\n\r\n")?;
        return Ok(true);
    }
    let from = header("range").and_then(|range| {
        let from = range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok();
        from.filter(|from| *from < file.len() && header("if-range") == Some(&tag))
    });
    let rest = &file[from.unwrap_or_default()..];
    let (first, last, length) = (file.len() - rest.len(), file.len().saturating_sub(1), file.len());
    let status = match from {
        Some(_) => format!("206 Partial Content\r\ncontent-range: bytes {first}-{last}/{length}"),
        None => "200 OK".to_owned(),
    };
    write!(stream, "HTTP/1.1 {status}\r\netag: {tag}\r\ncontent-length: {}\r\n\r\n", rest.len())?;
    match manner {
        Manner::Cuts(after) if *after < rest.len() => {
            stream.write_all(&rest[..*after])?;
            Ok(false)
        }
        _ => stream.write_all(rest).map(|()| true),
    }
}
