//! [`Fetcher`]: brings a file from a server into a folder. A file that is there is asked for only if it has changed; what was cut
//! off goes on where it was; nothing longer than it may be is taken, and nothing is waited for without an end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ureq::http::header::{
    CONTENT_RANGE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use ureq::http::{HeaderMap, HeaderName, StatusCode, Uri};
use ureq::tls::{RootCerts, TlsConfig};

use geofilter_reach::{is_here, shown};

use crate::Error;
use crate::job::FRESH;

/// Times that a file is asked for before it is given up; one that brought something is not counted.
const ATTEMPTS: u32 = 4;
/// Bytes that make an attempt count as one that brought something.
const SOMETHING: u64 = 64 * 1024;
/// Redirections that are followed.
const REDIRECTIONS: u32 = 5;
/// Bytes that are read at once.
const BUFFER: usize = 64 * 1024;

/// How long is waited for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Patience {
    /// Seconds until it has connected, answered, or sent the next byte.
    pub silence: u64,
    /// Seconds for one attempt.
    pub attempt: u64,
    /// Seconds before the second attempt; twice that before the third, and so on.
    pub pause: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self { silence: 30, attempt: 300, pause: 2 }
    }
}

/// What is fetched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Where it is.
    pub(crate) url: &'a str,
    /// What it is called in the folder.
    pub(crate) name: &'a str,
    /// Bytes it may have.
    pub(crate) most: u64,
    /// A header that says who asks: its name and value.
    pub(crate) authorization: Option<(&'a str, &'a str)>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// It is there, and another one than before.
    New,
    /// It has not changed.
    Same,
    /// The server has no such thing.
    Absent,
}

/// What is kept beside a file, whole or not: by what the server knows it again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    url: String,
    etag: Option<String>,
    modified: Option<String>,
    length: u64,
}

impl Mark {
    fn of(url: &str, headers: &HeaderMap) -> Self {
        let text =
            |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self { url: url.to_owned(), etag: text(ETAG), modified: text(LAST_MODIFIED), length: 0 }
    }

    /// By what a part may go on (RFC 9110, 13.1.5): a weak tag does not say that the bytes are the same.
    fn strong(&self) -> Option<&str> {
        let strong = self.etag.as_deref().filter(|etag| !etag.starts_with("W/"));
        strong.or(self.modified.as_deref())
    }

    fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, serde_json::to_vec(self)?)
    }
}

/// See the module.
pub(crate) struct Fetcher {
    folder: PathBuf,
    patience: Patience,
    agent: ureq::Agent,
}

/// Why an attempt failed.
enum Setback {
    /// Another attempt may do better.
    Passing(String),
    Lasting(Error),
}

impl From<io::Error> for Setback {
    fn from(error: io::Error) -> Self {
        Self::Lasting(Error::Folder(error))
    }
}

