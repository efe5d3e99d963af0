//! Frames of every shape the decision knows.

use proptest::prelude::*;
use proptest::test_runner::TestRng;

/// Draws from the generator that proptest seeds and prints.
pub(crate) struct Draw<'a>(pub(crate) &'a mut TestRng);

impl Draw<'_> {
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        ((u64::from(self.0.random::<u32>()) * u64::from(limit)) >> 32) as u32
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize]
    }

    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }
}

/// Ports of the other side.
const REMOTE: [u16; 3] = [5060, 5062, 1024];
const PAYLOADS: [&[u8]; 16] = [
    b"REGISTER sip:pbx SIP/2.0\r\n\r\n",
    b"OPTIONS sip:100@192.0.2.1 SIP/2.0\r\n\r\n",
    b"INVITE tel:+40212345 SIP/2.0\r\n\r\n",
    b"SUBSCRIBE sips:x SIP/2.0\r\n\r\n",
    b"ACK sip:100@192.0.2.1 SIP/2.0\r\n\r\n",
    b"BYE sip:100@192.0.2.1 SIP/2.0\r\n\r\n",
    b"NOTIFY sip:100@192.0.2.1 SIP/2.0\r\n\r\n",
    b"REFER sip:100@192.0.2.1 SIP/2.0\r\n\r\n",
    b"UPDATE sip:100@192.0.2.1 SIP/2.0\r\n\r\n",
    b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1\r\n",
    b"\r\n\r\n",
    b"\0\x01\0\x08\x21\x12\xa4\x42............",
    b"REGISTERX sip:pbx SIP/2.0\r\n",
    b"XREGISTER sip:pbx SIP/2.0\r\n",
    b"REGISTER  sip:pbx SIP/2.0\r\n",
    b"OPTIONS sip:a",
];

/// Which addresses are drawn from, and whether the host is the source.
#[derive(Clone, Copy)]
pub(crate) struct Shape<'a> {
    pub(crate) v4: &'a [u32],
    pub(crate) v6: &'a [u128],
    pub(crate) departs: bool,
}

const SCOPED: [u16; 4] = [5060, 5061, 5160, 8089];
const UNSCOPED: [u16; 5] = [53, 80, 5059, 5062, 40000];

