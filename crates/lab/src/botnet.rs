//! [`Botnet`]: guessers in many countries who try passwords at a real PBX, each as often as its [`Pace`] says:
//! they ask, are challenged, and answer with a password that is wrong.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;

use crate::addresses::Addresses;
use crate::sip::{self, Challenge};
use crate::site::{Site, pbx_of};

/// The port they guess from.
const PORT: u16 = 5068;
/// Once nobody was answered for so long, nobody will be.
const QUIET: Duration = Duration::from_millis(600);
/// How long a bot tries to connect: less than the second after which a SYN is sent again.
const CONNECT: Duration = Duration::from_millis(300);
/// How often it does.
const TRIES: u32 = 3;
/// How many connect at a time: Asterisk lets five wait.
const TOGETHER: usize = 5;
/// Extensions that are tried; the PBX of the lab has the first half of them.
pub const EXTENSIONS: std::ops::Range<u32> = 1000..1040;

/// What carries the guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// UDP over IPv4.
    Udp,
    /// UDP over IPv6.
    Udp6,
    /// TCP over IPv4.
    Tcp,
}

/// How often each bot guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How often in all.
    pub guesses: u32,
    /// Time between two guesses.
    pub every: Duration,
}

/// Guesses, and those that were answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Guesses.
    pub guesses: usize,
    /// Of which the PBX said that the password is wrong.
    pub answered: usize,
}

/// Bots of one country each.
#[derive(Debug)]
pub struct Botnet {
    bots: Vec<Bot>,
}

#[derive(Debug)]
struct Bot {
    /// No two of them begin with the same extension.
    number: u32,
    country: String,
    line: Line,
    source: SocketAddr,
    sent: u32,
    answered: usize,
    /// Where a stream stopped in the middle of a message.
    rest: String,
}

/// What a bot talks over.
#[derive(Debug)]
enum Line {
    Udp(UdpSocket),
    Tcp(TcpStream),
    /// It could not connect, or was hung up on.
    Dead,
}

impl Botnet {
    /// So many bots in each country, at real addresses of it.
    ///
    /// # Errors
    /// If the world has not that many there, or a socket can't be opened.
    pub fn new(
        site: &Site,
        addresses: &Addresses<'_>,
        carrier: Carrier,
        countries: &[&str],
        each: usize,
    ) -> Result<Self> {
        let mut bots = Vec::new();
        for country in countries {
            let sources: Vec<IpAddr> = match carrier {
                Carrier::Udp | Carrier::Tcp => {
                    addresses.several_v4(country, each).into_iter().map(IpAddr::V4).collect()
                }
                Carrier::Udp6 => {
                    addresses.several_v6(country, each).into_iter().map(IpAddr::V6).collect()
                }
            };
            ensure!(sources.len() == each, "{country} has too few ranges");
            bots.extend(sources.into_iter().map(|source| ((*country).to_owned(), source)));
        }
        let mut bots: Vec<_> = (0..).zip(bots).collect();
        let mut all = Vec::new();
        while !bots.is_empty() {
            let some = bots.drain(..bots.len().min(TOGETHER));
            all.extend(connect(site, carrier, some)?);
        }
        Ok(Self { bots: all })
    }

    /// Guesses, the bots one after the other, and waits until nobody is answered any more.
    ///
    /// # Errors
    /// If the system won't say who was answered.
    pub fn attack(&mut self, pace: Pace) -> Result<()> {
        let step = pace.every / self.bots.len() as u32;
        let guesses = self.bots.len() * pace.guesses as usize;
        let (began, mut asked, mut heard) = (Instant::now(), 0, Instant::now());
        loop {
            let due = match asked < guesses {
                true => began + step * asked as u32,
                false => heard + QUIET,
            };
            let wait = due.saturating_duration_since(Instant::now());
            if self.listen(wait)? {
                heard = Instant::now();
            } else if asked == guesses {
                return Ok(());
            }
            if asked < guesses && Instant::now() >= due {
                let bots = self.bots.len();
                self.bots[asked % bots].ask();
                (asked, heard) = (asked + 1, Instant::now());
            }
        }
    }

    /// What came of it in the countries chosen.
    pub fn tally(&self, mut chosen: impl FnMut(&str) -> bool) -> Tally {
        let bots = self.bots.iter().filter(|bot| chosen(&bot.country));
        bots.fold(Tally::default(), |tally, bot| Tally {
            guesses: tally.guesses + bot.sent as usize,
            answered: tally.answered + bot.answered,
        })
    }

    /// The addresses of the bots in the countries chosen.
    pub fn addresses(&self, mut chosen: impl FnMut(&str) -> bool) -> Vec<IpAddr> {
        let bots = self.bots.iter().filter(|bot| chosen(&bot.country));
        bots.map(|bot| bot.source.ip()).collect()
    }

