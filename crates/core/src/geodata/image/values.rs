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
        self.0[..=rank].rotate_right(1);
        Some(rank)
    }

    /// The value of a rank, which then is the latest.
    pub(super) fn value(&mut self, rank: usize) -> Option<T> {
        let value = *self.0.get(rank)?;
        self.0[..=rank].rotate_right(1);
        Some(value)
    }

    /// Puts a value first that is not among them; the oldest is forgotten.
    pub(super) fn replace_oldest(&mut self, value: T) {
        self.0.rotate_right(1);
        if let Some(first) = self.0.first_mut() {
            *first = value;
        }
    }
}
