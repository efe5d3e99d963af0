//! [`Machine`]: where and when something was measured.

use std::process::Command;
use std::{fmt, fs};

use anyhow::{Context, Result};
use geofilter_lab::namespace::succeed;
use rustix::system::uname;

/// The machine, the moment and the commit.
pub(crate) struct Machine {
    processor: String,
    caches: Vec<String>,
    kernel: String,
    date: String,
    commit: String,
    load: String,
}

impl Machine {
    /// This one, now.
    pub(crate) fn read() -> Result<Self> {
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let models = processors.lines().filter_map(|line| line.strip_prefix("model name\t: "));
        let models: Vec<&str> = models.collect();
        Ok(Self {
            processor: format!("{} x {}", models.len(), models.first().unwrap_or(&"unknown")),
            caches: caches(),
            kernel: format!("Linux {}", uname().release().to_string_lossy()),
            date: said("date", &["+%-d %B %Y, %H:%M %Z"])?,
            commit: said("git", &["describe", "--always", "--dirty", "--abbrev=10"])?,
            load: fs::read_to_string("/proc/loadavg")?
                .split(' ')
                .next()
                .context("no load average")?
                .to_owned(),
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, caches, kernel, date, commit, load } = self;
        writeln!(f, "- Machine: {processor}; caches {}", caches.join(", "))?;
        writeln!(f, "- Kernel: {kernel}")?;
        writeln!(f, "- Began: {date}, at a load of {load} by others")?;
        write!(f, "- Commit: {commit}")
    }
}

/// Those of the first processor.
fn caches() -> Vec<String> {
    let read = |index: u32, what: &str| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{what}");
        fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
    };
    let cache = |index| {
        let kind = match read(index, "type")?.as_str() {
            "Data" => "d",
            "Instruction" => "i",
            _ => "",
        };
        Some(format!("L{}{kind} {}", read(index, "level")?, read(index, "size")?))
    };
    (0..).map_while(cache).collect()
}

fn said(program: &str, words: &[&str]) -> Result<String> {
    let output = succeed(Command::new(program).args(words))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
