//! Real addresses of real countries, from the embedded world table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use geofilter_core::country::CountryCode;
use geofilter_core::world::{Entry, World};

/// Addresses whose sources agree, in networks that are not hosting unless asked for.
#[derive(Debug)]
pub struct Addresses<'a> {
    world: &'a World,
}

impl<'a> Addresses<'a> {
    /// Addresses of this world.
    pub fn new(world: &'a World) -> Self {
        Self { world }
    }

    /// An IPv4 address of a country.
    ///
    /// # Panics
    /// If the world has none.
    pub fn v4(&self, country: &str) -> Ipv4Addr {
        self.find_v4(|entry| is_plain(entry, country, false))
    }

    /// An IPv4 address of a hosting network in a country.
    ///
    /// # Panics
    /// If the world has none.
    pub fn hosting_v4(&self, country: &str) -> Ipv4Addr {
        self.find_v4(|entry| is_plain(entry, country, true))
    }

    /// An IPv6 address of a country.
    ///
    /// # Panics
    /// If the world has none.
    pub fn v6(&self, country: &str) -> Ipv6Addr {
        let entries = self.world.entries();
        let start = self
            .world
            .v6()
            .iter()
            .find(|(_, id)| is_plain(entries[usize::from(*id)], country, false))
            .map(|(start, _)| start);
        Ipv6Addr::from(start.expect("the world has every country") | 0x10)
    }

    /// This many IPv4 addresses of a country, each in another range; fewer if it has fewer.
    pub fn several_v4(&self, country: &str, count: usize) -> Vec<Ipv4Addr> {
        let steps = self.world.v4().iter();
        let starts = steps.filter(|(_, id)| self.is_plain(*id, country));
        let addresses = starts.map(|(start, _)| Ipv4Addr::from(start | 0x10));
        addresses.filter(|address| self.is_of((*address).into(), country)).take(count).collect()
    }

    /// This many IPv6 addresses of a country, each in another range; fewer if it has fewer.
    pub fn several_v6(&self, country: &str, count: usize) -> Vec<Ipv6Addr> {
        let steps = self.world.v6().iter();
        let starts = steps.filter(|(_, id)| self.is_plain(*id, country));
        let addresses = starts.map(|(start, _)| Ipv6Addr::from(start | 0x10));
        addresses.filter(|address| self.is_of((*address).into(), country)).take(count).collect()
    }

    /// An address that no source knows.
    pub fn unknown_v4(&self) -> Ipv4Addr {
        let address = Ipv4Addr::new(198, 51, 100, 7);
        assert_eq!(self.world.lookup(IpAddr::V4(address)), Entry::UNKNOWN);
        address
    }

    fn is_plain(&self, id: u16, country: &str) -> bool {
        is_plain(self.world.entries()[usize::from(id)], country, false)
    }

    /// Ranges may be smaller than the step from their start to the address.
    fn is_of(&self, address: IpAddr, country: &str) -> bool {
        is_plain(self.world.lookup(address), country, false)
    }

    fn find_v4(&self, wanted: impl Fn(Entry) -> bool) -> Ipv4Addr {
        let entries = self.world.entries();
        let mut steps = self.world.v4().iter();
        let start = steps.find(|(_, id)| wanted(entries[usize::from(*id)])).map(|(start, _)| start);
        Ipv4Addr::from(start.expect("the world has every country") | 0x10)
    }
}

fn is_plain(entry: Entry, country: &str, hosting: bool) -> bool {
    let wanted = CountryCode::parse(country).expect("a country code").id();
    entry.primary == wanted && !entry.disputed() && entry.hosting == hosting
}
