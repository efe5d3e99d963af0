//! [`Mapped`]: a BPF array map in this process's memory, so that a store reaches the next packet
//! without a system call.

use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use aya::Pod;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The first `entries` values of type `T` of an mmapable array map.
pub(crate) struct Mapped<T> {
    base: NonNull<u8>,
    length: usize,
    entries: usize,
    values: PhantomData<T>,
}

#[expect(unsafe_code, reason = "the mapping belongs to this value alone and moves with it")]
unsafe impl<T: Send> Send for Mapped<T> {}

#[expect(
    unsafe_code,
    reason = "memory shared with the kernel: every access stays inside the mapping"
)]
impl<T: Pod> Mapped<T> {
    /// Maps the array behind `map`, whose value is a `T`.
    pub(crate) fn new(map: impl AsFd, entries: usize) -> io::Result<Self> {
        const { assert!(size_of::<T>().is_multiple_of(8), "array elements are rounded up to 8 bytes") };
        let length = (size_of::<T>() * entries).next_multiple_of(rustix::param::page_size());
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping of a file descriptor aliases nothing of this process.
        let base = unsafe { mmap(std::ptr::null_mut(), length, flags, MapFlags::SHARED, map, 0)? };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::Other)?;
        Ok(Self { base, length, entries, values: PhantomData })
    }

    fn at(&self, entry: usize) -> *mut T {
        assert!(entry < self.entries, "entry {entry} of a map with {}", self.entries);
        // SAFETY: the entry lies inside the mapping.
        unsafe { self.base.as_ptr().cast::<T>().add(entry) }
    }

    /// Writes a whole value. No program may be using the entry.
    pub(crate) fn write(&mut self, entry: usize, value: &T) {
        // SAFETY: both sides are whole values and do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(value, self.at(entry), 1) }
    }

    /// Whether an entry is this value.
    pub(crate) fn holds(&self, entry: usize, value: &T) -> bool {
        let expected = std::ptr::from_ref(value).cast::<u64>();
        (0..size_of::<T>() / 8).all(|word| {
            // SAFETY: inside the value, whose size is a multiple of 8.
            let expected = unsafe { expected.add(word).read_unaligned() };
            self.word(entry, word).load(Ordering::Acquire) == expected
        })
    }

    /// Lends the value for filling. No program may be using the entry.
    pub(crate) fn fill(&mut self, entry: usize) -> &mut T {
        // SAFETY: any bit pattern is a `T`; the borrow of `self` keeps others out.
        unsafe { &mut *self.at(entry) }
    }

    /// One aligned word inside of a value, by its offset in words.
    pub(crate) fn word(&self, entry: usize, word: usize) -> &AtomicU64 {
        assert!((word + 1) * 8 <= size_of::<T>(), "word {word} of a value");
        // SAFETY: aligned, inside the mapping, and shared with the kernel as an atomic word.
        unsafe { AtomicU64::from_ptr(self.at(entry).cast::<u64>().add(word)) }
    }

    /// Sets bits of a word, and leaves the others as they are.
    pub(crate) fn set_bits(&self, entry: usize, word: usize, bits: u64) {
        self.word(entry, word).fetch_or(bits, Ordering::Release);
    }

    /// One byte inside of a value, by its offset.
    pub(crate) fn byte(&self, entry: usize, byte: usize) -> &AtomicU8 {
        assert!(byte < size_of::<T>(), "byte {byte} of a value");
        // SAFETY: inside the mapping, and shared with the kernel as a byte of its own.
        unsafe { AtomicU8::from_ptr(self.at(entry).cast::<u8>().add(byte)) }
    }

    /// Stores a word so that a program that sees it sees everything written before it.
    pub(crate) fn publish(&self, entry: usize, word: usize, value: u64) {
        self.word(entry, word).store(value, Ordering::Release);
    }
}

#[expect(unsafe_code, reason = "unmaps what `new` mapped")]
impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from the mapping any more.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok());
    }
}
