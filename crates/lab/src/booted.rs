//! [`Booted`]: a Debian that systemd has booted in a container, with a network of its own and the internet before it. It can
//! be rebooted, and what is installed in it is gone with it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};
use std::{env, fs, io};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::namespace::{Namespace, succeed};
use crate::pbx::{Fetched, Kept, within_patience};
use crate::site::{PBX_V4, Site};

/// The interface of the host.
pub const HOST_INTERFACE: &str = "host0";

/// Whatever runs in it may take so long.
const PATIENCE: &str = "60";
/// A boot may take so long on a machine that has much else to do.
const BOOT: Duration = Duration::from_secs(60);

/// A kernel that boots mounts a bpffs, a container does not; a network that is there when systemd's own service has set it
/// up, and a service that waits for it, as a PBX does.
const PREPARE: &str = "
cat >$root/etc/systemd/system/bpffs.service <<'END'
[Unit]
DefaultDependencies=no
Before=local-fs.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/mount -t bpf bpf /sys/fs/bpf
[Install]
WantedBy=sysinit.target
END
cat >$root/etc/systemd/system/pbx.service <<'END'
[Unit]
Wants=network-online.target
After=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
[Install]
WantedBy=multi-user.target
END
cat >$root/etc/systemd/network/10-host0.network <<'END'
[Match]
Name=host0
[Network]
Address=203.0.113.10/24
Gateway=203.0.113.1
LinkLocalAddressing=no
END
for unit in bpffs pbx systemd-networkd; do systemctl --quiet --root=$root enable $unit; done
";

/// Lays it out in memory and boots it until it is powered off, in a mount namespace that goes with it.
const BOOT_IT: &str = r#"
# What it has started does not always end with it.
trap 'kill -KILL $(cat "/proc/$nspawn/task/$nspawn/children") "$nspawn"; wait "$nspawn"; clean; exit 1' TERM
# Those that still have a process stay.
clean() {
  find /sys/fs/cgroup -depth -type d \( -path '*/payload*' -o -path '*/supervisor*' \) -exec rmdir {} \; 2>/dev/null
}
while :; do
  systemd-nspawn --quiet --directory=$root --machine=geofilter --boot --register=no --keep-unit --console=pipe \
    --network-veth --capability=CAP_BPF,CAP_PERFMON --tmpfs=/sys/fs/bpf \
    --system-call-filter='bpf perf_event_open landlock_create_ruleset landlock_add_rule landlock_restrict_self' &
  nspawn=$!
  echo $nspawn >$work/new; mv $work/new $work/pid
  code=0; wait $nspawn || code=$?
  [ $code = 133 ] || { clean; exit $code; }
done"#;

const LAY_OUT: &str = "set -e
fetched=$1 work=$2
mount --make-rprivate /
mkdir -p /run/systemd
mount -t tmpfs none /run/systemd
mount -t tmpfs none $work/mount
root=$work/mount/root
mkdir $root $work/mount/upper $work/mount/work
mount -t overlay -o lowerdir=$fetched,upperdir=$work/mount/upper,workdir=$work/mount/work none $root";

/// A Debian that runs until it is dropped.
#[derive(Debug)]
pub struct Booted {
    /// Its network and the internet.
    pub site: Site,
    /// Its first process, as the machine outside numbers it.
    leader: u32,
    folder: TempDir,
    _kept: Kept,
}

