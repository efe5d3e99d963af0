//! Memory that thousands of hosts take while they connect at once, and no more once they have: the allocator would keep its pages.

/// Has the allocator give back what is free.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "malloc_trim(3) takes a number; no library here wraps it")]
pub(crate) fn give_back() {
    // SAFETY: it may be called at any time, and touches only what is free.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// That of musl does so by itself.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn give_back() {}
