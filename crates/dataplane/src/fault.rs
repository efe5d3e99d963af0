//! Points at which a test can kill the process, to prove that nothing depends on its living on.

/// Kills the process if `GEOFILTER_FAULT` names this point. Debug builds only.
pub fn point(name: &str) {
    #[cfg(debug_assertions)]
    if std::env::var_os("GEOFILTER_FAULT").is_some_and(|wanted| wanted == name) {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}
