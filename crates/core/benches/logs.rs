//! Readers of logs, in bytes of the log, and attempts made of what they read.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod support;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use geofilter_core::country::select;
use geofilter_core::geodata::embedded;
use geofilter_core::impact::list::Answers;
use geofilter_core::impact::log::Tally;
use geofilter_core::logs::{Calendar, Reader, Stamp};
use geofilter_core::policy::{Mode, Policy};

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("../tests/samples/logs/", $name))
    };
}

/// When the samples were recorded.
const CALENDAR: Calendar = Calendar { now: Stamp(1_795_400_000_000), ahead: 0 };
/// About a block of what is read at a time.
const BLOCK: usize = 1 << 18;

fn logs(criterion: &mut Criterion) {
    let world = embedded::world().unwrap().world;
    let policy = Policy::new(Mode::AllowSelected, select(["ES", "PT"]).unwrap());
    let answers = Answers::new(&policy, &world).unwrap();
    let mut group = criterion.benchmark_group("logs");
    let kamailio = "Nov 22 08:48:18 pbx /usr/sbin/kamailio[12]: ALERT: <script>: ALERT: pike blocking \
        REGISTER from sip:100@example.net (IP:198.51.100.7:5061)\n";
    let verbose = "[2026-11-22 08:48:18.905] VERBOSE[32120][C-00000001] pbx.c: Executing [100@internal:1] \
        Dial(\"PJSIP/1001-00000001\", \"PJSIP/100,30\") in new stack\n";
    for (name, log) in [
        ("Asterisk's security events", sample!("asterisk-security.log")),
        ("Asterisk's notices", sample!("asterisk-messages.log")),
        ("Asterisk, both in one", sample!("asterisk-mixed.log")),
        ("Asterisk, verbose", verbose),
        ("fail2ban", sample!("fail2ban.log")),
        ("Kamailio", kamailio),
    ] {
        let block = log.repeat(BLOCK / log.len() + 1);
        group.throughput(Throughput::Bytes(block.len() as u64));
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let mut tally = Tally::new(&answers);
                let mut reader = Reader::new(CALENDAR);
                reader.read(black_box(block.as_bytes()), |event| tally.add(&event));
                tally.preview()
            });
        });
    }
}

criterion_group!(name = benches; config = support::criterion(); targets = logs);
criterion_main!(benches);
