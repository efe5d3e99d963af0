//! Compiles BPF programs with clang, for build scripts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Compiles `bpf/NAME.bpf.c` of the crate whose build script calls it to `NAME.bpf.o` in `OUT_DIR`.
///
/// # Panics
/// If clang can't be run, or refuses: a build script fails by panicking.
pub fn compile(name: &str) {
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    let [root, out] = ["CARGO_MANIFEST_DIR", "OUT_DIR"].map(|variable| {
        PathBuf::from(env::var_os(variable).expect("cargo sets it for build scripts"))
    });
    let source = Path::new("bpf").join(name).with_extension("bpf.c");
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let mut command = Command::new(&clang);
    command
        .args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Werror"])
        .args(["-Wno-sign-compare"])
        .arg(format!("-ffile-prefix-map={}=.", root.display()))
        .args(multiarch_headers().map(|folder| format!("-I{}", folder.display())))
        .arg("-c")
        .arg(&source)
        .arg("-o")
        .arg(out.join(name).with_extension("bpf.o"));
    let status = command.status().unwrap_or_else(|error| {
        panic!("cannot run {clang}: {error}. Install clang and libbpf-dev, or run `make deps`.")
    });
    assert!(status.success(), "{clang} could not compile {}: see above", source.display());
}

/// Debian and Ubuntu keep `asm/types.h` in a folder named after the architecture, which clang does not
/// search for the BPF target.
fn multiarch_headers() -> Option<PathBuf> {
    fs::read_dir("/usr/include")
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|folder| folder.join("asm/types.h").exists() && !folder.ends_with("asm"))
}
