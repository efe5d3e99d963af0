//! [`LINES`]: the kernels, and [`fetched`], where what is fetched lies.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::namespace::succeed;

/// A kind of processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// ARM, 64 bits.
    Arm64,
}

impl Architecture {
    /// Debian's word for it.
    pub fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Rust's target for static programs.
    pub fn target(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }
}

/// A kernel of Debian's: the newest of a series in a suite.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// The suite it comes from.
    pub suite: &'static str,
    /// Such as `6.1`; whatever is newest if it is empty.
    pub series: &'static str,
    /// The suite that the programs beside it come from.
    pub tools: &'static str,
    /// The processor it is for.
    pub architecture: Architecture,
    /// What it was built for.
    pub flavour: Flavour,
}

/// What a kernel was built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// Machines of clouds: small.
    Cloud,
    /// Whatever there is, with drivers for it.
    General,
}

/// All that are booted, each one after the other.
pub const LINES: [Line; 11] = [
    amd64("bullseye-security", "5.10", "bullseye"),
    amd64("bookworm-security", "6.1", "bookworm"),
    Line { flavour: Flavour::General, ..amd64("bookworm-security", "6.1", "bookworm") },
    amd64("trixie-security", "6.12", "trixie"),
    amd64("trixie-backports", "6.18", "trixie"),
    amd64("sid", "", "sid"),
    amd64("trixie-backports", "", "trixie"),
    arm64("bullseye", "5.10", "bullseye"),
    arm64("bookworm-security", "6.1", "bookworm"),
    arm64("trixie-security", "6.12", "trixie"),
    arm64("trixie-backports", "", "trixie"),
];

const fn amd64(suite: &'static str, series: &'static str, tools: &'static str) -> Line {
    Line { suite, series, tools, architecture: Architecture::Amd64, flavour: Flavour::Cloud }
}

const fn arm64(suite: &'static str, series: &'static str, tools: &'static str) -> Line {
    Line { suite, series, tools, architecture: Architecture::Arm64, flavour: Flavour::Cloud }
}

impl Line {
    /// Such as `bookworm-security 6.1 amd64`.
    pub fn name(&self) -> String {
        let series = if self.series.is_empty() { "newest" } else { self.series };
        let general = if self.flavour == Flavour::General { " general" } else { "" };
        format!("{} {series} {}{general}", self.suite, self.architecture.debian())
    }

    /// The kernel, fetched if it is not there yet.
    ///
    /// # Errors
    /// If it can't be fetched.
    pub fn kernel(&self) -> Result<PathBuf> {
        let kernel = match self.flavour {
            Flavour::Cloud => "kernel",
            Flavour::General => "general-kernel",
        };
        fetched(&[kernel, self.suite, self.architecture.debian(), self.series])
    }

    /// The programs that run on it beside GeoFilter, fetched if they are not there yet.
    ///
    /// # Errors
    /// If they can't be fetched.
    pub fn tools(&self) -> Result<PathBuf> {
        fetched(&["tools", self.tools, self.architecture.debian()])
    }
}

fn fetched(words: &[&str]) -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/fetch");
    let output = succeed(Command::new(script).args(words))?;
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}
