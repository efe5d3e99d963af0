//! Faults that tests ask for, to prove that nothing depends on the process living on, or on what only
//! newer kernels have. `GEOFILTER_FAULT` names them, separated by commas; debug builds only.

/// Kills the process if this point is named.
pub fn point(name: &str) {
    if is_asked_for(name) {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Whether a fault is asked for.
pub fn is_asked_for(name: &str) -> bool {
    cfg!(debug_assertions)
        && std::env::var("GEOFILTER_FAULT")
            .is_ok_and(|faults| faults.split(',').any(|fault| fault == name))
}
