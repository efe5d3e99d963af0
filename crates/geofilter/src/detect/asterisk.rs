//! Asks Asterisk: its manager, if there is a login for it, and otherwise the control socket that its own
//! command line uses.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::iter::repeat_n;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use geofilter_core::logs::{Attempts, Counted, Event, Reader};
use geofilter_core::pbx::{Distribution, Pbx, Trunk, ami, asterisk, freepbx};
use rustix::fs::OFlags;

use super::Pbxs;
use super::control::{Patience, Trouble, open, receive, send};
use super::manager::{Manager, Session};
use super::processes::Found;
use crate::logs::calendar;

const PATIENCE: Duration = Duration::from_secs(3);
/// Where Debian's package has its control socket.
const USUAL: &str = "/var/run/asterisk/asterisk.ctl";
/// How many objects are asked for one by one.
const MANY: usize = 200;
/// How much of the end of a log is read.
const LOG: u64 = 256 << 10;

/// Fills in what Asterisk says, and what its logs and files tell.
pub(super) fn ask(
    found: &Found,
    manager: Option<&Manager>,
    pbx: &mut Pbx,
    result: &mut Pbxs,
) -> Result<(), Trouble> {
    pbx.distribution = freepbx(found);
    let mut console = Console::new(found);
    if let Some(manager) = manager
        && let Err(trouble) = console.log_in(manager)
    {
        result.notes.push(format!("Asterisk's manager at {}: {trouble}", manager.address));
    }
    let told = tell(&mut console, pbx, result);
    if let Some(contacts) = console.contacts()? {
        by_manager(contacts, pbx);
        if told.is_err() {
            pbx.trunks.extend(console.registrations()?);
        }
    } else if let Ok(true) = told {
        by_command_line(&mut console, pbx)?;
    }
    told.map(drop)
}

/// What only the command line tells; whether PJSIP is loaded.
fn tell(console: &mut Console<'_>, pbx: &mut Pbx, result: &mut Pbxs) -> Result<bool, Trouble> {
    pbx.version = asterisk::version(&console.command("core show version")?);
    let settings = console.command("core show settings")?;
    if let Some(folder) = asterisk::log_folder(&settings).filter(|_| !pbx.container) {
        result.attempts.extend(logged(console.found, Path::new(folder)));
    }
    let logs = asterisk::log_files(&console.command("logger show channels")?);
    pbx.logs = Some(asterisk::whole_names(logs, &console.found.files()));
    pbx.rtp = asterisk::rtp(&console.command("rtp show settings")?);
    let transports = console.command("pjsip list transports")?;
    if asterisk::is_unknown(&transports) {
        let note =
            "Asterisk's PJSIP is not loaded; chan_sip and other channel drivers are not asked";
        result.notes.push(note.to_owned());
        return Ok(false);
    }
    pbx.transports = Some(asterisk::transports(&transports));
    pbx.websockets = asterisk::websockets(&console.command("http show status")?);
    pbx.trunks = asterisk::identifies(&console.command("pjsip show identifies")?);
    pbx.trunks.extend(registrations(console)?);
    Ok(true)
}

/// Where Asterisk is asked.
struct Console<'a> {
    found: &'a Found,
    patience: Patience,
    session: Option<Session>,
}

/// What the manager lists: the AORs, and those registered before and after it listed them.
struct Contacts {
    aors: Vec<ami::Event>,
    registered: Vec<ami::Event>,
}

impl<'a> Console<'a> {
    fn new(found: &'a Found) -> Self {
        Self { found, patience: Patience::new(PATIENCE), session: None }
    }

    fn log_in(&mut self, manager: &Manager) -> Result<(), Trouble> {
        self.session = Some(Session::open(manager, self.patience)?);
        Ok(())
    }

    /// The answer to a command, from the manager if it may.
    fn command(&mut self, command: &str) -> Result<String, Trouble> {
        if let Some(session) = &mut self.session
            && let Some(answer) = session.command(command)?
        {
            return Ok(asterisk::plain(answer.as_bytes()));
        }
        let mut stream = open(self.found, self.control(), self.patience)?;
        let request = format!("cli quit after {command}\0");
        send(&mut stream, request.as_bytes(), self.patience)?;
        let mut answer = Vec::new();
        receive(&mut stream, &mut answer, self.patience, |_| Ok(false))?;
        Ok(asterisk::plain(&answer))
    }

