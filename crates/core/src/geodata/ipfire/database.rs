//! [`Database`]: the file `location.db`, version 1, as libloc's `src/libloc/format.h` has it.
//!
//! Numbers are big-endian. After the magic come the header with the places of the sections, and the
//! sections: a tree of nodes (child for 0, child for 1, network), in which the path to a node is the
//! prefix of its network and IPv4 is mapped into IPv6; the networks (country, system, flags); the systems
//! (number, name); and the pool of names, each with a zero byte behind it.

use std::collections::BTreeMap;

use super::super::asn::{AsNumber, AsTable};
use super::super::fold::fold;
use super::super::listing::{Layer, Listing};
use super::signature::Trust;
use crate::country::CountryId;

const MAGIC: &[u8] = b"LOCDBXX";
const VERSION: u8 = 1;
/// Where the sections are told: the place of the first of five pairs of place and length.
const SECTIONS: usize = 28;
/// Where the lengths of the two signatures are, and the signatures, each in a field of its own.
const SIGNATURES: usize = 68;
const SIGNATURE_FIELD: usize = 2048;
/// Where what is signed goes on. In place of the signatures and their lengths zeros are signed.
const SIGNED: usize = SIGNATURES + 4 + 2 * SIGNATURE_FIELD;
/// Where the header ends.
const HEADER: usize = 4200;
/// What a field says that refers to nothing.
const NONE: u32 = u32::MAX;
const NODE: usize = 12;
const NETWORK: usize = 12;
const SYSTEM: usize = 8;
/// Networks that are in no country: anonymous proxies, satellites, anycast.
const NOWHERE: u16 = 0b111;
/// ::ffff:0:0/96, where IPv4 is.
const MAPPED: u128 = 0xffff << 32;
const MAPPED_LENGTH: u8 = 96;
/// More bytes than all systems and their names have: 4 million in 2026.
const MAX_NAMES: usize = 16 << 20;
/// The longest name that is read, in bytes.
const MAX_NAME: usize = 1024;

/// A file that is no readable location database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// Another kind of file.
    #[error("it is not a location database: fetch location.db, and unpack it")]
    Magic,
    /// A later format.
    #[error("its format has the version {0}, and only {VERSION} can be read")]
    Version(u8),
    /// Cut off.
    #[error("it ends before byte {0}: fetch it again")]
    Truncated(u64),
    /// Not by whom it should be.
    #[error("the signature is wrong: fetch it again, and do not use this file")]
    Signature,
    /// A node that does not exist, that is met twice, or that lies too deep.
    #[error("the node at byte {0} does not belong into a tree: fetch it again")]
    Tree(usize),
    /// A node refers to a network that does not exist.
    #[error("the node at byte {0} refers to no network: fetch it again")]
    Network(usize),
    /// A network has a country by something that is not a code.
    #[error("the network at byte {0} has no country code: fetch it again")]
    Country(usize),
    /// A name that is not in the pool, is not text, or is one too many.
    #[error("the system at byte {0} has no readable name: fetch it again")]
    Name(usize),
    /// Readable, but no network has what is looked for.
    #[error("no network in it has {0}")]
    Empty(&'static str),
}

/// An open file.
#[derive(Debug, Clone, Copy)]
pub struct Database<'a> {
    systems: Section<'a>,
    networks: Section<'a>,
    tree: Section<'a>,
    pool: Section<'a>,
    created: u64,
}

/// A part of the file, with its place.
#[derive(Debug, Clone, Copy)]
struct Section<'a> {
    offset: usize,
    bytes: &'a [u8],
}

