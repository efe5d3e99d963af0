//! [`Elements`]: what is changed of sets over netlink. nft reads all sets of the host before it changes one, and rounds the time that
//! an element has left.

use std::io;

use geofilter_core::desired::BootTime;
use geofilter_core::steps::{Address, Range};
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE};
use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

use crate::boot_time;

use super::netfilter::{
    self, NFPROTO_INET, NFPROTO_UNSPEC, NFTABLES, Request, attribute, connect, nest, text,
};

/// What is changed comes between these.
const NFNL_MSG_BATCH_BEGIN: u8 = 16;
const NFNL_MSG_BATCH_END: u8 = 17;

const NFT_MSG_NEWSETELEM: u8 = 12;
const NFT_MSG_DELSETELEM: u8 = 14;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_FLAGS: u16 = 3;
const NFTA_SET_ELEM_TIMEOUT: u16 = 4;
const NFTA_DATA_VALUE: u16 = 1;
const NFT_SET_ELEM_INTERVAL_END: u32 = 1;

/// Ranges of one message: 32 KiB of IPv6, of the 64 that it takes.
const RANGES: usize = 500;
/// Bytes of one transaction, where not all need be done at once: a container's socket takes no more than 200 KiB.
const PIECE: usize = 96 << 10;

/// Changes of elements of sets.
pub(super) struct Elements<'a> {
    table: &'a str,
    changes: Vec<Change>,
}

/// What is done to elements of a set.
struct Change {
    message: u8,
    set: String,
    elements: Vec<u8>,
}

impl<'a> Elements<'a> {
    /// Changes nothing yet.
    pub(super) fn of(table: &'a str) -> Self {
        Self { table, changes: Vec::new() }
    }

    /// Adds an element, which the kernel forgets at a time if one is given: with the first tick of its clock that is not
    /// before it, or the next. It must not be there.
    pub(super) fn add(&mut self, set: &str, key: &[u8], end: Option<BootTime>) {
        let timeout =
            end.map(|end| (NFTA_SET_ELEM_TIMEOUT, Vec::from(ticks_until(end).to_be_bytes())));
        self.change(NFT_MSG_NEWSETELEM, set, |elements| element(elements, key, timeout));
    }

    /// Removes an element, if it is there.
    pub(super) fn remove(&mut self, set: &str, key: &[u8]) {
        // What is not there can't be removed.
        for message in [NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM] {
            self.change(message, set, |elements| element(elements, key, None));
        }
    }

    /// Adds ranges to a set that has none. They ascend, with gaps in between.
    pub(super) fn add_ranges<A: Address, K: AsRef<[u8]>>(
        &mut self,
        set: &str,
        ranges: &[Range<A>],
        key: fn(A) -> K,
    ) {
        // A range is its first address, and an end with the one after its last. Newer kernels want the two one after the other.
        let end =
            || Some((NFTA_SET_ELEM_FLAGS, Vec::from(NFT_SET_ELEM_INTERVAL_END.to_be_bytes())));
        for chunk in ranges.chunks(RANGES) {
            self.change(NFT_MSG_NEWSETELEM, set, |elements| {
                for range in chunk {
                    element(elements, key(range.first).as_ref(), None);
                    if let Some(after) = range.last.next() {
                        element(elements, key(after).as_ref(), end());
                    }
                }
            });
        }
    }

    fn change(&mut self, message: u8, set: &str, write: impl FnOnce(&mut Vec<u8>)) {
        let mut elements = Vec::new();
        write(&mut elements);
        self.changes.push(Change { message, set: set.to_owned(), elements });
    }

    /// Makes the changes, in one transaction.
    ///
    /// # Errors
    /// If the kernel refuses. Then nothing was changed.
    pub(super) fn commit(&self) -> io::Result<()> {
        self.make(&self.changes)
    }

    /// Makes the changes, in as many transactions as it takes.
    ///
    /// # Errors
    /// If the kernel refuses. What was changed before stays.
    pub(super) fn commit_in_pieces(&self) -> io::Result<()> {
        let mut rest = &self.changes[..];
        while let Some(first) = rest.first() {
            let mut bytes = first.elements.len();
            let more = rest[1..].iter().take_while(|change| {
                bytes += change.elements.len();
                bytes <= PIECE
            });
            let (piece, after) = rest.split_at(1 + more.count());
            self.make(piece)?;
            rest = after;
        }
        Ok(())
    }

    fn make(&self, changes: &[Change]) -> io::Result<()> {
        let limit = |message| Request {
            kind: (0, message),
            flags: 0,
            family: NFPROTO_UNSPEC,
            resource: NFTABLES.into(),
            attributes: &[],
        };
        let mut batch = Vec::new();
        limit(NFNL_MSG_BATCH_BEGIN).write(&mut batch);
        for (at, change) in changes.iter().enumerate() {
            // When the last one was done all were.
            let is_last = at + 1 == changes.len();
            Request {
                kind: (NFTABLES, change.message),
                flags: NLM_F_CREATE | if is_last { NLM_F_ACK } else { 0 },
                family: NFPROTO_INET,
                resource: 0,
                attributes: &[
                    (NFTA_SET_ELEM_LIST_TABLE, &text(self.table)),
                    (NFTA_SET_ELEM_LIST_SET, &text(&change.set)),
                    (NFTA_SET_ELEM_LIST_ELEMENTS, &change.elements),
                ],
            }
            .write(&mut batch);
        }
        limit(NFNL_MSG_BATCH_END).write(&mut batch);
        netfilter::tell(&connect()?, &batch)
    }
}

/// Writes an element with this key, and what else is to be said of it.
fn element(into: &mut Vec<u8>, key: &[u8], more: Option<(u16, Vec<u8>)>) {
    nest(into, NFTA_LIST_ELEM, |into| {
        nest(into, NFTA_SET_ELEM_KEY, |into| attribute(into, NFTA_DATA_VALUE, key));
        if let Some((kind, value)) = more {
            attribute(into, kind, &value);
        }
    });
}

/// Milliseconds until the kernel's clock has ticked past a time. It goes by ticks, of which the coarse clock knows the last.
fn ticks_until(end: BootTime) -> u64 {
    let nanoseconds =
        |time: Timespec| time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned();
    let tick = nanoseconds(clock_getres(ClockId::MonotonicCoarse)).max(1);
    let last = nanoseconds(clock_gettime(ClockId::MonotonicCoarse));
    let since = nanoseconds(clock_gettime(ClockId::Monotonic)).saturating_sub(last);
    let left = end.0.saturating_sub(boot_time().0) + since;
    (left.div_ceil(tick) * tick).div_ceil(1_000_000)
}
