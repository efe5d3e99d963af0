//! The ledger with a data plane that can be looked into, and told to fail.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use geofilter_core::book::{Answer, Note, Origin, Record, Resolution, Target, UnixTime};
use geofilter_core::counters::Counters;
use geofilter_core::decide::Timed;
use geofilter_core::desired::{BootTime, Desired, Observed};
use geofilter_core::event::DropEvent;
use geofilter_core::seen::Count;
use geofilter_core::world::World;
use geofilter_dataplane::Error;

use super::super::names;
use super::*;

/// What the data plane holds, and after how many more calls it fails.
#[derive(Default)]
struct Seen {
    table: Option<Table>,
    replaced: usize,
    fails_after: Option<usize>,
    /// What is on disk is looked at when it is changed.
    disk: PathBuf,
    was_on_disk: bool,
}

#[derive(Clone, Default)]
struct Spy(Arc<Mutex<Seen>>);

impl Spy {
    fn takes(&self, change: impl FnOnce(&mut Seen)) -> Result<(), Error> {
        let mut seen = self.0.lock().unwrap();
        match &mut seen.fails_after {
            Some(0) => {
                // It works again, so that what was done in part can be undone.
                seen.fails_after = None;
                return Err(Error::NotAttached { operation: "be told" });
            }
            Some(more) => *more -= 1,
            None => {}
        }
        let name = "trunk.example.net".parse().unwrap();
        seen.was_on_disk = Journal::peek(&seen.disk).unwrap().resolution(&name).is_some();
        change(&mut seen);
        Ok(())
    }

    fn table(&self) -> Table {
        self.0.lock().unwrap().table.clone().unwrap()
    }
}

impl Backend for Spy {
    fn attach(
        &mut self,
        _: &World,
        table: &Table,
        _: &Desired,
        _: Clock,
    ) -> Result<Observed, Error> {
        self.0.lock().unwrap().table = Some(table.clone());
        Err(Error::NotAttached { operation: "observe" })
    }

    fn apply(&mut self, _: &Desired, _: Clock) -> Result<Observed, Error> {
        Err(Error::NotAttached { operation: "apply" })
    }

    fn swap_world(&mut self, _: &World) -> Result<(), Error> {
        Ok(())
    }

    fn set_overrides(&mut self, table: &Table) -> Result<(), Error> {
        self.takes(|seen| {
            seen.table = Some(table.clone());
            seen.replaced += 1;
        })
    }

    fn set_addresses(&mut self, changes: &[(AddressKey, Spans)]) -> Result<(), Error> {
        changes.iter().try_for_each(|(address, spans)| {
            self.takes(|seen| seen.table.as_mut().unwrap().set(*address, *spans))
        })
    }

    fn set_contacts(&mut self, _: &HashSet<AddressKey>) -> Result<(), Error> {
        Ok(())
    }

    fn peers(&mut self) -> Result<Vec<Timed<SocketAddr>>, Error> {
        Ok(Vec::new())
    }

    fn set_peer(&mut self, _: SocketAddr, _: BootTime) -> Result<(), Error> {
        Ok(())
    }

    fn remove_peer(&mut self, _: SocketAddr) -> Result<bool, Error> {
        Ok(false)
    }

    fn observe(&mut self) -> Result<Option<Observed>, Error> {
        Ok(None)
    }