impl Fetcher {
    /// Brings files into this folder.
    pub(crate) fn new(folder: PathBuf, patience: Patience, roots: RootCerts) -> Self {
        let silence = Some(Duration::from_secs(patience.silence));
        let config = ureq::Agent::config_builder()
            .timeout_connect(silence)
            .timeout_recv_response(silence)
            .timeout_per_read(silence)
            .timeout_recv_body(Some(Duration::from_secs(patience.attempt)))
            .max_redirects(REDIRECTIONS)
            .http_status_as_error(false)
            .accept_encoding("identity")
            .user_agent(concat!("geofilter/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        Self { folder, patience, agent: ureq::Agent::new_with_config(config) }
    }

    /// Fetches a file, if it is another one than that which is there. `progress` is told how many bytes are there, and how
    /// many there will be.
    ///
    /// # Errors
    /// If it can't be had, is longer than it may be, or can't be kept.
    pub(crate) fn fetch(
        &self,
        wanted: Wanted<'_>,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<Fetched, Error> {
        check(wanted.url)?;
        let mut failures = 0;
        loop {
            let before = self.part_length(wanted);
            match self.attempt(wanted, progress) {
                Ok(fetched) => return Ok(fetched),
                Err(Setback::Lasting(error)) => return Err(error),
                Err(Setback::Passing(why)) => {
                    let brought = self.part_length(wanted).saturating_sub(before) >= SOMETHING;
                    failures = if brought { 1 } else { failures + 1 };
                    if failures >= ATTEMPTS {
                        return Err(Error::Server { server: shown(wanted.url), why });
                    }
                    let pause = self.patience.pause << (failures - 1);
                    thread::sleep(Duration::from_secs(pause));
                }
            }
        }
    }

    fn attempt(
        &self,
        wanted: Wanted<'_>,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<Fetched, Setback> {
        let whole = self.whole(wanted);
        let part = self.part(wanted);
        // Whoever is asked by TLS sends nobody to where there is none.
        let tls = wanted.url.starts_with("https://");
        let mut request = self.agent.get(wanted.url).config().https_only(tls).build();
        if let Some((name, value)) = wanted.authorization {
            request = request.header(name, value);
        }
        let conditions = match (&part, &whole) {
            (Some(part), _) => vec![
                (RANGE, format!("bytes={}-", part.length)),
                (IF_RANGE, part.strong().unwrap_or_default().to_owned()),
            ],
            (None, Some(whole)) => unchanged(whole),
            (None, None) => Vec::new(),
        };
        for (name, value) in conditions {
            request = request.header::<HeaderName, _>(name, value);
        }
        let passing = |error: ureq::Error| Setback::Passing(error.to_string());
        let answer = request.call().map_err(passing)?;
        let server = || shown(wanted.url);
        let status = answer.status();
        match status {
            StatusCode::NOT_MODIFIED if whole.is_some() => Ok(Fetched::Same),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Fetched::Absent),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(Setback::Lasting(Error::Refused { server: server(), status: status.as_u16() }))
            }
            StatusCode::OK => {
                let mark = Mark::of(wanted.url, answer.headers());
                let length = answer.body().content_length();
                self.take(wanted, mark, length, answer.into_body().into_reader(), progress)?;
                Ok(Fetched::New)
            }
            StatusCode::PARTIAL_CONTENT => {
                let Some(mark) = part.filter(|part| begins_at(answer.headers(), part.length))
                else {
                    self.forget_part(wanted);
                    return Err(Setback::Passing(
                        "it sent another part than was asked for".to_owned(),
                    ));
                };
                let length = answer.body().content_length().map(|rest| mark.length + rest);
                self.take(wanted, mark, length, answer.into_body().into_reader(), progress)?;
                Ok(Fetched::New)
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                self.forget_part(wanted);
                Err(Setback::Passing("what was there of it is no part of it".to_owned()))
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(Setback::Passing(format!("it answered {status}")))
            }
            status => {
                let why = format!("it answered {status}");
                Err(Setback::Lasting(Error::Server { server: server(), why }))
            }
        }
    }

    /// Takes what the server sends, from where the mark says.
    fn take(
        &self,
        wanted: Wanted<'_>,
        mut mark: Mark,
        length: Option<u64>,
        mut body: impl Read,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<(), Setback> {
        let path = self.path(wanted, ".part");
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        file.set_len(mark.length)?;
        file.seek(io::SeekFrom::End(0))?;
        mark.write(&self.path(wanted, ".part.json"))?;
        let mut buffer = vec![0; BUFFER];
        loop {
            progress(mark.length, length);
            let read = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) => return Err(Setback::Passing(error.to_string())),
            };
            mark.length += read as u64;
            if mark.length > wanted.most {
                self.forget_part(wanted);
                let server = shown(wanted.url);
                return Err(Setback::Lasting(Error::TooLong { server, most: wanted.most }));
            }
            file.write_all(&buffer[..read])?;
        }
        if length.is_some_and(|length| length != mark.length) {
            return Err(Setback::Passing("the connection ended in the middle".to_owned()));
        }
        file.sync_all()?;
        self.freshen()?;
        fs::rename(&path, self.path(wanted, ""))?;
        mark.write(&self.path(wanted, ".json"))?;
        self.forget_part(wanted);
        Ok(())
    }

    /// Says that there is something of which nothing has been made yet.
    pub(crate) fn freshen(&self) -> io::Result<()> {
        fs::write(self.folder.join(FRESH), [])
    }

    /// The file that is there, if it is of the same place and as long as it was.
    fn whole(&self, wanted: Wanted<'_>) -> Option<Mark> {
        let mark = Mark::read(&self.path(wanted, ".json"))?;
        let length = fs::metadata(self.path(wanted, "")).ok()?.len();
        (mark.url == wanted.url && mark.length == length).then_some(mark)
    }

    /// The part that is there and may go on.
    fn part(&self, wanted: Wanted<'_>) -> Option<Mark> {
        let mark = Mark::read(&self.path(wanted, ".part.json"))?;
        let length = fs::metadata(self.path(wanted, ".part")).ok()?.len();
        let goes_on = mark.url == wanted.url && mark.strong().is_some() && length > 0;
        goes_on.then_some(Mark { length, ..mark })
    }

    fn part_length(&self, wanted: Wanted<'_>) -> u64 {
        fs::metadata(self.path(wanted, ".part")).map_or(0, |part| part.len())
    }

    /// What is not there need not be removed.
    fn forget_part(&self, wanted: Wanted<'_>) {
        for ending in [".part", ".part.json"] {
            let _ = fs::remove_file(self.path(wanted, ending));
        }
    }

    fn path(&self, wanted: Wanted<'_>, ending: &str) -> PathBuf {
        self.folder.join(format!("{}{ending}", wanted.name))
    }
}

