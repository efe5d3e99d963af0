//! Compiles `bpf/geofilter.bpf.c` with clang.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    compile(Path::new("bpf/geofilter.bpf.c"), &out.join("geofilter.bpf.o"));
}

fn compile(source: &Path, object: &Path) {
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let mut command = Command::new(&clang);
    command
        .args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Werror"])
        .args(["-Wno-sign-compare"])
        .arg(format!("-ffile-prefix-map={}=.", env!("CARGO_MANIFEST_DIR")))
        .args(multiarch_headers().map(|folder| format!("-I{}", folder.display())))
        .arg("-c")
        .arg(source)
        .arg("-o")
        .arg(object);
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
