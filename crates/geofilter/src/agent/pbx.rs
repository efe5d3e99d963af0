//! [`Ear`]: hears from the PBX of this host, again and again while a filter is attached, whom never to cut
//! and who came first. It is asked on a thread of its own: a PBX that hangs holds nobody up.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use geofilter_core::book::{Edit, Kind, Note, Origin, Record, Target};
use geofilter_core::desired::BootTime;
use geofilter_core::overrides::AddressKey;
use geofilter_core::pbx::findings::one_private_source;
use geofilter_core::pbx::trusted::Trusted;
use geofilter_core::pbx::{LogFile, Pbx};
use geofilter_core::tracker;
use geofilter_core::wire::PbxKnown;
use geofilter_dataplane::Backend;
use ipnet::IpNet;

use super::engine::{Engine, describe};
use super::ledger::Ledger;
use super::{clock, ledger};
use crate::detect::{self, Manager};

/// How often the PBX is asked.
const INTERVAL: Duration = Duration::from_secs(15);
/// How long somebody waits for what it says now.
pub(super) const AT_ONCE: Duration = Duration::from_secs(2);
/// The same where it has never said anything: longer than a PBX that hangs is asked.
const FIRST: Duration = Duration::from_secs(5);
/// How often in a row it must leave out an exemption before that is removed: an answer may be cut short.
const PATIENCE: u8 = 4;

/// See the module.
#[derive(Debug)]
pub(super) struct Ear {
    questions: Sender<()>,
    answers: Receiver<Option<Heard>>,
    /// When it was asked last.
    asked: Instant,
    /// What it said last.
    trusted: Option<Trusted>,
    /// The one private address that all SIP arrives from, by what was said last.
    one_private_source: Option<IpAddr>,
    /// It has not said all of it lately: what it said before is kept beside that.
    cut_short: bool,
    /// How often in a row it left out what it had said before.
    left_out: u8,
}

/// What was heard.
#[derive(Debug)]
struct Heard {
    trusted: Trusted,
    one_private_source: Option<IpAddr>,
    /// It was all there is to say.
    complete: bool,
    /// Where it is written who tried to get in.
    logs: BTreeSet<PathBuf>,
}

impl Ear {
    /// Listens; the thread ends with it.
    pub(super) fn new(manager: Option<Manager>) -> Self {
        let (questions, asked) = mpsc::channel::<()>();
        let (heard, answers) = mpsc::channel();
        thread::spawn(move || {
            for () in &asked {
                // One answer is enough for all that was asked while it took its time.
                asked.try_iter().for_each(drop);
                let pbxs = detect::pbxs(manager.as_ref());
                pbxs.notes.iter().for_each(|note| tracing::debug!("{note}"));
                let said = Trusted::of(&pbxs.pbxs);
                let said = said.map(|(trusted, asked)| Heard {
                    trusted,
                    one_private_source: one_private_source(&pbxs.pbxs, &pbxs.attempts),
                    complete: asked && !pbxs.cut_short,
                    logs: logs(&pbxs.pbxs),
                });
                if heard.send(said).is_err() {
                    return;
                }
            }
        });
        let asked = Instant::now();
        let mut ear = Self {
            questions,
            answers,
            asked,
            trusted: None,
            one_private_source: None,
            cut_short: false,
            left_out: 0,
        };
        // The first filter shall know who is known.
        ear.ask();
        ear
    }

    fn ask(&mut self) {
        self.asked = Instant::now();
        // The thread ends only with this.
        let _ = self.questions.send(());
    }

    /// What there is against banning an address.
    pub(super) fn protects(&self, address: IpAddr) -> Option<&'static str> {
        let trusted = self.trusted.as_ref()?;
        if trusted.is_trunk(address) {
            return Some("it is a trunk of the PBX");
        }
        let registered = trusted.registered.contains(&address);
        registered.then_some("a device is registered there at the PBX")
    }

    /// Whether a trunk or a registered device is within a prefix.
    pub(super) fn knows_in(&self, prefix: IpNet) -> bool {
        self.trusted.as_ref().is_some_and(|trusted| {
            let trunks = trusted.trunks.iter().map(SocketAddr::ip);
            trunks.chain(trusted.registered.iter().copied()).any(|known| prefix.contains(&known))
        })
    }

    /// What it said last; `None` if there is no PBX, or it never answered.
    pub(super) fn trusted(&self) -> Option<&Trusted> {
        self.trusted.as_ref()
    }

    /// The same in figures.
    pub(super) fn known(&self) -> Option<PbxKnown> {
        let trusted = self.trusted.as_ref()?;
        Some(PbxKnown {
            devices: trusted.devices.len() + trusted.private,
            trunks: trusted.trunks.len(),
            one_private_source: self.one_private_source,
        })
    }

    /// What of this host's PBX is not known, if anything.
    pub(super) fn doubt(&self) -> Option<&'static str> {
        match (&self.trusted, self.cut_short) {
            (None, _) => Some(
                "no PBX was found on this host, or it has not answered yet, so its trunks and phones are not known: see `geofilter detect`",
            ),
            (Some(_), true) => Some(
                "the PBX does not answer as it should, so there may be trunks and phones that are not known: see `geofilter detect`",
            ),
            (Some(_), false) => None,
        }
    }

    /// Asks, and waits for the answer as long as somebody who is waiting for ours can be kept waiting.
    fn listen_now(&mut self) -> Option<Heard> {
        let patience = if self.trusted.is_none() { FIRST } else { AT_ONCE };
        let earlier = self.answers.try_iter().flatten().last();
        self.ask();
        self.answers.recv_timeout(patience).ok().flatten().or(earlier)
    }

    /// What was said since the last time; asks again when it is time.
    fn listen(&mut self) -> Option<Heard> {
        if self.asked.elapsed() >= INTERVAL {
            self.ask();
        }
        self.answers.try_iter().flatten().last()
    }
}