/// Fetched again in any case: what was there turned out to be no good.
pub(crate) fn forget(folder: &Path, name: &str) {
    let _ = fs::remove_file(folder.join(format!("{name}.json")));
}

/// A file that was fetched.
pub(crate) fn open(folder: &Path, name: &str) -> Result<File, Error> {
    File::open(folder.join(name)).map_err(Error::Folder)
}

/// Of when a file is: the month that its address names, the day on which its server says that it was changed, or the day on which
/// it was put there.
pub(crate) fn date(folder: &Path, name: &str) -> String {
    let mark = Mark::read(&folder.join(format!("{name}.json"))).unwrap_or_default();
    let modified = || {
        let said = jiff::fmt::rfc2822::parse(&mark.modified?).ok()?;
        Some(said.timestamp())
    };
    let put = || {
        let put = fs::metadata(folder.join(name)).and_then(|file| file.modified()).ok()?;
        Timestamp::try_from(put).ok()
    };
    month_in(&mark.url).unwrap_or_else(|| {
        let time = modified().or_else(put).unwrap_or(Timestamp::UNIX_EPOCH);
        time.strftime("%Y-%m-%d").to_string()
    })
}

/// The last `2026-10` in a text.
fn month_in(text: &str) -> Option<String> {
    let is_month = |window: &&[u8]| match window {
        [year @ .., b'-', tens, units] => {
            let digits = year.iter().chain([tens, units]).all(u8::is_ascii_digit);
            digits && year.starts_with(b"20")
        }
        _ => false,
    };
    let month = text.as_bytes().windows(7).rfind(is_month)?;
    String::from_utf8(month.to_vec()).ok()
}

fn unchanged(mark: &Mark) -> Vec<(HeaderName, String)> {
    let etag = mark.etag.clone().map(|etag| (IF_NONE_MATCH, etag));
    let modified = mark.modified.clone().map(|modified| (IF_MODIFIED_SINCE, modified));
    etag.into_iter().chain(modified).collect()
}

/// Whether it is the rest from there on: `bytes 1000-1999/2000`.
fn begins_at(headers: &HeaderMap, start: u64) -> bool {
    let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let first = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next());
    first.is_some_and(|first| first.parse() == Ok(start))
}

/// Data that decides who may call comes over TLS, or from this machine.
fn check(url: &str) -> Result<(), Error> {
    let wrong = |why: String| Error::Address { url: shown(url), why };
    let uri: Uri = url.parse().map_err(|error| wrong(format!("{error}")))?;
    let here = uri.host().is_some_and(is_here);
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if here => Ok(()),
        Some("http") => Err(wrong("world data comes by https://, or from this machine".to_owned())),
        Some(_) | None => Err(wrong("an address begins with https://".to_owned())),
    }
}
