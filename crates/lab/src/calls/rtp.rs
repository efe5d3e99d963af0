//! [`Stream`]: what is said in a call and what of it comes back. It holds its number, so that it is known again when the
//! PBX plays it back. On which of the two ways a packet was lost can't be told: Asterisk numbers what it plays back as
//! what it heard, gaps and all.

use std::collections::HashSet;

/// Bytes of RTP before what is said.
const HEADER: usize = 12;
/// 20 ms of PCMU.
const SAID: usize = 160;

/// Packets said and heard again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heard {
    /// That the callers sent.
    pub sent: u64,
    /// That came back, each counted once.
    pub received: u64,
}

impl Heard {
    /// Lost on the way to the PBX, in it, or on the way back.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.received)
    }

    /// The share that did not come back.
    pub fn loss(&self) -> f64 {
        match self.sent {
            0 => 0.0,
            sent => 1.0 - self.received as f64 / sent as f64,
        }
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.received += other.received;
    }
}

/// What is said in one call.
#[derive(Debug, Default)]
pub struct Stream {
    sent: u32,
    heard: HashSet<u32>,
}

impl Stream {
    /// The next packet.
    pub fn say(&mut self) -> [u8; HEADER + SAID] {
        let mut packet = [0xff; HEADER + SAID];
        let number = self.sent;
        self.sent += 1;
        packet[0] = 0x80;
        // PCMU; the first one of a talk is marked.
        packet[1] = if number == 0 { 0x80 } else { 0 };
        packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&(number * SAID as u32).to_be_bytes());
        packet[8..12].copy_from_slice(&0x4745_4f46_u32.to_be_bytes());
        packet[12..16].copy_from_slice(&number.to_be_bytes());
        packet
    }

    /// Hears one.
    pub fn hear(&mut self, packet: &[u8]) {
        let [0x80, kind, ..] = packet else { return };
        let Some(said) = packet.get(HEADER..HEADER + 4) else { return };
        let number = u32::from_be_bytes([said[0], said[1], said[2], said[3]]);
        if kind & 0x7f != 0 || number >= self.sent {
            return;
        }
        self.heard.insert(number);
    }

    /// What came of it.
    pub fn heard(&self) -> Heard {
        Heard { sent: u64::from(self.sent), received: self.heard.len() as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_come_back_is_lost_and_what_comes_twice_counts_once() {
        let mut stream = Stream::default();
        let said: Vec<_> = (0..10).map(|_| stream.say()).collect();
        said.iter().skip(2).for_each(|packet| stream.hear(packet));
        stream.hear(&said[5]);
        let heard = stream.heard();
        assert_eq!((heard, heard.lost()), (Heard { sent: 10, received: 8 }, 2));
    }

    #[test]
    fn what_was_never_said_is_not_heard() {
        let mut stream = Stream::default();
        let mut other = Stream::default();
        let packet = other.say();
        stream.hear(&packet);
        stream.hear(b"hello");
        assert_eq!(stream.heard(), Heard::default());
    }
}
