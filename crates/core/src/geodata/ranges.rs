//! [`Ranges`]: what a parser has read so far, in little memory while a file is sorted.

use std::net::IpAddr;

use super::line::LineProblem;
use super::listing::Layer;
use crate::country::CountryId;
use crate::steps::{self, Address, Range, Steps};

/// So many ranges are read of a family. The largest known file has half as many.
const MAX_RANGES: usize = 8_000_000;

/// The ranges a parser has read so far.
pub(super) struct Ranges<V = CountryId> {
    v4: Family<u32, V>,
    v6: Family<u128, V>,
}

impl<V> Default for Ranges<V> {
    fn default() -> Self {
        Self { v4: Family::default(), v6: Family::default() }
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
                let range = Range::new(steps::v4(first), steps::v4(last));
                self.v4.push(range.ok_or(LineProblem::Backwards)?, value)
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                let range = Range::new(steps::v6(first), steps::v6(last));
                self.v6.push(range.ok_or(LineProblem::Backwards)?, value)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                Err(LineProblem::MixedFamilies)
            }
        }
    }

    /// The layer of the ranges; `None` if there is none.
    pub(super) fn into_listing(self) -> Option<Layer<Option<V>>> {
        let any = !self.v4.ranges.is_empty() || !self.v6.ranges.is_empty();
        any.then(|| Layer { v4: self.v4.into_steps(), v6: self.v6.into_steps() })
    }
}

/// The ranges of a family. While they ascend and do not overlap, neighbours of one value are kept as one,
/// and what they were joined from as one address each. Where ranges overlap their sizes matter, so with the
/// first that does not ascend they are cut apart again.
struct Family<A, V> {
    ranges: Vec<(Range<A>, Option<V>)>,
    /// Where ranges within one of `ranges` begin, ascending; `None` once they are cut apart.
    joints: Option<Vec<A>>,
}

impl<A, V> Default for Family<A, V> {
    fn default() -> Self {
        Self { ranges: Vec::new(), joints: Some(Vec::new()) }
    }
}

impl<A: Address, V: Copy + Eq> Family<A, V> {
    fn push(&mut self, range: Range<A>, value: V) -> Result<(), LineProblem> {
        if self.ranges.len() + self.joints.as_ref().map_or(0, Vec::len) >= MAX_RANGES {
            return Err(LineProblem::TooMany(MAX_RANGES));
        }
        if let (Some(joints), Some((before, same))) = (&mut self.joints, self.ranges.last_mut()) {
            if *same == Some(value) && before.last.next() == Some(range.first) {
                before.last = range.last;
                joints.push(range.first);
                return Ok(());
            }
            if range.first <= before.last {
                self.cut();
            }
        }
        self.ranges.push((range, Some(value)));
        Ok(())
    }

    fn into_steps(self) -> Steps<A, Option<V>> {
        if self.joints.is_none() {
            return Steps::from_ranges(None, self.ranges);
        }
        let mut steps = Steps::constant(None);
        for (range, value) in self.ranges {
            steps.push(range.first, value);
            range.last.next().into_iter().for_each(|next| steps.push(next, None));
        }
        steps
    }

    fn cut(&mut self) {
        let mut joints = self.joints.take().unwrap_or_default().into_iter().peekable();
        let mut cut = Vec::with_capacity(self.ranges.len() + joints.len());
        for (Range { mut first, last }, value) in std::mem::take(&mut self.ranges) {
            while let Some(joint) = joints.next_if(|joint| *joint <= last) {
                let end = joint.previous().unwrap_or(A::MIN);
                cut.push((Range { first, last: end }, value));
                first = joint;
            }
            cut.push((Range { first, last }, value));
        }
        self.ranges = cut;
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn family(lines: &[(Range<u32>, u8)]) -> Family<u32, u8> {
        let mut family = Family::default();
        lines.iter().for_each(|(range, value)| family.push(*range, *value).unwrap());
        family
    }

    #[test]
    fn a_sorted_file_takes_the_memory_of_its_borders() {
        let line = |number: u32| (Range { first: number * 4, last: number * 4 + 3 }, 0);
        let lines: Vec<_> = (0..1000).map(line).collect();
        assert_eq!(family(&lines).ranges, [(Range { first: 0, last: 3999 }, Some(0))]);
    }

    #[test]
    fn a_nested_range_keeps_its_size() {
        let lines = [
            (Range { first: 0, last: 127 }, 1),
            (Range { first: 64, last: 127 }, 2),
            (Range { first: 128, last: 255 }, 2),
        ];
        let steps = family(&lines).into_steps();
        assert_eq!(steps.get(64), Some(2));
    }

    proptest! {
        #[test]
        fn what_is_joined_says_the_same(
            lines in vec((0..60_u32, 0..9_u32, 0..2_u8), 0..40),
            sorted in 0..40_usize,
        ) {
            let line = |&(first, size, value): &(u32, u32, u8)| (Range { first, last: first + size }, value);
            let mut lines: Vec<_> = lines.iter().map(line).collect();
            // As many as this in order and apart, what follows at random.
            let (mut start, sorted) = (0, sorted.min(lines.len()));
            for (range, _) in &mut lines[..sorted] {
                let size = range.last - range.first;
                *range = Range { first: start, last: start + size };
                start += size + 1;
            }
            let plain = lines.iter().map(|(range, value)| (*range, Some(*value))).collect();
            prop_assert_eq!(
                family(&lines).into_steps(),
                Steps::from_ranges(None, plain)
            );
        }
    }
}
