//! The image of the autonomous systems: their numbers and names in pieces, then for each family blocks of
//! the borders and the system after each.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use super::blocks::{self, Block, Blocks};
use super::borders::{BorderReader, BorderWriter};
use super::frame::{ImageError, ImageKind, Packing, Piece, Reader, Unpacker, Writer, pack, unpack};
use super::values::Recent;
use crate::geodata::asn::{AsNumber, AsTable};
use crate::geodata::listing::Layer;
use crate::geodata::names::shown;
use crate::steps::{self, Address, Steps};

/// How many systems are remembered as recent; the next rank means that a place follows.
const REMEMBERED: usize = 32;
/// How many systems have their numbers and names in one piece.
const NAMED: usize = 1 << 11;

/// Where a system stands among the numbers, from 1; 0 for space that nobody announces.
type Place = u32;

/// An image of the autonomous systems, of which only what is asked for is decompressed.
#[derive(Debug)]
pub struct AsImage<'a> {
    systems: usize,
    names: Vec<Piece<'a>>,
    v4: Blocks<'a, u32>,
    v6: Blocks<'a, u128>,
}

impl<'a> AsImage<'a> {
    /// Reads what the image says of itself.
    ///
    /// # Errors
    /// [`ImageError`] if the bytes are not an image.
    pub fn open(image: &'a [u8]) -> Result<Self, ImageError> {
        let mut pieces = unpack(ImageKind::Asns, image)?.into_iter();
        let mut unpacker = Unpacker::new()?;
        let head = unpacker.unpack(&pieces.next().ok_or(ImageError::Corrupt)?)?;
        let mut head = Reader(head);
        let systems = head.length()?;
        let names: Vec<Piece<'a>> = pieces.by_ref().take(systems.div_ceil(NAMED)).collect();
        let v4 = Blocks::new(&mut head, &mut pieces)?;
        let v6 = Blocks::new(&mut head, &mut pieces)?;
        head.end()?;
        match pieces.next() {
            None => Ok(Self { systems, names, v4, v6 }),
            Some(_) => Err(ImageError::Corrupt),
        }
    }

    /// The system that announces an address, and its name, which is empty if the source has none.
    ///
    /// # Errors
    /// [`ImageError`] if that part of the image is damaged.
    pub fn announced_by(&self, address: IpAddr) -> Result<Option<(AsNumber, String)>, ImageError> {
        Ok(self.announced_by_all([address])?.remove(&address))
    }

    /// The same of many addresses, of which those that nobody announces are left out; no part of the image is
    /// read twice.
    ///
    /// # Errors
    /// [`ImageError`] if a part of the image is damaged.
    pub fn announced_by_all(
        &self,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<HashMap<IpAddr, (AsNumber, String)>, ImageError> {
        let (mut v4, mut v6) = (BTreeSet::new(), BTreeSet::new());
        for address in addresses {
            match address {
                IpAddr::V4(address) => v4.insert(steps::v4(address)),
                IpAddr::V6(address) => v6.insert(steps::v6(address)),
            };
        }
        let (v4, v6) = (Vec::from_iter(v4), Vec::from_iter(v6));
        let (of_v4, of_v6) = (self.v4.values(&Places, &v4)?, self.v6.values(&Places, &v6)?);
        let v4 = v4.into_iter().map(|address| IpAddr::V4(address.into())).zip(of_v4);
        let v6 = v6.into_iter().map(|address| IpAddr::V6(address.into())).zip(of_v6);
        let places: Vec<(IpAddr, Place)> = v4.chain(v6).filter(|(_, place)| *place != 0).collect();
        let systems = self.systems(places.iter().map(|(_, place)| *place).collect())?;
        let announced = |(address, place)| Some((address, systems.get(&place)?.clone()));
        Ok(places.into_iter().filter_map(announced).collect())
    }

    /// The systems at these places.
    fn systems(
        &self,
        places: BTreeSet<Place>,
    ) -> Result<HashMap<Place, (AsNumber, String)>, ImageError> {
        let unnamed = || ImageError::Malformed("a system is not named");
        let mut unpacker = Unpacker::new()?;
        let mut systems = HashMap::new();
        let mut places = places.into_iter().peekable();
        while let Some(piece) = places.peek().map(|place| (*place as usize - 1) / NAMED) {
            let content = unpacker.unpack(self.names.get(piece).ok_or_else(unnamed)?)?;
            let (numbers, names) = read_names(content)?;
            let names: Vec<&str> = names.split('\n').collect();
            while let Some(place) = places.next_if(|place| (*place as usize - 1) / NAMED == piece) {
                let index = (place as usize - 1) % NAMED;
                let number = numbers.get(index).ok_or_else(unnamed)?;
                systems.insert(place, (*number, shown(names[index]).collect()));
            }
        }
        Ok(systems)
    }

    /// The whole table.
    ///
    /// # Errors
    /// [`ImageError`] if the image is damaged.
    pub fn table(&self) -> Result<AsTable, ImageError> {
        let mut unpacker = Unpacker::new()?;
        let (mut numbers, mut names) = (Vec::new(), String::new());
        for piece in &self.names {
            let (more, named) = read_names(unpacker.unpack(piece)?)?;
            numbers.extend(more);
            names.push_str(named);
        }
        if numbers.len() != self.systems || !numbers.is_sorted_by(|one, two| one < two) {
            return Err(ImageError::Malformed("the numbers of the systems do not ascend"));
        }
        let layer =
            Layer { v4: read_steps(&self.v4, &numbers)?, v6: read_steps(&self.v6, &numbers)? };
        Ok(AsTable::new(layer, numbers.iter().copied().zip(names.split_terminator('\n'))))
    }
}

impl AsTable {
    /// The compact form; the same data always gives the same bytes.
    ///
    /// # Errors
    /// [`ImageError::Malformed`] if the data is larger than an image may be, or has a system that the
    /// table does not name.
    pub fn encode(&self, packing: Packing) -> Result<Vec<u8>, ImageError> {
        let named: Vec<(AsNumber, &str)> = self.names().collect();
        let mut head = Writer::default();
        head.number(named.len() as u128);
        let mut pieces: Vec<Vec<u8>> = named.chunks(NAMED).map(write_names).collect();
        let known: HashMap<AsNumber, Place> =
            named.iter().zip(1..).map(|((number, _), place)| (*number, place)).collect();
        let place = |number: Option<AsNumber>| match number {
            None => Ok(0),
            Some(number) => {
                let place = known.get(&number).copied();
                place.ok_or(ImageError::Malformed("a system is not named"))
            }
        };
        blocks::write(&Places, &places(&self.layer().v4, place)?, &mut head, &mut pieces)?;
        blocks::write(&Places, &places(&self.layer().v6, place)?, &mut head, &mut pieces)?;
        pieces.insert(0, head.0);
        pack(ImageKind::Asns, &pieces, packing)
    }

