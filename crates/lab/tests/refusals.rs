//! What can't be done is refused with a reason and a remedy, and changes nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

use geofilter_lab::namespace::Namespace;
use geofilter_lab::neighbours::snapshot;
use geofilter_lab::process::{Agent, binary};
use geofilter_lab::site::{Site, WAN};

/// Runs an agent that is expected to give up, as `wrap` says.
fn start(host: &Namespace, wrap: &[&str], words: &[&str]) -> (Output, String) {
    let folder = tempfile::Builder::new().prefix("gf").tempdir().unwrap();
    std::os::unix::fs::chown(folder.path(), Some(65_534), Some(65_534)).unwrap();
    let before = snapshot(host).unwrap();
    let program = binary().unwrap();
    let words = [wrap, &[program.to_str().unwrap(), "agent"], words].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command.arg("--state-dir").arg(folder.path().join("state"));
    command.arg("--runtime-dir").arg(folder.path().join("run"));
    let output = host.inside(move || command.output()).unwrap().unwrap();
    assert_eq!(snapshot(host).unwrap(), before);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

#[test]
fn an_interface_that_is_not_there() {
    let site = Site::new().unwrap();
    let (output, said) = start(&site.host, &[], &["--interface", "wan7"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("wan7") && said.contains("ip link"), "{said}");
}

#[test]
fn no_interface_to_protect() {
    let host = Namespace::new("lone").unwrap();
    let agent = Agent::start(&host, &[]);
    let said = match agent {
        Err(error) => format!("{error:#}"),
        Ok(agent) => {
            let refused = agent.ask(&["allow", "ES", "--yes"]).unwrap();
            assert_eq!(refused.status.code(), Some(1));
            String::from_utf8_lossy(&refused.stderr).into_owned()
        }
    };
    assert!(said.contains("default route") && said.contains("--interface"), "{said}");
}

#[test]
fn without_root() {
    let site = Site::new().unwrap();
    // The binary must be reachable for a user who may not enter root's folders.
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let copy = folder.path().join("geofilter");
    std::fs::copy(binary().unwrap(), &copy).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), mode).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(&copy).args(["agent", "--interface", WAN]);
    let output = site.host.inside(move || command.output()).unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("root") && said.contains("CAP_BPF"), "{said}");
}

#[test]
fn without_bpf() {
    let site = Site::new().unwrap();
    let dropped = "-bpf,-perfmon,-sys_admin";
    let bounding = format!("--bounding-set={dropped}");
    let inheritable = format!("--inh-caps={dropped}");
    let wrap = ["setpriv", &bounding, &inheritable];
    // By itself it would take nftables.
    let (output, said) = start(&site.host, &wrap, &["--interface", WAN, "--backend", "tc"]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("CAP_BPF"), "{said}");
}

#[test]
fn a_second_agent() {
    let site = Site::new().unwrap();
    let agent = Agent::start(&site.host, &["--interface", WAN]).unwrap();
    let runtime = agent.runtime_dir();
    let mut command = Command::new(binary().unwrap());
    command.args(["agent", "--interface", WAN, "--runtime-dir"]).arg(runtime);
    let output = site.host.inside(move || command.output()).unwrap().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("another agent"), "{said}");
}
