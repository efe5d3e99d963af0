//! [`Journal`]: the book of exemptions and bans on disk. A line is appended for each change, so that
//! hundreds of bans a second cost no more than their own lines; when most lines are of the past, the file is
//! written anew.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use geofilter_core::book::{Book, Edit};
use serde::{Deserialize, Serialize};

use crate::files::{aside, write_whole};

const FILE: &str = "overrides.jsonl";
const SCHEMA: u32 = 1;
/// So many lines more than needed are no reason to write the file anew.
const SLACK: usize = 1_000;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    schema: u32,
}

/// `<state-dir>/overrides.jsonl`.
#[derive(Debug)]
pub(crate) struct Journal {
    dir: PathBuf,
    /// None until something was written.
    file: Option<File>,
    /// Bytes up to the end of the last whole line.
    length: u64,
    lines: usize,
    /// What could not be read, and could not be set aside either.
    corrupt: Option<Corrupt>,
}

/// A file of which only a part could be read.
#[derive(Debug)]
struct Corrupt {
    content: Vec<u8>,
    readable: Book,
}

/// A journal, and what it held.
pub(super) struct Opened {
    pub(super) journal: Journal,
    pub(super) book: Book,
    /// What could not be read.
    pub(super) warning: Option<String>,
}

impl Journal {
    /// Reads what was written, and goes on from there. What can't be read is kept beside it.
    ///
    /// # Errors
    /// If the file can't be read, or was written by a newer version.
    pub(super) fn open(dir: &Path) -> anyhow::Result<Opened> {
        let mut journal =
            Self { dir: dir.to_owned(), file: None, length: 0, lines: 0, corrupt: None };
        let path = journal.path();
        let Some(content) = read(&path)? else {
            return Ok(Opened { journal, book: Book::default(), warning: None });
        };
        let parsed = Parsed::read(&content).with_context(|| path.display().to_string())?;
        let warning = match parsed.unreadable {
            0 => {
                journal.length = parsed.whole;
                journal.lines = parsed.lines;
                None
            }
            unreadable => {
                let corrupt = Corrupt { content, readable: parsed.book.clone() };
                let kept = match journal.replace(&corrupt) {
                    Ok(aside) => format!("the file as it was is kept in {}", aside.display()),
                    Err(error) => {
                        journal.corrupt = Some(corrupt);
                        format!("the file is left as it is, since {error}: make room")
                    }
                };
                Some(format!(
                    "{unreadable} lines of the exemptions and bans in {} could not be read; the rest is in force, and {kept}",
                    path.display(),
                ))
            }
        };
        Ok(Opened { journal, book: parsed.book, warning })
    }

    /// What a file says, and how many lines of it could not be read.
    ///
    /// # Errors
    /// If it was written by a newer version.
    pub(crate) fn parse(content: &[u8]) -> anyhow::Result<(Book, usize)> {
        Parsed::read(content).map(|parsed| (parsed.book, parsed.unreadable))
    }

    /// What was written, without going on from there.
    ///
    /// # Errors
    /// If the file can't be read, or was written by a newer version.
    pub(super) fn peek(dir: &Path) -> anyhow::Result<Book> {
        let path = dir.join(FILE);
        match read(&path)? {
            Some(content) => Parsed::read(&content)
                .map(|parsed| parsed.book)
                .with_context(|| path.display().to_string()),
            None => Ok(Book::default()),
        }
    }

    /// Writes changes durably, all or none.
    pub(super) fn append(&mut self, edits: &[Edit]) -> io::Result<()> {
        let mut text = Vec::new();
        for edit in edits {
            serde_json::to_writer(&mut text, edit)?;
            text.push(b'\n');
        }
        if let Some(corrupt) = self.corrupt.take()
            && let Err(error) = self.replace(&corrupt)
        {
            self.corrupt = Some(corrupt);
            return Err(error);
        }
        match (&self.file, self.length) {
            (Some(_), _) => {}
            (None, 0) => self.rewrite(&Book::default())?,
            (None, _) => self.file = Some(append_to(&self.path())?),
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        // What an earlier failure left behind the last whole line goes first.
        file.set_len(self.length)?;
        let written = file.write_all(&text).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // If this fails too, the next change tries again, and a reader drops a line that is torn.
            let _ = file.set_len(self.length).and_then(|()| file.sync_data());
            return Err(error);
        }
        self.length += text.len() as u64;
        self.lines += edits.len();
        Ok(())
    }

    /// Writes the file anew if somebody has removed it; whether that was so.
    pub(super) fn keep(&mut self, book: &Book) -> io::Result<bool> {
        let is_gone = self.length > 0 && !self.path().exists();
        if is_gone {
            self.rewrite(book)?;
        }
        Ok(is_gone)
    }

