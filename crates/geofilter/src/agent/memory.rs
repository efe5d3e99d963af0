//! Memory that is used for a moment only. What the kernel is given is built first, and is larger than all that
//! the agent keeps; the allocator would hold on to its pages for ever.

/// Gives the pages that nobody uses back to the system.
#[expect(
    unsafe_code,
    reason = "malloc_trim(3) touches only what is free; no library here wraps it"
)]
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time and from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
