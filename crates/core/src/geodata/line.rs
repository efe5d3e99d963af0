//! What the line-by-line parsers share: lines with their numbers, and the errors that name them.

use std::str::from_utf8;

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
    /// The line ends too early.
    #[error("there are fewer fields than the format has")]
    TooFewFields,
    /// Neither an address nor a number of one.
    #[error("`{0}` is not an address")]
    Address(String),
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

/// The lines that are neither blank nor comments, trimmed, with their numbers from 1.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = Result<(usize, &str), ParseError>> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let numbered = text.split(|byte| *byte == b'\n').enumerate();
    let lines = numbered.map(|(index, line)| match from_utf8(line) {
        Ok(line) => Ok((index + 1, line.trim())),
        Err(_) => Err(ParseError::Line { number: index + 1, problem: LineProblem::NotText }),
    });
    lines.filter(|line| match line {
        Ok((_, line)) => !line.is_empty() && !line.starts_with('#'),
        Err(_) => true,
    })
}

/// The field without the blanks and quotes around it.
pub(super) fn unquote(field: &str) -> &str {
    let field = field.trim();
    field.strip_prefix('"').and_then(|field| field.strip_suffix('"')).unwrap_or(field)
}
