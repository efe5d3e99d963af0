//! [`World`]: the policy-free table that maps every address to an [`Entry`].

use std::net::IpAddr;

use crate::country::CountryId;
use crate::steps::{self, Address, Range, Steps};

/// Index into [`World::entries`]; 0 is the entry of unknown space.
pub type EntryId = u16;

/// What the world data says of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Entry {
    /// The country, from the primary source or, where that one is silent, from the second.
    pub primary: CountryId,
    /// What the second source says where it disagrees with `primary`; otherwise equal to `primary`.
    pub second: CountryId,
    /// The network belongs to a hosting company.
    pub hosting: bool,
}

impl Entry {
    /// Space nobody knows.
    pub const UNKNOWN: Self =
        Self { primary: CountryId::UNKNOWN, second: CountryId::UNKNOWN, hosting: false };

    /// Whether the sources name different countries.
    pub fn disputed(&self) -> bool {
        self.primary != self.second
    }
}

/// The table: address -> [`Entry`]. It knows nothing of policies. IPv6 outside 2000::/3 is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    entries: Vec<Entry>,
    v4: Steps<u32, EntryId>,
    v6: Steps<u128, EntryId>,
}

/// More distinct entries than an [`EntryId`] of the kernel's table can name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the world table has {found} distinct entries, more than the {MAX_ENTRIES} that fit")]
pub struct TooManyEntries {
    /// How many there are.
    pub found: usize,
}

/// How many distinct entries a table may have: the upper half of [`EntryId`] is the kernel table's own.
pub const MAX_ENTRIES: usize = 1 << 15;

/// 2000::/3, the only IPv6 space that is allocated for global use.
const GLOBAL_V6: Range<u128> = Range { first: 0x2000 << 112, last: (0x4000 << 112) - 1 };

impl World {
    /// Builds the table; IPv6 outside 2000::/3 becomes unknown.
    ///
    /// # Errors
    /// [`TooManyEntries`] if more than [`MAX_ENTRIES`] distinct entries occur.
    pub fn from_steps(
        v4: &Steps<u32, Entry>,
        v6: &Steps<u128, Entry>,
    ) -> Result<Self, TooManyEntries> {
        Self::build(v4, v6, |entry| entry)
    }

    /// Builds the table of steps whose values stand for entries.
    pub(crate) fn build<V: Copy + Eq>(
        v4: &Steps<u32, V>,
        v6: &Steps<u128, V>,
        entry: impl Fn(V) -> Entry,
    ) -> Result<Self, TooManyEntries> {
        let (mut half_v4, mut half_v6) = (Half::v4(), Half::v6());
        v4.iter().for_each(|(start, value)| half_v4.push(start, entry(value)));
        v6.iter().for_each(|(start, value)| half_v6.push(start, entry(value)));
        Self::join(half_v4, half_v6)
    }

    /// Puts the two families together.
    ///
    /// # Errors
    /// [`TooManyEntries`] if more than [`MAX_ENTRIES`] distinct entries occur.
    pub(crate) fn join(v4: Half<u32>, v6: Half<u128>) -> Result<Self, TooManyEntries> {
        let (mut numbering, v4) = v4.finish();
        let (numbering_v6, mut v6) = v6.finish();
        let ids: Vec<EntryId> =
            numbering_v6.entries.iter().map(|entry| numbering.id(*entry)).collect();
        v6.relabel(|id| ids[usize::from(id)]);
        match numbering.entries {
            entries if entries.len() > MAX_ENTRIES => Err(TooManyEntries { found: entries.len() }),
            entries => Ok(Self { entries, v4, v6 }),
        }
    }

    /// The entry of an address exactly as given: tunnels are not looked through here.
    pub fn lookup(&self, address: IpAddr) -> Entry {
        let id = match address {
            IpAddr::V4(address) => self.v4.get(steps::v4(address)),
            IpAddr::V6(address) => self.v6.get(steps::v6(address)),
        };
        self.entries[usize::from(id)]
    }

    /// The entry of an address of which the sources say this.
    pub fn entry_of(address: IpAddr, entry: Entry) -> Entry {
        match address {
            IpAddr::V6(v6) if !GLOBAL_V6.contains(steps::v6(v6)) => Entry::UNKNOWN,
            IpAddr::V4(_) | IpAddr::V6(_) => entry,
        }
    }

    /// Every distinct entry; index 0 is [`Entry::UNKNOWN`].
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The IPv4 table.
    pub fn v4(&self) -> &Steps<u32, EntryId> {
        &self.v4
    }

    /// The IPv6 table; unknown outside 2000::/3.
    pub fn v6(&self) -> &Steps<u128, EntryId> {
        &self.v6
    }
}

/// A family of the table while it is built. Its entries have numbers of their own until it is joined to the
/// other.
pub(crate) struct Half<A> {
    within: Range<A>,
    numbering: Numbering,
    steps: Steps<A, EntryId>,
}

impl Half<u32> {
    /// All of IPv4.
    pub(crate) fn v4() -> Self {
        Self::new(Range { first: u32::MIN, last: u32::MAX })
    }
}

impl Half<u128> {
    /// IPv6, of which only 2000::/3 is kept.
    pub(crate) fn v6() -> Self {
        Self::new(GLOBAL_V6)
    }
}

impl<A: Address> Half<A> {
    fn new(within: Range<A>) -> Self {
        let mut half = Self { within, numbering: Numbering::new(), steps: Steps::with_capacity(0) };
        half.steps.push(A::MIN, half.numbering.id(Entry::UNKNOWN));
        half
    }

    /// Appends a step, in ascending order.
    pub(crate) fn push(&mut self, start: A, entry: Entry) {
        if start <= self.within.last {
            self.steps.push(start.max(self.within.first), self.numbering.id(entry));
        }
    }

    fn finish(mut self) -> (Numbering, Steps<A, EntryId>) {
        if let Some(after) = self.within.last.next() {
            self.steps.push(after, self.numbering.id(Entry::UNKNOWN));
        }
        self.steps.shrink_to_fit();
        (self.numbering, self.steps)
    }
}

/// Gives each distinct entry a number, in the order they are met.
struct Numbering {
    entries: Vec<Entry>,
    /// For every possible entry its number and 1, or 0: quicker than a hash over a million steps.
    numbers: Vec<u32>,
}

impl Numbering {
    fn new() -> Self {
        let mut numbering = Self { entries: Vec::new(), numbers: vec![0; 1 << 17] };
        numbering.id(Entry::UNKNOWN);
        numbering
    }

    /// Wraps beyond [`EntryId::MAX`]: the caller counts the entries before it trusts the numbers.
    fn id(&mut self, entry: Entry) -> EntryId {
        let place =
            entry.primary.index() << 9 | entry.second.index() << 1 | usize::from(entry.hosting);
        if self.numbers[place] == 0 {
            self.entries.push(entry);
            self.numbers[place] = self.entries.len() as u32;
        }
        (self.numbers[place] - 1) as EntryId
    }
}
