//! The image of the world: the edition, then for each family the borders at which any source changes,
//! which sources change there, and to what.

use super::borders::{BorderReader, BorderWriter};
use super::frame::{ImageError, ImageKind, Reader, Writer, pack, unpack};
use super::values::Recent;
use crate::country::CountryId;
use crate::geodata::listing::Layer;
use crate::geodata::merge::Says;
use crate::geodata::world_data::{Edition, SourceInfo, WorldData};
use crate::steps::{Address, Steps};

/// Bits of the byte that says what changes at a border.
const REGISTRY: u8 = 1;
const PRIMARY: u8 = 1 << 1;
const HOSTING: u8 = 1 << 2;
const MASKED: u8 = 1 << 3;
/// The primary source changes to what the registries say.
const AGREES: u8 = 1 << 4;

impl WorldData {
    /// The compact form; the same data always gives the same bytes.
    ///
    /// # Errors
    /// [`ImageError::Malformed`] if the data is larger than an image may be.
    pub fn encode(&self) -> Result<Vec<u8>, ImageError> {
        let mut content = Writer::default();
        write_edition(&self.edition, &mut content);
        write_steps(&self.sources.v4, &mut content);
        write_steps(&self.sources.v6, &mut content);
        pack(ImageKind::World, &content.0)
    }

    /// Reads the compact form.
    ///
    /// # Errors
    /// [`ImageError`] if the bytes are not an image, or a damaged one.
    pub fn decode(image: &[u8]) -> Result<Self, ImageError> {
        let content = unpack(ImageKind::World, image)?;
        let mut content = Reader(&content);
        let edition = read_edition(&mut content)?;
        let sources = Layer { v4: read_steps(&mut content)?, v6: read_steps(&mut content)? };
        content.end()?;
        Ok(Self::new(edition, sources)?)
    }
}

fn write_steps<A: Address>(steps: &Steps<A, Says>, content: &mut Writer) {
    let mut borders = BorderWriter::default();
    let mut changes = Vec::new();
    let (mut registry, mut primary) = (countries(), countries());
    let (mut registries, mut primaries) = (Vec::new(), Vec::new());
    let mut last = Says::NOTHING;
    for (start, says) in steps.iter() {
        if start > A::MIN {
            borders.push(start.widen());
        }
        let change = change(last, says);
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
        last = says;
    }
    borders.finish(content);
    [changes, registries, primaries].iter().for_each(|stream| content.bytes(stream));
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

fn read_steps<A: Address>(content: &mut Reader<'_>) -> Result<Steps<A, Says>, ImageError> {
    let mut borders = BorderReader::new(content)?;
    let mut changes = Reader(content.bytes()?);
    let mut registry = Countries { recent: countries(), ranks: Reader(content.bytes()?) };
    let mut primary = Countries { recent: countries(), ranks: Reader(content.bytes()?) };
    let mut steps = Steps::with_capacity(borders.len() + 1);
    let mut says = Says::NOTHING;
    let mut start = Some(A::MIN);
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
        steps.push(at, says);
        start = borders.next()?;
    }
    changes.end()?;
    registry.ranks.end()?;
    primary.ranks.end()?;
    Ok(steps)
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
    Ok(Edition {
        primary: read_source(content)?,
        registry: read_source(content)?,
        hosting: (0..hosting).map(|_| read_source(content)).collect::<Result<_, _>>()?,
    })
}

fn read_source(content: &mut Reader<'_>) -> Result<SourceInfo, ImageError> {
    let mut text = || content.text().map(str::to_owned);
    Ok(SourceInfo {
        name: text()?,
        date: text()?,
        licence: text()?,
        credit: text()?,
        link: text()?,
    })
}
