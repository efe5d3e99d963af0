//! [`Control`]: the banks and the control word. A bank is written whole while no packet can see it,
//! then one store of the word puts it in force.

use std::sync::atomic::Ordering;

use geofilter_core::clock::Clock;
use geofilter_core::desired::{Action, Bank, BootTime, Desired, Generation};

use crate::kernel::abi::{self, BANKS, BankHead, BankTable, Word};
use crate::kernel::grace::{Grace, Switch};
use crate::kernel::mapped::Mapped;
use crate::{Error, fault};

/// Words of `struct gf_control`.
const WORD: usize = 0;
const ABI: usize = 1;

/// Generation and action of a bank.
type InForce = (Generation, Action);
/// The same of the fallback, with the time from which it counts.
type Afterwards = (Generation, Action, BootTime);
/// A bank with the deadline up to which it counts, and what its calendar was reckoned with.
type Content = (Bank, Option<BootTime>, Clock);

/// The policy in the kernel.
pub(crate) struct Control {
    control: Mapped<abi::Control>,
    banks: Mapped<BankTable>,
    /// What this process wrote into each bank.
    written: [Option<Content>; BANKS],
    /// When the word ceased to name each bank: until that is over a packet may be judged by it.
    left: [Switch; BANKS],
    grace: Grace,
}

/// Version of the layout, as the control map says it.
pub(crate) fn abi_in(control: &Mapped<abi::Control>) -> u64 {
    control.word(0, ABI).load(Ordering::Acquire)
}

impl Control {
    /// Takes over the banks; whatever the word does not name may still be in use.
    pub(crate) fn new(control: Mapped<abi::Control>, banks: Mapped<BankTable>) -> Self {
        let (written, left) = (Default::default(), [Grace::EARLIER; BANKS]);
        Self { control, banks, written, left, grace: Grace::new() }
    }

    /// Version of the layout that the maps were filled with; 0 if they are new.
    pub(crate) fn abi(&self) -> u64 {
        abi_in(&self.control)
    }

    /// Says that the maps are filled.
    pub(crate) fn set_abi(&self) {
        self.control.publish(0, ABI, abi::ABI);
    }

    /// The word in force.
    pub(crate) fn word(&self) -> Word {
        Word::unpack(self.read_word(WORD))
    }

    /// Puts a policy in force.
    pub(crate) fn store(&mut self, desired: &Desired, clock: Clock) -> Result<(), Error> {
        let before = self.word();
        let mut taken = [false; BANKS];
        taken[before.active] = true;
        taken[before.fallback] |= before.timed;
        let deadline = desired.fallback.as_ref().map(|fallback| fallback.deadline);
        let active = self.place((desired.active.clone(), deadline, clock), &mut taken)?;
        let fallback = match &desired.fallback {
            Some(fallback) => self.place((fallback.bank.clone(), None, clock), &mut taken)?,
            None => active,
        };
        let (generation, timed) = (desired.active.generation, deadline.is_some());
        self.publish(Word { generation, active, fallback, timed, ..before }, before);
        Ok(())
    }

    /// Puts in force again what was before the last store, of which nothing was written over.
    pub(crate) fn go_back(&mut self, before: Word) {
        let now = self.word();
        // What came out wrong is not used again.
        self.written = Default::default();
        self.publish(Word { table: now.table, overrides: now.overrides, ..before }, now);
    }

    /// Whether the banks in force are, byte for byte, those that were asked for.
    pub(crate) fn holds(&self, desired: &Desired, clock: Clock) -> bool {
        let word = self.word();
        let holds =
            |at, bank, deadline| self.banks.holds(at, &BankTable::new(bank, deadline, clock));
        let deadline = desired.fallback.as_ref().map(|fallback| fallback.deadline);
        word.timed == deadline.is_some()
            && holds(word.active, &desired.active, deadline)
            && desired.fallback.iter().all(|fallback| holds(word.fallback, &fallback.bank, None))
    }

    /// Judges by the world table in the other slot from now on, and does this when no packet is judged by the
    /// old one any more.
    pub(crate) fn switch_table(&mut self, then: impl FnOnce() + Send + 'static) {
        let word = self.word();
        self.publish(Word { table: 1 - word.table, ..word }, word);
        self.grace.switched_then(then);
    }

    /// The same with the overrides.
    pub(crate) fn switch_overrides(&mut self, then: impl FnOnce() + Send + 'static) {
        let word = self.word();
        self.publish(Word { overrides: 1 - word.overrides, ..word }, word);
        self.grace.switched_then(then);
    }

    /// Begins to wait, in the background, until no packet is judged by what an earlier agent left.
    pub(crate) fn begin_to_wait(&self) {
        self.grace.begin();
    }

    /// Waits until no packet is judged by a slot that the word does not name, and what was left to do then is
    /// done.
    pub(crate) fn wait_for_slots(&self) -> Result<(), Error> {
        self.grace.wait_for_tasks()
    }

    /// Generation and action of the active bank, and of the one after its deadline.
    pub(crate) fn read(&self) -> (InForce, Option<Afterwards>) {
        let word = self.word();
        let active = self.read_bank(word.active);
        let fallback = word.timed.then(|| {
            let fallback = self.read_bank(word.fallback);
            (fallback.generation, fallback.action, active.deadline)
        });
        ((active.generation, active.action), fallback)
    }

    /// The highest generation in any bank.
    pub(crate) fn newest(&self) -> Generation {
        (0..BANKS).map(|bank| self.read_bank(bank).generation).max().unwrap_or_default()
    }

    fn read_word(&self, word: usize) -> u64 {
        self.control.word(0, word).load(Ordering::Acquire)
    }

    fn read_bank(&self, bank: usize) -> BankHead {
        let word = |at| self.banks.word(bank, at).load(Ordering::Acquire);
        BankHead::unpack([word(0), word(1), word(2)])
    }

    /// A bank with this content: one that has it already, else a free one, written now.
    fn place(&mut self, content: Content, taken: &mut [bool; BANKS]) -> Result<usize, Error> {
        if let Some(same) = (0..BANKS).find(|at| self.written[*at].as_ref() == Some(&content)) {
            taken[same] = true;
            return Ok(same);
        }
        let free = || (0..BANKS).find(|at| !taken[*at] && self.grace.is_over(self.left[*at]));
        let at = match free() {
            Some(at) => at,
            None => {
                self.grace.wait()?;
                free().ok_or(Error::NoBank)?
            }
        };
        taken[at] = true;
        self.banks.write(at, &BankTable::new(&content.0, content.1, content.2));
        self.written[at] = Some(content);
        if fault::is_asked_for("bank-damaged") {
            self.banks.set_bits(at, size_of::<BankTable>() / 8 - 1, 1);
        }
        Ok(at)
    }

    fn publish(&mut self, word: Word, before: Word) {
        self.control.publish(0, WORD, word.pack());
        let named = [word.active, word.fallback];
        if [before.active, before.fallback].iter().any(|bank| !named.contains(bank)) {
            let now = self.grace.switched();
            for bank in [before.active, before.fallback] {
                self.left[bank] = now;
            }
        }
    }
}
