//! Memory that is used for a moment only. What the kernel is given is built first, and is larger than all that
//! the agent keeps; the allocator would hold on to its pages, those of threads that have ended too.

/// Has the allocator give large pieces back as soon as they are free.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "mallopt(3) sets a number; no library here wraps it")]
pub(crate) fn give_back_what_is_large() {
    /// From this size on memory is mapped for itself, and goes back to the system when it is freed.
    const LARGE: libc::c_int = 1 << 17;
    // SAFETY: it may be called at any time; left alone, the allocator would raise the limit by itself.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}

/// That of musl does so by itself.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn give_back_what_is_large() {}