    fn control(&self) -> &'a Path {
        let is_control = |path: &&PathBuf| path.extension().is_some_and(|end| end == "ctl");
        let control = self.found.controls.iter().find(is_control);
        control.map_or(Path::new(USUAL), PathBuf::as_path)
    }

    /// What the manager lists, if it is logged in to and this user may ask.
    fn contacts(&mut self) -> Result<Option<Contacts>, Trouble> {
        let Some(session) = &mut self.session else { return Ok(None) };
        let mut registered = session.list("PJSIPShowContacts")?;
        let aors = session.list("PJSIPShowAors")?;
        registered.extend(session.list("PJSIPShowContacts")?);
        let allowed = !aors.iter().any(|event| event.field("Response") == "Error");
        Ok(allowed.then_some(Contacts { aors, registered }))
    }

    /// Where it registers, as the manager lists it, together with passwords. So it is asked for only if the
    /// command line, which does not show them, can't be asked.
    fn registrations(&mut self) -> Result<Vec<Trunk>, Trouble> {
        let Some(session) = &mut self.session else { return Ok(Vec::new()) };
        Ok(ami::registrations(&session.list("PJSIPShowRegistrationsOutbound")?))
    }
}

fn by_manager(contacts: Contacts, pbx: &mut Pbx) {
    let mut registered = ami::registered(&contacts.registered);
    registered.sort_by(|one, other| one.0.cmp(&other.0));
    registered.dedup_by(|one, other| one.0 == other.0);
    pbx.trunks.extend(ami::static_contacts(&contacts.aors, &registered));
    pbx.devices = registered.into_iter().filter_map(|(_, device)| device).collect();
}

/// The command line lists static and registered contacts alike, so the former are asked for one by one.
fn by_command_line(console: &mut Console<'_>, pbx: &mut Pbx) -> Result<(), Trouble> {
    let registered = asterisk::registered(&console.command("database show registrar")?);
    // Whoever is slow to tell of its trunks has told of these.
    pbx.devices = registered.iter().filter_map(|one| one.device.clone()).collect();
    let contacts = console.command("pjsip show contacts")?;
    let aors = asterisk::aors_with_static_contacts(&contacts, &registered);
    for name in aors.iter().take(MANY) {
        let aor = console.command(&format!("pjsip show aor {name}"))?;
        let mut fixed = Vec::new();
        for uri in asterisk::other_contacts(name, &aor, &registered).into_iter().take(MANY) {
            if asterisk::is_static(&console.command(&format!("pjsip show contact {name}/{uri}"))?) {
                fixed.push(uri);
            }
        }
        if !fixed.is_empty() {
            pbx.trunks.push(asterisk::static_contacts(name, &aor, &fixed));
        }
    }
    Ok(())
}

fn registrations(console: &mut Console<'_>) -> Result<Vec<Trunk>, Trouble> {
    let known = asterisk::registrations(&console.command("pjsip show registrations")?);
    let ask = |(name, holds): &(String, bool)| {
        let answer = console.command(&format!("pjsip show registration {name}"))?;
        Ok(asterisk::registration(name, *holds, &answer))
    };
    known.iter().take(MANY).map(ask).collect()
}

fn freepbx(found: &Found) -> Option<Distribution> {
    found.open(Path::new(freepbx::MARK), OFlags::PATH).ok()?;
    let module = tail(found, Path::new(freepbx::VERSION));
    let module = module.map(|text| String::from_utf8_lossy(&text).into_owned());
    Some(freepbx::recognise(module.as_deref()))
}

/// The sources of the attempts and probes that the logs tell of, each as often as it tried.
fn logged(found: &Found, folder: &Path) -> Vec<IpAddr> {
    let names = ["messages", "messages.log", "full", "full.log", "security", "security.log"];
    let logs = names.iter().filter_map(|name| tail(found, &folder.join(name)));
    let calendar = calendar(SystemTime::now());
    let mut events: Vec<Event> = Vec::new();
    logs.for_each(|log| Reader::new(calendar).read(&log, |event| events.push(event)));
    events.sort_by_key(|event| event.time);
    let (mut attempts, mut sources) = (Attempts::default(), Vec::new());
    let mut tell = |counted: Counted| {
        let times = counted.attempts + counted.probes;
        sources.extend(repeat_n(counted.source, usize::try_from(times).unwrap_or(usize::MAX)));
    };
    events.iter().for_each(|event| attempts.add(event, &mut tell));
    attempts.finish(&mut tell);
    sources
}

/// The end of a file, if it is one: a pipe under its name would hold us up.
fn tail(found: &Found, path: &Path) -> Option<Vec<u8>> {
    let mut file = File::from(found.open(path, OFlags::RDONLY | OFlags::NONBLOCK).ok()?);
    let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let start = metadata.len().saturating_sub(LOG);
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut bytes = Vec::new();
    file.take(LOG).read_to_end(&mut bytes).ok()?;
    // What the first line was cut from could change its meaning.
    let line = bytes.iter().position(|byte| start > 0 && *byte == b'\n');
    Some(bytes.split_off(line.map_or(0, |end| end + 1)))
}
