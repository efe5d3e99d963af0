//! How the borders of steps are written: the distance from one to the next as the number of its trailing
//! zero bits, in one stream, and what is left of it, in another. Most distances are powers of two.

use super::frame::{ImageError, Reader, Writer};
use crate::steps::Address;

/// The borders of a block, after its first.
pub(super) struct BorderWriter {
    last: u128,
    zeros: Vec<u8>,
    odds: Writer,
}

impl BorderWriter {
    pub(super) fn new(first: u128) -> Self {
        Self { last: first, zeros: Vec::new(), odds: Writer::default() }
    }

    pub(super) fn push(&mut self, start: u128) {
        let distance = start - self.last;
        let zeros = distance.trailing_zeros();
        self.zeros.push(zeros as u8);
        self.odds.number((distance >> zeros) >> 1);
        self.last = start;
    }

    pub(super) fn finish(self, content: &mut Writer) {
        content.bytes(&self.zeros);
        content.bytes(&self.odds.0);
    }
}

/// Reads the borders of a block.
pub(super) struct BorderReader<'a> {
    last: u128,
    zeros: std::slice::Iter<'a, u8>,
    odds: Reader<'a>,
}

impl<'a> BorderReader<'a> {
    pub(super) fn new(first: u128, content: &mut Reader<'a>) -> Result<Self, ImageError> {
        let zeros = content.bytes()?.iter();
        Ok(Self { last: first, zeros, odds: Reader(content.bytes()?) })
    }

    /// The next border; `None` after the last.
    pub(super) fn next<A: Address>(&mut self) -> Result<Option<A>, ImageError> {
        let Some(zeros) = self.zeros.next() else {
            return self.odds.end().map(|()| None);
        };
        let outside = ImageError::Malformed("a border lies outside the address space");
        let odd = self.odds.number()?;
        let distance = odd
            .checked_mul(2)
            .map(|even| even | 1)
            .filter(|odd| u32::from(*zeros) <= odd.leading_zeros())
            .map(|odd| odd << *zeros);
        let start = distance.and_then(|distance| self.last.checked_add(distance));
        let Some(start) = start else { return Err(outside) };
        self.last = start;
        A::narrow(start).map(Some).ok_or(outside)
    }
}
