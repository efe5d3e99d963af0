//! [`Dxr`]: a table over both address spaces as the kernel searches it, for the world and for overrides
//! by prefix. The top bits of an address name a bucket. Most buckets lie within one range and have its entry;
//! the others know where their borders lie in a chunk, and a binary search finds the last one not after the
//! address.
//!
//! After "DXR: Towards a Billion Routing Lookups per Second in Software" (Zec, Rizzo, Mikuc, 2012). IPv6
//! is searched by the upper 64 bits; a /64 with borders inside has a bucket of its own in [`Fine`].

use std::net::IpAddr;
use std::panic::resume_unwind;
use std::thread;

use crate::steps::{self, Steps};
use crate::world::{Entry, EntryId, World};

/// Borders a chunk holds; the borders of a bucket never cross chunks.
pub const CHUNK: usize = 1 << 18;
/// Chunks a family may have.
pub const MAX_CHUNKS: usize = 8;
/// Bits of an IPv6 address, after those of 2000::/3, that name a bucket.
pub const V6_BITS: u32 = 19;
/// A bucket's number of borders is a multiple of this, or less: larger numbers have less room.
pub const MANY: usize = 512;
/// An entry id with this bit names a bucket of [`Fine`].
pub const FINE: EntryId = 1 << 15;
/// How many /64s may have borders inside.
pub const MAX_FINE_BUCKETS: usize = 1 << 14;
/// How many borders may lie inside of them.
pub const MAX_FINE_BORDERS: usize = 1 << 15;

const V4_SUFFIX: u32 = 16;
const V6_SUFFIX: u32 = 61 - V6_BITS;
/// 2000::/3, as the upper 64 bits.
const GLOBAL_V6: u64 = 1 << 61;

/// More than the kernel's tables can hold. What is in force stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the table does not fit the kernel's: more than {limit} {what}")]
pub struct CapacityExceeded {
    /// What there are too many of.
    pub what: &'static str,
    /// How many fit.
    pub limit: usize,
}

/// What holds for the addresses that share their top bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    /// One entry for all of them.
    Entry(EntryId),
    /// Borders.
    Borders {
        /// Index of the first border, over all chunks of the family. It is at the bucket's start.
        base: u32,
        /// How many borders there are, at least one; from [`MANY`] on a multiple of it.
        count: u32,
    },
}

/// Borders, ascending within a bucket: from `suffixes[i]` on, `entries[i]` holds. The last one of a bucket may
/// be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk<S> {
    /// The low bits of each border's address.
    pub suffixes: Vec<S>,
    /// The entry from that border on.
    pub entries: Vec<EntryId>,
}

/// The table of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family<S> {
    /// A bucket for every value of the top bits; none if entry 0 holds everywhere, as it mostly does where
    /// only overrides are looked up.
    pub buckets: Vec<Bucket>,
    /// At most [`MAX_CHUNKS`].
    pub chunks: Vec<Chunk<S>>,
}

/// Borders inside of /64s.
pub type Fine = Family<u64>;

/// The compiled table. What its entries hold is the concern of who compiles it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dxr<E = Entry> {
    /// What the entry ids stand for.
    pub entries: Vec<E>,
    /// IPv4, by 16 bits.
    pub v4: Family<u16>,
    /// IPv6 within 2000::/3, by [`V6_BITS`] bits of the upper 64.
    pub v6: Family<u64>,
    /// Borders finer than /64, in one chunk.
    pub fine: Fine,
}

impl Dxr {
    /// Compiles a world table.
    ///
    /// # Errors
    /// [`CapacityExceeded`] if it has more borders than the kernel's maps hold.
    pub fn compile(world: &World) -> Result<Self, CapacityExceeded> {
        Self::build(world.entries().to_vec(), world.v4(), world.v6())
    }
}

