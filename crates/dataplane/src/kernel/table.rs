//! Putting a compiled table into the kernel, that of the world or that of the overrides by prefix: new
//! inner maps in the slot that is not in use, one store of the control word, and the old maps go.

use aya::Pod;
use aya::maps::{Array, ArrayOfMaps, Map, MapData};
use aya_obj::Map as Definition;
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY;
use geofilter_core::dxr::{Chunk, Dxr, Family};

use crate::Error;
use crate::kernel::abi::{self, Border, CHUNKS, ChunkTable, IndexTable};
use crate::kernel::mapped::Mapped;
use crate::kernel::pins::Pins;
use crate::kernel::sys;

const BPF_F_MMAPABLE: u32 = 1 << 10;

/// A map of maps, and its descriptor for what the library can't do: emptying a place.
pub(crate) struct Outer<T: Pod> {
    maps: ArrayOfMaps<MapData, Array<MapData, T>>,
    descriptor: MapData,
}

/// The maps of maps that hold the table slots.
pub(crate) struct Slots {
    index: Outer<IndexTable>,
    v4_chunks: Outer<ChunkTable<u32>>,
    v6_chunks: Outer<ChunkTable<u64>>,
}

impl Slots {
    /// Opens the pinned maps of maps.
    pub(crate) fn open(pins: &Pins) -> Result<Self, Error> {
        Ok(Self {
            index: Outer::open(pins, "gf_index")?,
            v4_chunks: Outer::open(pins, "gf_v4_chunks")?,
            v6_chunks: Outer::open(pins, "gf_v6_chunks")?,
        })
    }

    /// Fills a slot that no program uses; `pack` makes a value of an entry and its number.
    pub(crate) fn fill<E: Copy>(
        &mut self,
        slot: usize,
        dxr: &Dxr<E>,
        pack: impl Fn(usize, &E) -> u32,
    ) -> Result<(), Error> {
        let (index, mut mapped) = create::<IndexTable>()?;
        fill_index(mapped.fill(0), dxr, pack);
        self.index.put(slot, &index)?;
        fill_chunks(&mut self.v4_chunks, slot, &dxr.v4)?;
        fill_chunks(&mut self.v6_chunks, slot, &dxr.v6)
    }

    /// Frees a slot that no program uses any more.
    pub(crate) fn clear(&mut self, slot: usize) -> Result<(), Error> {
        self.index.remove(slot)?;
        for chunk in slot * CHUNKS..(slot + 1) * CHUNKS {
            self.v4_chunks.remove(chunk)?;
            self.v6_chunks.remove(chunk)?;
        }
        Ok(())
    }
}

impl<T: Pod> Outer<T> {
    fn open(pins: &Pins, name: &'static str) -> Result<Self, Error> {
        let open = || MapData::from_pin(pins.map(name));
        let fail = |source| Error::map(name, source);
        let maps = Map::ArrayOfMaps(open().map_err(fail)?).try_into().map_err(fail)?;
        Ok(Self { maps, descriptor: open().map_err(fail)? })
    }

    fn put(&mut self, place: usize, map: &Array<MapData, T>) -> Result<(), Error> {
        self.maps.set(place as u32, map, 0).map_err(|source| Error::map("gf_table", source))
    }

    fn remove(&self, place: usize) -> Result<(), Error> {
        sys::remove_inner_map(self.descriptor.fd(), place as u32)
            .map_err(|source| Error::Memory { map: "gf_table", source })
    }
}

fn fill_index<E: Copy>(index: &mut IndexTable, dxr: &Dxr<E>, pack: impl Fn(usize, &E) -> u32) {
    for (number, (into, from)) in index.entry.iter_mut().zip(&dxr.entries).enumerate() {
        *into = pack(number, from);
    }
    fill_buckets(&mut index.v4, &dxr.v4, &index.entry);
    fill_buckets(&mut index.v6, &dxr.v6, &index.entry);
    fill_buckets(&mut index.fine, &dxr.fine, &index.entry);
    if let Some(Chunk { suffixes, entries }) = dxr.fine.chunks.first() {
        index.fine_suffix[..suffixes.len()].copy_from_slice(suffixes);
        index.fine_entry[..entries.len()].copy_from_slice(entries);
    }
}

fn fill_buckets<S>(into: &mut [u32], family: &Family<S>, entries: &[u32]) {
    for (into, from) in into.iter_mut().zip(&family.buckets) {
        *into = abi::pack_bucket(*from, |id| entries[usize::from(id)]);
    }
}

fn fill_chunks<B: Border>(
    chunks: &mut Outer<ChunkTable<B>>,
    slot: usize,
    family: &Family<B::Suffix>,
) -> Result<(), Error>
where
    ChunkTable<B>: Pod,
{
    for (number, Chunk { suffixes, entries }) in family.chunks.iter().enumerate() {
        let (map, mut mapped) = create::<ChunkTable<B>>()?;
        let borders = suffixes.iter().zip(entries);
        for (into, (suffix, entry)) in mapped.fill(0).border.iter_mut().zip(borders) {
            *into = B::pack(*suffix, *entry);
        }
        chunks.put(slot * CHUNKS + number, &map)?;
    }
    Ok(())
}

/// An inner map of one value, with its memory.
fn create<T: Pod>() -> Result<(Array<MapData, T>, Mapped<T>), Error> {
    let definition = Definition::new_from_params(
        BPF_MAP_TYPE_ARRAY as u32,
        size_of::<u32>() as u32,
        size_of::<T>() as u32,
        1,
        BPF_F_MMAPABLE,
    );
    let fail = |source| Error::map("gf_table", source);
    let data = MapData::create(definition, "gf_table", None).map_err(fail)?;
    let mapped =
        Mapped::new(data.fd(), 1).map_err(|source| Error::Memory { map: "gf_table", source })?;
    Ok((Map::Array(data).try_into().map_err(fail)?, mapped))
}
