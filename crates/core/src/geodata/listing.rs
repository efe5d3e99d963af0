//! [`Layer`]: what one source says of both address families.

use std::net::IpAddr;

use crate::country::CountryId;
use crate::steps::{self, Steps};

/// A function over both address spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer<V> {
    /// Over IPv4.
    pub v4: Steps<u32, V>,
    /// Over IPv6.
    pub v6: Steps<u128, V>,
}

/// What a source of countries says: `None` where it lists nothing, unknown where it lists the space
/// without a country.
pub type Listing = Layer<Option<CountryId>>;

impl<V: Copy + Eq> Layer<V> {
    /// The layer that says the same everywhere.
    pub fn constant(value: V) -> Self {
        Self { v4: Steps::constant(value), v6: Steps::constant(value) }
    }

    /// The value at an address.
    pub fn get(&self, address: IpAddr) -> V {
        match address {
            IpAddr::V4(address) => self.v4.get(steps::v4(address)),
            IpAddr::V6(address) => self.v6.get(steps::v6(address)),
        }
    }

    /// The value at an address, with the first and the last address around it that share it.
    pub fn step(&self, address: IpAddr) -> (IpAddr, IpAddr, V) {
        match address {
            IpAddr::V4(address) => {
                let (first, last, value) = self.v4.step(steps::v4(address));
                (IpAddr::V4(first.into()), IpAddr::V4(last.into()), value)
            }
            IpAddr::V6(address) => {
                let (first, last, value) = self.v6.step(steps::v6(address));
                (IpAddr::V6(first.into()), IpAddr::V6(last.into()), value)
            }
        }
    }

    /// The same borders with other values.
    pub fn map<W: Copy + Eq>(&self, mut value: impl FnMut(V) -> W) -> Layer<W> {
        Layer { v4: self.v4.map(&mut value), v6: self.v6.map(&mut value) }
    }

    /// The layer that combines the values of two.
    pub fn zip<W: Copy + Eq, X: Copy + Eq>(
        &self,
        other: &Layer<W>,
        mut combine: impl FnMut(V, W) -> X,
    ) -> Layer<X> {
        Layer { v4: self.v4.zip(&other.v4, &mut combine), v6: self.v6.zip(&other.v6, &mut combine) }
    }
}
