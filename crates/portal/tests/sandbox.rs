//! What is left to a portal once it is confined: a process of its own confines itself and tries.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{ErrorKind, Read, Seek};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use geofilter_portal::Settings;
use geofilter_portal::sandbox::{self, Confined, User};
use rustix::io::Errno;

/// In which folder to try it: said to the process that does.
const INSIDE: &str = "GEOFILTER_TEST_CONFINED_IN";

/// System calls that no portal needs. Each with zeroes would do no harm, and most would not fail so.
const NEVER: [(&str, libc::c_long); 22] = [
    ("execve", libc::SYS_execve),
    ("execveat", libc::SYS_execveat),
    ("ptrace", libc::SYS_ptrace),
    ("bpf", libc::SYS_bpf),
    ("mount", libc::SYS_mount),
    ("umount2", libc::SYS_umount2),
    ("unshare", libc::SYS_unshare),
    ("setns", libc::SYS_setns),
    ("chroot", libc::SYS_chroot),
    ("kexec_load", libc::SYS_kexec_load),
    ("init_module", libc::SYS_init_module),
    ("finit_module", libc::SYS_finit_module),
    ("perf_event_open", libc::SYS_perf_event_open),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("keyctl", libc::SYS_keyctl),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("process_vm_readv", libc::SYS_process_vm_readv),
    ("process_vm_writev", libc::SYS_process_vm_writev),
    ("kill", libc::SYS_kill),
    ("bind", libc::SYS_bind),
    ("listen", libc::SYS_listen),
    ("sendmsg", libc::SYS_sendmsg),
];

/// Not by the usual harness, which has threads: what is confined must have one.
fn main() {
    match std::env::var_os(INSIDE) {
        Some(folder) => try_everything(&PathBuf::from(folder)),
        None => {
            confined_it_has_its_folder_its_connections_and_the_agents_socket_alone();
            println!(
                "confined it has its folder, its connections and the agent's socket alone: ok"
            );
        }
    }
}

fn confined_it_has_its_folder_its_connections_and_the_agents_socket_alone() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    open(folder.path());
    fs::write(folder.path().join("outside"), "for everybody").unwrap();
    open(&folder.path().join("outside"));
    let agent = folder.path().join("portal.sock");
    let _agent = UnixListener::bind(&agent).unwrap();
    open(&agent);
    let mut inside = Command::new(std::env::current_exe().unwrap());
    inside.env(INSIDE, folder.path());
    let output = inside.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.contains("tried everything"), "{said}");
}

fn try_everything(folder: &Path) {
    let state_dir = folder.join("state");
    let mut status = fs::File::open("/proc/self/status").unwrap();
    let user = User::named("nobody").unwrap();
    let root = rustix::process::geteuid().is_root();
    match root {
        true => sandbox::drop_privileges(&user, &state_dir).unwrap(),
        false => fs::create_dir(&state_dir).unwrap(),
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let _client = TcpStream::connect(at).unwrap();
    let agent = folder.join("portal.sock");
    let settings = Settings {
        listen: at,
        fleet: None,
        tls: None,
        names: Vec::new(),
        state_dir: state_dir.clone(),
        database: None,
        agent,
        world: None,
    };
    let confined = sandbox::enter(&settings).unwrap();
    // A kernel without landlock fails this test: it would show nothing.
    assert!(
        matches!(confined, Confined { files: true, tcp: true, scopes: true, .. }),
        "{confined:?}"
    );

    its_folder_is_its_own(&state_dir, &folder.join("outside"));
    thread::spawn(|| denied("a file, by a thread", fs::read("/etc/passwd"))).join().unwrap();
    it_serves_and_calls_nobody(&listener, &settings.agent);
    denied("a process", Command::new("/bin/true").spawn());
    denied("a program in its place", Err::<(), _>(Command::new("/bin/true").exec()));
    for (name, call) in NEVER {
        assert_eq!(errno(call), libc::EPERM, "{name}");
    }
    let mut said = String::new();
    status.rewind().unwrap();
    status.read_to_string(&mut said).unwrap();
    for line in
        ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"]
    {
        assert!(said.contains(line), "{line}: {said}");
    }
    if root {
        let bounding = "CapBnd:\t0000000000000000";
        let uid = format!("Uid:\t{0}\t{0}\t{0}\t{0}", user.uid);
        assert!(said.contains(bounding) && said.contains(&uid), "{said}");
        assert!(said.contains("Groups:\t \n"), "{said}");
    }
    println!("tried everything");
}

fn its_folder_is_its_own(state_dir: &Path, outside: &Path) {
    let own = state_dir.join("portal.db");
    fs::write(&own, "ours").unwrap();
    assert_eq!(fs::read_to_string(&own).unwrap(), "ours");
    for path in
        [outside, Path::new("/etc/shadow"), Path::new("/etc/passwd"), Path::new("/proc/1/status")]
    {
        denied("a file", fs::read(path));
    }
    denied("a file to write", fs::write(outside, "changed"));
    denied("a file to end", fs::remove_file(outside));
    denied("a folder", fs::read_dir("/"));
    denied("a name of a file outside", fs::hard_link(outside, state_dir.join("link")));
    denied("a folder of its own", fs::create_dir(state_dir.join("folder")));
    fs::remove_file(own).unwrap();
}

fn it_serves_and_calls_nobody(listener: &TcpListener, agent: &Path) {
    let (accepted, client) = listener.accept().unwrap();
    UnixStream::connect(agent).unwrap();
    denied("UDP", UdpSocket::bind("127.0.0.1:0"));
    denied("another port", TcpListener::bind("127.0.0.1:0"));
    denied("a connection", TcpStream::connect(client));
    denied("a socket of its own", UnixListener::bind(agent.with_file_name("state/own.sock")));
    // A connection that came may be made one that goes, where nobody looks.
    rustix::net::connect_unspec(&accepted).unwrap();
    let at = listener.local_addr().unwrap();
    assert_eq!(rustix::net::connect(&accepted, &at).unwrap_err(), Errno::ACCESS);
}

fn denied<T>(what: &str, result: std::io::Result<T>) {
    let error = result.err().unwrap_or_else(|| panic!("it gets {what}"));
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{what}: {error}");
}

#[expect(unsafe_code, reason = "there are no safe names for calls that must not be made")]
fn errno(call: libc::c_long) -> i32 {
    // SAFETY: with null pointers and no flags none of them reads or changes memory of ours.
    let returned = unsafe { libc::syscall(call, 0, 0, 0, 0, 0, 0) };
    match returned {
        -1 => std::io::Error::last_os_error().raw_os_error().unwrap(),
        _ => 0,
    }
}
