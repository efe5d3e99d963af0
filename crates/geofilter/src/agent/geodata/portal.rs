//! World data that the portal of a fleet serves: a host pulls it in the place of asking sources, at a time that is not that of the others, and
//! judges it by whom it would cut here. While the portal is gone it keeps what it has, and for long alone asks its own sources again.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use geofilter_core::clock::UnixTime;
use geofilter_core::geodata::bundle;
use geofilter_core::wire::{
    Failure, FailureKind, HeldFor, PortalData, PortalDataProgress, Running, UpdateOutcome,
};
use geofilter_fleet::world::{self, Served, WIDEST};
use serde::{Deserialize, Serialize};

use super::{WORK, chance, first_turn};
use crate::agent::engine::Engine;
use crate::agent::ledger;
use crate::cli::failed;
use crate::fleet::{BROUGHT, Pulled, Puller};
use crate::geo::{Geo, Images};

/// Seconds for which a portal may be gone before a host asks its own sources again.
const GONE: u64 = 14 * 86_400;
/// How often it is written down that the portal is there.
const WRITTEN: u64 = 3600;
/// Seconds until something that failed is tried again: twice that the next time, and so on, up to so many.
const AGAIN: u64 = 30;
const AGAIN_AT_MOST: u64 = 3600;
/// Seconds over which hosts come again at least that found too many others.
const OTHERS: u64 = 5;

/// What is known of it, also after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfPortal {
    served: Served,
    /// When it was heard last that the portal serves it.
    heard: UnixTime,
    /// Which of what it served is held here.
    held: Option<String>,
    /// Which of it somebody chose other data over, on this host.
    passed_over: Option<String>,
}

/// How far pulling is.
#[derive(Debug, Default)]
pub(super) struct Pulling {
    /// Whether the portal's is used.
    follows: bool,
    puller: Option<(Puller, String)>,
    /// When it begins.
    due: Option<Instant>,
    failures: u32,
    why: Option<String>,
}

impl Pulling {
    pub(super) fn runs(&self) -> bool {
        self.puller.is_some()
    }

    pub(super) fn end(&mut self) {
        self.puller = None;
    }

    fn is_due(&self) -> bool {
        self.due.is_some_and(|due| due <= Instant::now())
    }

    /// It failed, and is tried again later and later.
    fn fail(&mut self, why: String) {
        let rest = AGAIN << self.failures.min(10);
        self.failures += 1;
        self.due = Some(after(rest.min(AGAIN_AT_MOST) + chance(AGAIN)));
        self.why = Some(why);
    }
}

impl Engine {
    /// The portal serves this from now on, or nothing.
    pub(in crate::agent) fn hear_of_world(&mut self, served: Option<Served>) {
        let Some(served) = served.filter(|served| world::is_digest(&served.digest)) else {
            return self.forget_portals_data();
        };
        let heard = ledger::unix_now();
        let before = self.geodata.notes.portal.take();
        let is_new = before.as_ref().is_none_or(|before| before.served != served);
        if is_new {
            self.geodata.pulling =
                Pulling { follows: self.geodata.pulling.follows, ..Pulling::default() };
        }
        let (held, passed_over) =
            before.map_or((None, None), |before| (before.held, before.passed_over));
        self.geodata.notes.portal = Some(OfPortal { served, heard, held, passed_over });
        if is_new {
            self.geodata.save();
        }
    }

    /// There is no portal that serves any.
    pub(in crate::agent) fn forget_portals_data(&mut self) {
        self.geodata.pulling =
            Pulling { follows: self.geodata.pulling.follows, ..Pulling::default() };
        if self.geodata.notes.portal.take().is_some() {
            self.geodata.save();
        }
    }

    /// Whether this host uses what its portal serves, and asks no sources.
    pub(super) fn follows_portal(&self) -> bool {
        let served = self.geodata.notes.portal.as_ref();
        let is_there = |of: &OfPortal| is_there(of.heard, ledger::unix_now());
        self.fleet.is_member()
            && self.geodata.wishes.takes_portals()
            && served.is_some_and(is_there)
    }

    /// Somebody chose what is in use now: what the portal serves is not pulled over it.
    pub(super) fn pass_over_portals(&mut self) {
        let in_use = self.geo.digest().to_owned();
        if let Some(of) = &mut self.geodata.notes.portal {
            of.passed_over = (of.served.digest != in_use).then(|| of.served.digest.clone());
            self.geodata.save();
        }
    }

