//! [`Blocks`]: an input in pieces, so that memory does not grow with it.

use std::io::{self, Read};

/// The input, in pieces that end where a line does.
pub(super) struct Blocks<R> {
    input: R,
    /// How long a block is. A line that is longer is skipped but for so much of its start.
    size: usize,
    /// The start of a line whose end was not read yet.
    begun: Vec<u8>,
    /// The number of that line.
    line: u64,
}

impl<R: Read> Blocks<R> {
    pub(super) fn new(input: R, size: usize) -> Self {
        Self { input, size, begun: Vec::new(), line: 1 }
    }

    /// Reads the next block and says the number of its first line; `None` after the last. Where that fails the block
    /// holds what was read before.
    pub(super) fn next(&mut self, block: &mut Vec<u8>) -> io::Result<Option<u64>> {
        block.clear();
        block.append(&mut self.begun);
        let ended = !self.fill(block)?;
        if block.is_empty() {
            return Ok(None);
        }
        let line = self.line;
        match block.iter().rposition(|byte| *byte == b'\n') {
            Some(end) if !ended => self.begun.extend(block.drain(end + 1..)),
            Some(_) => {}
            None if ended => {}
            None => {
                self.skip_line()?;
                self.line += 1;
            }
        }
        self.line += block.iter().filter(|byte| **byte == b'\n').count() as u64;
        Ok(Some(line))
    }

    /// Fills a block, unless the input ends before.
    fn fill(&mut self, block: &mut Vec<u8>) -> io::Result<bool> {
        let room = (self.size - block.len()) as u64;
        let read = self.input.by_ref().take(room).read_to_end(block)?;
        Ok(read as u64 == room)
    }

    /// Passes over the rest of a line.
    fn skip_line(&mut self) -> io::Result<()> {
        let mut piece = Vec::new();
        loop {
            piece.clear();
            let more = self.fill(&mut piece)?;
            if let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
                self.begun.extend(&piece[end + 1..]);
                return Ok(());
            }
            if !more {
                return Ok(());
            }
        }
    }
}
