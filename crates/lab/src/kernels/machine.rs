//! [`boot`]: a virtual machine, emulated, until it has said all it has to say, or its time is over.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::kernels::devices::{ABSENT, INTERFACES};
use crate::kernels::line::{Architecture, Flavour, Line};
use crate::kernels::report::{BACKENDS, DEVICES, END, MACHINE, STEPS, Step};

/// What a machine may take at most, on a computer that has much else to do.
const PATIENCE: Duration = Duration::from_secs(600);
/// Of memory, in MiB.
const MEMORY: &str = "1024";
/// How much of the end of the console is told of a machine that failed, in lines.
const TOLD: usize = 40;

/// What a machine said.
#[derive(Debug)]
pub struct Said {
    /// Step by step.
    pub steps: Vec<Step>,
    /// How long it ran.
    pub took: Duration,
}

impl Said {
    /// Whether every step of every data plane was gone through and went as it should.
    pub fn is_whole(&self, line: &Line) -> bool {
        let passed = |backend: &str, name: &str| {
            self.steps
                .iter()
                .any(|step| step.backend == backend && step.step == name && step.passed)
        };
        let all = BACKENDS.iter().all(|backend| STEPS.iter().all(|step| passed(backend, step)));
        let interfaces = INTERFACES.iter().all(|interface| passed(DEVICES, interface.name));
        // What is built for all there is has all of them.
        let absent = self.steps.iter().any(|step| step.backend == DEVICES && step.said == ABSENT);
        let interfaces = interfaces && (line.flavour == Flavour::Cloud || !absent);
        all && interfaces && self.steps.iter().all(|step| step.passed)
    }
}

/// Ends the emulator in every outcome.
struct Emulator(Child);

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots a kernel into an initramfs, and tells of each step as it comes. What the console shows goes to a file.
///
/// # Errors
/// If the emulator can't be run, or the machine ends before it has said all or takes too long: with the end of its console.
pub fn boot(
    architecture: Architecture,
    kernel: &Path,
    initramfs: &Path,
    console: &Path,
    mut tell: impl FnMut(&Step),
) -> Result<Said> {
    let began = Instant::now();
    let mut child = command(architecture, kernel, initramfs);
    let mut child = child.spawn().with_context(|| format!("cannot run {child:?}"))?;
    let output = child.stdout.take().context("its console")?;
    let _emulator = Emulator(child);
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    let mut file = File::create(console)?;
    let mut shown = Vec::new();
    let mut steps = Vec::new();
    let fail = |what: &str, shown: &[String]| {
        let end = &shown[shown.len().saturating_sub(TOLD)..];
        format!("{what}; the end of {}:\n{}", console.display(), end.join("\n"))
    };
    loop {
        let left = PATIENCE.saturating_sub(began.elapsed());
        let line = match lines.recv_timeout(left) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                bail!(fail(&format!("it is not done after {} s", PATIENCE.as_secs()), &shown))
            }
            Err(RecvTimeoutError::Disconnected) => bail!(fail("it ended too early", &shown)),
        };
        writeln!(file, "{line}")?;
        match Step::read(&line) {
            Some(step) if (&*step.backend, &*step.step) == (MACHINE, END) => {
                return Ok(Said { steps, took: began.elapsed() });
            }
            Some(step) => {
                tell(&step);
                steps.push(step);
            }
            None => {}
        }
        shown.push(line);
    }
}

/// It ends with this process, however that ends.
fn command(architecture: Architecture, kernel: &Path, initramfs: &Path) -> Command {
    let (program, kind, console): (&str, &[&str], &str) = match architecture {
        Architecture::Amd64 => ("qemu-system-x86_64", &["-cpu", "max"], "ttyS0"),
        Architecture::Arm64 => {
            ("qemu-system-aarch64", &["-machine", "virt", "-cpu", "cortex-a72"], "ttyAMA0")
        }
    };
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]).args(kind);
    command.args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", MEMORY]);
    command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
    command.args(["-serial", "stdio", "-kernel"]).arg(kernel).arg("-initrd").arg(initramfs);
    // What the kernel does not know becomes the environment of the first process.
    command.arg("-append");
    command.arg(format!("console={console} loglevel=4 panic=-1 PATH=/usr/sbin:/usr/bin"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

/// The image of a fetched kernel, as the emulator takes it.
///
/// # Errors
/// If there is none, or it is packed in a way that is not known here.
pub fn image(kernel: &Path, unpacked: &Path) -> Result<PathBuf> {
    let found =
        ["boot", "lib/modules", "usr/lib/modules"].iter().find_map(|name| find(&kernel.join(name)));
    let found = found.with_context(|| format!("{} has no vmlinuz", kernel.display()))?;
    let bytes = std::fs::read(&found)?;
    // A program for EFI that unpacks itself, which the emulator can't do in its place.
    if bytes.get(4..8) != Some(b"zimg") {
        return Ok(found);
    }
    let number = |at: usize| -> Result<usize> {
        let bytes = bytes.get(at..at + 4).context("a header")?;
        Ok(u32::from_le_bytes(bytes.try_into()?) as usize)
    };
    let (start, length) = (number(8)?, number(12)?);
    let packed = bytes.get(start..start + length).context("the packed kernel is cut short")?;
    let mut image = Vec::new();
    match packed {
        [0x1f, 0x8b, ..] => drop(flate2::read::GzDecoder::new(packed).read_to_end(&mut image)?),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => image = zstd::decode_all(packed)?,
        _ => bail!("{} is packed in a way that is not known", found.display()),
    }
    ensure!(!image.is_empty(), "{} is empty", found.display());
    std::fs::write(unpacked, image)?;
    Ok(unpacked.to_owned())
}

/// A file whose name begins with `vmlinuz`, in a folder or one below.
fn find(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
    entries.map(|entry| entry.path()).find_map(|path| {
        let is_it = path.file_name()?.to_str()?.starts_with("vmlinuz");
        if is_it { Some(path) } else { find_in(&path) }
    })
}

fn find_in(path: &Path) -> Option<PathBuf> {
    if path.is_dir() && path.join("vmlinuz").is_file() { Some(path.join("vmlinuz")) } else { None }
}
