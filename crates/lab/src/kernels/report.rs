//! [`Step`]: what a machine says of itself, a line each on its console, among what the kernel says there.

use serde_json::{Value, json};

/// How a line of ours begins.
const MARK: &str = "geofilter-kernels ";

/// The ways to filter, as `--backend` takes them.
pub const BACKENDS: [&str; 3] = ["xdp", "tc", "nft"];
/// What each of them goes through.
pub const STEPS: [&str; 5] = ["load", "attach", "oracle", "dead-man", "off"];
/// What a machine says of kinds of interface, in place of a backend.
pub const DEVICES: &str = "interface";
/// What a machine says of itself before, in place of a backend, and after all.
pub const MACHINE: &str = "machine";
/// The step by which it says that this was all.
pub const END: &str = "end";

/// What a kernel may lack although GeoFilter runs on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// TC programs as links.
    Tcx,
    /// Memory of BPF maps that counts for the control group.
    Memory,
    /// Landlock.
    Landlock,
}

impl Missing {
    /// All that is looked for.
    pub const ALL: [Self; 3] = [Self::Tcx, Self::Memory, Self::Landlock];

    /// The word for it in a line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Memory => "memory",
            Self::Landlock => "landlock",
        }
    }

    /// What a word stands for.
    pub fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|missing| missing.word() == word)
    }

    /// What it is that is missing.
    pub fn what(self) -> &'static str {
        match self {
            Self::Tcx => "TC programs as links (TCX)",
            Self::Memory => "memory of BPF that counts for the control group",
            Self::Landlock => "Landlock",
        }
    }

    /// What is used in its place.
    pub fn instead(self) -> &'static str {
        match self {
            Self::Tcx => {
                "a filter on the interface's clsact qdisc, with a mark beside the pins that says whose it is"
            }
            Self::Memory => "the limit on locked memory, which the agent raises for itself",
            Self::Landlock => "the portal is confined by its user and its system calls alone",
        }
    }
}

/// One step of one backend.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// One of [`BACKENDS`], [`DEVICES`], or [`MACHINE`].
    pub backend: String,
    /// One of [`STEPS`], the kind of interface, or what is told of the machine.
    pub step: String,
    /// Whether it went as it should.
    pub passed: bool,
    /// What was found, or what went wrong.
    pub said: String,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Step {
    /// The line for it, without its end.
    pub fn line(&self) -> String {
        let Self { backend, step, passed, said, seconds } = self;
        let line = json!({
            "backend": backend, "step": step, "passed": passed, "said": said, "seconds": seconds,
        });
        format!("{MARK}{line}")
    }

    /// What a line of the console says, if it is one of ours. The kernel may have written before it.
    pub fn read(line: &str) -> Option<Self> {
        let (_, line) = line.split_once(MARK)?;
        let value: Value = serde_json::from_str(line.trim()).ok()?;
        let text = |name: &str| Some(value[name].as_str()?.to_owned());
        Some(Self {
            backend: text("backend")?,
            step: text("step")?,
            passed: value["passed"].as_bool()?,
            said: text("said")?,
            seconds: value["seconds"].as_f64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written_also_behind_what_the_kernel_says() {
        let step = Step {
            backend: "tc".to_owned(),
            step: "attach".to_owned(),
            passed: true,
            said: "clsact, \"quoted\"\nand more".to_owned(),
            seconds: 1.25,
        };
        let line = step.line();
        assert_eq!(line.lines().count(), 1);
        assert_eq!(Step::read(&format!("[    1.2] random: {line}\r")), Some(step));
        assert_eq!(Step::read("[    1.2] random: crng init done"), None);
    }
}