    /// Reads the compact form.
    ///
    /// # Errors
    /// [`ImageError`] if the bytes are not an image, or a damaged one.
    pub fn decode(image: &[u8]) -> Result<Self, ImageError> {
        AsImage::open(image)?.table()
    }
}

fn places<A: Address>(
    steps: &Steps<A, Option<AsNumber>>,
    place: impl Fn(Option<AsNumber>) -> Result<Place, ImageError>,
) -> Result<Steps<A, Place>, ImageError> {
    let mut places = Steps::with_capacity(steps.len());
    for (start, number) in steps.iter() {
        places.push(start, place(number)?);
    }
    Ok(places)
}

fn read_steps<A: Address>(
    blocks: &Blocks<'_, A>,
    numbers: &[AsNumber],
) -> Result<Steps<A, Option<AsNumber>>, ImageError> {
    let mut steps = Steps::with_capacity(0);
    let mut all_named = true;
    blocks.read(&Places, |start, place| {
        let number = (place as usize).checked_sub(1).map(|index| numbers.get(index).copied());
        all_named &= number != Some(None);
        steps.push(start, number.flatten());
    })?;
    if all_named { Ok(steps) } else { Err(ImageError::Malformed("a system is not named")) }
}

/// The distances between ascending numbers, then the names.
fn write_names(named: &[(AsNumber, &str)]) -> Vec<u8> {
    let mut content = Writer::default();
    let mut names = Vec::new();
    let mut last = 0;
    content.number(named.len() as u128);
    for (number, name) in named {
        content.number(u128::from(number.get() - last));
        last = number.get();
        names.extend(name.bytes().filter(|byte| *byte != b'\n'));
        names.push(b'\n');
    }
    content.bytes(&names);
    content.0
}

/// The numbers, and as many names with a line feed after each.
fn read_names(piece: &[u8]) -> Result<(Vec<AsNumber>, &str), ImageError> {
    let mut content = Reader(piece);
    let mut numbers = Vec::new();
    let mut last = 0_u32;
    for _ in 0..content.length()? {
        let distance = u32::try_from(content.number()?).ok().filter(|distance| *distance > 0);
        let number = distance.and_then(|distance| last.checked_add(distance));
        last = number.ok_or(ImageError::Malformed("the numbers of the systems do not ascend"))?;
        numbers.extend(AsNumber::new(last));
    }
    let names = content.text()?;
    content.end()?;
    match names.matches('\n').count() == numbers.len()
        && (names.is_empty() || names.ends_with('\n'))
    {
        true => Ok((numbers, names)),
        false => Err(ImageError::Malformed("there are not as many names as systems")),
    }
}

/// A block as the place of the system at each step.
struct Places;

impl<A: Address> Block<A> for Places {
    type Value = Place;

    fn write(&self, steps: &[(A, Place)], content: &mut Writer) -> Result<(), ImageError> {
        let mut borders = BorderWriter::new(steps[0].0.widen());
        let mut recent = Recent::new([0; REMEMBERED]);
        let (mut ranks, mut low, mut high) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (start, place)) in steps.iter().enumerate() {
            if index > 0 {
                borders.push(start.widen());
            }
            let rank = recent.rank(*place);
            ranks.push(rank.unwrap_or(REMEMBERED) as u8);
            if rank.is_none() {
                let [first, second, third, _] = place.to_le_bytes();
                low.push(first);
                high.extend([second, third]);
                recent.replace_oldest(*place);
            }
        }
        borders.finish(content);
        [ranks, low, high].iter().for_each(|stream| content.bytes(stream));
        Ok(())
    }

    fn read(
        &self,
        first: A,
        content: &mut Reader<'_>,
        mut take: impl FnMut(A, Place),
    ) -> Result<(), ImageError> {
        let mut borders = BorderReader::new(first.widen(), content)?;
        let mut ranks = Reader(content.bytes()?);
        let (mut low, mut high) = (Reader(content.bytes()?), Reader(content.bytes()?));
        let mut recent = Recent::new([0; REMEMBERED]);
        let mut start = Some(first);
        while let Some(at) = start {
            let place = match recent.value(usize::from(ranks.byte()?)) {
                Some(place) => place,
                None => {
                    let bytes = [low.byte()?, high.byte()?, high.byte()?, 0];
                    let place = Place::from_le_bytes(bytes);
                    recent.replace_oldest(place);
                    place
                }
            };
            take(at, place);
            start = borders.next()?;
        }
        [ranks, low, high].iter().try_for_each(Reader::end)
    }
}
