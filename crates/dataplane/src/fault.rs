//! Faults that tests ask for, to prove that nothing depends on the process living on, or on what only
//! newer kernels have. `GEOFILTER_FAULT` names them, separated by commas; `@FILE` stands for those in a file,
//! which may come later. Debug builds only.

/// Kills the process if this point is named.
pub fn point(name: &str) {
    if is_asked_for(name) {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Whether a fault is asked for.
pub fn is_asked_for(name: &str) -> bool {
    asked_for(|fault| (fault == name).then_some(())).is_some()
}

/// The number that a test puts in place of the product's own, written `name=number`.
pub fn number(name: &str) -> Option<u64> {
    asked_for(|fault| fault.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

fn asked_for<T>(read: impl Fn(&str) -> Option<T>) -> Option<T> {
    if !cfg!(debug_assertions) {
        return None;
    }
    std::env::var("GEOFILTER_FAULT").ok()?.split(',').find_map(|fault| {
        match fault.strip_prefix('@') {
            Some(file) => std::fs::read_to_string(file).ok()?.split(',').find_map(&read),
            None => read(fault),
        }
    })
}
