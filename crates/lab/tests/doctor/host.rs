//! The machine, the state folder, the agent.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::{Duration, Instant};

use geofilter_lab::namespace::Namespace;
use geofilter_lab::process::binary;
use geofilter_lab::site::Site;

use crate::support::{Doctor, enforcing, report};

#[test]
fn traps_of_the_machine() {
    const JIT: &str = "/proc/sys/net/core/bpf_jit_enable";
    const ISOLATED: &str = "/sys/devices/system/cpu/isolated";
    let look = |doctor: &Doctor| report(&doctor.command(&["--json"]).output().unwrap());
    let memory = |kilobytes: u32| {
        format!(
            "MemTotal: {kilobytes} kB\nMemFree: 1 kB\nBuffers: 1 kB\nCached: 1 kB\nSwapCached: 0 kB\nActive: 1 kB\nInactive: 1 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\nDirty: 0 kB\nWriteback: 0 kB\nMapped: 1 kB\nSlab: 1 kB\nCommitted_AS: 1 kB\nVmallocTotal: 1 kB\nVmallocUsed: 1 kB\nVmallocChunk: 0 kB\n"
        )
    };
    let systemd = "mount -t tmpfs none /run; mkdir -p /run/systemd/system";
    let unit = "mount -t tmpfs none /etc/systemd; mkdir -p /etc/systemd/system/multi-user.target.wants; touch /etc/systemd/system/multi-user.target.wants/geofilter.service";
    let healthy = Doctor::new()
        .file(JIT, "1\n")
        .file(ISOLATED, "\n")
        .file("/proc/meminfo", &memory(131_072))
        .mount(systemd)
        .mount(unit);
    let sick = Doctor::new()
        .file(JIT, "0\n")
        .file(ISOLATED, "1-3\n")
        .file("/proc/meminfo", &memory(131_071))
        .mount("while mountpoint -q /sys/fs/bpf; do umount /sys/fs/bpf; done")
        .mount(systemd);
    let (healthy, sick) = (look(&healthy), look(&sick));
    let codes =
        ["jit-off", "isolated-cpus", "little-memory", "bpffs-missing", "not-started-at-boot"];
    sick.only_here(&healthy, &codes);
    assert!(healthy.passed("kernel-lacks") && healthy.passed("capabilities-missing"));
    let less = Doctor::new().less(&["setpriv", "--bounding-set", "-sys_admin,-perfmon,-bpf"]);
    let less = look(&less);
    assert!(less.message("capabilities-missing").contains("CAP_BPF, CAP_PERFMON"), "{}", less.0);
    assert!(less.why_not("kernel-lacks").contains("ask as root"), "{}", less.0);
    assert!(look(&Doctor::new()).why_not("not-started-at-boot").contains("systemd"));
}

#[test]
fn traps_of_the_state_folder() {
    let host = Namespace::new("doctor").unwrap();
    let over = |options: &str| {
        let doctor = Doctor::new();
        let folder = doctor.folder.path().join("state");
        fs::create_dir(&folder).unwrap();
        let mount = format!("mount -t tmpfs -o {options} none {}", folder.display());
        doctor.mount(&mount).look(&host)
    };
    let healthy = over("size=32m");
    let (full, closed) = (over("size=64k"), over("ro"));
    full.only_here(&healthy, &["state-dir"]);
    assert!(full.message("state-dir").contains("64 kB left"));
    assert!(closed.message("state-dir").contains("read-only"));
    assert!(Doctor::new().look(&host).why_not("state-dir").contains("no state folder"));
}

#[test]
fn traps_of_the_agent() {
    let site = Site::new().unwrap();
    let mut agent = enforcing(&site.host, "tc");
    let doctor = Doctor::of(&agent);
    let look = || doctor.look(&site.host);
    let healthy = look();
    fs::create_dir(agent.state_dir().join("state.json.new")).unwrap();
    agent.json(&["observe"]).unwrap();
    look().only_here(&healthy, &["policy-unsaved", "not-enforcing"]);
    fs::remove_dir(agent.state_dir().join("state.json.new")).unwrap();
    agent.json(&["allow", "ES", "--yes"]).unwrap();
    assert!(look().passed("policy-unsaved"));
    agent.kill().unwrap();
    let dead = look();
    dead.only_here(&healthy, &["agent-unreachable"]);
    assert!(dead.message("agent-unreachable").contains("programs are on"));
    assert_eq!(dead.why_not("trunk-dropped"), "no agent answers");
    fs::remove_file(agent.state_dir().join("state.json")).unwrap();
    agent.restart(None).unwrap();
    look().only_here(&healthy, &["policy-lost"]);
    agent.json(&["off"]).unwrap();
    assert!(look().message("not-enforcing").contains("is off"));
}

#[test]
fn an_agent_that_hangs_is_a_problem_and_is_not_waited_for() {
    let host = Namespace::new("doctor").unwrap();
    let doctor = Doctor::new();
    fs::create_dir(doctor.folder.path().join("run")).unwrap();
    let healthy = doctor.look(&host);
    assert!(healthy.message("agent-unreachable").contains("nothing is filtered"));
    // It takes the question, and gives no answer.
    let _hung = UnixListener::bind(doctor.folder.path().join("run/agent.sock")).unwrap();
    let since = Instant::now();
    let report = doctor.look(&host);
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
    assert!(report.message("agent-unreachable").contains("did not answer"), "{}", report.0);
    assert_eq!(report.why_not("policy-lost"), "no agent answers");
}

#[test]
fn without_root_it_says_what_it_could_not_see() {
    let site = Site::new().unwrap();
    let agent = enforcing(&site.host, "tc");
    let doctor = Doctor::of(&agent);
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    let program = place.path().join("geofilter");
    fs::copy(binary().unwrap(), &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(program);
    command.args(["doctor", "--json", "--socket"]).arg(agent.runtime_dir().join("agent.sock"));
    let output = site.host.inside(move || command.output()).unwrap().unwrap();
    let report = report(&output);
    for code in ["agent-unreachable", "ports-unprotected", "large-nft-sets", "kernel-lacks"] {
        assert!(report.why_not(code).contains("root"), "{code}: {}", report.0);
    }
    assert!(doctor.look(&site.host).passed("agent-unreachable"));
}
