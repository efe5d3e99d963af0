//! [`Interrupt`]: a demonstration that is interrupted takes everything down before it ends.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Whether somebody has interrupted this process.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for Ctrl-C, and what else ends a program, from now on.
    ///
    /// # Errors
    /// If that is not to be had.
    pub fn listen() -> io::Result<Self> {
        let came = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&came))?;
        }
        Ok(Self(came))
    }

    /// Whether it came.
    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// What there is to do goes on.
    ///
    /// # Errors
    /// If it came.
    pub fn go_on(&self) -> Result<()> {
        ensure!(!self.came(), "interrupted");
        Ok(())
    }
}
