//! The file around an image: a header, then the streams, compressed together.
//!
//! Header: 4 bytes of magic, a byte for the kind, a byte for the version, and the length of the content
//! as a little-endian `u32`. The rest is one zstd frame with a checksum.

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

const MAGIC: [u8; 4] = *b"GeoF";
const VERSION: u8 = 1;
const HEADER: usize = 10;

/// More than any image has: a header that claims more is not believed.
const MAX_CONTENT: usize = 1 << 24;

/// What an image holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImageKind {
    World,
    Asns,
}

impl ImageKind {
    fn letter(self) -> u8 {
        match self {
            Self::World => b'W',
            Self::Asns => b'A',
        }
    }
}

/// An image that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// It does not begin as an image of this kind does.
    #[error("not a GeoFilter image of this kind")]
    Foreign,
    /// Written by a newer or older program.
    #[error("the image has version {0}, this program reads version {VERSION}")]
    Version(u8),
    /// Its content is cut short, changed, or of another length than its header says.
    #[error("the image is truncated or corrupt")]
    Corrupt,
    /// Its content is what was written, but makes no sense.
    #[error("the image makes no sense: {0}")]
    Malformed(&'static str),
    /// It holds more different entries than fit.
    #[error(transparent)]
    TooManyEntries(#[from] crate::world::TooManyEntries),
}

/// Puts the content of an image into its file.
pub(super) fn pack(kind: ImageKind, content: &[u8]) -> Result<Vec<u8>, ImageError> {
    let length = u32::try_from(content.len()).ok().filter(|_| content.len() <= MAX_CONTENT);
    let length = length.ok_or(ImageError::Malformed("too long"))?;
    let mut file = Vec::from(MAGIC);
    file.extend([kind.letter(), VERSION]);
    file.extend(length.to_le_bytes());
    file.extend(compress(content).map_err(|_| ImageError::Malformed("not compressible"))?);
    Ok(file)
}

fn compress(content: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut compressor = Compressor::new(22)?;
    compressor.set_parameter(CParameter::ChecksumFlag(true))?;
    compressor.compress(content)
}

/// Takes the content of an image out of its file.
pub(super) fn unpack(kind: ImageKind, file: &[u8]) -> Result<Vec<u8>, ImageError> {
    let (header, compressed) = file.split_at_checked(HEADER).ok_or(ImageError::Foreign)?;
    if header[..4] != MAGIC || header[4] != kind.letter() {
        return Err(ImageError::Foreign);
    }
    if header[5] != VERSION {
        return Err(ImageError::Version(header[5]));
    }
    let length = u32::from_le_bytes([header[6], header[7], header[8], header[9]]) as usize;
    if length > MAX_CONTENT {
        return Err(ImageError::Corrupt);
    }
    let content = Decompressor::new()
        .and_then(|mut decompressor| decompressor.decompress(compressed, length))
        .map_err(|_| ImageError::Corrupt)?;
    if content.len() == length { Ok(content) } else { Err(ImageError::Corrupt) }
}

/// Writes the content of an image.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    /// Seven bits a byte, low ones first.
    pub(super) fn number(&mut self, mut number: u128) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    /// Bytes after their length.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u128);
        self.0.extend(bytes);
    }
}

/// Reads the content of an image.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, ImageError> {
        let (first, rest) =
            self.0.split_first().ok_or(ImageError::Malformed("a stream ends early"))?;
        self.0 = rest;
        Ok(*first)
    }

    #[inline]
    pub(super) fn number(&mut self) -> Result<u128, ImageError> {
        let byte = self.byte()?;
        if byte < 0x80 { Ok(byte.into()) } else { self.rest_of_number(byte) }
    }

    fn rest_of_number(&mut self, first: u8) -> Result<u128, ImageError> {
        let mut number = u128::from(first & 0x7f);
        for shift in (7..u128::BITS).step_by(7) {
            let byte = self.byte()?;
            number |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(ImageError::Malformed("a number has no end"))
    }

    /// A number that counts things which take at least a byte each.
    pub(super) fn length(&mut self) -> Result<usize, ImageError> {
        let length = self.number()?;
        usize::try_from(length)
            .ok()
            .filter(|length| *length <= MAX_CONTENT)
            .ok_or(ImageError::Malformed("a length is too large"))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], ImageError> {
        let length = self.length()?;
        let split = self.0.split_at_checked(length);
        let (bytes, rest) = split.ok_or(ImageError::Malformed("a stream ends early"))?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, ImageError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| ImageError::Malformed("a name is not text"))
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), ImageError> {
        if self.0.is_empty() { Ok(()) } else { Err(ImageError::Malformed("a stream is too long")) }
    }
}