impl Booted {
    /// Boots it.
    ///
    /// # Errors
    /// If there is no such Debian to be had, or it does not boot in time.
    pub fn new() -> Result<Self> {
        let fetched = Fetched::new("debian")?;
        let folder = tempfile::Builder::new().prefix("gf-booted").tempdir()?;
        fs::create_dir(folder.path().join("mount"))?;
        let site = Site::around(Namespace::new("boot")?)?;
        let script = [LAY_OUT, PREPARE, BOOT_IT].join("\n");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script, "sh"]);
        command.arg(fetched.path("")).arg(folder.path());
        let kept = Kept::start(&site.internet, &command, "TERM", &folder.path().join("output"))?;
        let mut booted = Self { site, leader: 0, folder, _kept: kept };
        booted.wait_until_up().with_context(|| booted.output())?;
        Ok(booted)
    }

    /// Reboots it: the kernel's part of what it had is gone.
    ///
    /// # Errors
    /// If it does not come back in time.
    pub fn reboot(&mut self) -> Result<()> {
        let before = self.nspawn().context("it is not up")?;
        // It may be gone before this has ended.
        let _ = self.run(&["systemctl", "--no-block", "reboot"]);
        let since = Instant::now();
        while self.nspawn().is_ok_and(|now| now == before) {
            ensure!(since.elapsed() < BOOT, "it does not reboot: {}", self.output());
            thread::sleep(Duration::from_millis(5));
        }
        self.wait_until_up().with_context(|| self.output())
    }

    /// Runs a command in it, and returns what it printed.
    ///
    /// # Errors
    /// If it fails.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        let output = succeed(&mut self.command(words))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a shell command in it, and returns what it printed.
    ///
    /// # Errors
    /// If it fails.
    pub fn shell(&self, line: &str) -> Result<String> {
        self.run(&["sh", "-c", line])
    }

    /// Copies a file into it.
    ///
    /// # Errors
    /// If that fails.
    pub fn copy(&self, from: &Path, to: &str) -> Result<()> {
        let to = format!("/proc/{}/root{to}", self.leader);
        fs::copy(from, &to).map(drop).with_context(|| to)
    }

    /// When a unit came to be active, in microseconds since the kernel booted; none if it is not.
    ///
    /// # Errors
    /// If systemd does not say.
    pub fn active_since(&self, unit: &str) -> Result<Option<u64>> {
        self.time_of(unit, "ActiveEnterTimestampMonotonic")
    }

    /// When a unit began to start.
    ///
    /// # Errors
    /// If systemd does not say.
    pub fn starting_since(&self, unit: &str) -> Result<Option<u64>> {
        self.time_of(unit, "InactiveExitTimestampMonotonic")
    }

    /// When systemd began to boot it, in the same time.
    ///
    /// # Errors
    /// If systemd does not say.
    pub fn booting_since(&self) -> Result<u64> {
        self.time(&["UserspaceTimestampMonotonic"])
    }

    fn time_of(&self, unit: &str, property: &str) -> Result<Option<u64>> {
        let time = self.time(&[property, unit])?;
        Ok((time > 0).then_some(time))
    }

    /// A property of systemd, or of the unit that is named behind it.
    fn time(&self, property: &[&str]) -> Result<u64> {
        let show = ["systemctl", "show", "--value", "--property"];
        let said = self.run(&[&show, property].concat())?;
        said.trim().parse().with_context(|| format!("{}: {said}", property.join(" of ")))
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args([&format!("--target={}", self.leader), "--all", "--", "/usr/bin/env", "-i"]);
        command.args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/root"]);
        command.args(["DEBIAN_FRONTEND=noninteractive", "timeout", PATIENCE]).args(words);
        command
    }

    fn wait_until_up(&mut self) -> Result<()> {
        let since = Instant::now();
        self.wire_up(since)?;
        loop {
            // It exits with an error unless the answer is `running`. Asked too often it would slow down the boot.
            let output = self.command(&["systemctl", "is-system-running", "--wait"]).output()?;
            match String::from_utf8_lossy(&output.stdout).trim() {
                "running" => return Ok(()),
                "degraded" => bail!("failed: {}", self.run(&["systemctl", "--failed"])?),
                said if since.elapsed() > BOOT => bail!("it does not boot: {said}"),
                _ => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Every boot makes the wire anew.
    fn wire_up(&mut self, since: Instant) -> Result<()> {
        let net = &self.site.internet;
        within_patience(|| net.ip("link set ve-geofilter up"))?;
        net.ip("addr replace 203.0.113.1/24 dev ve-geofilter")?;
        net.ip(&format!("route replace {PBX_V4}/32 dev ve-geofilter table local"))?;
        self.leader = loop {
            match self.nspawn().and_then(first_child) {
                Ok(leader) => break leader,
                Err(error) if since.elapsed() > BOOT => return Err(error.into()),
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        };
        self.site.host = Namespace::of_process("booted", self.leader)?;
        Ok(())
    }

    fn nspawn(&self) -> io::Result<u32> {
        let pid = fs::read_to_string(self.folder.path().join("pid"))?;
        pid.trim().parse().map_err(io::Error::other)
    }

    fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }
}

fn first_child(process: u32) -> io::Result<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
    let is_init = |child: &u32| {
        let name = fs::read_to_string(format!("/proc/{child}/comm"));
        name.is_ok_and(|name| name.trim() == "systemd")
    };
    let mut children = children.split_whitespace().flat_map(str::parse::<u32>);
    children.find(is_init).ok_or_else(|| io::Error::other("nothing boots"))
}

/// The binary that a package is made of instead of the one that was built beside this program: a release, say.
pub fn named_binary() -> Option<PathBuf> {
    env::var_os("GEOFILTER_BINARY").filter(|name| !name.is_empty()).map(PathBuf::from)
}

/// Makes a package of the binary that is named, or was built beside this program.
///
/// # Errors
/// If the script fails.
pub fn package(version: &str, folder: &Path) -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/deb");
    let binary = named_binary().map_or_else(crate::process::binary, Ok)?;
    let mut command = Command::new(script);
    command.arg(binary).arg(version).arg(folder).env("COMPRESSION", "none");
    let output = succeed(&mut command)?;
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}