    /// Pulls what the portal serves, whatever was said of it before.
    pub(super) fn pull_now(&mut self) -> Result<(), Failure> {
        if !self.fleet.hears() {
            let gone = "this host has its world data of the portal of its fleet, which is not heard now: what is in use stays";
            return Err(failed(gone.to_owned()));
        }
        if self.geodata.runs() {
            let message = "an update of the world data runs already; see `geofilter geodb status`";
            return Err(Failure::new(FailureKind::Unfit, message));
        }
        let in_use = self.geo.digest().to_owned();
        let Some(of) = &mut self.geodata.notes.portal else { return Ok(()) };
        of.passed_over = None;
        if of.served.digest == in_use {
            self.geodata.note(UpdateOutcome::Same, None);
            return Ok(());
        }
        self.pull()
    }

    fn pull(&mut self) -> Result<(), Failure> {
        let Some((digest, membership)) = self.portals_digest().zip(self.fleet.member_of()) else {
            return Ok(());
        };
        let folder = self.geodata.folder.join(WORK);
        let started =
            fs::create_dir_all(&folder).and_then(|()| Puller::start(membership, &digest, folder));
        let puller = started.map_err(|error| {
            failed(format!("cannot start the process that pulls world data: {error}"))
        })?;
        self.geodata.running =
            Running { source: Some("the portal".to_owned()), ..Running::default() };
        self.geodata.pulling.due = None;
        self.geodata.pulling.puller = Some((puller, digest));
        Ok(())
    }

    fn portals_digest(&self) -> Option<String> {
        self.geodata.notes.portal.as_ref().map(|of| of.served.digest.clone())
    }

    /// Pulls when it is time, and asks sources only where there is no portal to pull from.
    pub(super) fn look_after_portals_data(&mut self) {
        self.note_that_portal_is_there();
        let follows = self.follows_portal();
        if follows != self.geodata.pulling.follows {
            self.geodata.pulling.follows = follows;
            self.geodata.due = match self.geodata.asks && !follows {
                true => first_turn(&self.geodata.wishes, self.geodata.notes.last.as_ref()),
                false => None,
            };
            tracing::info!(follows, "whether the world data comes from the portal of the fleet");
        }
        if !follows || !self.fleet.hears() {
            return self.hear_puller();
        }
        let comes = self.progress() == Some(PortalDataProgress::Comes) && !self.geodata.runs();
        match (comes, self.geodata.pulling.due) {
            (true, None) => {
                let of = self.geodata.notes.portal.as_ref();
                let spread = of.map_or(0, |of| of.served.spread.min(WIDEST));
                self.geodata.pulling.due = Some(after(chance(spread + 1)));
            }
            (true, Some(_)) if self.geodata.pulling.is_due() => {
                if let Err(failure) = self.pull() {
                    self.fail_to_pull(failure.message);
                }
            }
            (true, Some(_)) | (false, _) => {}
        }
        self.hear_puller();
    }

    /// For as long as it is heard it serves what it said.
    fn note_that_portal_is_there(&mut self) {
        if !self.fleet.hears() {
            return;
        }
        let now = ledger::unix_now();
        if let Some(of) = &mut self.geodata.notes.portal
            && now.0.saturating_sub(of.heard.0) >= WRITTEN
        {
            of.heard = now;
            self.geodata.save();
        }
    }

    fn hear_puller(&mut self) {
        let Some((puller, digest)) = &mut self.geodata.pulling.puller else { return };
        let Some(pulled) = puller.heard() else { return };
        let digest = digest.clone();
        match pulled {
            Pulled::Done => self.judge_pulled(digest),
            Pulled::Busy if self.geodata.wishes.interval().is_none() => {
                self.fail_to_pull("too many hosts pull it just now: ask again".to_owned());
            }
            Pulled::Busy => {
                let of = self.geodata.notes.portal.as_ref();
                let spread = of.map_or(0, |of| of.served.spread.min(WIDEST)).max(OTHERS);
                self.geodata.pulling.end();
                self.geodata.pulling.due = Some(after(1 + chance(spread)));
            }
            Pulled::Failed { why } => self.fail_to_pull(why),
        }
    }

    fn fail_to_pull(&mut self, why: String) {
        self.geodata.pulling.fail(why.clone());
        self.geodata.note(UpdateOutcome::Failed, Some(why));
    }

