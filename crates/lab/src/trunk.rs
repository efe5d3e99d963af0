//! [`Trunk`]: a provider in a blocked country, who must be served while bots and floods come from others like it.

use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::addresses::Addresses;
use crate::asterisk::Config;
use crate::intruders::Answered;
use crate::sip;
use crate::site::{PBX_V4, SIP, Site, next};

/// Where it is: no bot and no flood comes from there, or what they send from its address would pass as its own.
pub const TRUNK: &str = "MX";
/// How long it waits for an answer.
const WAITS: Duration = Duration::from_millis(500);
/// Time between two questions.
const EVERY: Duration = Duration::from_millis(100);

/// It hears the PBX ask from the start, and says nothing itself before it is told to.
#[derive(Debug)]
pub struct Trunk {
    socket: UdpSocket,
    at: SocketAddr,
}

impl Trunk {
    /// One at a real address of [`TRUNK`].
    ///
    /// # Errors
    /// If its socket can't be opened.
    pub fn new(site: &Site, addresses: &Addresses<'_>) -> Result<Self> {
        let at = SocketAddr::from((addresses.v4(TRUNK), SIP));
        let socket = site.anywhere(at.ip(), at.port())?;
        socket.set_read_timeout(Some(WAITS))?;
        Ok(Self { socket, at })
    }

    /// A PBX that asks every second whether it is there, and takes its calls as a trunk's.
    pub fn known_to(&self, pbx: Config) -> Config {
        let name = "trunk";
        pbx.trunk_qualified_every(name, 1, self.at).identify(name, &format!("{}/32", self.at.ip()))
    }

    /// It as a gateway of a Kamailio.
    pub fn uri(&self) -> String {
        format!("sip:{}", self.at)
    }

    /// Asks the PBX something ten times a second while work is done; returns what came of both.
    ///
    /// # Errors
    /// If it can't send.
    pub fn asks_during<T>(&self, work: impl FnOnce() -> T) -> Result<(T, Answered)> {
        thread::scope(|scope| {
            let (ends, told) = channel::<()>();
            let asking = scope.spawn(move || -> Result<Answered> {
                let mut answered = Answered::default();
                // Whoever holds the other end says nothing: that it is gone ends the wait.
                while told.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                    answered.add(self.is_answered(5000 + answered.of as u32)?);
                }
                Ok(answered)
            });
            let done = work();
            drop(ends);
            let answered = asking.join().map_err(|_| anyhow!("the trunk panicked"))??;
            Ok((done, answered))
        })
    }

    fn is_answered(&self, extension: u32) -> Result<bool> {
        // fail2ban would take more for a guess.
        let request = sip::register(self.at, "UDP", extension).replace("REGISTER", "OPTIONS");
        self.socket.send_to(request.as_bytes(), (PBX_V4, SIP))?;
        let it = format!("From: <sip:{extension}@");
        let is_it = |text: &str| text.starts_with("SIP/2.0 ") && text.contains(&it);
        let asked = Instant::now();
        // The PBX asks too, and is not answered.
        let mut heard =
            std::iter::from_fn(|| (asked.elapsed() < WAITS).then(|| next(&self.socket).ok())?);
        Ok(heard.any(|(text, _)| is_it(&text)))
    }
}
