//! [`Attack`]: guessers in many countries knock at the PBX, and count how often it answers them.

use std::io::{Read, Write};
use std::net::{IpAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::addresses::Addresses;
use crate::sip;
use crate::site::{Site, pbx_of};

/// Below the second after which an unanswered SYN is sent again: each attempt is one packet.
const PATIENCE: Duration = Duration::from_millis(500);
/// What may still be on its way when a later packet has been answered.
const SETTLE: Duration = Duration::from_millis(20);
/// Guesses of one address over UDP.
const GUESSES: u32 = 4;

/// The attackers of one country.
#[derive(Debug)]
pub struct Gang {
    /// Alpha-2 code.
    pub country: String,
    /// Addresses that guess over UDP.
    pub udp: Vec<IpAddr>,
    /// Addresses that guess over TCP.
    pub tcp: Vec<IpAddr>,
}

impl Gang {
    /// Nine addresses over UDP, seven of them IPv4, and four over TCP, half of them IPv4: 40 guesses.
    ///
    /// # Errors
    /// If the world has not that many in the country.
    pub fn of(country: &str, addresses: &Addresses<'_>) -> Result<Self> {
        let v4: Vec<IpAddr> =
            addresses.several_v4(country, 9).into_iter().map(IpAddr::V4).collect();
        let v6: Vec<IpAddr> =
            addresses.several_v6(country, 4).into_iter().map(IpAddr::V6).collect();
        ensure!(v4.len() == 9 && v6.len() == 4, "{country} has too few ranges");
        Ok(Self {
            country: country.to_owned(),
            udp: [&v4[..7], &v6[..2]].concat(),
            tcp: [&v4[7..], &v6[2..]].concat(),
        })
    }

    /// How many guesses it makes.
    pub fn guesses(&self) -> usize {
        self.udp.len() * GUESSES as usize + self.tcp.len()
    }

    /// Guesses, and returns how many were answered. The friend is let in: once it was answered, everything
    /// sent before has arrived or never will.
    ///
    /// # Errors
    /// If a packet can't be sent, or the friend is not answered.
    pub fn attack(&self, site: &Site, friend: &UdpSocket) -> Result<usize> {
        let mut sockets = Vec::new();
        for source in &self.udp {
            let socket = site.anywhere(*source, 0)?;
            socket.set_nonblocking(true)?;
            for extension in 0..GUESSES {
                knock(&socket, 1000 + extension)?;
            }
            sockets.push(socket);
        }
        let tcp = self.attack_by_tcp(site)?;
        ensure!(is_answered(friend)?, "the allowed phone was not answered");
        thread::sleep(SETTLE);
        let udp = sockets.iter().map(challenges).sum::<usize>();
        Ok(udp + tcp)
    }

    fn attack_by_tcp(&self, site: &Site) -> Result<usize> {
        let guess = |source: IpAddr| -> Result<bool> {
            let Ok(mut stream) = site.connect(source, PATIENCE) else { return Ok(false) };
            stream.write_all(sip::register(stream.local_addr()?, "TCP", 1000).as_bytes())?;
            let mut buffer = [0; 2048];
            let length = stream.read(&mut buffer)?;
            Ok(sip::is_challenge(&buffer[..length]))
        };
        thread::scope(|scope| {
            let guesses: Vec<_> =
                self.tcp.iter().map(|source| scope.spawn(|| guess(*source))).collect();
            let mut answered = 0;
            for guess in guesses {
                let done = guess.join().map_err(|_| anyhow::anyhow!("a guesser panicked"))?;
                answered += usize::from(done?);
            }
            Ok(answered)
        })
    }
}

/// A phone registers: whether the PBX asks it for its password.
///
/// # Errors
/// If nothing can be sent.
pub fn is_answered(phone: &UdpSocket) -> Result<bool> {
    knock(phone, 100)?;
    let mut buffer = [0; 2048];
    Ok(phone.recv(&mut buffer).is_ok_and(|length| sip::is_challenge(&buffer[..length])))
}

fn knock(socket: &UdpSocket, extension: u32) -> Result<()> {
    let source = socket.local_addr()?;
    let guess = sip::register(source, "UDP", extension);
    socket.send_to(guess.as_bytes(), pbx_of(source.ip())).context("send a guess")?;
    Ok(())
}

fn challenges(socket: &UdpSocket) -> usize {
    let mut buffer = [0; 2048];
    std::iter::from_fn(|| {
        socket.recv(&mut buffer).ok().map(|length| sip::is_challenge(&buffer[..length]))
    })
    .filter(|challenge| *challenge)
    .count()
}
