//! What `portal run --fleet` starts to fetch world data for the hosts of its fleet: the portal itself can reach nobody. It has a folder and a way
//! out, and is told when by a socket, which is its standard input; what it made is judged by the portal.

use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use geofilter_core::wire::Failure;
use geofilter_portal::fleet::{Ask, BASE, FOLDER, Fetched, MADE as BUNDLE};
use geofilter_portal::sandbox;
use geofilter_update::{BASE as IN_USE, FRESH, Job, MADE};
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::agent::{self, Wishes};
use crate::cli::args::PortalFetcher;
use crate::cli::failed;
use crate::files::write_whole;
use crate::geo::Images;

/// Starts it, with a folder of its own in the portal's. It ends with this process, which has become the portal's user already.
pub(super) fn start(state_dir: &Path, config: Option<&Path>) -> io::Result<OwnedFd> {
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir.join(FOLDER))?;
    let (here, there) = UnixStream::pair()?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("geofilter").args(["portal", "fetcher", "--state-dir"]).arg(state_dir);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    command.env_clear();
    // A host may reach others by a proxy alone.
    let proxies = ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"];
    command.envs(proxies.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.stdin(Stdio::from(OwnedFd::from(there))).stdout(Stdio::null()).process_group(0);
    command.spawn()?;
    Ok(here.into())
}

/// What that process does.
///
/// # Errors
/// If it can't be confined, or its socket fails.
pub(crate) fn fetch(fetcher: PortalFetcher) -> Result<(), Failure> {
    agent::give_back_what_is_large();
    let unusable = |error: io::Error| failed(format!("cannot use its socket: {error}"));
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| failed(format!("cannot end with the portal: {error}")))?;
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(unusable)?;
    let wishes = agent::geodata_wishes(fetcher.config.as_deref());
    let wishes = wishes.map_err(|error| failed(format!("{error:#}")))?;
    let trust = geofilter_reach::trusted();
    let folder = fetcher.state_dir.join(FOLDER);
    let secrets: Vec<_> =
        wishes.secrets().map(|file| file.to_string_lossy().into_owned()).collect();
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    sandbox::enter_fetcher(&folder, &secrets).map_err(|error| failed(error.to_string()))?;
    let mut answers = UnixStream::from(socket);
    let asked = BufReader::new(answers.try_clone().map_err(unusable)?);
    for line in asked.lines() {
        let line = line.map_err(unusable)?;
        let ask = serde_json::from_str(&line);
        match ask.map_err(|error| failed(format!("what the portal asks can't be read: {error}")))? {
            Ask::Fetch => {
                let job =
                    Job { folder: folder.clone(), sources: Vec::new(), patience: wishes.patience };
                let fetched = make(job, &wishes, &trust);
                let fetched = fetched.unwrap_or_else(|error| Fetched::Failed(format!("{error:#}")));
                let mut answer =
                    serde_json::to_vec(&fetched).map_err(|error| unusable(error.into()))?;
                answer.push(b'\n');
                // Who does not wait for it has gone.
                if answers.write_all(&answer).is_err() {
                    break;
                }
            }
            // What can't be removed is made once more, and is the same.
            Ask::Kept => {
                [FRESH, BUNDLE].iter().for_each(|name| drop(fs::remove_file(folder.join(name))))
            }
        }
    }
    Ok(())
}

fn make(
    mut job: Job,
    wishes: &Wishes,
    trust: &geofilter_reach::RootCerts,
) -> anyhow::Result<Fetched> {
    let folder = job.folder.clone();
    let served = Images::read(&folder.join(BASE))?;
    if served.is_none() {
        // Nothing is served: what there is is made, also if it came long ago.
        File::create(folder.join(FRESH))?;
    }
    let base = served.unwrap_or(Images::EMBEDDED);
    for (name, image) in [(IN_USE.world, &base.world), (IN_USE.systems, &base.systems)] {
        write_whole(&folder, name, image)?;
    }
    job.sources = wishes.sources()?;
    if !geofilter_update::update(&job, trust.clone(), &mut |_| {})? {
        return Ok(Fetched::Same);
    }
    let image = |name| fs::read(folder.join(name));
    let (world, systems) = (image(MADE.world)?.into(), image(MADE.systems)?.into());
    Images { world, systems }.write(&folder, BUNDLE)?;
    Ok(Fetched::Made)
}

/// What is wrong with where world data comes from, before there is anybody to tell.
pub(super) fn check(config: Option<&PathBuf>) -> anyhow::Result<Wishes> {
    let wishes = agent::geodata_wishes(config.map(|config| &**config))?;
    wishes.sources()?;
    Ok(wishes)
}
