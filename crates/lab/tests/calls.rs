//! Calls with sound at a real PBX: without an attack nothing of them is lost, so that what is lost beside one is the
//! attack's; and nothing the operator does to the filter costs a call anything.

use std::thread::sleep;
use std::time::Duration;

use geofilter_core::geodata::embedded;
use geofilter_lab::addresses::Addresses;
use geofilter_lab::asterisk::{Asterisk, Config};
use geofilter_lab::calls::{Calls, EXTENSION, NAME};
use geofilter_lab::changes::during_calls;
use geofilter_lab::flood::Aim;
use geofilter_lab::load::Load;
use geofilter_lab::siege::Defence;
use geofilter_lab::site::Site;

#[test]
fn forty_calls_lose_nothing_by_themselves() {
    let world = embedded::world().unwrap().world;
    let addresses = Addresses::new(&world);
    let site = Site::new().unwrap();
    let config = Config::new().endpoint(NAME).echo("phones", EXTENSION);
    let asterisk = Asterisk::start(&site.host, &config).unwrap();
    let calls = Calls::start(&site, &addresses, "ES", 40, Duration::from_secs(2)).unwrap();
    sleep(Duration::from_secs(6));
    let report = calls.finish().unwrap();
    println!(
        "{:?} p50 {:?} p99 {:?}",
        report.heard,
        report.set_up_within(0.5),
        report.set_up_within(0.99)
    );
    println!("{} calls late {:?}", report.calls, report.late);
    assert_eq!(report.harm(), (0, 0, 0), "{report:?} {}", asterisk.log());
    // Each is 2 s of 50 packets; at the end some are cut short.
    assert!(report.calls > 80 && report.heard.received > 80 * 2 * 50, "{report:?}");
}

#[test]
fn a_flood_from_blocked_countries_costs_a_call_nothing() {
    let world = embedded::world().unwrap().world;
    let load = Load {
        calls: 10,
        time: Duration::from_secs(2),
        rounds: 1,
        aim: Aim::Pbx,
        a_second: Some(20_000),
    };
    let bare = load.measure(&world, Defence::Nothing).unwrap();
    println!("nothing: {bare:?}");
    assert!(bare.cpu() > 3.0, "the flood reaches the PBX: {bare:?}");
    for backend in ["xdp", "tc"] {
        let outcome = load.measure(&world, Defence::GeoFilter(backend)).unwrap();
        println!("{backend}: {outcome:?}");
        assert_eq!(outcome.flooded.report.failed, 0, "{outcome:?}");
        assert!(outcome.a_second > 15_000.0, "{outcome:?}");
        assert!(outcome.trunk.of > 10 && outcome.trunk.answered == outcome.trunk.of, "{outcome:?}");
        // Ten calls cost little: wide of what `make lab` shows, far from what it is without.
        assert!(outcome.cpu() < 2.0, "{outcome:?}");
    }
}

#[test]
fn no_change_of_the_filter_costs_a_call_anything() {
    let world = embedded::world().unwrap().world;
    // As found on the host, where sound is out of scope; and with it in scope.
    for scope in [None, Some("udp/5060,udp/10000-10100")] {
        for change in during_calls(&world, 10, Duration::from_secs(1), scope).unwrap() {
            println!("{scope:?} {}: {:?}", change.name, change.report.heard);
            assert!(change.report.heard.received > 300, "{scope:?}: {change:?}");
            assert_eq!(change.report.harm(), (0, 0, 0), "{scope:?}: {change:?}");
        }
    }
}