    fn mend(&mut self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    fn counters(&mut self) -> Result<Counters, Error> {
        Ok(Counters::default())
    }

    fn sources(&mut self) -> Result<Vec<Count>, Error> {
        Ok(Vec::new())
    }

    fn drain_events(&mut self, _: BootTime, _: &mut dyn FnMut(DropEvent)) -> Result<(), Error> {
        Ok(())
    }

    fn detach(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

struct Bench {
    dir: tempfile::TempDir,
    geo: Geo,
    ledger: Ledger,
    spy: Spy,
}

fn open(dir: &Path, geo: &Geo) -> Ledger {
    Ledger::open(&Settings::in_memory(dir), geo, names::link().0).unwrap().ledger
}

impl Bench {
    fn new() -> Self {
        let (dir, geo, spy) =
            (tempfile::tempdir().unwrap(), Geo::embedded().unwrap(), Spy::default());
        let mut ledger = open(dir.path(), &geo);
        ledger.renew(&geo).unwrap();
        *spy.0.lock().unwrap() = Seen {
            table: Some(ledger.table().clone()),
            disk: dir.path().to_owned(),
            ..Seen::default()
        };
        Self { dir, geo, ledger, spy }
    }

    fn change(&mut self, edits: Vec<Edit>) -> Result<(), Refused> {
        self.ledger.change(edits, Some(&mut self.spy), &self.geo)
    }

    /// What is in memory, on disk and in the data plane is the same.
    fn agrees(&self) {
        let compiled = Compiled::new(
            &self.ledger.book,
            self.ledger.compiled.clock(),
            systems_for(&self.ledger.book, &self.geo),
        );
        let compiled = compiled.unwrap();
        assert_eq!(self.spy.table(), compiled.table);
        assert_eq!(self.ledger.compiled.table, compiled.table);
        assert_eq!(open(self.dir.path(), &self.geo).book, self.ledger.book);
    }

    fn replaced(&self) -> usize {
        self.spy.0.lock().unwrap().replaced
    }
}

fn put(kind: Kind, text: &str, until: Option<u64>) -> Edit {
    let target = Target::parse(text, kind).unwrap();
    let (origin, note) = (Origin::Operator, Note::default());
    let record = Record { target, origin, until: until.map(UnixTime), note, added: UnixTime(0) };
    Edit::Put { kind, record }
}

fn resolve(last: u8) -> Edit {
    let addresses = [[203, 0, 113, last].into()].into();
    let answer = Answer::Addresses { addresses, ttl: 60, incomplete: None };
    let resolution = Resolution::default().after(&answer, UnixTime(0));
    Edit::Resolve { name: "trunk.example.net".parse().unwrap(), resolution }
}

#[test]
fn memory_disk_and_data_plane_agree_after_every_change() {
    let mut bench = Bench::new();
    let removal = |bench: &Bench, kind, text: &str| {
        bench.ledger.book.removal(kind, &Target::parse(text, kind).unwrap(), None)
    };
    bench
        .change(vec![put(Kind::Ban, "203.0.113.9", None), put(Kind::Ban, "2a00:1::1", None)])
        .unwrap();
    bench.agrees();
    assert_eq!(bench.replaced(), 0, "single addresses are changed one by one");
    for text in
        ["203.0.113.0/24", "203.0.113.9", "AS3352", "@twilio", "trunk.example.net", "2a00:1::7"]
    {
        bench.change(vec![put(Kind::Exemption, text, Some(4_000_000_000))]).unwrap();
        bench.agrees();
    }
    let Bench { ledger, spy, geo, .. } = &mut bench;
    ledger.resolve(vec![resolve(9)], Some(spy), geo).unwrap();
    bench.agrees();
    let before = bench.replaced();
    let Bench { ledger, spy, geo, .. } = &mut bench;
    ledger.resolve(vec![resolve(10)], Some(spy), geo).unwrap();
    bench.agrees();
    assert_eq!(bench.replaced(), before, "a name that moves is no reason to replace everything");
    for text in ["203.0.113.9", "trunk.example.net", "AS3352", "203.0.113.0/24"] {
        let edits = removal(&bench, Kind::Exemption, text);
        bench.change(edits).unwrap();
        bench.agrees();
    }
    let edits = removal(&bench, Kind::Ban, "203.0.113.9");
    bench.change(edits).unwrap();
    bench.agrees();
}

#[test]
fn a_new_address_of_a_name_is_on_disk_before_it_passes() {
    let mut bench = Bench::new();
    bench.change(vec![put(Kind::Exemption, "trunk.example.net", None)]).unwrap();
    let Bench { ledger, spy, geo, .. } = &mut bench;
    ledger.resolve(vec![resolve(9)], Some(spy), geo).unwrap();
    assert!(bench.spy.0.lock().unwrap().was_on_disk, "an agent killed now forgets nothing");
    bench.agrees();
}

#[test]
fn what_the_data_plane_does_not_take_is_undone_everywhere() {
    let mut bench = Bench::new();
    bench.change(vec![put(Kind::Ban, "203.0.113.9", None)]).unwrap();
    for (fails_after, edits) in [
        (1, vec![put(Kind::Ban, "203.0.113.1", None), put(Kind::Ban, "203.0.113.2", None)]),
        (0, vec![put(Kind::Exemption, "203.0.113.0/24", None)]),
    ] {
        bench.spy.0.lock().unwrap().fails_after = Some(fails_after);
        assert!(matches!(bench.change(edits), Err(Refused::DataPlane(_))));
        assert_eq!(bench.ledger.book.size(), 1);
        bench.agrees();
    }
}

#[test]
fn what_can_not_be_saved_is_done_nowhere() {
    let mut bench = Bench::new();
    // The first change makes the file.
    let full = bench.dir.path().join("overrides.jsonl.new");
    std::fs::create_dir(&full).unwrap();
    let edits = || vec![put(Kind::Ban, "203.0.113.9", None)];
    assert!(matches!(bench.change(edits()), Err(Refused::NotSaved(_))));
    bench.agrees();
    assert_eq!(bench.ledger.book.size(), 0);
    std::fs::remove_dir(full).unwrap();
    bench.change(edits()).unwrap();
    bench.agrees();
}

#[test]
fn what_has_ended_is_let_go_everywhere() {
    let mut bench = Bench::new();
    let soon = unix_now().0 + 1;
    bench
        .change(vec![
            put(Kind::Ban, "203.0.113.9", Some(soon)),
            put(Kind::Exemption, "203.0.112.0/24", Some(soon)),
            put(Kind::Ban, "203.0.113.10", None),
        ])
        .unwrap();
    std::thread::sleep(Duration::from_millis(1_100));
    let Bench { ledger, spy, geo, .. } = &mut bench;
    ledger.tidy(Some(spy), geo).unwrap();
    assert_eq!(bench.ledger.book.size(), 1);
    bench.agrees();
}

#[test]
fn the_ends_follow_a_clock_that_is_set() {
    let mut bench = Bench::new();
    let until = unix_now().0 + 3_600;
    bench.change(vec![put(Kind::Ban, "203.0.113.9", Some(until))]).unwrap();
    let right = bench.spy.table();
    // As if the wall clock had been an hour behind when this was compiled.
    let wrong = Clock::new(clock::boot(), clock::wall() - Duration::from_secs(3_600));
    bench.ledger.compiled = Compiled::new(&bench.ledger.book, wrong, None).unwrap();
    bench.spy.0.lock().unwrap().table = Some(bench.ledger.compiled.table.clone());
    assert_ne!(bench.spy.table(), right);
    let Bench { ledger, spy, geo, .. } = &mut bench;
    ledger.tidy(Some(spy), geo).unwrap();
    bench.agrees();
    let end = |table: &Table| table.lookup("203.0.113.9".parse().unwrap()).ban.nanoseconds();
    let off = end(&bench.spy.table()).abs_diff(end(&right));
    assert!(off < 100_000_000, "{off}");
}
