//! [`pack`]: what a machine boots into: modules of its kernel, programs of its suite, and ours.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::namespace::succeed;

/// Where our programs lie.
const OURS: &str = "opt/geofilter";
/// The first process, and the product beside it.
pub const GUEST: &str = "kernels";
const PRODUCT: &str = "geofilter";

/// Folders of modules that are taken along, and single modules.
const MODULES: [&str; 10] = [
    "net",
    "lib",
    "crypto",
    "arch",
    "drivers/net/veth.ko",
    "drivers/net/dummy.ko",
    "drivers/net/tun.ko",
    "drivers/net/macvlan.ko",
    "drivers/net/ppp",
    "drivers/net/slip",
];
/// What busybox is called to do: of the kernel when it wants a module, and of the lab.
const APPLETS: [&str; 4] = ["modprobe", "sh", "mount", "unshare"];

/// Makes an archive of all, into a file. `ours` is the folder of the programs that were built.
///
/// # Errors
/// If something is missing, or the tools that pack it are.
pub fn pack(kernel: &Path, tools: &Path, ours: &Path, file: &Path) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("gf-initramfs").tempdir()?;
    let root = folder.path();
    for name in [
        "dev",
        "proc",
        "sys",
        "run",
        "tmp",
        "var/lib",
        "usr/lib",
        "usr/lib64",
        "usr/bin",
        "usr/sbin",
        "etc",
        OURS,
    ] {
        fs::create_dir_all(root.join(name))?;
    }
    // As every Debian of today is laid out, whatever the packages say.
    for name in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name))?;
        for from in [tools.join(name), tools.join("usr").join(name)] {
            copy(&from, &root.join("usr").join(name))?;
        }
    }
    for applet in APPLETS {
        let path = root.join("usr/sbin").join(applet);
        if applet == "sh" {
            symlink("busybox", root.join("usr/bin/sh"))?;
        } else if !path.exists() {
            symlink("../bin/busybox", path)?;
        }
    }
    for program in [GUEST, PRODUCT] {
        let built = ours.join(program);
        let to = root.join(OURS).join(program);
        fs::copy(&built, &to).with_context(|| format!("{} is not built", built.display()))?;
    }
    symlink(format!("{OURS}/{GUEST}"), root.join("init"))?;
    modules(kernel, root)?;
    archive(root, file)
}

/// Copies what is in a folder, if there is one, with links as links.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() || from.is_symlink() {
        return Ok(());
    }
    succeed(Command::new("cp").arg("-a").arg(from.join(".")).arg(to)).map(drop)
}

/// The modules, unpacked, and what tells of each which others it needs.
fn modules(kernel: &Path, root: &Path) -> Result<()> {
    let found = ["lib/modules", "usr/lib/modules"].map(|name| kernel.join(name));
    let found = found.iter().find(|folder| folder.is_dir()).context("the kernel has no modules")?;
    let folder = only_entry(found)?;
    let release = folder.file_name().context("a name")?.to_owned();
    let to = root.join("usr/lib/modules").join(&release);
    fs::create_dir_all(&to)?;
    for name in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        if folder.join(name).is_file() {
            fs::copy(folder.join(name), to.join(name))?;
        }
    }
    for name in MODULES {
        let (name, from) = match folder.join("kernel").join(name) {
            from if from.exists() => (name.to_owned(), from),
            _ => (format!("{name}.xz"), folder.join(format!("kernel/{name}.xz"))),
        };
        // Not every kernel has all of them as modules.
        if from.exists() {
            let to = to.join("kernel").join(&name);
            fs::create_dir_all(to.parent().context("a folder")?)?;
            succeed(Command::new("cp").arg("-a").arg(from).arg(to))?;
        }
    }
    let unpack = "find \"$1\" -name '*.ko.xz' -exec xz -d {} +";
    succeed(Command::new("sh").args(["-ec", unpack, "sh"]).arg(&to))?;
    succeed(Command::new("depmod").arg("-b").arg(root).arg(&release)).map(drop)
}

fn only_entry(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    ensure!(entries.len() == 1, "{} should have one folder", folder.display());
    Ok(entries[0].path())
}

fn archive(root: &Path, file: &Path) -> Result<()> {
    let pack = "cd \"$1\" && find . | cpio --quiet -o -H newc >\"$2\"";
    succeed(Command::new("sh").args(["-ec", pack, "sh"]).arg(root).arg(file)).map(drop)
}
