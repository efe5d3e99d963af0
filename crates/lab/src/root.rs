//! [`Root`]: a fetched program that wants a whole machine: it runs in a namespace with a root of its own, what was
//! fetched below and what it writes above, in memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::namespace::{Namespace, succeed};
use crate::pbx::{Fetched, Kept, within_patience};

/// Programs that Debian's alternatives would name.
const ALTERNATIVES: &str = "
for name in iptables ip6tables; do
  for tool in '' -restore -save; do ln -sf xtables-nft-multi $root/usr/sbin/$name$tool; done
done
ln -sf mawk $root/usr/bin/awk
mkdir -p $root/run/lock $root/tmp
echo root:x:0:0::/root:/bin/sh >$root/etc/passwd
echo root:x:0: >$root/etc/group";

/// Lays it out in a mount namespace that goes with its last process.
const LAY_OUT: &str = "set -e
fetched=$1 work=$2
mount --make-rprivate /
mount -t tmpfs none $work/mount
root=$work/mount/root
mkdir $root $work/mount/upper $work/mount/work
mount -t overlay -o lowerdir=$fetched,upperdir=$work/mount/upper,workdir=$work/mount/work none $root
mount -t proc proc $root/proc
mount --rbind /dev $root/dev";

/// A root of its own, until it is dropped.
#[derive(Debug)]
pub struct Root<'a> {
    namespace: &'a Namespace,
    pid: String,
    _kept: Kept,
    folder: TempDir,
}

impl<'a> Root<'a> {
    /// Lays out what was fetched under this name; this shell script, which finds it in `$root`, does what the
    /// packages would do when they are installed.
    ///
    /// # Errors
    /// If it can't be fetched or laid out.
    pub fn new(namespace: &'a Namespace, fetched: &str, install: &str) -> Result<Self> {
        let fetched = Fetched::new(fetched)?;
        let folder = tempfile::Builder::new().prefix("gf-root").tempdir()?;
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("mount"))?;
        // Whoever reads the number enters the root of that process, so it has to be in it by then.
        let hold = "mkdir -p $root/run/lab; mount --bind $work $root/run/lab
exec chroot $root /bin/sh -c 'cd /run/lab; echo $$ >new; mv new pid; cd /; exec /bin/sleep infinity'";
        let script = [LAY_OUT, ALTERNATIVES, install, hold].join("\n");
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", &script, "sh"])
            .arg(fetched.path(""))
            .arg(folder.path());
        let kept = Kept::start(namespace, &command, "TERM", &path("output"))?;
        let pid = within_patience(|| Ok(fs::read_to_string(path("pid"))?))
            .with_context(|| fs::read_to_string(path("output")).unwrap_or_default())?;
        Ok(Self { namespace, pid: pid.trim().to_owned(), _kept: kept, folder })
    }

    /// Runs one of its programs, and returns what it printed.
    ///
    /// # Errors
    /// If it fails.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let mut command = self.command(words);
        let output = self.namespace.inside(move || succeed(&mut command))??;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts one that goes on; TERM ends it.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn start(&self, words: &[&str]) -> Result<Running> {
        let output = self.folder.path().join(words[0].replace('/', "-"));
        let kept = Kept::start(self.namespace, &self.command(words), "TERM", &output)?;
        Ok(Running { _kept: kept, output })
    }

    /// Writes a file in it.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        ensure!(path.starts_with('/'), "{path} is not absolute");
        Ok(fs::write(format!("/proc/{}/root{path}", self.pid), text)?)
    }

    fn command(&self, words: &[&str]) -> Command {
        let target = format!("--target={}", self.pid);
        let mut command = Command::new("nsenter");
        command.args([&target, "--mount", "--root", "--", "/usr/bin/env", "-i", "--chdir=/"]);
        command.args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"]).args(words);
        command
    }
}

/// A program that goes on until it is dropped.
#[derive(Debug)]
pub struct Running {
    _kept: Kept,
    output: PathBuf,
}

impl Running {
    /// What it said.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.output as &Path).unwrap_or_default()
    }
}
