//! The image of the world: the edition, then for each family blocks of the borders at which any source
//! changes, which sources change there, and to what.

use std::net::IpAddr;
use std::panic::resume_unwind;
use std::thread;

use super::blocks::{self, Block, Blocks};
use super::borders::{BorderReader, BorderWriter};
use super::frame::{ImageError, ImageKind, Packing, Reader, Unpacker, Writer, pack, unpack};
use super::values::Recent;
use crate::country::CountryId;
use crate::geodata::listing::Layer;
use crate::geodata::merge::Says;
use crate::geodata::names::shown;
use crate::geodata::world_data::{Edition, SourceInfo, WorldData};
use crate::steps::{self, Address, Steps};
use crate::world::{Half, World};

/// More sources of hosting networks than any image has. Otherwise a few bytes would take much room.
const MOST_SOURCES: usize = 64;

/// Bits of the byte that says what changes at a border.
const REGISTRY: u8 = 1;
const PRIMARY: u8 = 1 << 1;
const HOSTING: u8 = 1 << 2;
const MASKED: u8 = 1 << 3;
/// The primary source changes to what the registries say.
const AGREES: u8 = 1 << 4;

/// An image of the world, of which only what is asked for is decompressed.
#[derive(Debug)]
pub struct WorldImage<'a> {
    edition: Edition,
    v4: Blocks<'a, u32>,
    v6: Blocks<'a, u128>,
}

impl<'a> WorldImage<'a> {
    /// Reads what the image says of itself.
    ///
    /// # Errors
    /// [`ImageError`] if the bytes are not an image.
    pub fn open(image: &'a [u8]) -> Result<Self, ImageError> {
        let mut pieces = unpack(ImageKind::World, image)?.into_iter();
        let mut unpacker = Unpacker::new()?;
        let head = unpacker.unpack(&pieces.next().ok_or(ImageError::Corrupt)?)?;
        let mut head = Reader(head);
        let edition = read_edition(&mut head)?;
        let v4 = Blocks::new(&mut head, &mut pieces)?;
        let v6 = Blocks::new(&mut head, &mut pieces)?;
        head.end()?;
        match pieces.next() {
            None => Ok(Self { edition, v4, v6 }),
            Some(_) => Err(ImageError::Corrupt),
        }
    }

    /// The bytes of an image of this; the same data always gives the same.
    ///
    /// # Errors
    /// [`ImageError::Malformed`] if the data is larger than an image may be.
    pub fn encode(
        edition: &Edition,
        sources: &Layer<Says>,
        packing: Packing,
    ) -> Result<Vec<u8>, ImageError> {
        let mut head = Writer::default();
        write_edition(edition, &mut head);
        let mut pieces = Vec::new();
        blocks::write(&Changes, &sources.v4, &mut head, &mut pieces)?;
        blocks::write(&Changes, &sources.v6, &mut head, &mut pieces)?;
        pieces.insert(0, head.0);
        pack(ImageKind::World, &pieces, packing)
    }

    /// Where the data comes from.
    pub fn edition(&self) -> &Edition {
        &self.edition
    }

    /// What the sources say of an address, and the first and last address around it of which they say
    /// the same.
    ///
    /// # Errors
    /// [`ImageError`] if that part of the image is damaged.
    pub fn says(&self, address: IpAddr) -> Result<(IpAddr, IpAddr, Says), ImageError> {
        Ok(match address {
            IpAddr::V4(address) => {
                let (first, last, says) = self.v4.step(&Changes, steps::v4(address))?;
                (IpAddr::V4(first.into()), IpAddr::V4(last.into()), says)
            }
            IpAddr::V6(address) => {
                let (first, last, says) = self.v6.step(&Changes, steps::v6(address))?;
                (IpAddr::V6(first.into()), IpAddr::V6(last.into()), says)
            }
        })
    }

    /// What the sources say of every address.
    ///
    /// # Errors
    /// [`ImageError`] if the image is damaged.
    pub fn sources(&self) -> Result<Layer<Says>, ImageError> {
        Ok(Layer { v4: read_steps(&self.v4)?, v6: read_steps(&self.v6)? })
    }