impl<'a> Database<'a> {
    /// Opens a file, after its signature was checked.
    ///
    /// # Errors
    /// [`DatabaseError`] if it is not a location database, is cut off, or not signed by whom it should.
    pub fn open(file: &'a [u8], trust: &Trust) -> Result<Self, DatabaseError> {
        let version =
            *file.strip_prefix(MAGIC).and_then(<[u8]>::first).ok_or(DatabaseError::Magic)?;
        if version != VERSION {
            return Err(DatabaseError::Version(version));
        }
        let header = file.get(..HEADER).ok_or(DatabaseError::Truncated(HEADER as u64))?;
        match trust {
            Trust::SignedBy(key) => {
                let signed = [&header[..SIGNATURES], &[0; SIGNED - SIGNATURES], &file[SIGNED..]];
                signatures(header)
                    .any(|signature| key.signed(&signed, signature))
                    .then_some(())
                    .ok_or(DatabaseError::Signature)?;
            }
            Trust::Anybody => {}
        }
        let section = |index: usize| Section::of(file, header, index);
        Ok(Self {
            systems: section(0)?,
            networks: section(1)?,
            tree: section(2)?,
            pool: section(4)?,
            created: u64_at(header, 8),
        })
    }

    /// When it was made, in seconds since 1970.
    pub fn created(&self) -> u64 {
        self.created
    }

    /// The country of every network.
    ///
    /// # Errors
    /// [`DatabaseError`] if it is damaged or has no network.
    pub fn countries(&self) -> Result<Listing, DatabaseError> {
        let listing = self.layer(|_, network| network.country().map(Some))?;
        (listing != Layer::constant(None))
            .then_some(listing)
            .ok_or(DatabaseError::Empty("a country"))
    }

    /// Which system announces every network, and the names of the systems.
    ///
    /// # Errors
    /// [`DatabaseError`] if it is damaged or nobody announces anything.
    pub fn asns(&self) -> Result<AsTable, DatabaseError> {
        let layer = self.layer(|around, network| Ok(network.system().or(around)))?;
        if layer == Layer::constant(None) {
            return Err(DatabaseError::Empty("an autonomous system"));
        }
        let mut names = self.names()?;
        // Some are not among the systems.
        let announced = layer.v4.iter().map(|(_, number)| number);
        for number in announced.chain(layer.v6.iter().map(|(_, number)| number)).flatten() {
            names.entry(number).or_default();
        }
        Ok(AsTable::new(layer, names.iter().map(|(number, name)| (*number, *name))))
    }

    /// What `value` makes of every network and of the value around it.
    fn layer<V: Copy + Eq>(
        &self,
        value: impl Fn(Option<V>, Network<'_>) -> Result<Option<V>, DatabaseError>,
    ) -> Result<Layer<Option<V>>, DatabaseError> {
        let mut walk = Walk { database: self, value, met: 0, layer: Layer::constant(None) };
        walk.node(0, 0, 0, None)?;
        Ok(walk.layer)
    }

    fn names(&self) -> Result<BTreeMap<AsNumber, &'a str>, DatabaseError> {
        let mut names = BTreeMap::new();
        let mut length = 0;
        for (index, system) in self.systems.bytes.chunks_exact(SYSTEM).enumerate() {
            let name = self.text(u32_at(system, 4));
            length += SYSTEM + name.map_or(0, str::len);
            let name = name.filter(|_| length <= MAX_NAMES);
            let name = name.ok_or(DatabaseError::Name(self.systems.offset + index * SYSTEM))?;
            if let Some(number) = AsNumber::new(u32_at(system, 0)) {
                names.insert(number, name);
            }
        }
        Ok(names)
    }

    /// The text at this place of the pool.
    fn text(&self, offset: u32) -> Option<&'a str> {
        let rest = self.pool.bytes.get(offset as usize..)?;
        let end = memchr::memchr(0, &rest[..rest.len().min(MAX_NAME)])?;
        std::str::from_utf8(&rest[..end]).ok()
    }
}

/// The signatures that a header has.
fn signatures(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    [0, 1].into_iter().filter_map(|index| {
        let length = usize::from(u16_at(header, SIGNATURES + 2 * index));
        let field = &header[SIGNATURES + 4 + index * SIGNATURE_FIELD..][..SIGNATURE_FIELD];
        field.get(..length).filter(|signature| !signature.is_empty())
    })
}

