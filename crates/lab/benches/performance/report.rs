//! [`Report`]: what was measured beside what was asked for. [`Goal`] is what a row is about, and stands where
//! it is measured.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::machine::Machine;
use crate::statistics::Spread;

/// What a figure counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    /// How many times another figure.
    Times,
    /// Hundredths.
    Percent,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Things a second.
    Rate,
}

impl Unit {
    /// A figure with it, in three digits or so.
    pub(crate) fn write(self, value: f64) -> String {
        let scaled = |units: &[(f64, &str)]| {
            let fits = |(scale, _): &&(f64, &str)| value.abs() >= *scale;
            let (scale, name) = units.iter().find(fits).unwrap_or(&units[units.len() - 1]);
            format!("{} {name}", digits(value / scale))
        };
        match self {
            Self::Times => format!("{}x", digits(value)),
            Self::Percent => format!("{value:.2} %"),
            Self::Seconds => {
                scaled(&[(60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")])
            }
            Self::Bytes => format!("{} MB", digits(value / 1e6)),
            Self::Rate => scaled(&[(1e6, "M/s"), (1e3, "k/s"), (1.0, "/s")]),
        }
    }

    /// The median, with lowest and highest where they differ.
    pub(crate) fn spread(self, spread: Spread) -> String {
        let [median, low, high] =
            [spread.median, spread.low, spread.high].map(|value| self.write(value));
        if low == high { median } else { format!("{median} ({low} to {high})") }
    }
}

fn digits(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// Nothing is asked.
    Any,
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
            Self::Any => true,
        }
    }

    fn write(self, unit: Unit) -> String {
        match self {
            Self::AtMost(bound) => format!("<= {}", unit.write(bound)),
            Self::AtLeast(bound) => format!(">= {}", unit.write(bound)),
            Self::Any => String::new(),
        }
    }
}

/// What is measured and what it should come to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goal {
    pub(crate) measure: &'static str,
    pub(crate) unit: Unit,
    pub(crate) must: Bound,
    pub(crate) stretch: Bound,
}

impl Goal {
    fn outcome(&self, value: f64) -> &'static str {
        match (self.must, self.stretch) {
            (Bound::Any, Bound::Any) => "",
            (must, _) if !must.holds(value) => "**missed**",
            (_, Bound::Any) => "met",
            (_, stretch) if stretch.holds(value) => "met, stretch too",
            _ => "met",
        }
    }
}

struct Row {
    goal: Goal,
    figure: Spread,
    /// The figures it was reckoned from, or how it was measured.
    from: String,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { goal, figure, from } = self;
        let Goal { measure, unit, must, stretch } = goal;
        let (must, stretch) = (must.write(*unit), stretch.write(*unit));
        let (figure, outcome) = (unit.spread(*figure), goal.outcome(figure.median));
        write!(f, "| {measure} | {figure} | {from} | {must} | {stretch} | {outcome} |")
    }
}

/// All rows.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    /// What filters, and seconds a packet.
    costs: Vec<(String, Spread)>,
    notes: Vec<String>,
}

impl Report {
    /// Adds a figure, and prints it.
    pub(crate) fn add(&mut self, goal: Goal, figure: Spread, from: impl Into<String>) {
        let row = Row { goal, figure, from: from.into() };
        println!("{row}");
        self.rows.push(row);
    }

    /// Adds what a packet costs where this filters.
    pub(crate) fn add_cost(&mut self, name: impl Into<String>, cost: Spread) {
        let name = name.into();
        println!("| {name} | {} |", Unit::Seconds.spread(cost));
        self.costs.push((name, cost));
    }

    /// Adds a sentence.
    pub(crate) fn note(&mut self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        println!("{sentence}");
        self.notes.push(sentence);
    }

    /// Writes it down.
    pub(crate) fn write(&self, machine: &Machine, path: &Path) -> Result<()> {
        fs::write(path, self.markdown(machine)?)
            .with_context(|| format!("write {}", path.display()))
    }

    fn markdown(&self, machine: &Machine) -> Result<String, fmt::Error> {
        let mut text = format!(
            "# What was measured\n\nWritten by `make bench`; [docs/performance.md](../docs/performance.md) says how \
             each row is measured and how to read it.\n\n{machine}\n\n\
             Medians, with the lowest and the highest round. Ratios are of figures of the same round.\n\n\
             | measure | figure | from | must | stretch | |\n|---|---|---|---|---|---|\n"
        );
        self.rows.iter().try_for_each(|row| writeln!(text, "{row}"))?;
        text += "\n## Processor time a packet\n\n| what filters | a packet | packets a second of one core |\n\
                 |---|---|---|\n";
        for (name, cost) in &self.costs {
            let rate = Unit::Rate.write(1.0 / cost.median);
            writeln!(text, "| {name} | {} | {rate} |", Unit::Seconds.spread(*cost))?;
        }
        text += "\n## Notes\n\n";
        self.notes.iter().try_for_each(|note| writeln!(text, "- {note}"))?;
        Ok(text)
    }
}
