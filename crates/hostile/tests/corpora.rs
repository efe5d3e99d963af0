//! Each target over its corpus: bytes that were found by fuzzing, those that once made it fail, and what others really
//! write.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use geofilter_hostile::{TARGETS, Target};

/// A target may take so long for a few kilobytes; without optimisation, beside other tests.
const AT_ONCE: Duration = Duration::from_secs(5);
/// And so long for a megabyte: what takes the square of its input takes hours.
const SOON: Duration = Duration::from_secs(30);
/// Those for which more of the same is nothing more, and those that write what they read.
const NOT_LONGER: [&str; 5] = ["backup", "frame", "logged", "portal", "ring_buffer"];

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn names(folder: &str, ending: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(fuzz().join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.map(|name| name.strip_suffix(ending).unwrap().to_owned()).collect()
}

fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = fuzz().join("corpus").join(target.name);
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

/// Names the file if it fails.
fn read(target: &Target, path: &Path, bytes: &[u8], patience: Duration) {
    let began = Instant::now();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target.read(bytes))) {
        eprintln!("by {} with {}", target.name, path.display());
        resume_unwind(panic);
    }
    let took = began.elapsed();
    assert!(took < patience, "{} takes {took:?} for {}", target.name, path.display());
}

/// Memory is counted for all threads together.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(targets.len(), TARGETS.len());
    assert_eq!(names("fuzz_targets", ".rs"), targets);
    assert_eq!(names("corpus", ""), targets);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for target in TARGETS {
        let name = target.name;
        assert!(
            manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")),
            "{name}"
        );
        let program = fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("target::{name}().read(data)")), "{program}");
        assert!(!corpus(target).is_empty(), "{name}");
    }
}

#[test]
fn every_file_of_the_corpora_is_read() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for target in TARGETS {
        for (path, bytes) in corpus(target) {
            read(target, &path, &bytes, AT_ONCE);
        }
    }
}

#[test]
fn a_megabyte_takes_no_longer_than_its_length_says() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for target in TARGETS.iter().filter(|target| !NOT_LONGER.contains(&target.name)) {
        for (path, bytes) in corpus(target).iter().filter(|(_, bytes)| !bytes.is_empty()).take(4) {
            let long: Vec<u8> = bytes.iter().copied().cycle().take(1 << 20).collect();
            read(target, path, &long, SOON);
        }
    }
}
