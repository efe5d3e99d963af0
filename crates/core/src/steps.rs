//! [`Steps`]: a function over a whole address space that changes its value only at borders. World
//! tables, sources and AS tables are all of this shape.

use std::net::{Ipv4Addr, Ipv6Addr};

/// An address as a number: `u32` for IPv4, `u128` for IPv6, both in host byte order.
pub trait Address: Copy + Ord + std::fmt::Debug {
    /// The lowest address.
    const MIN: Self;
    /// The highest address.
    const MAX: Self;
    /// The next address; `None` after [`Self::MAX`].
    fn next(self) -> Option<Self>;
    /// The address before; `None` before [`Self::MIN`].
    fn previous(self) -> Option<Self>;
}

impl Address for u32 {
    const MIN: Self = 0;
    const MAX: Self = u32::MAX;
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
    fn previous(self) -> Option<Self> {
        self.checked_sub(1)
    }
}

impl Address for u128 {
    const MIN: Self = 0;
    const MAX: Self = u128::MAX;
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
    fn previous(self) -> Option<Self> {
        self.checked_sub(1)
    }
}

/// The number of an IPv4 address.
pub fn v4(address: Ipv4Addr) -> u32 {
    u32::from(address)
}

/// The number of an IPv6 address.
pub fn v6(address: Ipv6Addr) -> u128 {
    u128::from(address)
}

/// A piecewise constant function over the address space. The first step starts at [`Address::MIN`],
/// starts ascend strictly, and neighbours differ in value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps<A, V> {
    starts: Vec<A>,
    values: Vec<V>,
}

impl<A: Address, V: Copy + Eq> Steps<A, V> {
    /// The function that has one value everywhere.
    pub fn constant(value: V) -> Self {
        Self { starts: vec![A::MIN], values: vec![value] }
    }

    /// Appends a step. A start that does not ascend replaces nothing and is merged by value; callers
    /// push in ascending order.
    pub fn push(&mut self, start: A, value: V) {
        match self.starts.last() {
            Some(last) if *last == start => {
                self.starts.pop();
                self.values.pop();
                self.push(start, value);
            }
            _ if self.values.last() == Some(&value) => {}
            _ => {
                debug_assert!(self.starts.last().is_none_or(|last| *last < start));
                self.starts.push(start);
                self.values.push(value);
            }
        }
    }

    /// The value at an address.
    pub fn get(&self, address: A) -> V {
        self.values[self.position(address)]
    }

    /// The value at an address with the inclusive range around it that shares it.
    pub fn step(&self, address: A) -> (A, A, V) {
        let position = self.position(address);
        let end = match self.starts.get(position + 1) {
            Some(next) => next.previous().unwrap_or(A::MIN),
            None => A::MAX,
        };
        (self.starts[position], end, self.values[position])
    }

    /// How many steps there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "a function is never empty")]
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Every step as (start, value), ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (A, V)> + Clone {
        self.starts.iter().copied().zip(self.values.iter().copied())
    }

    /// The same borders with other values; neighbours that become equal are merged.
    pub fn map<W: Copy + Eq>(&self, mut value: impl FnMut(V) -> W) -> Steps<A, W> {
        let mut mapped = Steps { starts: Vec::with_capacity(self.len()), values: Vec::new() };
        self.iter().for_each(|(start, old)| mapped.push(start, value(old)));
        mapped
    }

    fn position(&self, address: A) -> usize {
        self.starts.partition_point(|start| *start <= address) - 1
    }
}