    /// The table made of it, the two families side by side.
    ///
    /// # Errors
    /// [`ImageError`] if the image is damaged.
    pub fn world(&self) -> Result<World, ImageError> {
        let (v4, v6) = thread::scope(|scope| {
            let v6 = scope.spawn(|| read_half(&self.v6, Half::v6()));
            let v4 = read_half(&self.v4, Half::v4());
            (v4, v6.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        Ok(World::join(v4?, v6?)?)
    }
}

impl WorldData {
    /// Reads the compact form.
    ///
    /// # Errors
    /// [`ImageError`] if the bytes are not an image, or a damaged one.
    pub fn decode(image: &[u8]) -> Result<Self, ImageError> {
        let image = WorldImage::open(image)?;
        let sources = image.sources()?;
        Ok(Self::new(image.edition, sources)?)
    }
}

fn read_steps<A: Address>(blocks: &Blocks<'_, A>) -> Result<Steps<A, Says>, ImageError> {
    let mut steps = Steps::with_capacity(0);
    blocks.read(&Changes, |start, says| steps.push(start, says))?;
    Ok(steps)
}

fn read_half<A: Address>(blocks: &Blocks<'_, A>, mut half: Half<A>) -> Result<Half<A>, ImageError> {
    blocks.read(&Changes, |start, says| half.push(start, says.entry()))?;
    Ok(half)
}

/// A block as what changes at each step.
struct Changes;

impl<A: Address> Block<A> for Changes {
    type Value = Says;

    fn write(&self, steps: &[(A, Says)], content: &mut Writer) -> Result<(), ImageError> {
        let mut borders = BorderWriter::new(steps[0].0.widen());
        let mut changes = Vec::new();
        let (mut registry, mut primary) = (countries(), countries());
        let (mut registries, mut primaries) = (Vec::new(), Vec::new());
        let mut last = Says::NOTHING;
        for (index, (start, says)) in steps.iter().enumerate() {
            if index > 0 {
                borders.push(start.widen());
            }
            let change = change(last, *says);
            changes.push(change);
            if change & REGISTRY != 0 {
                registries.extend(registry.rank(says.registry).map(|rank| rank as u8));
            }
            if change & PRIMARY != 0 && change & AGREES == 0 {
                primaries.extend(primary.rank(says.primary).map(|rank| rank as u8));
            }
            if change & AGREES != 0 {
                primary.rank(says.primary);
            }
            last = *says;
        }
        borders.finish(content);
        [changes, registries, primaries].iter().for_each(|stream| content.bytes(stream));
        Ok(())
    }

    fn read(
        &self,
        first: A,
        content: &mut Reader<'_>,
        mut take: impl FnMut(A, Says),
    ) -> Result<(), ImageError> {
        let mut borders = BorderReader::new(first.widen(), content)?;
        let mut changes = Reader(content.bytes()?);
        let mut registry = Countries { recent: countries(), ranks: Reader(content.bytes()?) };
        let mut primary = Countries { recent: countries(), ranks: Reader(content.bytes()?) };
        let mut says = Says::NOTHING;
        let mut start = Some(first);
        while let Some(at) = start {
            let change = changes.byte()?;
            if change & REGISTRY != 0 {
                says.registry = registry.next()?;
            }
            if change & AGREES != 0 {
                says.primary = primary.recall(says.registry);
            } else if change & PRIMARY != 0 {
                says.primary = primary.next()?;
            }
            says.hosting ^= change & HOSTING != 0;
            says.masked ^= change & MASKED != 0;
            take(at, says);
            start = borders.next()?;
        }
        changes.end()?;
        registry.ranks.end()?;
        primary.ranks.end()
    }
}

fn change(last: Says, says: Says) -> u8 {
    let bit = |changed: bool, bit: u8| if changed { bit } else { 0 };
    let primary = last.primary != says.primary;
    bit(last.registry != says.registry, REGISTRY)
        | bit(primary, PRIMARY)
        | bit(primary && says.primary == says.registry, AGREES)
        | bit(last.hosting != says.hosting, HOSTING)
        | bit(last.masked != says.masked, MASKED)
}

fn countries() -> Recent<CountryId> {
    Recent::new([CountryId::UNKNOWN].into_iter().chain(CountryId::all()))
}

/// The countries of one source as they are read.
struct Countries<'a> {
    recent: Recent<CountryId>,
    ranks: Reader<'a>,
}

impl Countries<'_> {
    fn next(&mut self) -> Result<CountryId, ImageError> {
        let rank = self.ranks.byte()?;
        self.recent.value(usize::from(rank)).ok_or(ImageError::Malformed("a country is unknown"))
    }

    fn recall(&mut self, country: CountryId) -> CountryId {
        self.recent.rank(country);
        country
    }
}

fn write_edition(edition: &Edition, content: &mut Writer) {
    content.number(edition.hosting.len() as u128);
    for source in edition.sources() {
        let SourceInfo { name, date, licence, credit, link } = source;
        [name, date, licence, credit, link].iter().for_each(|text| content.bytes(text.as_bytes()));
    }
}

fn read_edition(content: &mut Reader<'_>) -> Result<Edition, ImageError> {
    let hosting = content.length()?;
    if hosting > MOST_SOURCES {
        return Err(ImageError::Malformed("there are too many sources"));
    }
    Ok(Edition {
        primary: read_source(content)?,
        registry: read_source(content)?,
        hosting: (0..hosting).map(|_| read_source(content)).collect::<Result<_, _>>()?,
    })
}

fn read_source(content: &mut Reader<'_>) -> Result<SourceInfo, ImageError> {
    let mut text = || content.text().map(|text| shown(text).collect::<String>());
    Ok(SourceInfo {
        name: text()?,
        date: text()?,
        licence: text()?,
        credit: text()?,
        link: text()?,
    })
}
