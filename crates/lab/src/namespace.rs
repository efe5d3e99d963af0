//! [`Namespace`]: a network namespace that is gone when the test is.

use std::io::{Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, thread};

use anyhow::{Context, Result, bail, ensure};
use rustix::net::{self, AddressFamily, SocketType, netdevice};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A network namespace of our own.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace with its loopback interface up.
    ///
    /// # Errors
    /// If `ip netns add` fails: it needs root.
    pub fn new(role: &str) -> Result<Self> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("gf-{role}-{}-{number}", std::process::id());
        succeed(Command::new("ip").args(["netns", "add", &name])).context("this needs root")?;
        let namespace = Self { name };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// That of a process. When this is dropped only the name goes.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn of_process(role: &str, process: u32) -> Result<Self> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("gf-{role}-{}-{number}", std::process::id());
        succeed(Command::new("ip").args(["netns", "attach", &name, &process.to_string()]))?;
        Ok(Self { name })
    }

    /// Its name for `ip -n` and `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number in the kernel, which no other one has for as long as a process is in it.
    ///
    /// # Errors
    /// If it is gone.
    pub fn inode(&self) -> Result<u64> {
        Ok(fs::metadata(format!("/run/netns/{}", self.name))?.ino())
    }

    /// Runs `ip` with these words in the namespace.
    ///
    /// # Errors
    /// If it fails.
    pub fn ip(&self, words: &str) -> Result<String> {
        self.command("ip", &words.split(' ').collect::<Vec<_>>())
    }

    /// Sets a kernel setting in the namespace, such as `net.ipv4.conf.all.rp_filter`.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn set(&self, setting: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{}", setting.replace('.', "/"));
        let value = value.to_owned();
        self.inside(move || fs::write(&path, value).with_context(|| path))?
    }

    /// Runs a command in the namespace and returns what it printed. Unlike with `ip netns exec` the mounts stay
    /// the host's, and pins with them.
    ///
    /// # Errors
    /// If it fails.
    pub fn command(&self, program: &str, words: &[&str]) -> Result<String> {
        let mut command = Command::new(program);
        command.args(words);
        let output = self.inside(move || succeed(&mut command))??;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a command in the namespace that reads this text.
    ///
    /// # Errors
    /// If it fails.
    pub fn feed(&self, program: &str, words: &[&str], text: &str) -> Result<()> {
        let mut input = tempfile::tempfile()?;
        input.write_all(text.as_bytes())?;
        input.rewind()?;
        let mut command = Command::new(program);
        command.args(words).stdin(input);
        self.inside(move || succeed(&mut command))?.map(drop)
    }

    /// The index of an interface.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn interface_index(&self, name: &str) -> Result<u32> {
        let index = self.inside(|| {
            let socket = net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
            netdevice::name_to_index(&socket, name)
        })?;
        index.with_context(|| format!("no interface {name}"))
    }

    /// Runs a closure on a thread inside of the namespace. Sockets it opens and processes it starts stay there.
    ///
    /// # Errors
    /// If the namespace can't be entered.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let file = fs::File::open(format!("/run/netns/{}", self.name))?;
        let enter = || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(work())
        };
        thread::scope(|scope| match scope.spawn(enter).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Another Ctrl-C does not keep it from that.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).process_group(0).status();
    }
}

/// Runs a command that must succeed.
///
/// # Errors
/// With the command and what it said.
pub fn succeed(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output)
}

/// No namespace of these names may be left.
///
/// # Errors
/// With those that are.
pub fn ensure_gone(names: &[String]) -> Result<()> {
    let listed = succeed(Command::new("ip").args(["-j", "netns", "list"]))?;
    let listed: Value = match listed.stdout.as_slice() {
        [] => Value::Array(Vec::new()),
        text => serde_json::from_slice(text)?,
    };
    let left = listed.as_array().into_iter().flatten().filter_map(|one| one["name"].as_str());
    let left: Vec<_> = left.filter(|left| names.iter().any(|name| name == left)).collect();
    ensure!(left.is_empty(), "still there: {}", left.join(" "));
    Ok(())
}

/// The processes that are in one of the namespaces with these numbers.
///
/// # Errors
/// If the kernel does not list its processes.
pub fn processes_in(inodes: &[u64]) -> Result<Vec<String>> {
    let names = fs::read_dir("/proc")?.flatten().map(|entry| entry.file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    let processes = names.filter(|name| name.bytes().all(|letter| letter.is_ascii_digit()));
    // One that has ended meanwhile is in none.
    let is_there = |process: &String| {
        fs::metadata(format!("/proc/{process}/ns/net")).is_ok_and(|it| inodes.contains(&it.ino()))
    };
    Ok(processes.filter(is_there).collect())
}
