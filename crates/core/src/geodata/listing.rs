//! [`Layer`]: what one source says of both address families.

use std::net::IpAddr;

use super::line::LineProblem;
use crate::country::CountryId;
use crate::steps::{self, Address, Range, Steps};

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

/// The ranges a parser has read so far. One that follows on the one before and has its value is the same
/// range, so that what is kept grows with the borders of a sorted file and not with its lines.
pub(super) struct Ranges<V = CountryId> {
    v4: Vec<(Range<u32>, Option<V>)>,
    v6: Vec<(Range<u128>, Option<V>)>,
}

impl<V> Default for Ranges<V> {
    fn default() -> Self {
        Self { v4: Vec::new(), v6: Vec::new() }
    }
}

impl<V: Copy + Eq> Ranges<V> {
    pub(super) fn push(
        &mut self,
        first: IpAddr,
        last: IpAddr,
        value: V,
    ) -> Result<(), LineProblem> {
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                push(&mut self.v4, steps::v4(first), steps::v4(last), value)
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                push(&mut self.v6, steps::v6(first), steps::v6(last), value)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                Err(LineProblem::MixedFamilies)
            }
        }
    }

    /// The layer of the ranges; `None` if there is none.
    pub(super) fn into_listing(self) -> Option<Layer<Option<V>>> {
        let any = !self.v4.is_empty() || !self.v6.is_empty();
        any.then(|| Layer {
            v4: Steps::from_ranges(None, self.v4),
            v6: Steps::from_ranges(None, self.v6),
        })
    }
}

fn push<A: Address, V: Copy + Eq>(
    ranges: &mut Vec<(Range<A>, Option<V>)>,
    first: A,
    last: A,
    value: V,
) -> Result<(), LineProblem> {
    let range = Range::new(first, last).ok_or(LineProblem::Backwards)?;
    match ranges.last_mut() {
        Some((before, same)) if *same == Some(value) && before.last.next() == Some(first) => {
            before.last = last;
        }
        _ => ranges.push((range, Some(value))),
    }
    Ok(())
}
