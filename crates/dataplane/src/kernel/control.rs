//! [`Control`]: the banks and the control word. A bank is written whole while no packet can see it,
//! then one store of the word puts it in force.

use geofilter_core::desired::{Bank, BootTime, Desired, Generation};

use crate::Error;
use crate::kernel::abi::{self, BANKS, BankTable, Word};
use crate::kernel::mapped::Mapped;
use crate::kernel::sys;

/// Words of `struct gf_control`.
const WORD: usize = 0;
const DEADLINE: usize = 1;
const ABI: usize = 2;

/// The policy in the kernel.
pub(crate) struct Control {
    control: Mapped<abi::Control>,
    banks: Mapped<BankTable>,
    /// Banks that a packet may still be judged by, although the word no longer names them.
    cooling: [bool; BANKS],
}

impl Control {
    /// Takes over the banks; whatever the word does not name may still be in use.
    pub(crate) fn new(control: Mapped<abi::Control>, banks: Mapped<BankTable>) -> Self {
        Self { control, banks, cooling: [true; BANKS] }
    }

    /// Version of the layout that the maps were filled with; 0 if they are new.
    pub(crate) fn abi(&self) -> u64 {
        self.control.read(0).abi
    }

    /// Says that the maps are filled.
    pub(crate) fn set_abi(&self) {
        self.control.publish(0, ABI, abi::ABI);
    }

    /// The word in force.
    pub(crate) fn word(&self) -> Word {
        Word::unpack(self.control.read(0).word)
    }

    /// Puts a policy in force, judged by the table in the slot.
    pub(crate) fn store(&mut self, desired: &Desired, table: usize) -> Result<(), Error> {
        let before = self.word();
        let mut taken = [false; BANKS];
        taken[before.active] = true;
        taken[before.fallback] |= before.timed;
        let active = self.place(&desired.active, &mut taken)?;
        let fallback = match &desired.fallback {
            Some(fallback) => self.place(&fallback.bank, &mut taken)?,
            None => active,
        };
        // Before the word that makes it count; a packet that still has the old word judges by a whole
        // policy whatever deadline it reads.
        if let Some(fallback) = &desired.fallback {
            self.control.publish(0, DEADLINE, fallback.deadline.0);
        }
        let (generation, timed) = (desired.active.generation, desired.fallback.is_some());
        self.publish(Word { generation, active, fallback, timed, table }, before);
        Ok(())
    }

    /// Judges by the table in another slot from now on.
    pub(crate) fn switch_table(&mut self, table: usize) {
        let word = self.word();
        self.publish(Word { table, ..word }, word);
    }

    /// Waits until no packet is judged by what the word no longer names.
    pub(crate) fn wait(&mut self) -> Result<(), Error> {
        sys::wait_for_packets().map_err(Error::Grace)?;
        self.cooling = [false; BANKS];
        Ok(())
    }

    /// The bank in force, and the one after the deadline.
    pub(crate) fn read(&self) -> (Box<BankTable>, Option<(Box<BankTable>, BootTime)>) {
        let word = self.word();
        let deadline = BootTime(self.control.read(0).deadline);
        let fallback = word.timed.then(|| (self.banks.read(word.fallback), deadline));
        (self.banks.read(word.active), fallback)
    }

    /// The highest generation in any bank.
    pub(crate) fn newest(&self) -> Generation {
        (0..BANKS).map(|bank| self.banks.read(bank).generation()).max().unwrap_or_default()
    }

    /// A bank with this content: one that has it already, else a free one, written now.
    fn place(&mut self, bank: &Bank, taken: &mut [bool; BANKS]) -> Result<usize, Error> {
        let table = BankTable::new(bank);
        if let Some(same) =
            (0..BANKS).find(|same| taken[*same] && *self.banks.read(*same) == *table)
        {
            return Ok(same);
        }
        let free = |cooling: &[bool; BANKS]| (0..BANKS).find(|at| !taken[*at] && !cooling[*at]);
        let at = match free(&self.cooling) {
            Some(at) => at,
            None => {
                self.wait()?;
                free(&self.cooling).ok_or(Error::NoBank)?
            }
        };
        taken[at] = true;
        self.banks.write(at, &table);
        Ok(at)
    }

    fn publish(&mut self, word: Word, before: Word) {
        self.control.publish(0, WORD, word.pack());
        for bank in [before.active, before.fallback] {
            self.cooling[bank] = bank != word.active && bank != word.fallback;
        }
    }
}
