//! [`Verdicts`]: asks whatever filters on a site's host about thousands of sources, with a real packet from
//! each to a real socket. [`Comparison`] holds it against the oracle.

use std::collections::HashSet;
use std::net::{IpAddr, UdpSocket};

use anyhow::{Context, Result};
use geofilter_core::decide::decide_source;
use geofilter_core::policy::{Mode, Policy, Verdict};
use geofilter_core::world::World;
use rustix::net::sockopt;

use crate::addresses::Addresses;
use crate::gun::{Gun, datagram};
use crate::rivals::lists::{Family, Lists};
use crate::site::{PBX_V4, PBX_V6, SIP, Site};

/// Fewer than the socket or a wire holds at the least.
const BATCH: usize = 64;
/// Of the socket, in bytes.
const ROOM: usize = 1 << 20;
const PROBE: &[u8] = b"OPTIONS sip:pbx.example SIP/2.0\r\n\r\n";

/// A wire to the PBX's port, for one family.
#[derive(Debug)]
pub struct Verdicts {
    gun: Gun,
    pbx: UdpSocket,
    witness: IpAddr,
}

impl Verdicts {
    /// Listens at the PBX's port for the family of `witness`, which has to be let in: it tells when all that
    /// was sent before has arrived or been dropped.
    ///
    /// # Errors
    /// If the port is taken or the kernel refuses.
    pub fn new(site: &Site, witness: IpAddr) -> Result<Self> {
        let pbx: IpAddr = if witness.is_ipv4() { PBX_V4.into() } else { PBX_V6.into() };
        let pbx = site.listen(pbx, SIP)?;
        // Behind XDP a datagram takes a page or two, however short it is.
        sockopt::set_socket_recv_buffer_size_force(&pbx, ROOM)?;
        Ok(Self { gun: Gun::new(&site.internet, "net0")?, pbx, witness })
    }

    /// Sends one datagram from each source and returns those that arrived.
    ///
    /// # Errors
    /// If the filter drops the witness, too.
    pub fn passing(&self, sources: &[IpAddr]) -> Result<HashSet<IpAddr>> {
        let mut passing = HashSet::new();
        for (number, batch) in sources.chunks(BATCH).enumerate() {
            let end = format!("ACK sip:{number}@pbx.example SIP/2.0\r\n\r\n");
            let frames = batch.iter().map(|source| datagram(*source, PROBE));
            let frames = frames.chain([datagram(self.witness, end.as_bytes())]);
            self.gun.fire(&frames.collect::<Vec<_>>())?;
            self.receive(end.as_bytes(), &mut passing)?;
        }
        Ok(passing)
    }

    fn receive(&self, end: &[u8], passing: &mut HashSet<IpAddr>) -> Result<()> {
        let mut buffer = [0; 512];
        loop {
            let (length, from) =
                self.pbx.recv_from(&mut buffer).context("the witness is not let in")?;
            match &buffer[..length] {
                PROBE => passing.insert(from.ip()),
                other if other == end => return Ok(()),
                _ => continue,
            };
        }
    }
}

/// What a filter says of many sources, beside what the oracle says.
#[derive(Debug)]
pub struct Comparison {
    /// How many sources were asked about.
    pub asked: usize,
    /// How many of them may come in.
    pub allowed: usize,
    /// Those that came in and may not, or the other way round.
    pub wrong: Vec<IpAddr>,
}

impl Comparison {
    /// Asks about so many sources of a family, all over the space that the lists announce. A source in Spain must
    /// be let in.
    ///
    /// # Errors
    /// As [`Verdicts`].
    pub fn of(
        site: &Site,
        world: &World,
        lists: &Lists,
        family: Family,
        count: usize,
    ) -> Result<Self> {
        let witness = match family {
            Family::V4 => Addresses::new(world).v4("ES").into(),
            Family::V6 => Addresses::new(world).v6("ES").into(),
        };
        let policy = Policy::new(Mode::AllowSelected, lists.allowed());
        let passes =
            |source: &IpAddr| decide_source(*source, &policy, world).verdict == Verdict::Pass;
        let sources = lists.sources(family, count);
        let expected: HashSet<IpAddr> = sources.iter().copied().filter(passes).collect();
        let passing = Verdicts::new(site, witness)?.passing(&sources)?;
        let wrong = passing.symmetric_difference(&expected).copied().collect();
        Ok(Self { asked: sources.len(), allowed: expected.len(), wrong })
    }
}