/// The files in which Asterisk tells of attempts.
fn logs(pbxs: &[Pbx]) -> BTreeSet<PathBuf> {
    let here = pbxs.iter().filter(|pbx| !pbx.container);
    let files = here.flat_map(|pbx| pbx.logs.iter().flatten());
    let tells = |file: &&LogFile| file.writes("NOTICE") || file.writes("SECURITY");
    files.filter(tells).filter_map(|file| Path::new(&file.path).canonicalize().ok()).collect()
}

impl Engine {
    /// Does what the PBX says, if it has said something.
    pub(super) fn listen_to_the_pbx(&mut self) {
        let heard = self.ear.listen();
        self.take(heard);
    }

    /// The same with what the PBX says now. One that does not answer soon holds nobody up.
    pub(super) fn hear_the_pbx_now(&mut self) {
        let heard = self.ear.listen_now();
        self.take(heard);
    }

    fn take(&mut self, heard: Option<Heard>) {
        let Some(Heard { trusted, one_private_source, complete, logs }) = heard else { return };
        self.watch.follow(logs);
        self.exempt_trunks(&trusted.exemptions, complete);
        self.ear.cut_short = !complete;
        self.ear.one_private_source = one_private_source;
        self.ear.trusted = Some(match self.ear.trusted.take().filter(|_| !complete) {
            Some(before) => trusted.and_before(before),
            None => trusted,
        });
        if self.machine.attached() {
            self.tell_who_is_known();
        }
    }

    /// Tells the data plane which peers there are by configuration, and who is registered. Attached only.
    pub(super) fn tell_who_is_known(&mut self) {
        let Some(trusted) = &self.ear.trusted else { return };
        let Self { backend, ledger, .. } = self;
        let contacts = trusted.registered.iter().map(|address| AddressKey::of(*address)).collect();
        let told = backend
            .set_contacts(&contacts)
            .and_then(|()| set_peers(backend.as_mut(), ledger, trusted));
        if let Err(error) = told {
            let error = describe(error);
            self.note_trouble(format!("cannot tell the data plane of the PBX's trunks: {error}"));
        }
    }

    /// Exempts what the PBX takes calls from, and what its trunks are called.
    fn exempt_trunks(&mut self, wanted: &BTreeSet<Target>, complete: bool) {
        let records = self.ledger.book.records(Kind::Exemption);
        let records = records.filter(|record| record.origin == Origin::Pbx);
        let known: BTreeSet<Target> = records.map(|record| record.target.clone()).collect();
        let mut edits: Vec<Edit> = wanted.difference(&known).map(exemption).collect();
        let gone: Vec<&Target> = known.difference(wanted).collect();
        self.ear.left_out = match complete && !gone.is_empty() {
            true => self.ear.left_out + 1,
            false => 0,
        };
        if self.ear.left_out >= PATIENCE {
            self.ear.left_out = 0;
            let book = &self.ledger.book;
            let removal = |target| book.removal(Kind::Exemption, target, Some(Origin::Pbx));
            edits.extend(gone.into_iter().flat_map(removal));
        }
        if let Err(failure) = self.change(edits) {
            let message = failure.message;
            self.note_trouble(format!("cannot exempt the trunks of the PBX: {message}"));
        }
    }
}

/// Trunks are peers. A device that was sent a request before it was heard of may have become one, and is
/// none.
fn set_peers(
    backend: &mut dyn Backend,
    ledger: &Ledger,
    trusted: &Trusted,
) -> Result<(), geofilter_dataplane::Error> {
    let now = clock::boot();
    let until = BootTime(now.0.saturating_add(tracker::LIFETIME));
    let known: Vec<SocketAddr> = backend
        .peers()?
        .into_iter()
        .filter(|peer| peer.holds(now))
        .map(|peer| peer.value)
        .collect();
    for trunk in trusted.trunks.iter().filter(|trunk| !known.contains(trunk)) {
        backend.set_peer(*trunk, until)?;
    }
    let is_device = |address| {
        trusted.registered.contains(&address)
            && !trusted.is_trunk(address)
            && !ledger.exempts(address)
    };
    for device in known.into_iter().filter(|peer| is_device(peer.ip())) {
        backend.remove_peer(device)?;
    }
    Ok(())
}

fn exemption(target: &Target) -> Edit {
    let record = Record {
        target: target.clone(),
        origin: Origin::Pbx,
        until: None,
        note: Note::default(),
        added: ledger::unix_now(),
    };
    Edit::Put { kind: Kind::Exemption, record }
}
