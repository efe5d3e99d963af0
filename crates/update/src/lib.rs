//! World data from the network. [`sources`] says where it comes from; [`update`] does a [`Job`] for a process without privileges:
//! it [fetches](fetch) what has changed, and [makes](images) images of it, which whoever has the privileges judges and uses.

mod fetch;
mod images;
mod job;
pub mod parsers;
pub mod sources;
mod unpack;

use std::io;
use std::path::Path;

use data_encoding::HEXLOWER;
use geofilter_reach::shown;
use sha2::Digest as _;
use ureq::tls::RootCerts;

pub use fetch::Patience;
pub use job::{BASE, FRESH, Images, Job, MADE, Told};

use fetch::{Fetched, Fetcher, Wanted};
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
}

/// Bytes that a digest may have with what stands around it.
const DIGEST: u64 = 4096;

/// Does a job, and tells of it. Says whether images were made.
///
/// # Errors
/// If a source can't be had or read. What is there stays so.
pub fn update(job: &Job, trust: RootCerts, tell: &mut dyn FnMut(Told)) -> Result<bool, Error> {
    let fetcher = Fetcher::new(job.folder.clone(), job.patience, trust);
    for (part, source) in &job.sources {
        for (number, place) in source.places.iter().enumerate() {
            let name = file_name(*part, number);
            let mut progress = |bytes, total| {
                tell(Told::Fetching { source: source.name.clone(), bytes, total });
            };
            fetch(&fetcher, &job.folder, source, place, &name, &mut progress)?;
        }
    }
    let fresh = job.folder.join(FRESH).exists();
    if fresh {
        tell(Told::Making);
        images::make(job)?;
    }
    Ok(fresh)
}

/// Fetches a file of a source from the first address that has it, if it is another one than before.
fn fetch(
    fetcher: &Fetcher,
    folder: &Path,
    source: &Source,
    place: &Place,
    name: &str,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(), Error> {
    let Some(first) = place.urls.first() else {
        // It was put there.
        return Ok(fetcher.freshen()?);
    };
    for url in &place.urls {
        match fetcher.fetch(wanted(source, url, name, source.most), progress)? {
            Fetched::New => {
                return check_digest(fetcher, folder, source, place, name, url)
                    // Otherwise it would not be asked for again.
                    .inspect_err(|_| fetch::forget(folder, name));
            }
            Fetched::Same => return Ok(()),
            Fetched::Absent => {}
        }
    }
    Err(Error::Server { server: shown(first), why: "it has no such file".to_owned() })
}

/// A file of a source.
fn wanted<'a>(source: &'a Source, url: &'a str, name: &'a str, most: u64) -> Wanted<'a> {
    let who = source.authorization.as_ref();
    Wanted { url, name, most, authorization: who.map(|(name, value)| (&**name, &**value)) }
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
    let asked = wanted(source, &url, &beside, DIGEST);
    if fetcher.fetch(asked, &mut |_, _| {})? == Fetched::Absent {
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
