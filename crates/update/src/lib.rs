//! World data from the network. [`sources`] says where it comes from; [`update`] does a [`Job`] for a process without privileges:
//! it [fetches](fetch) what has changed, and [makes](images) images of it, which whoever has the privileges judges and uses.

mod fetch;
mod images;
mod job;
pub mod sources;
mod unpack;

use std::io;
use std::path::Path;

use data_encoding::HEXLOWER;
use sha2::Digest as _;
use ureq::tls::{Certificate, RootCerts};

pub use fetch::Patience;
pub use job::{BASE, Images, Job, MADE, Told};

use fetch::{Fetched, Fetcher, Wanted, shown};
use sources::{Digest, Part, Place, Source};

/// Why data could not be had, or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder can't be used.
    #[error("cannot use the folder of world data: {0}")]
    Folder(#[from] io::Error),
    /// No such address.
    #[error("cannot fetch from {url}: {why}")]
    Address {
        /// What may be said of it.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// It does not serve it.
    #[error("cannot fetch from {server}: {why}; what is in use stays so")]
    Server {
        /// Which.
        server: String,
        /// Why.
        why: String,
    },
    /// It does not serve it to us.
    #[error(
        "{server} refuses it (status {status}): see whether account and key are right, and within their limits"
    )]
    Refused {
        /// Which.
        server: String,
        /// What it answered.
        status: u16,
    },
    /// A file without end.
    #[error("what {server} sends is longer than {most} bytes, and no such file is")]
    TooLong {
        /// Which.
        server: String,
        /// What it may have.
        most: u64,
    },
    /// It is another file than its owner published.
    #[error(
        "what {server} sent is not what its digest is of: it was damaged or changed on the way"
    )]
    Digest {
        /// Which.
        server: String,
    },
    /// It can't be read.
    #[error("cannot read {what}: {why}")]
    Unreadable {
        /// What.
        what: String,
        /// Why.
        why: String,
    },
    /// What comes out of it can't be used.
    #[error("cannot make an image of it: {0}")]
    Image(#[from] geofilter_core::geodata::ImageError),
    /// There are more different things in it than the kernel's table holds.
    #[error(transparent)]
    TooMany(#[from] geofilter_core::world::TooManyEntries),
}

/// What this machine trusts; read before a process may not any more.
pub struct Trust(RootCerts);

impl Trust {
    /// That of the machine.
    pub fn of_this_machine() -> Self {
        let certificates = rustls_native_certs::load_native_certs().certs;
        let certificates = certificates.iter().map(|one| Certificate::from_der(one).to_owned());
        Self(RootCerts::new_with_certs(&certificates.collect::<Vec<_>>()))
    }
}

/// Bytes that a digest may have with what stands around it.
const DIGEST: u64 = 4096;

/// Does a job, and tells of it. Says whether images were made.
///
/// # Errors
/// If a source can't be had or read. What is there stays so.
pub fn update(job: &Job, trust: Trust, tell: &mut dyn FnMut(Told)) -> Result<bool, Error> {
    let fetcher = Fetcher::new(job.folder.clone(), job.patience, trust.0);
    let mut new = job.anew;
    for (part, source) in &job.sources {
        let changed = fetch(&fetcher, &job.folder, *part, source, tell)?;
        if !changed {
            tell(Told::Same { source: source.name.clone() });
        }
        new |= changed;
    }
    if new {
        tell(Told::Making);
        images::make(job)?;
    }
    Ok(new)
}

/// Fetches the files of a source. Says whether one is another than before.
fn fetch(
    fetcher: &Fetcher,
    folder: &Path,
    part: Part,
    source: &Source,
    tell: &mut dyn FnMut(Told),
) -> Result<bool, Error> {
    let mut new = false;
    for (number, place) in source.places.iter().enumerate() {
        let name = file_name(part, number);
        let mut progress = |bytes, total| {
            tell(Told::Fetching { source: source.name.clone(), bytes, total });
        };
        let Some(url) = fetch_first(fetcher, source, place, &name, &mut progress, &mut new)? else {
            continue;
        };
        if let Err(error) = check_digest(fetcher, folder, source, place, &name, url) {
            // Otherwise it would not be asked for again.
            fetch::forget(folder, &name);
            return Err(error);
        }
    }
    Ok(new)
}

/// Fetches from the first address that has it. Returns which if it was another one than before.
fn fetch_first<'a>(
    fetcher: &Fetcher,
    source: &Source,
    place: &'a Place,
    name: &str,
    progress: &mut dyn FnMut(u64, Option<u64>),
    new: &mut bool,
) -> Result<Option<&'a str>, Error> {
    let authorization =
        source.authorization.as_ref().map(|(name, value)| (name.as_str(), value.as_str()));
    for url in &place.urls {
        let wanted = Wanted { url, name, most: source.most, authorization };
        match fetcher.fetch(wanted, progress)? {
            Fetched::New => {
                *new = true;
                return Ok(Some(url));
            }
            Fetched::Same => return Ok(None),
            Fetched::Absent => {}
        }
    }
    match place.urls.first() {
        // It was put there.
        None => {
            *new = true;
            Ok(None)
        }
        Some(url) => {
            Err(Error::Server { server: shown(url), why: "it has no such file".to_owned() })
        }
    }
}

/// Whether a file is what its owner says it is, where one says.
fn check_digest(
    fetcher: &Fetcher,
    folder: &Path,
    source: &Source,
    place: &Place,
    name: &str,
    url: &str,
) -> Result<(), Error> {
    let Some(digest) = place.digest else { return Ok(()) };
    let ending = match digest {
        Digest::Sha256 => ".sha256",
        Digest::Md5 => ".md5",
    };
    let (url, beside) = (format!("{url}{ending}"), format!("{name}{ending}"));
    let authorization =
        source.authorization.as_ref().map(|(name, value)| (name.as_str(), value.as_str()));
    let wanted = Wanted { url: &url, name: &beside, most: DIGEST, authorization };
    if fetcher.fetch(wanted, &mut |_, _| {})? == Fetched::Absent {
        let why = "it has no digest of the file".to_owned();
        return Err(Error::Server { server: shown(&url), why });
    }
    let said = std::fs::read_to_string(folder.join(&beside))?.to_lowercase();
    let mut file = fetch::open(folder, name)?;
    let is = match digest {
        Digest::Sha256 => HEXLOWER.encode(&digest_of(sha2::Sha256::new(), &mut file)?),
        Digest::Md5 => HEXLOWER.encode(&digest_of(md5::Md5::new(), &mut file)?),
    };
    match said.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|word| word == is) {
        true => Ok(()),
        false => Err(Error::Digest { server: shown(&url) }),
    }
}

fn digest_of<D: sha2::Digest + io::Write>(
    mut digest: D,
    file: &mut std::fs::File,
) -> io::Result<Vec<u8>> {
    io::copy(file, &mut digest)?;
    Ok(digest.finalize().to_vec())
}

/// What a file of a source is called in the folder.
fn file_name(part: Part, number: usize) -> String {
    let part = match part {
        Part::Primary => "primary",
        Part::Second => "second",
        Part::Systems => "systems",
        Part::Classes => "classes",
    };
    format!("{part}-{number}")
}

/// What a file for the source that decides is called that is put into the folder instead of being fetched.
pub fn put_name(number: usize) -> String {
    file_name(Part::Primary, number)
}
