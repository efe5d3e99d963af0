//! [`Flood`]: requests without credentials from addresses all over the blocked countries, as many a second as is said,
//! or as many as the [first processor](FLOOD_ON) sends; none is like another, so that a PBX takes none for one that it
//! knows.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::addresses::Addresses;
use crate::gun::{Gun, datagram};
use crate::processors::pin;
use crate::site::{PBX_V4, Site};

/// Requests that are prepared; their numbers change before each is sent again.
const FRAMES: usize = 1 << 14;
/// Requests between two looks at the clock.
const BURST: usize = 16;
/// Where the checksum of a datagram is in its frame. Over IPv4 it may be left out.
const CHECKSUM: std::ops::Range<usize> = 40..42;
/// The processor that sends. On a wire between namespaces it also does what the receiving kernel does for each frame.
pub const FLOOD_ON: usize = 0;
/// The Ethernet address of nobody's.
const NOBODY: [u8; 6] = [2, 3, 3, 3, 3, 3];
/// Stands where the number of a request goes, which is as long.
const NUMBER: &str = "########";

/// Whom a flood is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// The PBX.
    Pbx,
    /// Another machine on the same wire, whose frames the PBX's kernel leaves alone: what the generator itself costs
    /// who shares its processors.
    Nobody,
}

/// A flood that goes on in the background.
#[derive(Debug)]
pub struct Flood {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
    began: Instant,
}

/// A request that is ready to be sent.
#[derive(Debug)]
struct Prepared {
    /// Where its number stands.
    numbers: Vec<usize>,
}

impl Flood {
    /// Begins: every second request is an INVITE, the others are REGISTERs.
    ///
    /// # Errors
    /// If a country has no range, or the packets can't be sent.
    pub fn start(
        site: &Site,
        addresses: &Addresses<'_>,
        countries: &[&str],
        aim: Aim,
        a_second: Option<u32>,
    ) -> Result<Self> {
        let sources: Vec<_> =
            countries.iter().flat_map(|country| addresses.several_v4(country, 200)).collect();
        ensure!(!sources.is_empty(), "the countries have no ranges");
        let (mut frames, mut prepared) = (Vec::new(), Vec::new());
        for number in 0..FRAMES {
            let source = IpAddr::V4(sources[number % sources.len()]);
            let method = if number % 2 == 0 { "REGISTER" } else { "INVITE" };
            let mut frame = datagram(source, request(method, source).as_bytes());
            frame[CHECKSUM].fill(0);
            if aim == Aim::Nobody {
                frame[..NOBODY.len()].copy_from_slice(&NOBODY);
            }
            let numbers = frame.windows(NUMBER.len()).enumerate();
            let numbers = numbers.filter(|(_, text)| *text == NUMBER.as_bytes());
            prepared.push(Prepared { numbers: numbers.map(|(at, _)| at).collect() });
            frames.push(frame);
        }
        let gun = Gun::new(&site.internet, "net0")?;
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let thread = thread::Builder::new().name("flood".to_owned());
        let thread = thread
            .spawn(move || fire(&gun, &mut frames, &prepared, a_second, &told))
            .context("a thread")?;
        Ok(Self { ends, thread, began: Instant::now() })
    }

    /// Ends it, and returns how many requests it sent a second.
    ///
    /// # Errors
    /// If it could not go on.
    pub fn finish(self) -> Result<f64> {
        self.ends.store(true, Ordering::Relaxed);
        let time = self.began.elapsed().as_secs_f64();
        let sent = self.thread.join().map_err(|_| anyhow!("the flood panicked"))??;
        Ok(sent as f64 / time)
    }
}

fn fire(
    gun: &Gun,
    frames: &mut [Vec<u8>],
    prepared: &[Prepared],
    a_second: Option<u32>,
    ends: &AtomicBool,
) -> Result<u64> {
    pin(FLOOD_ON)?;
    let (began, mut sent) = (Instant::now(), 0_u64);
    let bursts = (0..FRAMES / BURST).map(|burst| burst * BURST..(burst + 1) * BURST);
    for burst in bursts.cycle() {
        if ends.load(Ordering::Relaxed) {
            break;
        }
        for at in burst.clone() {
            let number = format!("{:08x}", sent as u32);
            for place in &prepared[at].numbers {
                frames[at][*place..*place + NUMBER.len()].copy_from_slice(number.as_bytes());
            }
            sent += 1;
        }
        gun.fire(&frames[burst])?;
        if let Some(a_second) = a_second {
            let due = began + Duration::from_secs_f64(sent as f64 / f64::from(a_second));
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    Ok(sent)
}

/// What a scanner sends that has no password to try.
fn request(method: &str, source: IpAddr) -> String {
    format!(
        "{method} sip:1000@{PBX_V4} SIP/2.0\r\nVia: SIP/2.0/UDP {source}:5060;branch=z9hG4bK{NUMBER};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:1000@{PBX_V4}>;tag={NUMBER}\r\nTo: <sip:1000@{PBX_V4}>\r\n\
         Call-ID: {NUMBER}\r\nCSeq: 1 {method}\r\nContact: <sip:1000@{source}:5060>\r\n\
         User-Agent: friendly-scanner\r\nContent-Length: 0\r\n\r\n"
    )
}
