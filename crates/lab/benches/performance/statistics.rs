//! [`Spread`]: what several rounds measured, in one line.

/// The median of several values, with the lowest and the highest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { median: quantile(&values, 0.5), low: values[0], high: values[values.len() - 1] }
    }

    /// Of a single value.
    pub(crate) fn exactly(value: f64) -> Self {
        Self::of(vec![value])
    }

    /// How many times the first is of the second, round by round.
    pub(crate) fn of_ratios(values: &[f64], others: &[f64]) -> Self {
        Self::of(values.iter().zip(others).map(|(value, other)| value / other).collect())
    }
}

/// The value below which this part of ascending values lies.
pub(crate) fn quantile(ascending: &[f64], part: f64) -> f64 {
    ascending[((ascending.len() - 1) as f64 * part).round() as usize]
}
