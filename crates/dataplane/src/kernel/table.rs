//! Putting a compiled table into the kernel, that of the world or that of the overrides by prefix: new
//! inner maps in the slot that is not in use, one store of the control word, and the old maps go.
//!
//! The kernel waits for the packets in flight whenever a map is put into a slot or taken out, although no
//! packet uses that slot. So all of them are put at the same time, and filled while it waits.

use std::io;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::thread::{self, ScopedJoinHandle};

use aya::Pod;
use aya::maps::MapData;
use aya_obj::Map as Definition;
use aya_obj::generated::bpf_map_type::BPF_MAP_TYPE_ARRAY;
use geofilter_core::dxr::{Chunk, Dxr, Family};

use crate::Error;
use crate::kernel::abi::{self, Border, CHUNKS, ChunkTable, IndexTable};
use crate::kernel::mapped::Mapped;
use crate::kernel::pins::Pins;
use crate::kernel::sys;

const BPF_F_MMAPABLE: u32 = 1 << 10;

/// A map of maps whose maps have one value.
pub(crate) struct Outer<T> {
    map: MapData,
    values: PhantomData<fn() -> T>,
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
    pub(crate) fn fill<E: Copy + Sync>(
        &self,
        slot: usize,
        dxr: &Dxr<E>,
        pack: impl Fn(usize, &E) -> u32 + Send,
    ) -> Result<(), Error> {
        thread::scope(|scope| {
            let mut maps = Vec::new();
            maps.push(scope.spawn(|| self.index.put(slot, |index| fill_index(index, dxr, pack))));
            for (place, chunk) in (slot * CHUNKS..).zip(&dxr.v4.chunks) {
                let fill = |table: &mut ChunkTable<u32>| fill_chunk(table, chunk);
                maps.push(scope.spawn(move || self.v4_chunks.put(place, fill)));
            }
            for (place, chunk) in (slot * CHUNKS..).zip(&dxr.v6.chunks) {
                let fill = |table: &mut ChunkTable<u64>| fill_chunk(table, chunk);
                maps.push(scope.spawn(move || self.v6_chunks.put(place, fill)));
            }
            all(maps)
        })
    }

    /// Frees a slot that no program uses any more.
    pub(crate) fn clear(&self, slot: usize) -> Result<(), Error> {
        self.index.remove(slot)?;
        for chunk in slot * CHUNKS..(slot + 1) * CHUNKS {
            self.v4_chunks.remove(chunk)?;
            self.v6_chunks.remove(chunk)?;
        }
        Ok(())
    }
}

/// Waits for all, and errs if one does.
fn all(threads: Vec<ScopedJoinHandle<'_, Result<(), Error>>>) -> Result<(), Error> {
    let joined = threads
        .into_iter()
        .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
    joined.fold(Ok(()), Result::and)
}

impl<T: Pod> Outer<T> {
    fn open(pins: &Pins, name: &'static str) -> Result<Self, Error> {
        let map = MapData::from_pin(pins.map(name)).map_err(|source| Error::map(name, source))?;
        Ok(Self { map, values: PhantomData })
    }

    /// Puts a new map into a place that no program looks at, and fills it.
    fn put(&self, place: usize, fill: impl FnOnce(&mut T)) -> Result<(), Error> {
        let (map, mut mapped) = create::<T>()?;
        thread::scope(|scope| {
            let put = || sys::put_inner_map(self.map.fd(), place as u32, map.fd()).map_err(failed);
            let put = scope.spawn(put);
            fill(mapped.fill(0));
            put.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    fn remove(&self, place: usize) -> Result<(), Error> {
        sys::remove_inner_map(self.map.fd(), place as u32).map_err(failed)
    }
}

fn failed(source: io::Error) -> Error {
    Error::Memory { map: "gf_table", source }
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

fn fill_chunk<B: Border>(table: &mut ChunkTable<B>, chunk: &Chunk<B::Suffix>) {
    let borders = chunk.suffixes.iter().zip(&chunk.entries);
    for (into, (suffix, entry)) in table.border.iter_mut().zip(borders) {
        *into = B::pack(*suffix, *entry);
    }
}

/// An inner map of one value, with its memory.
fn create<T: Pod>() -> Result<(MapData, Mapped<T>), Error> {
    let definition = Definition::new_from_params(
        BPF_MAP_TYPE_ARRAY as u32,
        size_of::<u32>() as u32,
        size_of::<T>() as u32,
        1,
        BPF_F_MMAPABLE,
    );
    let map = MapData::create(definition, "gf_table", None)
        .map_err(|source| Error::map("gf_table", source))?;
    let mapped = Mapped::new(map.fd(), 1).map_err(failed)?;
    Ok((map, mapped))
}
