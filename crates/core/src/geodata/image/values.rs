//! How values are written: as their rank in the list of the values seen last, since a border often leads
//! back to what lay before it.

/// The values seen, the latest first.
pub(super) struct Recent<T>(Vec<T>);

impl<T: Copy + PartialEq> Recent<T> {
    pub(super) fn new(values: impl IntoIterator<Item = T>) -> Self {
        Self(values.into_iter().collect())
    }

    /// The rank of a value, which then is the latest.
    pub(super) fn rank(&mut self, value: T) -> Option<usize> {
        let rank = self.0.iter().position(|seen| *seen == value)?;
        self.bring_forward(rank, value);
        Some(rank)
    }

    /// The value of a rank, which then is the latest.
    pub(super) fn value(&mut self, rank: usize) -> Option<T> {
        let value = *self.0.get(rank)?;
        self.bring_forward(rank, value);
        Some(value)
    }

    /// Puts a value first that is not among them; the oldest is forgotten.
    pub(super) fn replace_oldest(&mut self, value: T) {
        self.bring_forward(self.0.len().saturating_sub(1), value);
    }

    /// Ranks are small, so that a loop beats a call to move memory.
    fn bring_forward(&mut self, rank: usize, value: T) {
        let mut carried = value;
        for seen in &mut self.0[..=rank] {
            std::mem::swap(seen, &mut carried);
        }
    }
}
