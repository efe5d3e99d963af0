//! [`open`]: a file as what is in it, whatever it was compressed by, as a stream.

use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::bufread::MultiGzDecoder;

/// Bytes that a file may have when it is unpacked.
const MOST: u64 = 512 * 1024 * 1024;

const GZIP: &[u8] = &[0x1f, 0x8b];
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
/// Bytes that are unpacked into memory.
const MOST_HELD: usize = 192 * 1024 * 1024;

/// What is in a file.
///
/// # Errors
/// If it can't be read. That it is damaged, or too long, is an error of the stream.
pub(crate) fn open(file: impl Read + 'static) -> io::Result<Box<dyn BufRead>> {
    let mut file = BufReader::with_capacity(64 * 1024, file);
    let begin = file.fill_buf()?;
    if begin.starts_with(XZ) {
        // Of those who pack so well there is but one file, which is read from anywhere in it.
        let mut content = Capped(Vec::new());
        lzma_rs::xz_decompress(&mut file, &mut content).map_err(io::Error::other)?;
        return Ok(Box::new(io::Cursor::new(content.0)));
    }
    let packed = begin.starts_with(GZIP);
    let bounded: Box<dyn BufRead> = match packed {
        true => {
            Box::new(BufReader::with_capacity(256 * 1024, Bounded::new(MultiGzDecoder::new(file))))
        }
        false => Box::new(BufReader::with_capacity(256 * 1024, Bounded::new(file))),
    };
    Ok(bounded)
}

/// A stream that fails rather than to go on without end.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R> Bounded<R> {
    fn new(inner: R) -> Self {
        Self { inner, left: MOST }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it unpacks to more than {MOST} bytes"),
            )
        })?;
        Ok(read)
    }
}

/// What is unpacked into memory, and fails rather than to grow without end.
struct Capped(Vec<u8>);

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.len() + bytes.len() > MOST_HELD {
            true => Err(io::Error::new(io::ErrorKind::FileTooLarge, "it unpacks to too much")),
            false => self.0.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
