use super::*;
use crate::clock::{Clock, UnixTime};
use crate::country::select;
use crate::decide::{LocalSources, Timed};
use crate::desired::BootTime;
use crate::geodata::embedded;
use crate::policy::{Mode, Scope};
use crate::seen::Count;

/// Some address of a country that no source disputes.
fn somewhere(world: &World, country: &str) -> IpAddr {
    let id = crate::country::CountryCode::parse(country).unwrap().id();
    let sure = |id: u16| {
        let entry = world.entries()[usize::from(id)];
        (!entry.disputed() && !entry.hosting).then_some(entry.primary)
    };
    let mut ranges = world.v4().ranges();
    let (range, _) = ranges.find(|(_, entry)| sure(*entry) == Some(id)).unwrap();
    IpAddr::V4(range.first.into())
}

fn party(who: Who, address: IpAddr, transport: Transport, port: Option<u16>) -> Party {
    let address = SocketAddr::new(address, 5066);
    Party { who, name: "1001".to_owned(), address, transport, port }
}

fn allow(countries: &[&str]) -> Policy {
    Policy::new(Mode::AllowSelected, select(countries.iter().copied()).unwrap())
}

/// What is asked of a host with these overrides.
fn with<T>(world: &World, overrides: &Overrides, ask: impl FnOnce(&Host<'_>) -> T) -> T {
    let context = Context {
        world,
        overrides,
        interface: LocalSources::default(),
        now: BootTime(0),
        clock: Clock::default(),
    };
    ask(&Host { context, overrides: &|_| overrides.clone() })
}

#[test]
fn those_who_would_be_cut_are_named_with_the_risk() {
    let world = embedded::world().unwrap().world;
    let (abroad, home) = (somewhere(&world, "MA"), somewhere(&world, "ES"));
    let (udp, tcp) = (Transport::Udp, Transport::Tcp);
    let parties = [
        party(Who::Ssh, abroad, tcp, Some(5061)),
        party(Who::Ssh, abroad, tcp, Some(22)),
        party(Who::Phone, abroad, udp, None),
        party(Who::Phone, home, udp, None),
        party(Who::Portal, abroad, tcp, Some(5061)),
        party(Who::Trunk, abroad, udp, None),
        party(Who::Connection, abroad, tcp, Some(5061)),
    ];
    let nothing = Overrides::default();
    let cut = |policy: &Policy, in_force: Option<&Policy>, overrides: &Overrides| {
        with(&world, overrides, |host| super::cut(policy, in_force, &parties, host))
    };
    let found = cut(&allow(&["ES"]), None, &nothing);
    let told: Vec<_> = found.iter().map(|cut| (cut.what.as_str(), cut.risk)).collect();
    assert_eq!(
        told,
        [
            ("trunk 1001", Some(Risk::LoseTrunk)),
            ("phone 1001", Some(Risk::LosePhones)),
            ("ssh session", Some(Risk::LoseSsh)),
            ("portal session", Some(Risk::LosePortal)),
            ("connection to 1001", None),
        ]
    );
    assert!(found.iter().all(|cut| cut.address == abroad && cut.country.as_str() == "MA"));
    assert_eq!(cut(&allow(&["ES", "MA"]), None, &nothing), []);
    let again = cut(&allow(&["ES"]), Some(&allow(&["PT"])), &nothing);
    assert!(again.iter().all(|cut| cut.already && cut.risk.is_none()) && again.len() == 5);
    let exempt = Timed { value: abroad.into(), until: None };
    let exempt = Overrides { exemptions: vec![exempt], ..Overrides::default() };
    assert_eq!(cut(&allow(&["ES"]), None, &exempt), []);
    let ban = Timed { value: abroad.into(), until: None };
    let ban = Overrides { bans: vec![ban], ..Overrides::default() };
    let banned = cut(&allow(&["ES", "MA"]), None, &ban);
    assert_eq!(banned.len(), 5);
    assert!(banned.iter().all(|cut| cut.banned && cut.risk.is_none() && !cut.can_be_kept()));
    let peer = Timed { value: SocketAddr::new(abroad, 5066), until: None };
    let peer = Overrides { peers: vec![peer], ..Overrides::default() };
    let left = cut(&allow(&["ES"]), None, &peer);
    assert!(left.iter().all(|cut| !matches!(cut.who, Who::Trunk | Who::Phone)), "peers by UDP");
    let udp_alone = Policy { scope: Scope(vec!["udp/5060".parse().unwrap()]), ..allow(&["ES"]) };
    let left = cut(&udp_alone, None, &nothing);
    assert_eq!(left.len(), 2, "what is not to a protected port passes");
}

#[test]
fn sources_are_counted_with_their_packets() {
    let world = embedded::world().unwrap().world;
    let (abroad, home) = (somewhere(&world, "CN"), somewhere(&world, "ES"));
    let nowhere: IpAddr = [240, 0, 0, 1].into();
    let count = |source, passed, dropped| Count { source, passed, dropped };
    let counts = [count(abroad, 7, 3), count(home, 30, 0), count(nowhere, 1, 0)];
    let mut seen = Seen::default();
    seen.take(&counts, UnixTime(1));
    let nothing = Overrides::default();
    let preview = |policy: &Policy| with(&world, &nothing, |host| preview(policy, &seen, host));
    let spain = preview(&allow(&["ES"]));
    assert_eq!((spain.addresses.total, spain.addresses.dropped), (3, 2));
    assert_eq!(spain.packets, Some(Share { total: 41, dropped: 11 }));
    assert_eq!(spain.unknown, Share { total: 1, dropped: 1 });
    let china = spain.by_country.iter().find(|row| row.country.as_str() == "CN").unwrap();
    assert_eq!((china.total, china.dropped), (1, 1));
    assert!(spain.selection.addresses > 20_000_000, "{:?}", spain.selection);
    assert!(spain.selection.disputed > 0 && spain.selection.hosting > 0);
    let both = preview(&allow(&["ES", "CN"]));
    assert_eq!((both.addresses.dropped, both.packets.unwrap().dropped), (1, 1));
}

#[test]
fn hosting_networks_are_a_risk_while_no_trunk_is_known() {
    let dropping = Policy { hosting: Verdict::Drop, ..allow(&["ES"]) };
    assert!(risks_unknown_trunks(&dropping, &allow(&["ES"]), 0));
    assert!(!risks_unknown_trunks(&dropping, &allow(&["ES"]), 1));
    assert!(!risks_unknown_trunks(&dropping, &dropping, 0));
    assert!(!risks_unknown_trunks(&allow(&["ES"]), &allow(&["ES"]), 0));
}
