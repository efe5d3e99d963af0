//! [`Raw`]: the terminal read key by key, and as it was before in every outcome.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crossterm::cursor::MoveToColumn;
use crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use crossterm::queue;
use crossterm::style::Print;
use crossterm::terminal::{Clear, ClearType, disable_raw_mode, enable_raw_mode, size};
use rustix::process::getpgrp;
use rustix::termios::{QueueSelector, tcflush, tcgetpgrp};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// What ends a program that does not see to it itself, and would leave the terminal raw.
const ENDING: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// Whether somebody can be asked: what is asked goes to standard error. A job in the background would be
/// stopped as soon as it asks.
pub(crate) fn is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal() && !is_in_background()
}

fn is_in_background() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|foreground| foreground != getpgrp())
}

/// What a terminal has that does not say how many.
const USUAL_COLUMNS: usize = 80;

/// How often the thread that reads keys looks whether it is still needed.
const BLINK: Duration = Duration::from_millis(100);

/// A terminal in raw mode, until it is dropped.
#[derive(Debug)]
pub(crate) struct Raw {
    keys: Receiver<io::Result<KeyEvent>>,
    told_to_end: Arc<AtomicBool>,
    /// Whether the thread that reads is still needed.
    reading: Arc<AtomicBool>,
    signals: Vec<SigId>,
}

impl Raw {
    /// Reads keys from now on: what was typed before is thrown away.
    ///
    /// # Errors
    /// If the terminal does not take it.
    pub(crate) fn enter() -> io::Result<Self> {
        let (tell, keys) = mpsc::channel();
        let reading = Arc::new(AtomicBool::new(true));
        let reads = Arc::clone(&reading);
        let mut raw = Self { keys, told_to_end: Arc::default(), reading, signals: Vec::new() };
        for signal in ENDING {
            let told_to_end = Arc::clone(&raw.told_to_end);
            raw.signals.push(signal_hook::flag::register(signal, told_to_end)?);
        }
        enable_raw_mode()?;
        tcflush(io::stdin(), QueueSelector::IFlush)?;
        // On a thread of its own: reading a terminal that was closed may never return.
        thread::spawn(move || read_keys(&tell, &reads));
        Ok(raw)
    }

    /// The next key, if one is pressed within this time.
    ///
    /// # Errors
    /// If the terminal can't be read.
    pub(crate) fn key(&self, patience: Duration) -> io::Result<Option<KeyEvent>> {
        match self.keys.recv_timeout(patience) {
            Ok(key) => key.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Whether a signal asks this program to end.
    pub(crate) fn is_told_to_end(&self) -> bool {
        self.told_to_end.load(Ordering::Relaxed)
    }

    /// Writes over the present line, as much as fits in it.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub(crate) fn rewrite(&self, line: &str) -> io::Result<()> {
        let columns = size().map_or(0, |(columns, _)| usize::from(columns));
        let line = fitting(line, columns);
        let mut stderr = io::stderr();
        queue!(stderr, MoveToColumn(0), Print(line), Clear(ClearType::UntilNewLine))?;
        stderr.flush()
    }
}

impl Drop for Raw {
    /// Also when it was entered half way, and on a panic.
    fn drop(&mut self) {
        self.reading.store(false, Ordering::Relaxed);
        let _ = disable_raw_mode();
        let _ = writeln!(io::stderr());
        for signal in self.signals.drain(..) {
            signal_hook::low_level::unregister(signal);
        }
    }
}

/// As much of a line as fits. A serial line says that it has no columns.
fn fitting(line: &str, columns: usize) -> String {
    let columns = if columns == 0 { USUAL_COLUMNS } else { columns };
    line.chars().take(columns - 1).collect()
}

/// Tells of keys while they are asked for.
fn read_keys(tell: &Sender<io::Result<KeyEvent>>, reading: &AtomicBool) {
    while reading.load(Ordering::Relaxed) {
        let Some(key) = next_key().transpose() else { continue };
        let failed = key.is_err();
        if tell.send(key).is_err() || failed {
            return;
        }
    }
}

fn next_key() -> io::Result<Option<KeyEvent>> {
    if !event::poll(BLINK)? {
        return Ok(None);
    }
    Ok(match event::read()? {
        Event::Key(key) if key.kind != KeyEventKind::Release => Some(key),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_where_the_terminal_ends_if_it_says_where() {
        let line = "Keep it?".repeat(20);
        assert_eq!(fitting(&line, 11).len(), 10);
        assert_eq!(fitting(&line, 1), "");
        assert_eq!(fitting(&line, 0).len(), USUAL_COLUMNS - 1);
    }
}
