//! Whatever this program reads of what others wrote, each reader as a [`Target`]: a function of bytes that panics if
//! something does not hold. `make fuzz` looks for bytes that make it panic (`fuzz/`), `make test` runs it over those that
//! were found or are like what others really write (`fuzz/corpus/`). docs/hostile.md says who writes what.
//!
//! [`geodata`] are the files of data sources, [`phones`] logs and answers of PBXs, [`host`] what comes from this host
//! and its kernel, [`requests`] what the parts of GeoFilter and its operators say to each other.

#![expect(clippy::unwrap_used, reason = "a target fails by panicking")]

pub mod geodata;
pub mod host;
mod memory;
pub mod phones;
pub mod requests;

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A reader, and what must hold of what it reads.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What `make fuzz` calls it.
    pub name: &'static str,
    /// Reads these bytes.
    read: fn(&[u8]),
    /// MiB that it may take for a few bytes.
    most: usize,
}

/// What it may take beside that for each byte.
const EACH: usize = 256;

impl Target {
    /// Reads these bytes.
    pub fn read(&self, bytes: &[u8]) {
        let took = memory::most_during(|| (self.read)(bytes));
        let most = (self.most << 20) + EACH * bytes.len();
        assert!(took <= most, "{} takes {took} bytes of memory for {}", self.name, bytes.len());
    }
}

macro_rules! targets {
    ($($module:ident: $($name:ident $most:literal),+;)+) => {
        /// Each by its name, so that a program is made of one alone.
        pub mod target {
            use super::{Target, $($module),+};

            $($(
                /// See the function that reads.
                pub const fn $name() -> Target {
                    Target { name: stringify!($name), read: $module::$name, most: $most }
                }
            )+)+
        }

        /// All of them.
        pub const TARGETS: &[Target] = &[$($(target::$name(),)+)+];
    };
}

targets! {
    geodata: range_csv 4, maxmind_csv 4, as_csv 16, delegated 4, ipfire_text 16, ipfire_database 64, lists 4, as_classes 4,
        mmdb 64, import 256, image 512;
    phones: logs 4, kept_bans 4, asterisk 4, manager 4, kamailio 4;
    host: frame 1, ring_buffer 1, logged 1, nft 4, surroundings 4, redaction 4, configuration 8, state 16, backup 4;
    requests: request 4, reply 4, portal 64, letter 4, worker 1, fleet 8;
}

/// What is written is read as it was.
fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let text = serde_json::to_vec(value).unwrap();
    let again: T = serde_json::from_slice(&text)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text)));
    assert_eq!(&again, value);
}

/// Nothing but printable ASCII, and not too much of it.
fn assert_printable(text: &str) {
    assert!(
        text.len() <= 200 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
        "{text:?}"
    );
}
