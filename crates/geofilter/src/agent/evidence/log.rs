//! [`Log`]: a file that something else writes to, and now and then begins anew.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use geofilter_core::logs::{Calendar, Event, Reader};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A log is read in blocks; a line that is longer is passed over.
const BLOCK: usize = 1 << 20;
/// How much is read at a time, and of a log that is met for the first time.
const MOST: u64 = 32 << 20;

/// Bytes before a place by which it is known again: several lines, each with its time.
const MARK: usize = 16 << 10;

/// How far a file was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    device: u64,
    inode: u64,
    offset: u64,
    /// A digest of what stands before it, once it was made: a file that was emptied and has grown again has something else there.
    #[serde(default)]
    before: Option<u64>,
}

impl Place {
    fn is_of(self, file: &Metadata) -> bool {
        (self.device, self.inode) == (file.dev(), file.ino()) && self.offset <= file.len()
    }

    fn advance(&mut self, bytes: usize) {
        self.offset += bytes as u64;
        self.before = None;
    }

    /// Whether the file still has before it what it had.
    fn holds(self, file: &File) -> io::Result<bool> {
        Ok(self.before.is_none() || self.before == Some(before(file, self.offset)?))
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    place: Option<Place>,
    open: Option<(File, Reader)>,
    /// It was read up to the middle of a line that is passed over.
    within: bool,
}

impl Log {
    /// A log that was read so far, or never.
    pub(super) fn new(path: PathBuf, place: Option<Place>) -> Self {
        Self { path, place, open: None, within: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn place(&self) -> Option<Place> {
        self.place
    }

    /// Reads on, and says whether there is more. A log that was rotated is read to its own end first.
    pub(super) fn read(&mut self, calendar: Calendar, events: &mut Vec<Event>) -> io::Result<bool> {
        if self.open.is_none() {
            self.open(calendar)?;
        }
        self.begin_anew_if_emptied(calendar)?;
        let more = self.read_on(calendar, events)?;
        self.mark()?;
        if more {
            return Ok(true);
        }
        let there = fs::metadata(&self.path)?;
        let same = self.place.is_some_and(|place| place.is_of(&there));
        if !same {
            self.open = None;
        }
        Ok(!same)
    }

    fn open(&mut self, calendar: Calendar) -> io::Result<()> {
        // Whatever is there must not make it wait.
        let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&self.path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let offset = match self.place {
            Some(place) if place.is_of(&metadata) && place.holds(&file)? => place.offset,
            Some(_) => 0,
            None => begin(&file, metadata.len())?,
        };
        self.within = false;
        let (device, inode) = (metadata.dev(), metadata.ino());
        self.place = Some(Place { device, inode, offset, before: None });
        self.open = Some((file, Reader::new(calendar)));
        Ok(())
    }

    fn begin_anew_if_emptied(&mut self, calendar: Calendar) -> io::Result<()> {
        if let (Some((file, reader)), Some(place)) = (&mut self.open, &mut self.place)
            && !place.holds(file)?
        {
            (place.offset, place.before, self.within) = (0, None, false);
            *reader = Reader::new(calendar);
        }
        Ok(())
    }

    /// So that the place is known again.
    fn mark(&mut self) -> io::Result<()> {
        if let (Some((file, _)), Some(place)) = (&self.open, &mut self.place)
            && place.before.is_none()
        {
            place.before = Some(before(file, place.offset)?);
        }
        Ok(())
    }

    fn read_on(&mut self, calendar: Calendar, events: &mut Vec<Event>) -> io::Result<bool> {
        let (Some((file, reader)), Some(place)) = (&mut self.open, &mut self.place) else {
            return Ok(false);
        };
        reader.at(calendar);
        let mut buffer = vec![0; BLOCK];
        let until = place.offset + MOST;
        while place.offset < until {
            let length = read_at(file, &mut buffer, place.offset)?;
            let mut block = &buffer[..length];
            if self.within {
                let end = block.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
                self.within = end.is_none();
                block = block.split_off(end.unwrap_or(length)..).unwrap_or_default();
                place.advance(length - block.len());
            }
            match block.iter().rposition(|byte| *byte == b'\n') {
                Some(end) => {
                    reader.read(&block[..=end], |event| events.push(event));
                    place.advance(end + 1);
                }
                None if block.len() == BLOCK => {
                    self.within = true;
                    place.advance(block.len());
                }
                None if length == BLOCK => {}
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

/// Where to begin in a log of this length: at the beginning of a line, since what a client wrote may look like one.
fn begin(file: &File, length: u64) -> io::Result<u64> {
    let Some(mut offset) = length.checked_sub(MOST) else { return Ok(0) };
    let mut block = vec![0; BLOCK];
    loop {
        let read = read_at(file, &mut block, offset)?;
        match block[..read].iter().position(|byte| *byte == b'\n') {
            Some(end) => return Ok(offset + end as u64 + 1),
            None if read == 0 => return Ok(offset),
            None => offset += read as u64,
        }
    }
}

/// A digest of the last bytes before this place, which are less than [`MARK`] in a file that has become shorter.
fn before(file: &File, offset: u64) -> io::Result<u64> {
    let length = offset.min(MARK as u64);
    let mut block = vec![0; length as usize];
    let read = read_at(file, &mut block, offset - length)?;
    let digest: [u8; 32] = Sha256::digest(&block[..read]).into();
    Ok(u64::from_be_bytes(std::array::from_fn(|at| digest[at])))
}

fn read_at(file: &File, block: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < block.len() {
        match file.read_at(&mut block[length..], offset + length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}
