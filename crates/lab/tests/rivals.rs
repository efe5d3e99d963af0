//! Every rival lets in and keeps out exactly whom our oracle says, and so do our own filters: a packet from the
//! start, the middle or the end of ranges all over the announced space either reaches the PBX or does not. The
//! rulesets are loaded whole.

#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::net::IpAddr;
use std::sync::LazyLock;

use geofilter_core::country::{CountryCode, CountrySet, select};
use geofilter_core::geodata::embedded;
use geofilter_core::world::World;
use geofilter_dataplane::Preference;
use geofilter_lab::plane::Plane;
use geofilter_lab::rivals::Rival;
use geofilter_lab::rivals::lists::{Family, Lists};
use geofilter_lab::site::Site;
use geofilter_lab::verdicts::Comparison;

static WORLD: LazyLock<World> = LazyLock::new(|| embedded::world().unwrap().world);
static ALLOWED: LazyLock<CountrySet> = LazyLock::new(|| select(["ES", "PT", "FR"]).unwrap());
static LISTS: LazyLock<Lists> = LazyLock::new(|| Lists::new(&WORLD, *ALLOWED));

/// Whom a site lets in but should not, or the other way round.
fn wrong(site: &Site) -> Vec<IpAddr> {
    let wrong = [(Family::V4, 2_000), (Family::V6, 1_000)].map(|(family, count)| {
        let Comparison { asked, allowed, wrong } =
            Comparison::of(site, &WORLD, &LISTS, family, count).unwrap();
        assert!(asked > count * 9 / 10, "only {asked} sources");
        assert!(allowed > count / 3, "only {allowed} may come in");
        wrong
    });
    wrong.concat()
}

fn assert_right(site: &Site) {
    let wrong = wrong(site);
    assert!(wrong.is_empty(), "{} sources, such as {:?}", wrong.len(), wrong.first());
}

fn assert_rival_right(rival: Rival) {
    let site = Site::new().unwrap();
    rival.install(&site.host, &LISTS).unwrap();
    assert_right(&site);
}

fn assert_ours_right(preference: Preference) {
    let site = Site::new().unwrap();
    let mut plane = Plane::observe(&site.host, preference, &WORLD, *ALLOWED).unwrap();
    plane.enforce().unwrap();
    assert_right(&site);
}

#[test]
fn a_merged_set_of_nftables_is_as_the_oracle() {
    assert_rival_right(Rival::MergedSet);
}

#[test]
fn a_map_of_the_world_in_nftables_is_as_the_oracle() {
    assert_rival_right(Rival::WorldMap);
}

#[test]
fn iptables_with_ipset_is_as_the_oracle() {
    assert_rival_right(Rival::Ipset);
}

#[test]
fn geoip_shell_that_allows_is_as_the_oracle() {
    assert_rival_right(Rival::GeoipShellAllow);
}

#[test]
fn geoip_shell_that_blocks_is_as_the_oracle() {
    assert_rival_right(Rival::GeoipShellBlock);
}

#[test]
fn xdp_is_as_the_oracle() {
    assert_ours_right(Preference::Xdp);
}

#[test]
fn tc_is_as_the_oracle() {
    assert_ours_right(Preference::Tc);
}

#[test]
fn a_site_that_lets_in_everybody_or_too_few_is_found_out() {
    let site = Site::new().unwrap();
    let open = wrong(&site).len();
    assert!(open > 1_000, "only {open} wrong without a filter");

    let mut fewer = *ALLOWED;
    fewer.remove(CountryCode::parse("PT").unwrap().id());
    Rival::MergedSet.install(&site.host, &Lists::new(&WORLD, fewer)).unwrap();
    let closed = wrong(&site).len();
    assert!((1..500).contains(&closed), "{closed} wrong without Portugal");
}

#[test]
fn a_thinned_list_has_as_many_ranges_as_asked_for() {
    for count in [100, 1_000, 10_000, 100_000] {
        let lists = LISTS.thinned(count);
        assert_eq!(Family::ALL.map(|family| lists.blocked(family).len()), [count; 2]);
    }
}
