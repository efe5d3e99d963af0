//! Merges the sources into the [`World`](crate::world::World): [`Says`] is what they say of an address,
//! and [`Says::entry`] the one place that decides between them.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::asn::AsTable;
use super::corrections::Corrections;
use super::hosting::HostingList;
use super::listing::{Layer, Listing};
use crate::country::CountryId;
use crate::steps::{self, Address, Range, Steps};
use crate::world::Entry;

/// What the sources say of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Says {
    /// The country of the primary source.
    pub primary: CountryId,
    /// The country of the registries.
    pub registry: CountryId,
    /// A hosting company announces it.
    pub hosting: bool,
    /// The space is nobody's: no registry lists it and nobody announces it, or it is set aside for special
    /// use. What a source says of it does not count.
    pub masked: bool,
}

impl Says {
    /// What is said of space that nobody speaks of.
    pub const NOTHING: Self = Self {
        primary: CountryId::UNKNOWN,
        registry: CountryId::UNKNOWN,
        hosting: false,
        masked: false,
    };

    /// What is said where an administrator knows better: every source says so, and no mask hides it.
    #[must_use]
    pub fn corrected(self, country: CountryId) -> Self {
        Self { primary: country, registry: country, masked: false, ..self }
    }

    /// The entry of the world table: the primary source decides, the registries answer where it is silent
    /// and are the second opinion where both speak.
    pub fn entry(self) -> Entry {
        if self.masked {
            return Entry::UNKNOWN;
        }
        let known = |country| (country != CountryId::UNKNOWN).then_some(country);
        let primary = known(self.primary).unwrap_or(self.registry);
        let second = known(self.registry).unwrap_or(primary);
        Entry { primary, second, hosting: self.hosting }
    }
}

/// What is said after corrections: where one is, every source says what it does, and no mask hides it.
pub fn correct(says: &Layer<Says>, corrections: &Corrections) -> Layer<Says> {
    says.zip(corrections.layer(), |says, corrected| match corrected {
        Some(country) => says.corrected(country),
        None => says,
    })
}

/// Who announces space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Nobody.
    Unannounced,
    /// A hosting company.
    Hosting,
    /// Somebody else.
    Other,
}

/// The kind of network everywhere. Each autonomous system is judged once: there are ten times as many ranges.
pub fn networks(systems: &AsTable, hosting: &HostingList) -> Layer<Network> {
    let mut judged = HashMap::new();
    systems.layer().map(|number| match number {
        None => Network::Unannounced,
        Some(number) => *judged.entry(number).or_insert_with(|| {
            match hosting.is_hosting(number, systems.name(number)) {
                true => Network::Hosting,
                false => Network::Other,
            }
        }),
    })
}

/// Merges a primary source, what the registries list, and who announces what.
pub fn merge(primary: &Listing, registry: &Listing, networks: &Layer<Network>) -> Layer<Says> {
    let Layer { v4, v6 } = special_use();
    Layer {
        v4: merge_family(&primary.v4, &registry.v4, &networks.v4, &v4),
        v6: merge_family(&primary.v6, &registry.v6, &networks.v6, &v6),
    }
}

/// The same of one family. What is not needed any more is dropped at once: on a small host the next edition
/// is made beside the one in use.
fn merge_family<A: Address>(
    primary: &Steps<A, Option<CountryId>>,
    registry: &Steps<A, Option<CountryId>>,
    networks: &Steps<A, Network>,
    special: &Steps<A, bool>,
) -> Steps<A, Says> {
    let registered = registry.zip(networks, |listed, network| Says {
        primary: CountryId::UNKNOWN,
        registry: listed.unwrap_or(CountryId::UNKNOWN),
        hosting: network == Network::Hosting,
        masked: listed.is_none() && network == Network::Unannounced,
    });
    let registered =
        registered.zip(special, |says, special| Says { masked: says.masked || special, ..says });
    primary.zip(&registered, |listed, says| Says {
        primary: listed.unwrap_or(CountryId::UNKNOWN),
        ..says
    })
}