/// One of a few numbers from all over: fewer than the kernel has room for marks.
fn noise(draw: &mut Draw<'_>) -> u64 {
    u64::from(draw.below(300) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A source address: from `known`, or one of the special kinds.
fn source_v4(draw: &mut Draw<'_>, known: &[u32]) -> u32 {
    match draw.below(10) {
        0 => noise(draw) as u32,
        1 => draw.pick(&[
            0x0a00_0001,
            0xac10_0001,
            0xac1f_ffff,
            0xac20_0000,
            0xc0a8_0101,
            0x6440_0001,
        ]),
        2 => draw.pick(&[0x7f00_0001, 0xa9fe_0101, 0xe000_0001, 0xffff_ffff, 0, 0xf000_0001]),
        _ => draw.pick(known),
    }
}

fn source_v6(draw: &mut Draw<'_>, v4: &[u32], v6: &[u128]) -> u128 {
    let inner = u128::from(source_v4(draw, v4));
    let noise = u128::from(noise(draw));
    match draw.below(16) {
        0 => noise << 64 | noise,
        1 => 0x2002 << 112 | inner << 80 | noise,
        2 => 0x0064_ff9b << 96 | inner,
        3 => 0x2001_0000 << 96 | (noise << 32) & (u128::MAX >> 32) | (!inner & 0xffff_ffff),
        4 => draw.pick(&[0xfe80 << 112 | 1, 0xfebf << 112, 0xfc00 << 112, 0xfd12 << 112 | 7]),
        5 => draw.pick(&[1, 0, 0xff02 << 112 | 1, 0xffff_0000_0000 | inner, 0xfec0 << 112]),
        6 => 1 << 125 | noise << 61 | noise,
        _ => draw.pick(v6),
    }
}

/// An Ethernet frame; one in eight is cut short.
pub(crate) fn frame(draw: &mut Draw<'_>, shape: Shape<'_>) -> Vec<u8> {
    let mut frame = vec![2; 12];
    for _ in 0..draw.pick(&[0, 0, 0, 0, 1, 1, 2, 3]) {
        frame.extend(draw.pick::<u16>(&[0x8100, 0x88a8]).to_be_bytes());
        frame.extend([0, 7]);
    }
    match draw.below(20) {
        0 => {
            frame.extend(draw.pick::<u16>(&[0x0806, 0x8863, 0x9100, 0x0004]).to_be_bytes());
            frame.extend([0; 46]);
        }
        1..=10 => packet_v4(draw, &mut frame, shape),
        _ => packet_v6(draw, &mut frame, shape),
    }
    if draw.chance(12) {
        frame.truncate(14 + draw.below(frame.len() as u32 - 13) as usize);
    }
    frame
}

fn packet_v4(draw: &mut Draw<'_>, frame: &mut Vec<u8>, shape: Shape<'_>) {
    frame.extend([8, 0]);
    let words = if draw.chance(20) { 5 + draw.below(11) as u8 } else { 5 };
    let version = if draw.chance(2) { 5 } else { 4 };
    let words = if draw.chance(2) { 4 } else { words };
    let fragment: u16 = match draw.below(10) {
        0 => 0x2000,
        1 => 0x2000 | (1 + draw.below(0x1ffe) as u16),
        2 => 1 + draw.below(0x1ffe) as u16,
        3 => 0x4000,
        _ => 0,
    };
    let protocol = protocol(draw);
    let upper = upper(draw, protocol, shape.departs);
    let length = (usize::from(words) * 4 + upper.len()) as u16;
    frame.extend([version << 4 | words, 0]);
    frame.extend(length.to_be_bytes());
    frame.extend([0, 1]);
    frame.extend(fragment.to_be_bytes());
    frame.extend([64, protocol, 0, 0]);
    let (remote, host) = (source_v4(draw, shape.v4).to_be_bytes(), [203, 0, 113, 1]);
    frame.extend(if shape.departs { [host, remote] } else { [remote, host] }.concat());
    frame.extend(std::iter::repeat_n(1, usize::from(words.max(5) - 5) * 4));
    frame.extend(upper);
}

fn packet_v6(draw: &mut Draw<'_>, frame: &mut Vec<u8>, shape: Shape<'_>) {
    frame.extend([0x86, 0xdd]);
    let count = if draw.chance(40) { draw.below(13) } else { 0 };
    let kinds: Vec<u8> = (0..count).map(|_| draw.pick(&[0, 43, 60, 135, 44, 51])).collect();
    let protocol = if draw.chance(3) { 59 } else { protocol(draw) };
    let mut rest = Vec::new();
    for (at, kind) in kinds.iter().enumerate() {
        let next = kinds.get(at + 1).copied().unwrap_or(protocol);
        extension(draw, &mut rest, *kind, next);
    }
    rest.extend(upper(draw, protocol, shape.departs));
    frame.extend([if draw.chance(2) { 0x50 } else { 0x60 }, 0, 0, 0]);
    frame.extend((rest.len() as u16).to_be_bytes());
    frame.extend([kinds.first().copied().unwrap_or(protocol), 64]);
    let remote = source_v6(draw, shape.v4, shape.v6).to_be_bytes();
    let host = (0x2001_0db8_u128 << 96 | 1).to_be_bytes();
    frame.extend(if shape.departs { [host, remote] } else { [remote, host] }.concat());
    frame.extend(rest);
}

fn extension(draw: &mut Draw<'_>, into: &mut Vec<u8>, kind: u8, next: u8) {
    let units = draw.pick(&[0, 0, 0, 1, 2, 5]);
    match kind {
        44 => {
            let offset: u16 = if draw.chance(15) { (draw.below(0x1fff) as u16) << 3 } else { 0 };
            into.extend([next, units]);
            into.extend((offset | u16::from(draw.chance(50))).to_be_bytes());
            into.extend([0; 4]);
        }
        51 => {
            into.extend([next, units]);
            into.extend(std::iter::repeat_n(0, (usize::from(units) + 2) * 4 - 2));
        }
        _ => {
            into.extend([next, units]);
            into.extend(std::iter::repeat_n(0, (usize::from(units) + 1) * 8 - 2));
        }
    }
}

fn protocol(draw: &mut Draw<'_>) -> u8 {
    draw.pick(&[17, 17, 17, 17, 6, 6, 6, 1, 58, 50, 132, 255])
}

fn upper(draw: &mut Draw<'_>, protocol: u8, departs: bool) -> Vec<u8> {
    let host = if draw.chance(75) { draw.pick(&SCOPED) } else { draw.pick(&UNSCOPED) };
    let remote = draw.pick(&REMOTE);
    let ports = if departs { [host, remote] } else { [remote, host] };
    let mut upper: Vec<u8> = ports.into_iter().flat_map(u16::to_be_bytes).collect();
    upper.extend(match protocol {
        6 => [0; 16].as_slice(),
        _ => [0, 40, 0, 0].as_slice(),
    });
    upper.extend(draw.pick(&PAYLOADS));
    upper
}
