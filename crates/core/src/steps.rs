//! [`Steps`]: a function over a whole address space that changes its value only at borders. World
//! tables, sources and AS tables are all of this shape. [`Range`] is what most sources are written in,
//! and [`Steps::from_ranges`] what decides where ranges overlap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
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
    /// How far this address lies after `start`, which must not be higher.
    fn distance(self, start: Self) -> Self;
    /// The address as the wider number.
    fn widen(self) -> u128;
    /// The address of a wider number; `None` if it lies outside the address space.
    fn narrow(wide: u128) -> Option<Self>;
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
    fn distance(self, start: Self) -> Self {
        self - start
    }
    fn widen(self) -> u128 {
        self.into()
    }
    fn narrow(wide: u128) -> Option<Self> {
        wide.try_into().ok()
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
    fn distance(self, start: Self) -> Self {
        self - start
    }
    fn widen(self) -> u128 {
        self
    }
    fn narrow(wide: u128) -> Option<Self> {
        Some(wide)
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

/// An inclusive range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range<A> {
    /// The lowest address.
    pub first: A,
    /// The highest address, not below `first`.
    pub last: A,
}

impl<A: Address> Range<A> {
    /// The range from `first` to `last`; `None` if it ends before it starts.
    pub fn new(first: A, last: A) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// Whether the address lies in the range.
    pub fn contains(self, address: A) -> bool {
        self.first <= address && address <= self.last
    }

    fn size(self) -> A {
        self.last.distance(self.first)
    }
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

    /// An empty vessel for [`Self::push`], which must begin at [`Address::MIN`].
    pub(crate) fn with_capacity(steps: usize) -> Self {
        Self { starts: Vec::with_capacity(steps), values: Vec::with_capacity(steps) }
    }

    /// The function that has the value of the smallest range around an address, and `outside` where no
    /// range is. Of ranges of one size the one that starts later wins, of equal ranges the later given.
    /// Ranges may overlap in any way and come in any order.
    pub fn from_ranges(outside: V, ranges: Vec<(Range<A>, V)>) -> Self {
        Self::from_ranked(outside, ranges, |(range, _)| range.size())
    }

    /// As [`Self::from_ranges`], but of the ranges around an address the one of the lowest rank wins.
    pub(crate) fn from_ranked<R: Ord>(
        outside: V,
        mut ranges: Vec<(Range<A>, V)>,
        rank: impl Fn(&(Range<A>, V)) -> R,
    ) -> Self {
        ranges.sort_by_key(|(range, _)| range.first);
        let mut steps = Self::constant(outside);
        let mut open = OpenRanges { heap: BinaryHeap::new(), ranges: &ranges, outside };
        let mut position = A::MIN;
        for (index, ranked) in ranges.iter().enumerate() {
            let first = ranked.0.first;
            open.close_until(&mut steps, position, Some(first));
            open.heap.push(Reverse((rank(ranked), Reverse(index))));
            position = first;
        }
        open.close_until(&mut steps, position, None);
        steps
    }

    /// Appends a step; callers push in ascending order. A start given again replaces the value, and a
    /// value given again is the same step.
    pub fn push(&mut self, start: A, value: V) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.values.pop();
        }
        if self.values.last() != Some(&value) {
            debug_assert!(self.starts.last().is_none_or(|last| *last < start));
            self.starts.push(start);
            self.values.push(value);
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

    /// Every step as (range, value), ascending.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = (Range<A>, V)> {
        let last = |next: Option<&A>| next.and_then(|next| next.previous()).unwrap_or(A::MAX);
        self.iter().enumerate().map(move |(index, (first, value))| {
            (Range { first, last: last(self.starts.get(index + 1)) }, value)
        })
    }

    /// The same borders with other values; neighbours that become equal are merged.
    pub fn map<W: Copy + Eq>(&self, mut value: impl FnMut(V) -> W) -> Steps<A, W> {
        let mut mapped = Steps::with_capacity(self.len());
        self.iter().for_each(|(start, old)| mapped.push(start, value(old)));
        mapped
    }

    /// Gives other names to the values: different ones to different ones.
    pub(crate) fn relabel(&mut self, mut name: impl FnMut(V) -> V) {
        self.values.iter_mut().for_each(|value| *value = name(*value));
    }

    /// Gives back the memory that no step uses.
    pub(crate) fn shrink_to_fit(&mut self) {
        self.starts.shrink_to_fit();
        self.values.shrink_to_fit();
    }

    /// The function that combines the values of two, with the borders of both.
    pub fn zip<W: Copy + Eq, X: Copy + Eq>(
        &self,
        other: &Steps<A, W>,
        mut combine: impl FnMut(V, W) -> X,
    ) -> Steps<A, X> {
        let mut zipped = Steps::with_capacity(self.len());
        let (mut left, mut right) = (0, 0);
        let mut start = A::MIN;
        loop {
            zipped.push(start, combine(self.values[left], other.values[right]));
            let next = (self.starts.get(left + 1), other.starts.get(right + 1));
            start = match next {
                (Some(one), Some(two)) => *one.min(two),
                (Some(one), None) => *one,
                (None, Some(two)) => *two,
                (None, None) => return zipped,
            };
            left += usize::from(next.0 == Some(&start));
            right += usize::from(next.1 == Some(&start));
        }
    }

    fn position(&self, address: A) -> usize {
        self.starts.partition_point(|start| *start <= address) - 1
    }
}

/// The ranges around the position of the sweep, the lowest rank on top; those that ended are dropped when
/// they come to the top.
struct OpenRanges<'a, A, V, R> {
    heap: BinaryHeap<Reverse<(R, Reverse<usize>)>>,
    ranges: &'a [(Range<A>, V)],
    outside: V,
}

