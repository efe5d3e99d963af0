//! [`Receiver`]: stands in for a web server or a mail server that notices are sent to, and hands on what it was told. There is
//! no internet in the namespaces where it is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver as Channel, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::namespace::Namespace;

const PATIENCE: Duration = Duration::from_secs(20);

/// What was received, the latest last.
#[derive(Debug)]
pub struct Receiver {
    /// Where it listens.
    pub at: SocketAddr,
    told: Channel<String>,
}

impl Receiver {
    /// An HTTP server that answers every request with this status.
    ///
    /// # Errors
    /// If it can't listen.
    pub fn web(namespace: &Namespace, status: &'static str) -> Result<Self> {
        Self::of(namespace, move |stream, told| {
            let mut reader = BufReader::new(stream.try_clone()?);
            let (mut request, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line)?;
                if let Some((_, value)) = line.to_lowercase().split_once("content-length:") {
                    length = value.trim().parse().unwrap_or_default();
                }
                request.push_str(&line);
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            request.push_str(&String::from_utf8_lossy(&body));
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
            // Whoever listens may have gone.
            let _ = told.send(request);
            Ok(())
        })
    }

    /// A mail server that takes everything.
    ///
    /// # Errors
    /// If it can't listen.
    pub fn mail(namespace: &Namespace) -> Result<Self> {
        Self::of(namespace, |stream, told| {
            let mut lines = BufReader::new(stream.try_clone()?).lines();
            let mut mail = String::new();
            write!(stream, "220 lab ESMTP\r\n")?;
            while let Some(line) = lines.next().transpose()? {
                let answer = match line.get(..4).unwrap_or_default() {
                    "DATA" => {
                        write!(stream, "354 go on\r\n")?;
                        for line in lines.by_ref() {
                            let line = line?;
                            if line == "." {
                                break;
                            }
                            mail.push_str(&line);
                            mail.push('\n');
                        }
                        "250 taken"
                    }
                    "QUIT" => break,
                    _ => "250 fine",
                };
                mail.push_str(&format!("{line}\n"));
                write!(stream, "{answer}\r\n")?;
            }
            let _ = told.send(mail);
            Ok(())
        })
    }

    fn of(
        namespace: &Namespace,
        serve: impl Fn(&mut TcpStream, &Sender<String>) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let listener = namespace.inside(|| TcpListener::bind("127.0.0.1:0"))??;
        let at = listener.local_addr()?;
        let (tell, told) = mpsc::channel();
        // It ends with the process.
        thread::Builder::new().name("receiver".to_owned()).spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let _ = stream.set_read_timeout(Some(PATIENCE));
                let _ = serve(&mut stream, &tell);
            }
        })?;
        Ok(Self { at, told })
    }

    /// What it is told next.
    ///
    /// # Errors
    /// If nothing comes in time.
    pub fn next(&self) -> Result<String> {
        self.told.recv_timeout(PATIENCE).context("nothing was received")
    }
}
