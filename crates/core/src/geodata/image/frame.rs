//! The file around an image: a header, then pieces, each compressed by itself, so that one can be read
//! without the others.
//!
//! Header: 4 bytes of magic, a byte for the kind, a byte for the version. Before each piece the length of its
//! content and that of the piece, as little-endian `u32`; a piece is one zstd frame with a checksum.

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

const MAGIC: [u8; 4] = *b"GeoF";
const VERSION: u8 = 2;
const HEADER: usize = 6;
const LENGTHS: usize = 8;

/// More than all pieces of any image have: lengths that claim more are not believed.
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
    /// Its content is cut short, changed, or of another length than it says.
    #[error("the image is truncated or corrupt")]
    Corrupt,
    /// Its content is what was written, but makes no sense.
    #[error("the image makes no sense: {0}")]
    Malformed(&'static str),
    /// It holds more different entries than fit.
    #[error(transparent)]
    TooManyEntries(#[from] crate::world::TooManyEntries),
}

/// What packing an image is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As small as can be, in ten times the time: for what is embedded.
    Smallest,
    /// Done at once, and a tenth larger: for what a host makes for itself.
    Quick,
}

/// Puts the pieces of an image into its file.
pub(super) fn pack(
    kind: ImageKind,
    pieces: &[Vec<u8>],
    packing: Packing,
) -> Result<Vec<u8>, ImageError> {
    if pieces.iter().map(Vec::len).sum::<usize>() > MAX_CONTENT {
        return Err(ImageError::Malformed("too long"));
    }
    let mut file = Vec::from(MAGIC);
    file.extend([kind.letter(), VERSION]);
    for content in pieces {
        let piece =
            compress(content, packing).map_err(|_| ImageError::Malformed("not compressible"))?;
        file.extend((content.len() as u32).to_le_bytes());
        file.extend((piece.len() as u32).to_le_bytes());
        file.extend(piece);
    }
    Ok(file)
}

fn compress(content: &[u8], packing: Packing) -> std::io::Result<Vec<u8>> {
    let level = match packing {
        Packing::Smallest => 22,
        Packing::Quick => 3,
    };
    let mut compressor = Compressor::new(level)?;
    compressor.set_parameter(CParameter::ChecksumFlag(true))?;
    compressor.compress(content)
}

/// A piece of an image, as it is in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    length: usize,
    compressed: &'a [u8],
}

/// Takes the pieces of an image out of its file.
pub(super) fn unpack(kind: ImageKind, file: &[u8]) -> Result<Vec<Piece<'_>>, ImageError> {
    let (header, mut rest) = file.split_at_checked(HEADER).ok_or(ImageError::Foreign)?;
    if header[..4] != MAGIC || header[4] != kind.letter() {
        return Err(ImageError::Foreign);
    }
    if header[5] != VERSION {
        return Err(ImageError::Version(header[5]));
    }
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, after) = split_piece(rest).ok_or(ImageError::Corrupt)?;
        pieces.push(piece);
        rest = after;
    }
    match pieces.iter().map(|piece| piece.length).sum::<usize>() {
        ..=MAX_CONTENT => Ok(pieces),
        _ => Err(ImageError::Corrupt),
    }
}

fn split_piece(file: &[u8]) -> Option<(Piece<'_>, &[u8])> {
    let ([a, b, c, d, e, f, g, h], rest) = file.split_first_chunk::<LENGTHS>()?;
    let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
    let (compressed, rest) = rest.split_at_checked(u32::from_le_bytes([*e, *f, *g, *h]) as usize)?;
    Some((Piece { length, compressed }, rest))
}

/// Decompresses pieces, one after the other.
pub(super) struct Unpacker {
    decompressor: Decompressor<'static>,
    content: Vec<u8>,
}

impl Unpacker {
    pub(super) fn new() -> Result<Self, ImageError> {
        let decompressor = Decompressor::new().map_err(|_| ImageError::Corrupt)?;
        Ok(Self { decompressor, content: Vec::new() })
    }

    /// The content of a piece.
    pub(super) fn unpack(&mut self, piece: &Piece<'_>) -> Result<&[u8], ImageError> {
        self.content.clear();
        self.content.reserve(piece.length);
        let unpacked = self.decompressor.decompress_to_buffer(piece.compressed, &mut self.content);
        match unpacked {
            Ok(length) if length == piece.length => Ok(&self.content),
            Ok(_) | Err(_) => Err(ImageError::Corrupt),
        }
    }
}

/// Writes the content of a piece.
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

/// Reads the content of a piece.
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