impl<A: Address, V: Copy + Eq, R: Ord> OpenRanges<'_, A, V, R> {
    /// Pushes the steps from `position` up to `end`, where the next range opens.
    fn close_until(&mut self, steps: &mut Steps<A, V>, mut position: A, end: Option<A>) {
        while end.is_none_or(|end| position < end) {
            let Some(Reverse((_, Reverse(index)))) = self.heap.peek() else {
                return steps.push(position, self.outside);
            };
            let (range, value) = self.ranges[*index];
            if range.last < position {
                self.heap.pop();
                continue;
            }
            steps.push(position, value);
            match range.last.next() {
                Some(next) => position = next,
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// The value that the rule for overlapping ranges gives, by looking at every range.
    fn oracle<A: Address>(ranges: &[(Range<A>, u8)], address: A) -> u8 {
        let around = ranges.iter().enumerate().filter(|(_, (range, _))| range.contains(address));
        let smallest = around.min_by_key(|(index, (range, _))| {
            (range.last.distance(range.first), Reverse(range.first), Reverse(*index))
        });
        smallest.map_or(0, |(_, (_, value))| *value)
    }

    /// Every border of the ranges and its neighbours, and the ends of the space.
    fn borders<A: Address>(ranges: &[(Range<A>, u8)]) -> Vec<A> {
        let ends = ranges.iter().flat_map(|(range, _)| [range.first, range.last]);
        let around = ends.flat_map(|end| [Some(end), end.next(), end.previous()]);
        around.flatten().chain([A::MIN, A::MAX]).collect()
    }

    fn assert_equal_to_oracle<A: Address>(ranges: Vec<(Range<A>, u8)>) {
        let steps = Steps::from_ranges(0, ranges.clone());
        for address in borders(&ranges) {
            assert_eq!(steps.get(address), oracle(&ranges, address), "{address:?} in {ranges:?}");
            let (first, last, value) = steps.step(address);
            assert!(first <= address && address <= last);
            assert_eq!(value, steps.get(address));
        }
        assert_canonical(&steps);
    }

    fn assert_canonical<A: Address>(steps: &Steps<A, u8>) {
        assert_eq!(steps.starts[0], A::MIN);
        assert!(steps.starts.is_sorted_by(|one, two| one < two));
        assert!(steps.values.is_sorted_by(|one, two| one != two));
    }

    /// Addresses close to each other and to the ends of the space, so that ranges touch and overlap.
    fn address<A: Address>() -> impl Strategy<Value = A> {
        (0..4_u8, 0..40_u128, any::<u128>()).prop_map(|(place, near, far)| {
            let max = A::MAX.widen();
            let wide = match place {
                0 => near,
                1 => max - near,
                2 => max / 2 + near,
                _ => far & max,
            };
            A::narrow(wide).unwrap_or(A::MAX)
        })
    }

    fn ranges<A: Address>() -> impl Strategy<Value = Vec<(Range<A>, u8)>> {
        let range = (address::<A>(), address::<A>(), 0..5_u8).prop_map(|(one, two, value)| {
            (Range { first: one.min(two), last: one.max(two) }, value)
        });
        prop::collection::vec(range, 0..24)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn overlapping_ranges_of_ipv4_are_as_the_oracle_says(ranges in ranges::<u32>()) {
            assert_equal_to_oracle(ranges);
        }

        #[test]
        fn overlapping_ranges_of_ipv6_are_as_the_oracle_says(ranges in ranges::<u128>()) {
            assert_equal_to_oracle(ranges);
        }

        #[test]
        fn zipped_and_mapped_steps_have_the_values_of_both(one in ranges::<u32>(), two in ranges::<u32>()) {
            let (left, right) = (Steps::from_ranges(0, one.clone()), Steps::from_ranges(0, two.clone()));
            let zipped = left.zip(&right, |left, right| left * 5 + right);
            let halved = left.map(|value| value / 2);
            for address in borders(&one).into_iter().chain(borders(&two)) {
                prop_assert_eq!(zipped.get(address), left.get(address) * 5 + right.get(address));
                prop_assert_eq!(halved.get(address), left.get(address) / 2);
            }
            [zipped, halved].iter().for_each(assert_canonical);
        }
    }

    #[test]
    fn ranges_cover_the_space_without_gap_or_overlap() {
        let range = |first, last| Range { first, last };
        let steps = Steps::from_ranges(0, vec![(range(0_u32, 9), 1), (range(20, u32::MAX), 2)]);
        let pieces: Vec<_> = steps.ranges().collect();
        assert_eq!(pieces, [(range(0, 9), 1), (range(10, 19), 0), (range(20, u32::MAX), 2)]);
    }

    #[test]
    fn a_million_random_prefixes_are_as_longest_prefix_match_says() {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let mut prefixes = HashMap::new();
        let mut ranges = Vec::new();
        for _ in 0..1_000_000 {
            let (length, value) = (8 + next() % 25, (next() % 250) as u8 + 1);
            let host = u32::MAX.checked_shr(length as u32).unwrap_or(0);
            let first = next() as u32 & !host;
            prefixes.insert((host, first), value);
            ranges.push((Range { first, last: first | host }, value));
        }
        let oracle = |address: u32| {
            let hosts = (8..=32).rev().map(|length| u32::MAX.checked_shr(length).unwrap_or(0));
            let mut values = hosts.filter_map(|host| prefixes.get(&(host, address & !host)));
            values.next().copied().unwrap_or(0)
        };
        let probes: Vec<u32> = borders(&ranges[..20_000]);
        let steps = Steps::from_ranges(0, ranges);
        for address in probes.into_iter().chain((0..100_000).map(|_| next() as u32)) {
            assert_eq!(steps.get(address), oracle(address));
        }
        assert_canonical(&steps);
    }
}
