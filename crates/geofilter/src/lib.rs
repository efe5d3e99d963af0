//! The binary: [`cli`] reads the command line and is a client of the agent's socket, [`agent`] is the
//! daemon that owns the data plane, [`portal`] is the web page as a process without privileges, [`up`] is both in the
//! foreground, which reverts when it ends.
//! [`backup`] puts its state into one file and takes it from there, [`detect`] finds what there is on the host.
//!
//! It is a library for the sake of [`parsers`], which others than the program read hostile input with.

mod agent;
mod backup;
mod cli;
mod detect;
mod doctor;
mod files;
mod fleet;
mod geo;
mod logs;
pub mod parsers;
mod portal;
mod up;

use std::process::ExitCode;

/// Does what the command line says.
pub fn main() -> ExitCode {
    cli::run()
}
