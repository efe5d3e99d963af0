//! The image of the autonomous systems: their numbers and names, then for each family the borders and
//! the system after each.

use super::borders::{BorderReader, BorderWriter};
use super::frame::{ImageError, ImageKind, Reader, Writer, pack, unpack};
use super::values::Recent;
use crate::geodata::asn::{AsNumber, AsTable};
use crate::geodata::listing::Layer;
use crate::steps::{Address, Steps};

/// How many systems are remembered as recent; the next rank means that an index follows.
const REMEMBERED: usize = 32;

impl AsTable {
    /// The compact form; the same data always gives the same bytes.
    ///
    /// # Errors
    /// [`ImageError::Malformed`] if the data is larger than an image may be, or has a system that the
    /// table does not name.
    pub fn encode(&self) -> Result<Vec<u8>, ImageError> {
        let mut content = Writer::default();
        let mut names = Vec::new();
        content.number(self.names().len() as u128);
        let mut last = 0;
        for (number, name) in self.names() {
            content.number(u128::from(number.get() - last));
            last = number.get();
            names.extend(name.bytes().filter(|byte| *byte != b'\n'));
            names.push(b'\n');
        }
        content.bytes(&names);
        let numbers: Vec<AsNumber> = self.names().map(|(number, _)| number).collect();
        write_steps(&self.layer().v4, &numbers, &mut content)?;
        write_steps(&self.layer().v6, &numbers, &mut content)?;
        pack(ImageKind::Asns, &content.0)
    }

    /// Reads the compact form.
    ///
    /// # Errors
    /// [`ImageError`] if the bytes are not an image, or a damaged one.
    pub fn decode(image: &[u8]) -> Result<Self, ImageError> {
        let content = unpack(ImageKind::Asns, image)?;
        let mut content = Reader(&content);
        let numbers = read_numbers(&mut content)?;
        let names = content.text()?;
        if names.split_terminator('\n').count() != numbers.len() {
            return Err(ImageError::Malformed("there are not as many names as systems"));
        }
        let layer = Layer {
            v4: read_steps(&numbers, &mut content)?,
            v6: read_steps(&numbers, &mut content)?,
        };
        content.end()?;
        Ok(Self::new(layer, numbers.iter().copied().zip(names.split_terminator('\n'))))
    }
}

fn read_numbers(content: &mut Reader<'_>) -> Result<Vec<AsNumber>, ImageError> {
    let wrong = ImageError::Malformed("the numbers of the systems do not ascend");
    let mut numbers = Vec::new();
    let mut last = 0_u32;
    for _ in 0..content.length()? {
        let number = u32::try_from(content.number()?)
            .ok()
            .filter(|distance| *distance > 0)
            .and_then(|distance| last.checked_add(distance));
        last = number.ok_or(wrong.clone())?;
        numbers.extend(AsNumber::new(last));
    }
    Ok(numbers)
}

fn write_steps<A: Address>(
    steps: &Steps<A, Option<AsNumber>>,
    numbers: &[AsNumber],
    content: &mut Writer,
) -> Result<(), ImageError> {
    let mut borders = BorderWriter::default();
    let mut recent = Recent::new([None; REMEMBERED]);
    let (mut ranks, mut low, mut high) = (Vec::new(), Vec::new(), Vec::new());
    for (start, value) in steps.iter() {
        if start > A::MIN {
            borders.push(start.widen());
        }
        let rank = recent.rank(value);
        ranks.push(rank.unwrap_or(REMEMBERED) as u8);
        if rank.is_none() {
            let index = index(numbers, value)?;
            low.push(index as u8);
            high.extend([(index >> 8) as u8, (index >> 16) as u8]);
            recent.replace_oldest(value);
        }
    }
    borders.finish(content);
    [ranks, low, high].iter().for_each(|stream| content.bytes(stream));
    Ok(())
}

fn read_steps<A: Address>(
    numbers: &[AsNumber],
    content: &mut Reader<'_>,
) -> Result<Steps<A, Option<AsNumber>>, ImageError> {
    let mut borders = BorderReader::new(content)?;
    let mut ranks = Reader(content.bytes()?);
    let (mut low, mut high) = (Reader(content.bytes()?), Reader(content.bytes()?));
    let mut recent = Recent::new([None; REMEMBERED]);
    let mut steps = Steps::with_capacity(borders.len() + 1);
    let mut start = Some(A::MIN);
    while let Some(at) = start {
        let value = match recent.value(usize::from(ranks.byte()?)) {
            Some(value) => value,
            None => {
                let bytes = [low.byte()?, high.byte()?, high.byte()?, 0];
                let value = at_index(numbers, u32::from_le_bytes(bytes) as usize)?;
                recent.replace_oldest(value);
                value
            }
        };
        steps.push(at, value);
        start = borders.next()?;
    }
    [ranks, low, high].iter().try_for_each(Reader::end)?;
    Ok(steps)
}

/// 0 for space that nobody announces, else the place among the numbers, from 1.
fn index(numbers: &[AsNumber], value: Option<AsNumber>) -> Result<usize, ImageError> {
    let Some(number) = value else { return Ok(0) };
    let place = numbers.binary_search(&number);
    place.map(|place| place + 1).map_err(|_| ImageError::Malformed("a system is not named"))
}

fn at_index(numbers: &[AsNumber], index: usize) -> Result<Option<AsNumber>, ImageError> {
    let Some(place) = index.checked_sub(1) else { return Ok(None) };
    let number = numbers.get(place).copied();
    number.map(Some).ok_or(ImageError::Malformed("a system is not named"))
}
