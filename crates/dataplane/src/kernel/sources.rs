//! [`Sources`]: exemptions and bans in the kernel. Prefixes lie in two slots and change by a switch of the
//! control word; single addresses lie in a hash table behind a filter of bits, and change one by one.

use std::collections::HashMap;

use aya::maps::{self, MapData};
use geofilter_core::overrides::{AddressKey, Spans, Table};

use crate::Error;
use crate::kernel::abi::sources::{Address, FilterTable, PrefixTable, SpansTable, known_words};
use crate::kernel::mapped::Mapped;
use crate::kernel::sys::is_absent;

const MAP: &str = "gf_addresses";
/// How many addresses may have gone before the bits are made anew, or as many as are left if those are more:
/// until then what is left of them costs a search now and then.
const GONE: usize = 1_000;

/// The maps.
pub(crate) struct Sources {
    /// One value for each slot.
    pub(crate) prefixes: Mapped<PrefixTable>,
    addresses: maps::HashMap<MapData, Address, SpansTable>,
    filter: Mapped<FilterTable>,
    kept: usize,
    gone: usize,
}

impl Sources {
    pub(crate) fn new(
        prefixes: Mapped<PrefixTable>,
        addresses: maps::HashMap<MapData, Address, SpansTable>,
        filter: Mapped<FilterTable>,
    ) -> Self {
        Self { prefixes, addresses, filter, kept: 0, gone: 0 }
    }

    /// Brings the single addresses to what the table says; each changes at once.
    pub(crate) fn set_addresses(&mut self, table: &Table) -> Result<(), Error> {
        let wanted: HashMap<Address, SpansTable> =
            table.addresses.iter().map(|(key, spans)| ((*key).into(), (*spans).into())).collect();
        let held: Vec<Address> = self.held().collect::<Result<_, _>>()?;
        self.kept = held.len();
        for superfluous in held.into_iter().filter(|address| !wanted.contains_key(address)) {
            self.remove(superfluous)?;
        }
        wanted.into_iter().try_for_each(|(address, spans)| self.insert(address, spans))
    }

    /// Changes one address.
    pub(crate) fn set(&mut self, key: AddressKey, spans: Spans) -> Result<(), Error> {
        match spans {
            Spans::NONE => self.remove(key.into()),
            spans => self.insert(key.into(), spans.into()),
        }
    }

    fn insert(&mut self, address: Address, spans: SpansTable) -> Result<(), Error> {
        let held = self.addresses.get(&address, 0).ok();
        if held.is_some_and(|held| held == spans) {
            return Ok(());
        }
        self.addresses.insert(address, spans, 0).map_err(|source| Error::map(MAP, source))?;
        self.kept += usize::from(held.is_none());
        address.known().into_iter().for_each(|(word, bits)| self.filter.set_bits(0, word, bits));
        Ok(())
    }

    fn remove(&mut self, address: Address) -> Result<(), Error> {
        match self.addresses.remove(&address) {
            Ok(()) => {
                self.gone += 1;
                self.kept = self.kept.saturating_sub(1);
            }
            Err(error) if is_absent(&error) => return Ok(()),
            Err(source) => return Err(Error::map(MAP, source)),
        }
        match self.gone < GONE.max(self.kept) {
            true => Ok(()),
            false => self.renew_bits(),
        }
    }

    /// Makes the bits of what is there; a bit that is needed is set all the while.
    fn renew_bits(&mut self) -> Result<(), Error> {
        let mut words = vec![0; size_of::<FilterTable>() / 8];
        for address in self.held() {
            address?.known().into_iter().for_each(|(word, bits)| words[word] |= bits);
        }
        known_words().for_each(|word| self.filter.publish(0, word, words[word]));
        self.gone = 0;
        Ok(())
    }

    fn held(&self) -> impl Iterator<Item = Result<Address, Error>> {
        self.addresses.keys().map(|key| key.map_err(|source| Error::map(MAP, source)))
    }
}