/// Space that no country can have: special use (RFC 6890), multicast, and the IPv6 tunnels whose packets
/// are judged by the IPv4 address inside them.
pub fn special_use() -> Layer<bool> {
    const V4: [([u8; 4], u32); 15] = [
        ([0, 0, 0, 0], 8),
        ([10, 0, 0, 0], 8),
        ([100, 64, 0, 0], 10),
        ([127, 0, 0, 0], 8),
        ([169, 254, 0, 0], 16),
        ([172, 16, 0, 0], 12),
        ([192, 0, 0, 0], 24),
        ([192, 0, 2, 0], 24),
        ([192, 88, 99, 0], 24),
        ([192, 168, 0, 0], 16),
        ([198, 18, 0, 0], 15),
        ([198, 51, 100, 0], 24),
        ([203, 0, 113, 0], 24),
        ([224, 0, 0, 0], 4),
        ([240, 0, 0, 0], 4),
    ];
    const V6: [([u16; 3], u32); 7] = [
        ([0x2001, 0, 0], 32),
        ([0x2001, 2, 0], 48),
        ([0x2001, 0x10, 0], 28),
        ([0x2001, 0x20, 0], 28),
        ([0x2001, 0xdb8, 0], 32),
        ([0x2002, 0, 0], 16),
        ([0x3fff, 0, 0], 20),
    ];
    let v4 = V4.iter().map(|(octets, length)| {
        let first = steps::v4(Ipv4Addr::from(*octets));
        (Range { first, last: first | (u32::MAX >> length) }, true)
    });
    let v6 = V6.iter().map(|([a, b, c], length)| {
        let first = steps::v6(Ipv6Addr::new(*a, *b, *c, 0, 0, 0, 0, 0));
        (Range { first, last: first | (u128::MAX >> length) }, true)
    });
    Layer {
        v4: Steps::from_ranges(false, v4.collect()),
        v6: Steps::from_ranges(false, v6.collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::country::CountryCode;

    fn id(code: &str) -> CountryId {
        CountryCode::parse(code).unwrap().id()
    }

    fn entry(primary: &str, registry: &str, hosting: bool, masked: bool) -> Entry {
        Says { primary: id(primary), registry: id(registry), hosting, masked }.entry()
    }

    #[test]
    fn the_primary_source_decides_and_the_registries_answer_for_it() {
        let plain =
            |primary, second| Entry { primary: id(primary), second: id(second), hosting: false };
        assert_eq!(entry("ES", "ES", false, false), plain("ES", "ES"));
        assert_eq!(entry("ES", "PT", false, false), plain("ES", "PT"));
        assert_eq!(entry("ZZ", "PT", false, false), plain("PT", "PT"));
        assert_eq!(entry("ES", "ZZ", false, false), plain("ES", "ES"));
        assert_eq!(entry("ZZ", "ZZ", false, false), Entry::UNKNOWN);
        assert!(entry("ZZ", "ZZ", true, false).hosting);
        assert_eq!(entry("ES", "PT", true, true), Entry::UNKNOWN);
    }

    #[test]
    fn corrections_win_over_every_source_and_the_mask() {
        let says = |masked| Says { primary: id("ES"), registry: id("PT"), hosting: true, masked };
        let corrections = b"1.0.0.0/8,FR\n1.2.0.0/16,DE\n2.0.0.0/8,ZZ\n2a00::/16,IT\n";
        let corrections = Corrections::parse(&corrections[..]).unwrap();
        for masked in [false, true] {
            let corrected = correct(&Layer::constant(says(masked)), &corrections);
            let at = |address: &str| corrected.get(address.parse().unwrap()).entry();
            let entry = |code| Entry { primary: id(code), second: id(code), hosting: true };
            assert_eq!(at("1.0.0.0"), entry("FR"));
            assert_eq!(at("1.2.0.0"), entry("DE"));
            assert_eq!(at("2.0.0.0"), entry("ZZ"));
            assert_eq!(at("2a00::1"), entry("IT"));
            assert_eq!(at("3.0.0.0"), says(masked).entry());
            assert_eq!(at("2a01::"), says(masked).entry());
        }
    }

    #[test]
    fn special_space_begins_and_ends_where_it_should() {
        let special = special_use();
        let at = |address: &str| special.get(address.parse().unwrap());
        let inside = [
            "0.255.255.255",
            "10.0.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.0.0",
            "172.31.255.255",
            "192.0.0.255",
            "192.0.2.0",
            "192.88.99.1",
            "192.168.255.255",
            "198.19.255.255",
            "198.51.100.9",
            "203.0.113.255",
            "224.0.0.0",
            "255.255.255.255",
            "2001::",
            "2001:0:ffff::",
            "2001:2::",
            "2001:10::",
            "2001:2f:ffff::",
            "2001:db8:ffff::",
            "2002::",
            "2002:ffff::",
            "3fff:fff:ffff::",
        ];
        inside.iter().for_each(|address| assert!(at(address), "{address}"));
        let outside = [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "128.0.0.0",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "203.0.112.255",
            "223.255.255.255",
            "2001:1::",
            "2001:2:1::",
            "2001:f:ffff::",
            "2001:30::",
            "2001:db9::",
            "2003::",
            "3fff:1000::",
        ];
        outside.iter().for_each(|address| assert!(!at(address), "{address}"));
    }

    #[test]
    fn space_is_masked_where_nobody_lists_or_announces_it() {
        let everywhere = Layer::constant(Some(id("ES")));
        let half = Layer {
            v4: Steps::from_ranges(false, vec![(Range { first: 1 << 24, last: 2 << 24 }, true)]),
            v6: Steps::constant(false),
        };
        let listed = half.map(|inside| inside.then(|| id("PT")));
        let hosting = half.map(|inside| match inside {
            true => Network::Hosting,
            false => Network::Unannounced,
        });
        let says = merge(&everywhere, &listed, &Layer::constant(Network::Unannounced));
        assert!(!says.v4.get(1 << 24).masked && says.v4.get(3 << 24).masked);
        let says = merge(&everywhere, &Layer::constant(None), &hosting);
        assert!(!says.v4.get(1 << 24).masked && says.v4.get(3 << 24).masked);
        assert!(says.v4.get(1 << 24).hosting);
        let says = merge(&everywhere, &everywhere, &Layer::constant(Network::Other));
        assert!(says.v4.get(10 << 24).masked && !says.v4.get(11 << 24).masked);
        assert!(!says.v4.get(11 << 24).hosting);
    }
}