impl<'a> Section<'a> {
    fn of(file: &'a [u8], header: &[u8], index: usize) -> Result<Self, DatabaseError> {
        let place = SECTIONS + 8 * index;
        let (offset, length) = (u32_at(header, place), u32_at(header, place + 4));
        let end = u64::from(offset) + u64::from(length);
        let bytes = usize::try_from(end).ok().and_then(|end| file.get(offset as usize..end));
        let bytes = bytes.ok_or(DatabaseError::Truncated(end))?;
        Ok(Self { offset: offset as usize, bytes })
    }

    /// The piece of this size and number.
    fn piece(&self, size: usize, index: u32) -> Option<&'a [u8]> {
        let start = (index as usize).checked_mul(size)?;
        self.bytes.get(start..start.checked_add(size)?)
    }
}

/// A network as it is in the file, with its place.
struct Network<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl Network<'_> {
    fn country(&self) -> Result<CountryId, DatabaseError> {
        if u16_at(self.bytes, 8) & NOWHERE != 0 {
            return Ok(CountryId::UNKNOWN);
        }
        let code = match &self.bytes[..2] {
            [0, 0] => Some(""),
            code => std::str::from_utf8(code).ok(),
        };
        code.and_then(fold).ok_or(DatabaseError::Country(self.offset))
    }

    fn system(&self) -> Option<AsNumber> {
        AsNumber::new(u32_at(self.bytes, 4))
    }
}

/// A walk over the tree, in ascending order of addresses.
struct Walk<'a, V, F> {
    database: &'a Database<'a>,
    value: F,
    /// Nodes so far. There cannot be more than the file has, unless one is met twice.
    met: usize,
    layer: Layer<Option<V>>,
}

impl<V, F> Walk<'_, V, F>
where
    V: Copy + Eq,
    F: Fn(Option<V>, Network<'_>) -> Result<Option<V>, DatabaseError>,
{
    /// Walks the subtree of a node, which begins at `first` and whose prefix has this length. Within it
    /// `around` holds where no network says otherwise.
    fn node(
        &mut self,
        index: u32,
        first: u128,
        length: u8,
        around: Option<V>,
    ) -> Result<(), DatabaseError> {
        let tree = self.database.tree;
        let offset = tree.offset.saturating_add((index as usize).saturating_mul(NODE));
        let node = tree.piece(NODE, index).ok_or(DatabaseError::Tree(offset))?;
        self.met += 1;
        if self.met > tree.bytes.len() / NODE {
            return Err(DatabaseError::Tree(offset));
        }
        let value = match u32_at(node, 8) {
            NONE => around,
            network => (self.value)(around, self.network(network, offset)?)?,
        };
        self.say(first, value);
        let children = [u32_at(node, 0), u32_at(node, 4)];
        if length == 128 {
            return if children == [0; 2] { Ok(()) } else { Err(DatabaseError::Tree(offset)) };
        }
        let middle = first | 1 << (127 - length);
        for (child, first) in children.into_iter().zip([first, middle]) {
            let is_v4 = first == MAPPED && length + 1 == MAPPED_LENGTH;
            let around = value.filter(|_| !is_v4);
            self.say(first, around);
            if child != 0 {
                self.node(child, first, length + 1, around)?;
            }
        }
        Ok(())
    }

    fn network(&self, index: u32, node: usize) -> Result<Network<'_>, DatabaseError> {
        let networks = self.database.networks;
        let bytes = networks.piece(NETWORK, index).ok_or(DatabaseError::Network(node))?;
        Ok(Network { bytes, offset: networks.offset + index as usize * NETWORK })
    }

    /// From `start` on everything has this value, until the next is said.
    fn say(&mut self, start: u128, value: Option<V>) {
        match start.checked_sub(MAPPED).and_then(|start| u32::try_from(start).ok()) {
            Some(start) => self.layer.v4.push(start, value),
            None => self.layer.v6.push(start, value),
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) << 16 | u32::from(u16_at(bytes, at + 2))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4))
}

#[cfg(test)]
mod tests;
