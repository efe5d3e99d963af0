//! Reads a list of addresses in [blocks](Blocks) of whole lines, so that memory does not grow with it, and
//! counts the blocks on every core.

use std::io::{self, Read};
use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread;

use geofilter_core::impact::list::{Answers, Tally};

use super::blocks::Blocks;

/// Each core holds one block.
const BLOCK: usize = 1 << 18;

/// Counts what the policy does to the addresses of a list.
pub(super) fn count(input: impl Read + Send, answers: &Answers) -> io::Result<Tally> {
    let blocks = Mutex::new(Blocks::new(input, BLOCK));
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        let counters: Vec<_> =
            (0..cores).map(|_| scope.spawn(|| count_blocks(&blocks, answers))).collect();
        let mut whole = Tally::default();
        for counter in counters {
            whole.merge(&counter.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok(whole)
    })
}

/// Counts the blocks that no other core has taken.
fn count_blocks(blocks: &Mutex<Blocks<impl Read>>, answers: &Answers) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let mut block = Vec::with_capacity(BLOCK);
    let next =
        |block: &mut Vec<u8>| blocks.lock().unwrap_or_else(PoisonError::into_inner).next(block);
    while let Some(line) = next(&mut block)? {
        tally.count(&block, line, answers);
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use geofilter_core::wire::PreviewAddresses;

    use crate::geo::Geo;

    /// An input that gives as much at a time as somebody wrote into the pipe.
    struct Pipe(VecDeque<Vec<u8>>);

    impl Read for Pipe {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let Some(mut piece) = self.0.pop_front() else { return Ok(0) };
            let size = piece.len().min(into.len());
            into[..size].copy_from_slice(&piece[..size]);
            if size < piece.len() {
                self.0.push_front(piece.split_off(size));
            }
            Ok(size)
        }
    }

    fn counted(input: impl Read + Send) -> PreviewAddresses {
        let policy = geofilter_core::apply::nothing_selected();
        let answers = Answers::new(&policy, Geo::embedded().unwrap().world()).unwrap();
        count(input, &answers).unwrap().preview().addresses
    }

    fn total_and_invalid(input: &[u8]) -> (u64, u64) {
        let addresses = counted(input);
        (addresses.total, addresses.invalid)
    }

    #[test]
    fn lines_across_blocks_are_whole() {
        for line in ["203.0.113.77\n", "203.0.113.77\r\n", " 2001:db8::77\t\n"] {
            let lines = BLOCK * 3 / line.len() + 5;
            let mut text = line.repeat(lines).into_bytes();
            assert_eq!(total_and_invalid(&text), (lines as u64, 0), "{line:?}");
            text.pop();
            assert_eq!(total_and_invalid(&text), (lines as u64, 0), "{line:?} without its end");
        }
        let just_one_block = b"203.0.113.7\r\n\n\n\n".repeat(BLOCK / 16);
        assert_eq!(just_one_block.len(), BLOCK);
        assert_eq!(total_and_invalid(&just_one_block), (BLOCK as u64 / 16, 0));
        assert_eq!(total_and_invalid(b""), (0, 0));
        assert_eq!(total_and_invalid(b"\n\r\n# nothing\n"), (0, 0));
    }

    #[test]
    fn what_is_no_address_is_named_by_its_line() {
        let line = b"203.0.113.77\n";
        let lines = BLOCK / line.len() * 5 / 2;
        let text = [&line.repeat(lines)[..], b"nonsense\n", &line.repeat(lines), b"more"].concat();
        let addresses = counted(&text[..]);
        assert_eq!((addresses.total, addresses.invalid), (lines as u64 * 2, 2));
        assert_eq!(addresses.first_invalid, Some(lines as u64 + 1));
    }

    #[test]
    fn long_lines_take_no_memory_and_are_no_address() {
        let long = vec![b'1'; BLOCK * 3];
        let text = [b"x\n", &long[..], b"\n192.0.2.1\n?\n#", &long, b"\n?\n", &long].concat();
        let addresses = counted(&text[..]);
        assert_eq!((addresses.total, addresses.invalid, addresses.first_invalid), (1, 5, Some(1)));
        let addresses = counted(&text[text.len() - 2 * long.len() - 7..]);
        assert_eq!((addresses.total, addresses.invalid, addresses.first_invalid), (0, 3, Some(2)));
    }

    #[test]
    fn a_pipe_gives_what_there_is() {
        let pieces = ["203.0.1", "13.77\n203.0.113.", "78", "\nno", "nsense\n2001:db8::", "1"];
        let pipe = Pipe(pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect());
        let addresses = counted(pipe);
        assert_eq!((addresses.total, addresses.invalid, addresses.first_invalid), (3, 1, Some(3)));
    }
}