    /// Writes the file anew if most of it is of the past.
    pub(super) fn tidy(&mut self, book: &Book) -> io::Result<()> {
        match self.lines > 2 * book.size() + SLACK {
            true => self.rewrite(book),
            false => Ok(()),
        }
    }

    fn rewrite(&mut self, book: &Book) -> io::Result<()> {
        let mut text = Vec::new();
        serde_json::to_writer(&mut text, &Header { schema: SCHEMA })?;
        text.push(b'\n');
        for edit in book.edits() {
            serde_json::to_writer(&mut text, &edit)?;
            text.push(b'\n');
        }
        write_whole(&self.dir, FILE, &text)?;
        self.file = Some(OpenOptions::new().append(true).open(self.path())?);
        self.length = text.len() as u64;
        self.lines = book.size();
        Ok(())
    }

    /// Sets aside a file that could not be read whole, and goes on with what could.
    fn replace(&mut self, corrupt: &Corrupt) -> io::Result<PathBuf> {
        let aside = self.set_aside(&corrupt.content)?;
        self.rewrite(&corrupt.readable).inspect_err(|_| {
            // It is tried again, and one copy is enough.
            let _ = fs::remove_file(&aside);
        })?;
        Ok(aside)
    }

    fn set_aside(&self, content: &[u8]) -> io::Result<PathBuf> {
        let aside = aside(&self.path());
        let name = aside.file_name().unwrap_or_default().to_string_lossy();
        write_whole(&self.dir, &name, content)?;
        Ok(aside)
    }

    fn path(&self) -> PathBuf {
        self.dir.join(FILE)
    }
}

fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).open(path)
}

/// What a file says.
struct Parsed {
    book: Book,
    whole: u64,
    lines: usize,
    unreadable: usize,
}

impl Parsed {
    /// A last line that is not whole was never promised to anybody, and is as if it were not there.
    fn read(content: &[u8]) -> anyhow::Result<Self> {
        let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let mut lines = content[..whole].split_inclusive(|byte| *byte == b'\n');
        let mut unreadable = 0;
        match lines.next().map(serde_json::from_slice::<Header>) {
            Some(Ok(Header { schema: SCHEMA })) => {}
            Some(Ok(Header { schema })) if schema > SCHEMA => bail!(
                "it has schema {schema}, and this geofilter knows only {SCHEMA}: it was saved by a newer one; use that, or move the file away"
            ),
            Some(Ok(_) | Err(_)) | None => unreadable += 1,
        }
        let mut parsed = Self { book: Book::default(), whole: whole as u64, lines: 0, unreadable };
        for line in lines {
            match serde_json::from_slice(line) {
                Ok(edit) => {
                    parsed.book.replay(vec![edit]);
                    parsed.lines += 1;
                }
                Err(_) => parsed.unreadable += 1,
            }
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use geofilter_core::book::{Kind, Note, Origin, Record, Target, UnixTime};

    fn put(text: &str) -> Edit {
        let target = Target::parse(text, Kind::Ban).unwrap();
        let note = "a note".parse::<Note>().unwrap();
        let until = Some(UnixTime(2_000_000_000));
        let record = Record { target, origin: Origin::Fail2ban, until, note, added: UnixTime(1) };
        Edit::Put { kind: Kind::Ban, record }
    }

    fn remove(text: &str) -> Edit {
        let target = Target::parse(text, Kind::Ban).unwrap();
        Edit::Remove { kind: Kind::Ban, target, origin: Origin::Fail2ban }
    }

    fn targets(book: &Book) -> Vec<String> {
        book.records(Kind::Ban).map(|record| record.target.to_string()).collect()
    }

    fn open(dir: &Path) -> Opened {
        Journal::open(dir).unwrap()
    }

    /// A directory with a journal of two bans.
    fn two() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path()).journal;
        journal.append(&[put("203.0.113.1"), put("2a00:1::1")]).unwrap();
        journal.append(&[put("203.0.113.2"), remove("203.0.113.1")]).unwrap();
        dir
    }

    const TWO: [&str; 2] = ["203.0.113.2", "2a00:1::/64"];

