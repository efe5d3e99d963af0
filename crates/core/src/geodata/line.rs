//! What the line-by-line parsers share: lines with their numbers, and the errors that name them.

use std::io::{self, BufRead, Read};
use std::str::from_utf8;

/// The longest line that is read, in bytes. The longest known has 300.
const MAX_LINE: usize = 16 << 10;

/// A file that cannot be read as what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// One line is wrong.
    #[error("line {number}: {problem}")]
    Line {
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        problem: LineProblem,
    },
    /// The file cannot be read to its end.
    #[error("after line {after} the file breaks off ({kind}): fetch it again")]
    Broken {
        /// The last line that could be read, counted from 1.
        after: usize,
        /// What kind of failure it was.
        kind: io::ErrorKind,
    },
    /// No line is wrong, but none holds anything either.
    #[error("there is not one line of data in it")]
    Empty,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// Not UTF-8.
    #[error("the line is not text")]
    NotText,
    /// Longer than any line of such a file.
    #[error("the line has more than {MAX_LINE} bytes")]
    TooLong,
    /// The line ends too early.
    #[error("there are fewer fields than the format has")]
    TooFewFields,
    /// Neither an address nor a number of one.
    #[error("`{0}` is not an address")]
    Address(String),
    /// Neither an address nor a prefix, or one with bits set after its length.
    #[error("`{0}` is not a network: write it as 192.0.2.0/24 or 192.0.2.7")]
    Network(String),
    /// A header that lacks a column.
    #[error("the header has no column `{0}`")]
    Column(&'static str),
    /// The number of a place that is not among the locations.
    #[error("no location has the number `{0}`: use the locations of the same edition")]
    Place(String),
    /// A prefix that was corrected before.
    #[error("`{prefix}` is in line {before} already: keep one of the two")]
    Repeated {
        /// The prefix as it is written.
        prefix: String,
        /// The line that has it too.
        before: usize,
    },
    /// More lines than such a file can have.
    #[error("there are more than {0} of them")]
    TooMany(usize),
    /// Cannot be a country code, not even an obsolete one.
    #[error("`{0}` is not a country code")]
    Country(String),
    /// Not the number of an autonomous system.
    #[error("`{0}` is not the number of an autonomous system")]
    AsNumber(String),
    /// Neither a count of addresses nor the length of a prefix, or the block does not fit.
    #[error("`{0}` is not the size of a block that starts there")]
    Size(String),
    /// The end lies before the start.
    #[error("the range ends before it starts")]
    Backwards,
    /// One end is IPv4, the other IPv6.
    #[error("the range starts in one address family and ends in the other")]
    MixedFamilies,
}

/// Calls `each` with every line, trimmed, and its number from 1, until one is wrong.
pub(super) fn each_line(
    mut reader: impl BufRead,
    mut each: impl FnMut(usize, &str) -> Result<(), LineProblem>,
) -> Result<(), ParseError> {
    let mut line = Vec::new();
    for number in 1.. {
        let mut tell = |line: &[u8]| {
            let text = text(line, number).and_then(|text| each(number, text));
            text.map_err(|problem| ParseError::Line { number, problem })
        };
        let broken =
            |error: io::Error| ParseError::Broken { after: number - 1, kind: error.kind() };
        // Most lines need not be copied.
        if let Ok(held) = reader.fill_buf()
            && let Some(end) = memchr::memchr(b'\n', held)
        {
            tell(&held[..end])?;
            reader.consume(end + 1);
            continue;
        }
        line.clear();
        let read = reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line);
        if read.map_err(broken)? == 0 {
            break;
        }
        tell(&line)?;
    }
    Ok(())
}

/// The same of the lines that are neither blank nor comments.
pub(super) fn each_data_line(
    reader: impl BufRead,
    mut each: impl FnMut(usize, &str) -> Result<(), LineProblem>,
) -> Result<(), ParseError> {
    each_line(reader, |number, line| match line {
        "" => Ok(()),
        comment if comment.starts_with('#') => Ok(()),
        data => each(number, data),
    })
}

fn text(line: &[u8], number: usize) -> Result<&str, LineProblem> {
    if line.len() > MAX_LINE {
        return Err(LineProblem::TooLong);
    }
    let line = match number {
        1 => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line),
        _ => line,
    };
    from_utf8(line.trim_ascii()).map_err(|_| LineProblem::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reader: impl BufRead) -> Result<Vec<(usize, String)>, ParseError> {
        let mut lines = Vec::new();
        each_data_line(reader, |number, line| {
            lines.push((number, line.to_owned()));
            Ok(())
        })?;
        Ok(lines)
    }

    #[test]
    fn lines_are_numbered_and_trimmed() {
        let lines = read(&b"\xef\xbb\xbfa\r\n\n # c\n b \nlast"[..]).unwrap();
        let lines: Vec<_> = lines.iter().map(|(number, line)| (*number, line.as_str())).collect();
        assert_eq!(lines, [(1, "a"), (4, "b"), (5, "last")]);
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_is_kept() {
        let endless = io::BufReader::new(io::repeat(b'a'));
        let error = read(endless).unwrap_err().to_string();
        assert_eq!(error, "line 1: the line has more than 16384 bytes");
        assert_eq!(read(&vec![b'a'; MAX_LINE][..]).unwrap().len(), 1);
    }

    #[test]
    fn a_file_that_breaks_off_is_told_from_one_that_ends() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        }
        let file = io::BufReader::new((&b"a\nb\n"[..]).chain(Broken));
        let error = read(file).unwrap_err().to_string();
        assert_eq!(
            error,
            "after line 2 the file breaks off (unexpected end of file): fetch it again"
        );
    }
}
