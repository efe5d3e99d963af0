//! What the filter adds to the way of allowed traffic: the time of a request and its response.

use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};
use geofilter_dataplane::Preference;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::processors::{pin, pinned};
use geofilter_lab::site::{PBX_V4, SIP, Site};

use crate::data::Data;
use crate::host::{Filter, Host};
use crate::report::{Bound, Goal, Report, Unit};
use crate::rounds;
use crate::statistics::{Spread, quantile};

/// Pairs of a round, and of a turn: so many with each host before the next has its turn.
const PAIRS: usize = 50_000;
const TURN: usize = 500;
const LENGTH: usize = 400;
/// Where the phone runs, and where the PBX.
const PHONE: usize = 0;
const PBX: usize = 1;
const PART: f64 = 0.99;

const fn added(measure: &'static str, noise: f64) -> Goal {
    let (must, stretch) = (Bound::AtMost(3.0), Bound::AtMost(noise));
    Goal { measure, unit: Unit::Percent, must, stretch }
}

/// Measures it. What two hosts without a filter differ by is noise.
pub(crate) fn measure(data: &Data, report: &mut Report) -> Result<()> {
    let filters = [
        Filter::Nothing,
        Filter::Nothing,
        Filter::Ours(Preference::Xdp),
        Filter::Ours(Preference::Tc),
    ];
    let sites = filters.iter().map(|_| Site::new()).collect::<Result<Vec<_>>>()?;
    let phone = Addresses::new(&data.world).v4("ES").into();
    let lanes =
        sites.iter().zip(filters).map(|(site, filter)| Lane::new(site, filter, data, phone));
    let mut lanes = lanes.collect::<Result<Vec<_>>>()?;
    ping_pong(&mut lanes)?;

    let [nothing, control, xdp, tc] = &lanes[..] else { anyhow::bail!("a host was lost") };
    let percent = |lane: &Lane<'_>| {
        let Spread { median, low, high } = Spread::of_ratios(&lane.slow, &nothing.slow);
        let [median, low, high] = [median, low, high].map(|ratio| (ratio - 1.0) * 100.0);
        Spread { median, low, high }
    };
    let noise = percent(control);
    for (measure, lane) in [
        ("allowed traffic, latency added at p99, XDP", xdp),
        ("allowed traffic, latency added at p99, TC", tc),
    ] {
        let [with, without] =
            [lane, nothing].map(|lane| Unit::Seconds.write(Spread::of(lane.slow.clone()).median));
        let typical = [lane, nothing]
            .map(|lane| Unit::Seconds.write(Spread::of(lane.typical.clone()).median));
        let from = format!(
            "{with}, {without} without a filter (medians {}, {}); two hosts without one differ by {}",
            typical[0],
            typical[1],
            Unit::Percent.spread(noise)
        );
        report.add(added(measure, noise.median.abs()), percent(lane), from);
    }
    Ok(())
}

/// A host with a PBX that answers, a phone, and what each round measured.
struct Lane<'a> {
    _host: Host<'a>,
    pbx: UdpSocket,
    phone: UdpSocket,
    times: Vec<f64>,
    typical: Vec<f64>,
    slow: Vec<f64>,
}

impl<'a> Lane<'a> {
    fn new(site: &'a Site, filter: Filter, data: &Data, source: IpAddr) -> Result<Self> {
        let host = Host::new(site, filter, data)?;
        let (pbx, phone) = (site.listen(PBX_V4, SIP)?, site.anywhere(source, SIP)?);
        phone.connect((PBX_V4, SIP))?;
        let (times, typical, slow) = Default::default();
        Ok(Self { _host: host, pbx, phone, times, typical, slow })
    }

    /// Asks and is answered.
    fn turn(&mut self) -> Result<()> {
        let (request, mut buffer) = ([b'R'; LENGTH], [0; 2 * LENGTH]);
        for _ in 0..TURN {
            let began = Instant::now();
            self.phone.send(&request)?;
            self.phone.recv(&mut buffer).context("the PBX does not answer")?;
            self.times.push(began.elapsed().as_secs_f64());
        }
        Ok(())
    }

    fn end_round(&mut self) {
        let mut times = std::mem::take(&mut self.times);
        times.sort_by(f64::total_cmp);
        self.typical.push(quantile(&times, 0.5));
        self.slow.push(quantile(&times, PART));
    }
}

/// Runs all rounds, while every PBX answers.
fn ping_pong(lanes: &mut [Lane<'_>]) -> Result<()> {
    let pbxs = lanes.iter().map(|lane| lane.pbx.try_clone()).collect::<Result<Vec<_>, _>>()?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        pbxs.iter().for_each(|pbx| drop(scope.spawn(|| answer(pbx, &over))));
        let measured = pinned(PHONE, || all_rounds(lanes));
        over.store(true, Ordering::Relaxed);
        // Who waits for a request is to see that.
        lanes.iter().try_for_each(|lane| lane.phone.send(&[0]).map(drop))?;
        measured?
    })
}

fn all_rounds(lanes: &mut [Lane<'_>]) -> Result<()> {
    for round in 0..rounds() {
        eprintln!("round {} of {}: {PAIRS} pairs", round + 1, rounds());
        for _ in 0..PAIRS / TURN {
            lanes.iter_mut().try_for_each(Lane::turn)?;
        }
        lanes.iter_mut().for_each(Lane::end_round);
    }
    Ok(())
}

/// Sends back what comes.
fn answer(pbx: &UdpSocket, over: &AtomicBool) -> Result<()> {
    pin(PBX)?;
    let mut buffer = [0; 2 * LENGTH];
    while !over.load(Ordering::Relaxed) {
        let Ok((length, from)) = pbx.recv_from(&mut buffer) else { continue };
        pbx.send_to(&buffer[..length], from)?;
    }
    Ok(())
}
