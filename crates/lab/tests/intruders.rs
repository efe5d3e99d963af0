//! Who was answered before the filter came, or sits in a hosting network of a country that is let in, gets no answer.

use geofilter_core::geodata::embedded;
use geofilter_lab::intruders::{Answered, hosting, open_flow};
use geofilter_lab::siege::Defence;

#[test]
fn a_flow_that_was_open_before_is_not_answered_afterwards() {
    let world = embedded::world().unwrap().world;
    for backend in ["xdp", "tc"] {
        let [before, after] = open_flow(&world, Defence::GeoFilter(backend)).unwrap();
        assert_eq!(before, Answered { of: 12, answered: 12 }, "{backend}");
        assert_eq!(after, Answered { of: 12, answered: 0 }, "{backend}");
    }
}

#[test]
fn hosting_networks_of_an_allowed_country_are_dropped_and_its_phones_are_not() {
    let world = embedded::world().unwrap().world;
    for backend in ["xdp", "tc"] {
        let [bots, phones] = hosting(&world, backend, 10).unwrap();
        assert_eq!(bots, Answered { of: 10, answered: 0 }, "{backend}");
        assert_eq!(phones, Answered { of: 10, answered: 10 }, "{backend}");
    }
}