    /// Hears whoever is answered within this time; whether anybody was.
    fn listen(&mut self, time: Duration) -> Result<bool> {
        let mut ready = Vec::new();
        {
            let lines = self.bots.iter().enumerate();
            let (numbers, mut waiting): (Vec<usize>, Vec<PollFd<'_>>) =
                lines.filter_map(|(number, bot)| Some((number, bot.line.waiting()?))).unzip();
            let time = Timespec::try_from(time)?;
            poll(&mut waiting, Some(&time))?;
            let heard = numbers.iter().zip(&waiting).filter(|(_, one)| !one.revents().is_empty());
            ready.extend(heard.map(|(number, _)| *number));
        }
        ready.iter().for_each(|number| self.bots[*number].hear());
        Ok(!ready.is_empty())
    }
}

/// Who does not get through waits until he gives up.
fn connect(
    site: &Site,
    carrier: Carrier,
    bots: impl Iterator<Item = (u32, (String, IpAddr))>,
) -> Result<Vec<Bot>> {
    thread::scope(|scope| {
        let bot = |(number, (country, source))| {
            scope.spawn(move || Bot::new(site, carrier, number, country, source))
        };
        let bots: Vec<_> = bots.map(bot).collect();
        let join = |bot: thread::ScopedJoinHandle<'_, Result<Bot>>| {
            bot.join().map_err(|_| anyhow::anyhow!("a bot panicked"))?
        };
        bots.into_iter().map(join).collect()
    })
}

impl Bot {
    fn new(
        site: &Site,
        carrier: Carrier,
        number: u32,
        country: String,
        source: IpAddr,
    ) -> Result<Self> {
        let source = SocketAddr::new(source, PORT);
        let line = match carrier {
            Carrier::Udp | Carrier::Udp6 => {
                let socket = site.anywhere(source.ip(), PORT)?;
                socket.set_nonblocking(true)?;
                Line::Udp(socket)
            }
            Carrier::Tcp => {
                match (0..TRIES).find_map(|_| site.connect_from(source, CONNECT).ok()) {
                    Some(stream) => {
                        stream.set_nonblocking(true)?;
                        Line::Tcp(stream)
                    }
                    None => Line::Dead,
                }
            }
        };
        Ok(Self { number, country, line, source, sent: 0, answered: 0, rest: String::new() })
    }

    /// Begins another guess.
    fn ask(&mut self) {
        let extension = EXTENSIONS.start + (self.number + self.sent) % EXTENSIONS.len() as u32;
        self.sent += 1;
        self.say(&sip::register(self.source, self.line.transport(), extension));
    }

    /// Hears what it is told, and answers a challenge.
    fn hear(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            let length = match self.line.receive(&mut buffer) {
                Ok(0) => return self.line = Line::Dead,
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => return self.line.fail(),
            };
            self.rest.push_str(&String::from_utf8_lossy(&buffer[..length]));
            while let Some((message, rest)) = self.rest.split_once("\r\n\r\n") {
                let (message, rest) = (message.to_owned(), rest.to_owned());
                self.rest = rest;
                self.take(&message);
            }
        }
    }

    fn take(&mut self, response: &str) {
        let second = sip::header(response, "CSeq: ").is_some_and(|value| value.starts_with('2'));
        if second {
            self.answered += 1;
            return;
        }
        let extension =
            sip::header(response, "From: <sip:").and_then(|from| from.split('@').next());
        let extension = extension.and_then(|extension| extension.parse().ok());
        if let (Some(challenge), Some(extension)) = (Challenge::of(response), extension) {
            self.say(&sip::guess(self.source, self.line.transport(), extension, &challenge));
        }
    }

    /// What can't be sent was not heard.
    fn say(&mut self, message: &str) {
        let said = match &mut self.line {
            Line::Udp(socket) => {
                socket.send_to(message.as_bytes(), pbx_of(self.source.ip())).map(drop)
            }
            Line::Tcp(stream) => stream.write_all(message.as_bytes()),
            Line::Dead => Ok(()),
        };
        if said.is_err() {
            self.line.fail();
        }
    }
}

impl Line {
    fn transport(&self) -> &'static str {
        match self {
            Self::Udp(_) => "UDP",
            Self::Tcp(_) | Self::Dead => "TCP",
        }
    }

    fn waiting(&self) -> Option<PollFd<'_>> {
        match self {
            Self::Udp(socket) => Some(PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)),
            Self::Tcp(stream) => Some(PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN)),
            Self::Dead => None,
        }
    }

    fn receive(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.recv(buffer),
            Self::Tcp(stream) => stream.read(buffer),
            Self::Dead => Ok(0),
        }
    }

    /// A connection that failed is over; a datagram that was refused is only lost.
    fn fail(&mut self) {
        if let Self::Tcp(_) = self {
            *self = Self::Dead;
        }
    }
}
