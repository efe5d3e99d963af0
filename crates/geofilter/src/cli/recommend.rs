//! `recommend`: the policy that this host's own logs speak for. With `--log` it reads only those files, and needs
//! neither root nor an agent; without, it asks the PBX as `detect` does, and reads the logs that it writes.

mod files;

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use geofilter_core::logs::Lines;
use geofilter_core::pbx::findings::{self, Code};
use geofilter_core::recommend::{Around, Evidence, Recommendation, recommend};
use geofilter_core::surroundings::Surroundings;
use geofilter_core::wire::Failure;

use super::args::{self, Global};
use super::preview::log::{self, Told};
use super::{Outcome, failed, render_recommend, show};
use crate::detect::Pbxs;
use crate::geo::Geo;
use crate::{agent, detect, logs};

pub(super) fn run(args: &args::Recommend, global: &Global) -> Outcome {
    let found = match args.log.is_empty() {
        true => of_this_host(args)?,
        false => Found { files: args.log.clone(), ..Found::default() },
    };
    let geo = Geo::embedded().map_err(|error| failed(format!("{error:#}")))?;
    let mut evidence = Evidence::new(geo.world());
    let told = match found.files.is_empty() {
        true => Told { lines: Lines::default(), warnings: Vec::new() },
        false => log::read(log::open(&found.files, !global.json)?, |event| evidence.add(event))?,
    };
    let devices = found.pbxs.iter().flat_map(|it| &it.pbxs).filter(|pbx| !pbx.container);
    for device in devices.flat_map(|pbx| &pbx.devices) {
        evidence.add_registered(&device.endpoint, device.address.ip());
    }
    let period = evidence.period();
    let around = Around {
        now: logs::calendar(SystemTime::now()).now,
        systems: geo.announced_by(evidence.hosted()),
        pbxs: found.pbxs.as_ref().map(|it| it.pbxs.clone()),
    };
    let mut recommendation = recommend(evidence, &around);
    if let Some((since, until)) = period {
        recommendation.since = logs::rfc3339(since);
        recommendation.until = logs::rfc3339(until);
    }
    tell(&mut recommendation, &found, told);
    show(global, recommendation, render_recommend::recommendation)
}

/// What there is to read and to know.
#[derive(Default)]
struct Found {
    files: Vec<PathBuf>,
    pbxs: Option<Pbxs>,
    warnings: Vec<String>,
}

/// The PBXs of this host, and the logs they write.
fn of_this_host(args: &args::Recommend) -> Result<Found, Failure> {
    let manager = agent::manager(args.config.as_deref());
    let manager = manager.map_err(|error| failed(format!("{error:#}")))?;
    let pbxs = detect::pbxs(manager.as_ref());
    let mut found = Found::default();
    for path in files::of(&pbxs.pbxs) {
        match files::readable(&path) {
            Ok(()) => found.files.push(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                found.warnings.push(format!("{} was not read: {error}", path.display()));
            }
        }
    }
    let devices = pbxs.pbxs.iter().filter(|pbx| !pbx.container).map(|pbx| pbx.devices.len());
    if found.files.is_empty() && devices.sum::<usize>() == 0 {
        let why = [found.warnings.as_slice(), pbxs.notes.as_slice()].concat();
        let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join("; ")) };
        return Err(failed(format!(
            "no log of a PBX was found that can be read here{why}: run this as root on the PBX's host, or name the logs, such as `geofilter recommend --log /var/log/asterisk/security*`"
        )));
    }
    let private = findings::warnings(&pbxs.pbxs, &pbxs.attempts, &Surroundings::default());
    let private = private.into_iter().filter(|warning| warning.code == Code::OnePrivateSource);
    found.warnings.extend(private.map(|warning| warning.message));
    found.warnings.extend(pbxs.notes.iter().map(|note| format!("could not be seen: {note}")));
    found.pbxs = Some(pbxs);
    Ok(found)
}

/// Fills in what was read.
fn tell(recommendation: &mut Recommendation, found: &Found, told: Told) {
    let seen = &mut recommendation.seen;
    seen.files = found.files.iter().map(|path| path.display().to_string()).collect();
    seen.lines = told.lines.total;
    seen.unreadable = told.lines.total - told.lines.understood;
    if seen.unreadable > 0 {
        recommendation
            .warnings
            .push(format!("{} of {} lines were not understood", seen.unreadable, seen.lines));
    }
    if told.lines.ambiguous > 0 {
        recommendation.warnings.push(format!(
            "{} lines could be about several addresses, and tell nothing: somebody forges them",
            told.lines.ambiguous
        ));
    }
    recommendation.warnings.extend(told.warnings);
    recommendation.warnings.extend_from_slice(&found.warnings);
}
