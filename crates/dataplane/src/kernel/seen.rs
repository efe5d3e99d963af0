//! [`Seen`]: the programs' table of who sends packets, and what they may tell of drops.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::Ordering;

use geofilter_core::desired::BootTime;
use geofilter_core::seen::Count;

use super::abi::seen::{self, SeenTable};
use super::mapped::Mapped;

/// Drops that may be told between two renewals, of sources that are known, new and loud.
const BUDGET: [(usize, u64); 3] =
    [(seen::BUDGET_KNOWN, 40), (seen::BUDGET_NEW, 40), (seen::BUDGET_LOUD, 20)];
/// How long a source's turn is.
const TURN: u64 = 1_000_000_000;

/// See the module.
pub(crate) struct Seen(Mapped<SeenTable>);

impl Seen {
    /// Takes the table, and spreads sources by a seed that nobody can guess unless it has one.
    pub(crate) fn new(table: Mapped<SeenTable>) -> Self {
        if table.word(0, seen::SEED).load(Ordering::Acquire) == 0 {
            table.publish(0, seen::SEED, RandomState::new().build_hasher().finish() | 1);
        }
        Self(table)
    }

    /// Lets the programs tell of drops again.
    pub(crate) fn renew(&self, now: BootTime) {
        let turn = (now.0 / TURN) as u32;
        self.0.publish(0, seen::TURN, seen::pack_pair([turn, 0]));
        for (word, drops) in BUDGET {
            self.0.publish(0, word, drops);
        }
    }

    /// Who is in the table.
    pub(crate) fn sources(&self) -> Vec<Count> {
        let load = |word| self.0.word(0, word).load(Ordering::Relaxed);
        let source = |number| {
            let place = seen::place(number);
            seen::unpack_source(load(place), load(place + 1))
        };
        (0..seen::SOURCES).filter_map(source).collect()
    }
}