impl<E: Copy> Dxr<E> {
    /// Compiles steps of entry ids, the two families side by side. Of IPv6 only 2000::/3 is kept; elsewhere
    /// entry 0 holds.
    pub(crate) fn build(
        entries: Vec<E>,
        v4: &Steps<u32, EntryId>,
        v6: &Steps<u128, EntryId>,
    ) -> Result<Self, CapacityExceeded> {
        let (v4, v6) = thread::scope(|scope| {
            let v6 = scope.spawn(|| compile_v6(v6));
            let v4 = compile_v4(v4);
            (v4, v6.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        let (v6, fine) = v6?;
        Ok(Self { entries, v4: v4?, v6, fine })
    }

    /// What it was compiled from: entry ids, IPv6 within 2000::/3.
    pub fn steps(&self) -> (Steps<u32, EntryId>, Steps<u128, EntryId>) {
        let (mut v4, mut v6) = (Steps::constant(0), Steps::constant(0));
        for (start, id) in self.v4.steps(V4_SUFFIX) {
            v4.push(start as u32, id);
        }
        for (start, id) in self.v6.steps(V6_SUFFIX) {
            let host = u128::from(GLOBAL_V6 + start) << 64;
            match id & FINE {
                0 => v6.push(host, id),
                _ => {
                    let bucket = self.fine.buckets[usize::from(id & !FINE)];
                    let borders = self.fine.borders(bucket);
                    borders.for_each(|(lower, id)| v6.push(host | u128::from(lower), id));
                }
            }
        }
        v6.push(u128::from(2 * GLOBAL_V6) << 64, 0);
        (v4, v6)
    }

    /// Whether it says the same everywhere: entry 0.
    pub fn is_empty(&self) -> bool {
        self.occupied_v4(0).next().is_none() && self.occupied_v6(0).next().is_none()
    }

    /// The same borders with other entries.
    pub fn map<T>(self, entry: impl FnMut(E) -> T) -> Dxr<T> {
        let Self { entries, v4, v6, fine } = self;
        Dxr { entries: entries.into_iter().map(entry).collect(), v4, v6, fine }
    }

    /// Looks an address up the way the kernel does.
    pub fn lookup(&self, address: IpAddr) -> E {
        let id = match address {
            IpAddr::V4(v4) => {
                let address = steps::v4(v4);
                self.v4.find((address >> V4_SUFFIX) as usize, address as u16)
            }
            IpAddr::V6(v6) => self.find_v6(steps::v6(v6)),
        };
        self.entries[usize::from(id)]
    }

    /// The values of the top bits of IPv4 addresses below which an entry other than 0 may hold; some come
    /// more than once.
    pub fn occupied_v4(&self, bits: u32) -> impl Iterator<Item = usize> {
        self.v4.occupied(V4_SUFFIX, 32 - bits)
    }

    /// The same of IPv6 addresses, for the bits after those of 2000::/3; at most 61 bits.
    pub fn occupied_v6(&self, bits: u32) -> impl Iterator<Item = usize> {
        self.v6.occupied(V6_SUFFIX, 61 - bits)
    }

    fn find_v6(&self, address: u128) -> EntryId {
        let (upper, lower) = ((address >> 64) as u64, address as u64);
        if upper >> 61 != 1 {
            return 0;
        }
        let within = upper & (GLOBAL_V6 - 1);
        let id = self.v6.find((within >> V6_SUFFIX) as usize, within & ((1 << V6_SUFFIX) - 1));
        match id & FINE {
            0 => id,
            _ => self.fine.find(usize::from(id & !FINE), lower),
        }
    }
}

impl<S: Copy + Ord + Into<u64>> Family<S> {
    /// What is left of an address with an entry other than 0 when its low `cut` bits are dropped.
    fn occupied(&self, suffix_bits: u32, cut: u32) -> impl Iterator<Item = usize> {
        self.buckets.iter().enumerate().flat_map(move |(number, bucket)| {
            let end = (number as u64 + 1) << suffix_bits;
            let steps = self.steps_in(number, *bucket, suffix_bits);
            let ends = steps.clone().skip(1).map(|(at, _)| at).chain([end]);
            let occupied = steps.zip(ends).filter(|((at, id), end)| *id != 0 && at < end);
            occupied
                .flat_map(move |((at, _), end)| (at >> cut) as usize..=((end - 1) >> cut) as usize)
        })
    }

    /// Every border with the entry from there on, ascending; the last one of a bucket may be repeated.
    fn steps(&self, suffix_bits: u32) -> impl Iterator<Item = (u64, EntryId)> {
        let buckets = self.buckets.iter().enumerate();
        buckets.flat_map(move |(number, bucket)| self.steps_in(number, *bucket, suffix_bits))
    }

    /// The same of one bucket.
    fn steps_in(
        &self,
        number: usize,
        bucket: Bucket,
        suffix_bits: u32,
    ) -> impl Iterator<Item = (u64, EntryId)> + Clone {
        let start = (number as u64) << suffix_bits;
        let entry = match bucket {
            Bucket::Entry(entry) => Some((start, entry)),
            Bucket::Borders { .. } => None,
        };
        let borders = self.borders(bucket);
        entry.into_iter().chain(borders.map(move |(suffix, id)| (start + suffix.into(), id)))
    }

    /// The borders of a bucket, ascending.
    fn borders(&self, bucket: Bucket) -> impl Iterator<Item = (S, EntryId)> + Clone {
        let (base, count) = match bucket {
            Bucket::Entry(_) => (0, 0),
            Bucket::Borders { base, count } => (base as usize, count as usize),
        };
        let range = base % CHUNK..base % CHUNK + count;
        self.chunks.get(base / CHUNK).into_iter().flat_map(move |chunk| {
            let suffixes = chunk.suffixes[range.clone()].iter().copied();
            suffixes.zip(chunk.entries[range.clone()].iter().copied())
        })
    }

    fn find(&self, bucket: usize, suffix: S) -> EntryId {
        let (base, count) = match self.buckets.get(bucket) {
            None => return 0,
            Some(Bucket::Entry(entry)) => return *entry,
            Some(Bucket::Borders { base, count }) => (*base as usize, *count as usize),
        };
        let (chunk, base) = (&self.chunks[base / CHUNK], base % CHUNK);
        let of_bucket = &chunk.suffixes[base..base + count];
        let after = of_bucket.partition_point(|border| *border <= suffix);
        chunk.entries[base + after - 1]
    }

    /// Packs steps, ascending, into buckets by their bits above `suffix_bits`. The first one starts at 0.
    fn pack(
        bucket_bits: u32,
        suffix_bits: u32,
        steps: impl Iterator<Item = (u64, EntryId)> + Clone,
        what: &'static str,
        suffix: impl Fn(u64) -> S,
    ) -> Result<Self, CapacityExceeded> {
        let mut family = Self { buckets: Vec::new(), chunks: Vec::new() };
        if steps.clone().all(|(_, id)| id == 0) {
            return Ok(family);
        }
        let buckets = 1 << bucket_bits;
        family.buckets.reserve_exact(buckets);
        let mut steps = steps.peekable();
        let mut borders = Vec::new();
        let mut current = 0;
        loop {
            // Most buckets lie between two steps.
            let next = steps.peek().map_or(buckets, |(at, _)| (at >> suffix_bits) as usize);
            debug_assert!(next >= family.buckets.len(), "steps ascend");
            family.buckets.resize(next, Bucket::Entry(current));
            if next == buckets {
                return Ok(family);
            }
            let (start, end) = ((next as u64) << suffix_bits, (next as u64 + 1) << suffix_bits);
            borders.clear();
            if let Some((_, id)) = steps.next_if(|(at, _)| *at == start) {
                current = id;
            }
            borders.push((suffix(0), current));
            while let Some((at, id)) = steps.next_if(|(at, _)| *at < end) {
                borders.push((suffix(at - start), id));
                current = id;
            }
            family.push(&mut borders, what)?;
        }
    }

    /// Adds a bucket. The first of its borders is at its start.
    fn push(
        &mut self,
        borders: &mut Vec<(S, EntryId)>,
        what: &'static str,
    ) -> Result<(), CapacityExceeded> {
        if let [(_, entry)] = borders[..]
            && entry & FINE == 0
        {
            self.buckets.push(Bucket::Entry(entry));
            return Ok(());
        }
        if borders.len() > MANY {
            borders.resize(borders.len().next_multiple_of(MANY), borders[borders.len() - 1]);
        }
        if self.chunks.last().is_none_or(|chunk| chunk.entries.len() + borders.len() > CHUNK) {
            self.chunks.push(Chunk { suffixes: Vec::new(), entries: Vec::new() });
        }
        let index = self.chunks.len() - 1;
        if index >= MAX_CHUNKS || borders.len() > CHUNK {
            return Err(CapacityExceeded { what, limit: MAX_CHUNKS * CHUNK });
        }
        let chunk = &mut self.chunks[index];
        let base = (index * CHUNK + chunk.entries.len()) as u32;
        self.buckets.push(Bucket::Borders { base, count: borders.len() as u32 });
        chunk.suffixes.extend(borders.iter().map(|(suffix, _)| *suffix));
        chunk.entries.extend(borders.iter().map(|(_, id)| *id));
        Ok(())
    }
}

fn compile_v4(v4: &Steps<u32, EntryId>) -> Result<Family<u16>, CapacityExceeded> {
    let steps = v4.iter().map(|(start, id)| (u64::from(start), id));
    Family::pack(16, V4_SUFFIX, steps, "IPv4 borders", |suffix| suffix as u16)
}

fn compile_v6(v6: &Steps<u128, EntryId>) -> Result<(Family<u64>, Fine), CapacityExceeded> {
    let (upper, fine) = split(v6)?;
    let family = Family::pack(V6_BITS, V6_SUFFIX, upper.iter().copied(), "IPv6 borders", |s| s)?;
    Ok((family, fine))
}

/// Splits IPv6 steps into those of the upper 64 bits, counted from the start of 2000::/3, and the
/// buckets of the /64s that have borders inside.
fn split(v6: &Steps<u128, EntryId>) -> Result<(Vec<(u64, EntryId)>, Fine), CapacityExceeded> {
    let mut fine = Fine { buckets: Vec::new(), chunks: Vec::new() };
    let mut upper: Vec<(u64, EntryId)> = Vec::with_capacity(v6.len());
    let mut within = v6
        .iter()
        .filter(|(start, _)| (start >> 125) as u8 == 1)
        .map(|(start, id)| ((start >> 64) as u64 & (GLOBAL_V6 - 1), start as u64, id))
        .peekable();
    let mut current = v6.get(u128::from(GLOBAL_V6) << 64);
    let mut borders = Vec::new();
    upper.push((0, current));
    while let Some((host, lower, id)) = within.next() {
        borders.clear();
        let own = if lower == 0 { id } else { current };
        borders.push((0, own));
        if lower > 0 {
            borders.push((lower, id));
        }
        current = id;
        while let Some((_, lower, id)) = within.next_if(|(next, ..)| *next == host) {
            borders.push((lower, id));
            current = id;
        }
        if let [_] = borders[..] {
            push_upper(&mut upper, host, own);
            continue;
        }
        push_upper(&mut upper, host, FINE | fine.buckets.len() as EntryId);
        fine.push(&mut borders, "borders finer than /64")?;
        check_fine(&fine)?;
        if host + 1 < GLOBAL_V6 {
            push_upper(&mut upper, host + 1, current);
        }
    }
    Ok((upper, fine))
}

/// A later step at the same place replaces the earlier one.
fn push_upper(upper: &mut Vec<(u64, EntryId)>, host: u64, id: EntryId) {
    upper.pop_if(|(last, _)| *last == host);
    upper.push((host, id));
}

fn check_fine(fine: &Fine) -> Result<(), CapacityExceeded> {
    let borders = fine.chunks.iter().map(|chunk| chunk.entries.len()).sum::<usize>();
    if fine.buckets.len() > MAX_FINE_BUCKETS {
        return Err(CapacityExceeded { what: "/64s with borders inside", limit: MAX_FINE_BUCKETS });
    }
    if borders > MAX_FINE_BORDERS {
        return Err(CapacityExceeded { what: "borders finer than /64", limit: MAX_FINE_BORDERS });
    }
    Ok(())
}