    /// Uses what the process brought, or holds it if it would cut somebody here. How much of the world changed, the portal judged.
    fn judge_pulled(&mut self, digest: String) {
        let path = self.geodata.folder.join(WORK).join(BROUGHT);
        let new =
            read(&path, &digest).and_then(|images| Geo::of(images, self.geo.corrections().clone()));
        // It is in memory now, or of no use.
        let _ = fs::remove_file(&path);
        let new = match new {
            Ok(new) => new,
            Err(error) => {
                let why = format!("what the portal sent can't be used: {error:#}");
                return self.fail_to_pull(why);
            }
        };
        let reasons = self.reasons_to_hold(&new).into_iter();
        let reasons = reasons.filter(|reason| reason.held_for == HeldFor::Verdict);
        let reasons: Vec<String> = reasons.map(|reason| reason.text).collect();
        let why = (!reasons.is_empty()).then(|| reasons.join("; "));
        match self.take_data(new, reasons) {
            Some(outcome) => {
                let is_held = outcome == UpdateOutcome::Held;
                self.geodata.pulling.failures = 0;
                self.geodata.pulling.why = why;
                if let Some(of) = &mut self.geodata.notes.portal {
                    of.held = is_held.then_some(digest);
                    self.geodata.save();
                }
            }
            None => {
                let why = self.geodata.notes.last.as_ref().and_then(|last| last.why.clone());
                self.geodata.pulling.fail(why.unwrap_or_default());
            }
        }
    }

    /// How far it is with what the portal serves; none if it serves none.
    fn progress(&self) -> Option<PortalDataProgress> {
        let OfPortal { served, held, passed_over, .. } = self.geodata.notes.portal.as_ref()?;
        let is = |digest: &Option<String>| digest.as_ref() == Some(&served.digest);
        Some(if self.geo.digest() == served.digest {
            PortalDataProgress::InUse
        } else if is(held) && self.geodata.notes.held.is_some() {
            PortalDataProgress::Held
        } else if is(passed_over) {
            PortalDataProgress::PassedOver
        } else if self.geodata.wishes.interval().is_none() {
            PortalDataProgress::Asked
        } else {
            PortalDataProgress::Comes
        })
    }

    /// What is told of it on this host, if it comes from there.
    pub(super) fn portals_data(&self) -> Option<PortalData> {
        let progress = self.progress().filter(|_| self.follows_portal())?;
        let portal = self.fleet.member_of()?.portal.clone();
        Some(PortalData { portal, digest: self.portals_digest()?, progress })
    }

    /// What the portal is told.
    pub(in crate::agent) fn report_of_world(&self) -> world::Report {
        let follows = self.follows_portal();
        let is_held = follows && self.progress() == Some(PortalDataProgress::Held);
        let data = self.geo.data();
        let pulling = &self.geodata.pulling;
        world::Report {
            digest: self.geo.digest().to_owned(),
            date: data.sources.first().map(|source| source.date.clone()).unwrap_or_default(),
            held: self.portals_digest().filter(|_| is_held),
            why: match is_held {
                true => self.geodata.notes.held.as_ref().map(|held| held.reasons.join("; ")),
                false => pulling.why.clone().filter(|_| follows),
            },
            own: !follows,
        }
    }
}

/// Whether a portal that was heard then is not gone for long.
fn is_there(heard: UnixTime, now: UnixTime) -> bool {
    now.0.saturating_sub(heard.0) < GONE
}

/// What a process without privileges brought, if it is what was asked for.
fn read(path: &Path, digest: &str) -> anyhow::Result<Images> {
    let length = fs::metadata(path).context("it is not there")?.len();
    ensure!(length <= bundle::LONGEST as u64, "it is too long");
    let content = fs::read(path)?;
    ensure!(world::digest(&content) == digest, "it is not what was asked for");
    Ok(Images::unpack(&content)?)
}

fn after(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portal_that_is_gone_for_two_weeks_is_waited_for_no_longer() {
        let heard = UnixTime(1_795_400_000);
        assert!(is_there(heard, heard.plus(14 * 86_400 - 1)));
        assert!(!is_there(heard, heard.plus(14 * 86_400)));
        // Of a clock that was set back since nothing follows.
        assert!(is_there(heard, UnixTime(0)));
    }

    #[test]
    fn what_fails_is_tried_again_later_and_later() {
        let mut pulling = Pulling::default();
        let mut rest = |times: u32| {
            (0..times).for_each(|_| pulling.fail(String::new()));
            pulling.due.map(|due| (due - Instant::now()).as_secs()).unwrap_or_default()
        };
        assert!((AGAIN - 1..2 * AGAIN).contains(&rest(1)));
        assert!(rest(3) >= 4 * AGAIN);
        assert!(rest(20) <= AGAIN_AT_MOST + AGAIN);
    }
}
