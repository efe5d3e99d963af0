//! How the steps of a family are cut into blocks, so that one address can be looked up without reading the
//! others. The head of the image says where each block begins; a block is a piece of the image.

use super::frame::{ImageError, Piece, Reader, Unpacker, Writer};
use crate::steps::{Address, Steps};

/// Steps of a block. More compress better, fewer are found sooner.
const STEPS: usize = 1 << 13;

/// What a block holds, without the address at which it begins.
pub(super) trait Block<A>: Sized {
    /// The value of a step.
    type Value: Copy + Eq;

    /// Writes the steps of a block; there is at least one.
    fn write(&self, steps: &[(A, Self::Value)], content: &mut Writer) -> Result<(), ImageError>;

    /// Reads a block that begins here, and hands over its steps, ascending.
    fn read(
        &self,
        first: A,
        content: &mut Reader<'_>,
        take: impl FnMut(A, Self::Value),
    ) -> Result<(), ImageError>;
}

/// Cuts steps into blocks: their places go into the head, the blocks to the other pieces.
pub(super) fn write<A: Address, B: Block<A>>(
    block: &B,
    steps: &Steps<A, B::Value>,
    head: &mut Writer,
    pieces: &mut Vec<Vec<u8>>,
) -> Result<(), ImageError> {
    head.number(steps.len().div_ceil(STEPS) as u128);
    let mut steps = steps.iter().peekable();
    let mut last = 0;
    while let Some((first, _)) = steps.peek() {
        let first = first.widen();
        head.number(first - last);
        last = first;
        let mut content = Writer::default();
        let steps: Vec<(A, B::Value)> = steps.by_ref().take(STEPS).collect();
        block.write(&steps, &mut content)?;
        pieces.push(content.0);
    }
    Ok(())
}

/// The blocks of a family.
#[derive(Debug)]
pub(super) struct Blocks<'a, A> {
    firsts: Vec<A>,
    pieces: Vec<Piece<'a>>,
}

impl<'a, A: Address> Blocks<'a, A> {
    /// Reads where they are from the head, and takes their pieces.
    pub(super) fn new(
        head: &mut Reader<'_>,
        pieces: &mut impl Iterator<Item = Piece<'a>>,
    ) -> Result<Self, ImageError> {
        let count = head.length()?;
        let pieces: Vec<Piece<'a>> = pieces.take(count).collect();
        if pieces.is_empty() || pieces.len() != count {
            return Err(ImageError::Corrupt);
        }
        let mut firsts = Vec::with_capacity(count);
        let mut last = 0_u128;
        for _ in 0..count {
            let distance = head.number()?;
            if (distance == 0) != firsts.is_empty() {
                return Err(ImageError::Malformed(
                    "the blocks do not ascend from the lowest address",
                ));
            }
            let first = last.checked_add(distance);
            last = first.ok_or(ImageError::Malformed("a block lies outside the address space"))?;
            let first = A::narrow(last);
            firsts.push(
                first.ok_or(ImageError::Malformed("a block lies outside the address space"))?,
            );
        }
        Ok(Self { firsts, pieces })
    }

    /// Hands over every step, ascending.
    pub(super) fn read<B: Block<A>>(
        &self,
        block: &B,
        mut take: impl FnMut(A, B::Value),
    ) -> Result<(), ImageError> {
        let mut unpacker = Unpacker::new()?;
        (0..self.firsts.len())
            .try_for_each(|at| self.read_block(at, &mut unpacker, block, &mut take))
    }

    /// The value at an address, with the first and the last address around it that share it.
    pub(super) fn step<B: Block<A>>(
        &self,
        block: &B,
        address: A,
    ) -> Result<(A, A, B::Value), ImageError> {
        let at = self.firsts.partition_point(|first| *first <= address) - 1;
        let (mut around, mut end) = (None, self.end(at));
        self.read_block(at, &mut Unpacker::new()?, block, &mut |start, value| {
            if start <= address {
                around = Some((start, value));
            } else {
                end = end.min(start.previous().unwrap_or(A::MIN));
            }
        })?;
        let (start, value) = around.ok_or(ImageError::Malformed("a block is empty"))?;
        Ok((start, end, value))
    }

    /// The values at addresses, which ascend; a block is read once.
    pub(super) fn values<B: Block<A>>(
        &self,
        block: &B,
        addresses: &[A],
    ) -> Result<Vec<B::Value>, ImageError> {
        let mut unpacker = Unpacker::new()?;
        let mut values = Vec::with_capacity(addresses.len());
        let mut rest = addresses;
        while let Some(next) = rest.first() {
            let at = self.firsts.partition_point(|first| first <= next) - 1;
            let within = rest.partition_point(|address| *address <= self.end(at));
            let (mut before, mut known) = (0, None);
            self.read_block(at, &mut unpacker, block, &mut |start, value| {
                let upto =
                    before + rest[before..within].partition_point(|address| *address < start);
                values.extend(known.iter().cycle().take(upto - before));
                (before, known) = (upto, Some(value));
            })?;
            values.extend(known.iter().cycle().take(within - before));
            rest = &rest[within..];
        }
        match values.len() == addresses.len() {
            true => Ok(values),
            false => Err(ImageError::Malformed("a block is empty")),
        }
    }

    fn read_block<B: Block<A>>(
        &self,
        at: usize,
        unpacker: &mut Unpacker,
        block: &B,
        take: &mut impl FnMut(A, B::Value),
    ) -> Result<(), ImageError> {
        let mut content = Reader(unpacker.unpack(&self.pieces[at])?);
        let mut last = A::MIN;
        block.read(self.firsts[at], &mut content, |start, value| {
            last = start;
            take(start, value);
        })?;
        content.end()?;
        match last <= self.end(at) {
            true => Ok(()),
            false => Err(ImageError::Malformed("a block reaches into the next")),
        }
    }

    /// The last address of a block.
    fn end(&self, at: usize) -> A {
        self.firsts.get(at + 1).and_then(|next| next.previous()).unwrap_or(A::MAX)
    }
}
