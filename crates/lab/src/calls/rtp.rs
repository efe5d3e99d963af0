//! [`Stream`]: one direction of a call and what comes back of it. What a caller says holds its number, so that it is
//! known again when the PBX plays it back; the PBX numbers what it sends by itself.

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
    /// That the PBX played back, by its own numbers.
    pub played: u64,
    /// That came back, each counted once.
    pub received: u64,
}

impl Heard {
    /// Lost on the way to the PBX, or in it.
    pub fn lost_there(&self) -> u64 {
        self.sent.saturating_sub(self.played)
    }

    /// Lost on the way back.
    pub fn lost_back(&self) -> u64 {
        self.played.saturating_sub(self.received)
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
        self.played += other.played;
        self.received += other.received;
    }
}

/// What is said in one call.
#[derive(Debug, Default)]
pub struct Stream {
    sent: u32,
    heard: HashSet<u32>,
    /// The first number of the PBX, and how far it came.
    first: Option<u16>,
    last: u64,
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
        let [0x80, kind, high, low, ..] = packet else { return };
        let Some(said) = packet.get(HEADER..HEADER + 4) else { return };
        let number = u32::from_be_bytes([said[0], said[1], said[2], said[3]]);
        if kind & 0x7f != 0 || number >= self.sent {
            return;
        }
        let counted = u16::from_be_bytes([*high, *low]);
        let first = *self.first.get_or_insert(counted);
        // No call here is so long that the numbers begin anew twice.
        self.last = self.last.max(u64::from(counted.wrapping_sub(first)));
        self.heard.insert(number);
    }

    /// What came of it.
    pub fn heard(&self) -> Heard {
        let received = self.heard.len() as u64;
        let played = self.first.map_or(0, |_| self.last + 1);
        Heard { sent: u64::from(self.sent), played: played.max(received), received }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a PBX makes of a packet.
    fn played(packet: [u8; HEADER + SAID], number: u16) -> [u8; HEADER + SAID] {
        let mut packet = packet;
        packet[2..4].copy_from_slice(&number.to_be_bytes());
        packet
    }

    #[test]
    fn what_is_lost_on_either_way_is_told_apart() {
        let mut stream = Stream::default();
        let said: Vec<_> = (0..10).map(|_| stream.say()).collect();
        // Two never arrive; of the eight played back one is lost, and one comes twice.
        for (number, packet) in (65_533..).zip(said.into_iter().skip(2)) {
            if number != 65_535 {
                stream.hear(&played(packet, number as u16));
            }
        }
        let heard = stream.heard();
        assert_eq!(heard, Heard { sent: 10, played: 8, received: 7 });
        assert_eq!((heard.lost_there(), heard.lost_back()), (2, 1));
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