    #[test]
    fn what_is_appended_is_read() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(open(dir.path()).book, Book::default());
        let dir = two();
        let opened = open(dir.path());
        assert_eq!(
            (targets(&opened.book), opened.warning),
            (TWO.map(str::to_owned).to_vec(), None)
        );
        let record = opened.book.records(Kind::Ban).next().unwrap();
        assert_eq!(Edit::Put { kind: Kind::Ban, record: record.clone() }, put("203.0.113.2"));
    }

    #[test]
    fn a_torn_last_line_is_as_if_it_were_not_there() {
        let dir = two();
        let path = dir.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        let mut torn = whole.clone();
        torn.extend(&serde_json::to_vec(&put("203.0.113.3")).unwrap()[..40]);
        fs::write(&path, torn).unwrap();
        let Opened { mut journal, book, warning } = open(dir.path());
        assert_eq!((targets(&book), warning), (TWO.map(str::to_owned).to_vec(), None));
        journal.append(&[put("203.0.113.4")]).unwrap();
        assert_eq!(targets(&open(dir.path()).book).len(), 3);
    }

    #[test]
    fn what_is_corrupt_is_kept_aside_and_the_rest_is_in_force() {
        let dir = two();
        let path = dir.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap().replace("2a00:1::/64", "2a00:1::/65x");
        fs::write(&path, &text).unwrap();
        let Opened { mut journal, book, warning } = open(dir.path());
        assert_eq!(targets(&book), ["203.0.113.2"]);
        assert!(warning.unwrap().contains("1 lines"));
        let aside = dir.path().join(format!("{FILE}.corrupt-1"));
        assert_eq!(fs::read_to_string(aside).unwrap(), text);
        journal.append(&[put("203.0.113.3")]).unwrap();
        let again = open(dir.path());
        assert_eq!((targets(&again.book).len(), again.warning), (2, None));
    }

    #[test]
    fn what_is_corrupt_is_in_force_also_without_room_to_keep_it_aside() {
        let dir = two();
        let path = dir.path().join(FILE);
        let text = fs::read_to_string(&path).unwrap().replace("2a00:1::/64", "2a00:1::/65x");
        fs::write(&path, &text).unwrap();
        // Nothing can be written where a folder is.
        let obstacles =
            [".corrupt-1.new", ".new"].map(|end| dir.path().join(format!("{FILE}{end}")));
        obstacles.iter().for_each(|obstacle| fs::create_dir(obstacle).unwrap());
        let Opened { mut journal, book, warning } = open(dir.path());
        assert_eq!(targets(&book), ["203.0.113.2"]);
        assert!(warning.unwrap().contains("is left as it is"));
        for obstacle in &obstacles {
            assert!(journal.append(&[put("203.0.113.3")]).is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            fs::remove_dir(obstacle).unwrap();
        }
        journal.append(&[put("203.0.113.3")]).unwrap();
        let aside = dir.path().join(format!("{FILE}.corrupt-1"));
        assert_eq!(fs::read_to_string(aside).unwrap(), text);
        let again = open(dir.path());
        assert_eq!((targets(&again.book).len(), again.warning), (2, None));
    }

    #[test]
    fn an_empty_file_is_corrupt_and_taken() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "").unwrap();
        assert!(open(dir.path()).warning.is_some());
        assert!(open(dir.path()).warning.is_none());
    }

    #[test]
    fn a_newer_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        fs::write(&path, "{\"schema\":2}\n{\"more\":1}\n").unwrap();
        for error in [Journal::open(dir.path()).err(), Journal::peek(dir.path()).err()] {
            assert!(format!("{:#}", error.unwrap()).contains("schema 2"));
        }
        assert_eq!(fs::read_to_string(path).unwrap(), "{\"schema\":2}\n{\"more\":1}\n");
    }

    #[test]
    fn a_failed_write_leaves_what_was_there() {
        let dir = two();
        let mut journal = open(dir.path()).journal;
        journal.file = Some(OpenOptions::new().append(true).open("/dev/full").unwrap());
        assert!(journal.append(&[put("203.0.113.3")]).is_err());
        journal.file = Some(append_to(&journal.path()).unwrap());
        // As if a part of it had come to the disk.
        journal.file.as_mut().unwrap().write_all(b"{\"put\":{\"kind").unwrap();
        journal.append(&[put("203.0.113.4")]).unwrap();
        let opened = open(dir.path());
        assert_eq!((targets(&opened.book).len(), opened.warning), (3, None));
    }

    #[test]
    fn the_past_is_tidied_away() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path()).journal;
        let mut book = Book::default();
        for round in 0..SLACK {
            let edits = match round % 2 {
                0 => vec![put("203.0.113.1")],
                _ => vec![remove("203.0.113.1"), put("203.0.113.2")],
            };
            book.change(edits.clone()).unwrap();
            journal.append(&edits).unwrap();
            journal.tidy(&book).unwrap();
        }
        let lines = fs::read_to_string(dir.path().join(FILE)).unwrap().lines().count();
        assert!(lines < SLACK, "{lines}");
        assert_eq!(open(dir.path()).book, book);
    }
}
