mod log;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

use proptest::prelude::*;

use log::Log;

use super::*;
use crate::country::{CountryCode, CountryId, select};
use crate::decide::decide_source;
use crate::geodata::embedded;
use crate::pbx::{How, Kind, Trunk};
use crate::policy::{Disputed, Mode, Policy, Verdict};
use crate::wire::Share;
use crate::world::{Entry, World};

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| embedded::world().unwrap().world)
}

fn id(country: &str) -> CountryId {
    CountryCode::parse(country).unwrap().id()
}

/// Addresses of which the world table says this, of ranges that are far from each other.
fn addresses(many: usize, is: impl Fn(Entry) -> bool) -> Vec<IpAddr> {
    let says = |entry: u16| is(world().entries()[usize::from(entry)]);
    let ranges = world().v4().ranges().filter(|(_, entry)| says(*entry));
    let addresses = ranges.map(|(range, _)| IpAddr::V4((range.first + 7).into()));
    addresses.filter(|it| is(world().lookup(*it))).take(many).collect()
}

/// Addresses of phones at home in a country.
fn phones(country: &str, many: usize) -> Vec<IpAddr> {
    let country = id(country);
    let sure = Entry { primary: country, second: country, hosting: false };
    addresses(many, |entry| entry == sure)
}

fn hosted(country: &str, many: usize) -> Vec<IpAddr> {
    let country = id(country);
    let sure = Entry { primary: country, second: country, hosting: true };
    addresses(many, |entry| entry == sure)
}

fn phone(country: &str) -> IpAddr {
    phones(country, 1)[0]
}

fn countries(told: &Recommendation) -> Vec<String> {
    told.proposal.countries.iter().map(ToString::to_string).collect()
}

fn role(told: &Recommendation, country: &str) -> Role {
    told.countries.iter().find(|it| it.country.as_str() == country).unwrap().role
}

/// Counted by hand: 5 + 3 logins at home, 2 of a visitor; 40 attempts, 10 of them from Spain.
#[test]
fn countries_of_phones_are_let_in_and_one_seen_twice_is_left_to_the_operator() {
    let (spain, portugal, morocco, china) =
        (phones("ES", 2), phone("PT"), phone("MA"), phone("CN"));
    let mut log = Log::new();
    log.logins("1001", spain[0], 5).logins("1002", portugal, 3).logins("1003", morocco, 2);
    log.guesses("1001", china, 30).guesses("1002", spain[1], 10);
    let told = log.recommend();
    assert_eq!(
        (told.proposal.action, told.proposal.mode),
        (Action::Allow, Some(Mode::AllowSelected))
    );
    assert_eq!(countries(&told), ["ES", "PT"]);
    assert_eq!(told.attempts, Share { total: 40, dropped: 30 });
    assert_eq!(told.logins, Share { total: 10, dropped: 2 });
    let cut: Vec<_> = told.would_cut.iter().map(|it| (it.address, it.what.as_str())).collect();
    assert_eq!(cut, [(morocco, "phone 1003")]);
    assert_eq!(role(&told, "MA"), Role::Undecided);
    let [undecided] = &told.undecided[..] else { panic!("{:?}", told.undecided) };
    // 1795000000 is 2026-11-18, as `date -u -d @1795000000` says.
    assert_eq!(undecided.command, "geofilter allow MA --until 2026-12-02 --confirm-within 10m");
    assert_eq!(told.commands, ["geofilter allow ES PT --confirm-within 10m", "geofilter confirm"]);
}

/// A country that attackers come from is not opened for a few logins of one account.
#[test]
fn among_attackers_an_address_is_exempt_rather_than_a_country_let_in() {
    let (home, vietnam) = (phone("ES"), phones("VN", 2));
    let few = |logins| {
        let mut log = Log::new();
        log.logins("1001", home, 9)
            .logins("1002", vietnam[0], logins)
            .guesses("9", vietnam[1], 100);
        log.recommend()
    };
    let told = few(9);
    assert_eq!(countries(&told), ["ES"]);
    let exempt = format!("geofilter exempt add {} --for 30d", vietnam[0]);
    assert_eq!(told.undecided[0].command, exempt);
    assert_eq!(told.logins.dropped, 9);
    assert_eq!(countries(&few(10)), ["ES", "VN"]);
}

#[test]
fn a_thief_who_guessed_at_an_address_opens_no_country() {
    let (home, thief) = (phone("ES"), phone("VN"));
    let mut log = Log::new();
    log.logins("1001", home, 9);
    log.guesses("1001", thief, 1).guesses("1002", thief, 1).guesses("1003", thief, 1);
    let told = log.logins("1003", thief, 500).recommend();
    assert_eq!(countries(&told), ["ES"]);
    assert_eq!(role(&told, "VN"), Role::Suspect);
    let [suspect] = &told.suspects[..] else { panic!("{:?}", told.suspects) };
    assert_eq!((suspect.address, suspect.account.as_str(), suspect.passes), (thief, "1003", false));
    assert!(suspect.why.contains("several accounts"), "{}", suspect.why);
    assert_eq!((told.logins.dropped, told.undecided.len()), (500, 0));
    // The same in a country that is let in anyway: it passes, and that is said.
    let mut log = Log::new();
    let (home, thief) = (phones("ES", 1)[0], phones("ES", 2)[1]);
    log.logins("1001", home, 9).guesses("1002", thief, 20).logins("1002", thief, 5);
    let told = log.recommend();
    assert_eq!((told.suspects.len(), told.suspects[0].passes), (1, true));
}

/// Each forged source is refused once, or often.
#[test]
fn a_flood_of_forged_sources_hides_no_thief() {
    let (home, thief) = (phone("ES"), phone("VN"));
    let forged = |host: u32| IpAddr::V4((0x2d00_0000 + host).into());
    let mut log = Log::new();
    log.logins("1001", home, 9);
    for host in 0..500_000 {
        log.guesses("1001", forged(host), 1);
    }
    log.guesses("1002", thief, 20).logins("1002", thief, 5);
    let later = phones("PT", 1)[0];
    let told = log.logins("1003", later, 5).recommend();
    assert_eq!(countries(&told), ["ES", "PT"]);
    let [suspect] = &told.suspects[..] else { panic!("{:?}", told.suspects) };
    assert_eq!((suspect.address, suspect.account.as_str()), (thief, "1002"));
    // Who was refused often is not forgotten, and who comes when there is no room is not known.
    let mut log = Log::new();
    log.logins("1001", home, 9);
    for host in 0..500_000 {
        log.guesses("1", forged(host), 1).guesses("2", forged(host), 1).guesses(
            "3",
            forged(host),
            1,
        );
    }
    let told = log.guesses("1002", thief, 20).logins("1002", thief, 500).recommend();
    assert_eq!(countries(&told), ["ES"]);
    let [suspect] = &told.suspects[..] else { panic!("{:?}", told.suspects) };
    assert_eq!(suspect.address, thief);
    assert!(suspect.why.contains("than are told apart"), "{}", suspect.why);
}

#[test]
fn an_old_phone_behind_the_same_address_makes_nobody_a_thief() {
    let office = phone("ES");
    let mut log = Log::new();
    log.guesses("gone", office, 200).logins("1001", office, 5).logins("1002", office, 5);
    let told = log.recommend();
    assert_eq!((countries(&told), told.suspects.len()), (vec!["ES".to_owned()], 0));
}

#[test]
fn an_attacked_account_away_from_home_is_in_doubt_however_often_it_logs_in() {
    let (home, brazil, thief) = (phone("ES"), phones("BR", 3), phone("VN"));
    let attacked = |times: usize| {
        let mut log = Log::new();
        log.logins("1001", home, 2).days(3).logins("1001", home, 2);
        for source in &brazil[..times] {
            log.guesses("1001", *source, 1);
        }
        log.logins("1001", thief, 600).recommend()
    };
    let told = attacked(3);
    assert_eq!(countries(&told), ["ES"]);
    assert!(told.suspects[0].why.contains("at home in ES"), "{:?}", told.suspects);
    // Who was not attacked travels: the account is at home in Spain, so Vietnam is left to the operator.
    let told = attacked(2);
    assert_eq!((countries(&told), told.suspects.len()), (vec!["ES".to_owned()], 0));
    assert_eq!(role(&told, "VN"), Role::Undecided);
    assert_eq!(told.would_cut[0].logins, Some(600));
}

#[test]
fn phones_in_many_countries_make_it_a_list_of_the_worst() {
    let homes = "ES PT FR IT DE GB NL BE AT CH PL CZ SE NO FI US".split(' ');
    let mut log = Log::new();
    let mut homes: Vec<&str> = homes.collect();
    for (number, country) in homes.iter().enumerate() {
        log.logins(&format!("1{number}"), phone(country), 3);
    }
    // Ukraine is worse, and somebody logged in from there. The one from Japan is below one in a hundred.
    log.guesses("9", phone("CN"), 200).guesses("9", phone("RU"), 100).guesses("9", phone("JP"), 1);
    log.guesses("9", phones("UA", 2)[1], 300).logins("2000", phone("UA"), 1);
    let told = log.recommend();
    assert_eq!(told.proposal.action, Action::Block);
    assert_eq!(countries(&told), ["CN", "RU"]);
    assert_eq!(told.attempts, Share { total: 601, dropped: 300 });
    assert_eq!(told.logins, Share { total: 49, dropped: 0 });
    assert_eq!(told.commands[0], "geofilter block CN RU --confirm-within 10m");
    // One fewer, and they are few enough to be let in.
    let mut log = Log::new();
    homes.pop();
    for (number, country) in homes.iter().enumerate() {
        log.logins(&format!("1{number}"), phone(country), 3);
    }
    assert_eq!(log.recommend().proposal.action, Action::Allow);
}

#[test]
fn with_too_few_logins_it_observes_first() {
    let told = Log::new().logins("1001", phone("ES"), 2).recommend();
    assert_eq!((told.proposal.action, told.proposal.mode), (Action::Observe, None));
    assert_eq!((told.commands, told.logins.dropped), (vec!["geofilter observe".to_owned()], 0));
    let mut log = Log::new();
    let told = log.logins("1001", phone("ES"), 2).guesses("9", phone("CN"), 40).recommend();
    assert_eq!(told.commands, ["geofilter observe"]);
    assert_eq!(told.at_once().unwrap(), "geofilter block CN --confirm-within 10m");
    assert_eq!(told.attempts, Share { total: 40, dropped: 40 });
    // Nothing of a thief's counts.
    let mut log = Log::new();
    let thief = phone("CN");
    let told = log.guesses("9", thief, 30).logins("9", thief, 30).recommend();
    assert_eq!((told.proposal.action, countries(&told)), (Action::Observe, vec!["CN".to_owned()]));
}

#[test]
fn hosting_networks_are_dropped_unless_phones_are_there() {
    let (home, inside) = (phone("ES"), hosted("ES", 10));
    let with = |phones: usize| {
        let mut log = Log::new();
        log.logins("1001", home, 9).guesses("9", phone("CN"), 30).guesses("9", inside[9], 20);
        for address in &inside[..phones] {
            log.logins("cloud", *address, 3);
        }
        log
    };
    let told = with(0).recommend();
    assert_eq!((told.proposal.hosting, told.exemptions.len()), (Verdict::Drop, 0));
    assert_eq!((told.attempts.dropped, told.dropped_without_hosting), (50, 30));
    assert_eq!(told.commands[0], "geofilter allow ES --hosting drop --confirm-within 10m");
    let mut around = Around::default();
    around.systems.insert(inside[0], (64500, "Cloud".to_owned()));
    let told = with(1).around(&around);
    assert_eq!(told.proposal.hosting, Verdict::Drop);
    assert_eq!(told.commands[0], format!("geofilter exempt add {} --note \"cloud\"", inside[0]));
    assert!(told.exemptions[0].why.contains("AS64500 Cloud"), "{:?}", told.exemptions);
    assert_eq!(told.logins.dropped, 0);
    let told = with(9).recommend();
    assert_eq!((told.proposal.hosting, told.exemptions.len()), (Verdict::Pass, 0));
    assert_eq!((told.attempts.dropped, told.logins.dropped), (30, 0));
    let why = told.proposal.why_hosting.unwrap();
    assert!(why.contains("20 attempts more") && why.contains("9 addresses"), "{why}");
}

#[test]
fn hosting_networks_pass_while_the_pbx_names_no_trunk() {
    let (home, inside) = (phone("ES"), hosted("ES", 1)[0]);
    let with = |trunks: Vec<Trunk>| {
        let pbx = Pbx { trunks, ..Pbx::new(Kind::Asterisk) };
        let mut log = Log::new();
        log.logins("1001", home, 9).guesses("9", inside, 20);
        log.around(&Around { pbxs: Some(vec![pbx]), ..Around::default() })
    };
    let told = with(Vec::new());
    assert_eq!(told.proposal.hosting, Verdict::Pass);
    assert!(told.proposal.why_hosting.unwrap().contains("20 attempts more"));
    let told = with(vec![Trunk::new("carrier", How::Registration)]);
    assert_eq!(told.proposal.hosting, Verdict::Drop);
}

#[test]
fn trunks_need_nothing_unless_the_agent_does_not_see_them() {
    let mut known = Trunk::new("carrier", How::Registration);
    known.addresses = vec![SocketAddr::new(phone("US"), 5060)];
    let mut wide = Trunk::new("everybody", How::Identify);
    wide.prefixes = vec!["0.0.0.0/0".parse().unwrap()];
    let mut inside = Trunk::new("inside; reboot", How::Identify);
    let prefixes = ["1.0.2.0/24", "0.0.0.0/0", "1.0.1.1/32"];
    inside.prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
    inside.addresses = vec!["1.0.1.1:5060".parse().unwrap()];
    let at_home = Pbx { trunks: vec![known, wide], ..Pbx::new(Kind::Asterisk) };
    let boxed = Pbx { trunks: vec![inside], container: true, ..Pbx::new(Kind::Asterisk) };
    let mut log = Log::new();
    log.logins("1001", phone("ES"), 9);
    let told = log.around(&Around { pbxs: Some(vec![at_home, boxed]), ..Around::default() });
    let by_itself: Vec<bool> = told.trunks.iter().map(|it| it.passes_by_itself).collect();
    assert_eq!(by_itself, [true, false, false]);
    assert_eq!(
        told.commands,
        [
            "geofilter exempt add 1.0.2.0/24 --note \"inside_ reboot\"",
            "geofilter exempt add 1.0.1.1 --note \"inside_ reboot\"",
            "geofilter allow ES --confirm-within 10m",
            "geofilter confirm"
        ]
    );
    assert!(told.warnings.iter().any(|it| it.contains("would drop the trunks carrier")));
}

#[test]
fn a_second_opinion_that_keeps_phones_counts_unless_it_lets_in_attackers() {
    let (spain, france) = (id("ES"), id("FR"));
    let disputed = Entry { primary: france, second: spain, hosting: false };
    let disputed = addresses(2, |entry| entry == disputed);
    let with = |guesses| {
        let mut log = Log::new();
        log.logins("1001", phone("ES"), 9).logins("1001", disputed[0], 2);
        log.guesses("9", phone("CN"), 100).guesses("9", disputed[1], guesses);
        log.recommend()
    };
    let told = with(5);
    assert_eq!((told.proposal.disputed, told.logins.dropped), (Disputed::Lenient, 0));
    assert_eq!(told.commands[0], "geofilter allow ES --disputed lenient --confirm-within 10m");
    let told = with(6);
    assert_eq!((told.proposal.disputed, told.logins.dropped), (Disputed::Primary, 2));
}

#[test]
fn registered_devices_count_and_local_ones_speak_for_no_country() {
    let mut log = Log::new();
    for (number, address) in phones("ES", 3).into_iter().enumerate() {
        log.evidence.add_registered(&format!("100{number}"), address);
    }
    let morocco = phone("MA");
    log.evidence.add_registered("1009", morocco);
    log.evidence.add_registered("1010", [192, 168, 1, 9].into());
    let told = log.recommend();
    assert_eq!(countries(&told), ["ES"]);
    assert_eq!(told.logins, Share { total: 4, dropped: 1 });
    assert_eq!(told.would_cut[0].address, morocco);
    assert!(told.warnings.iter().any(|it| it.contains("registered now")), "{:?}", told.warnings);
    let told = Log::new().logins("1001", [10, 0, 0, 7].into(), 50).recommend();
    assert_eq!(told.proposal.action, Action::Observe);
    assert!(told.proposal.why.contains("local addresses"), "{}", told.proposal.why);
}

#[test]
fn what_it_cannot_know_depends_on_what_it_saw() {
    let mut log = Log::new();
    let told =
        log.logins("1001", phone("ES"), 3).days(30).logins("1001", phone("ES"), 1).recommend();
    let said = told.cannot_know.join("\n");
    assert!(said.contains("in the 30 days") && !said.contains("a week of logs"), "{said}");
    assert!(said.contains("nobody asked the PBX") && !said.contains("security.log"), "{said}");
    let told = Log::new().around(&Around { pbxs: Some(Vec::new()), ..Around::default() });
    let said = told.cannot_know.join("\n");
    assert!(said.contains("security.log => security") && !said.contains("asked the PBX"), "{said}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// Whatever the logs tell: whoever logged in passes by the policy and the exemptions that are proposed, or
    /// is named.
    #[test]
    fn nobody_is_cut_without_being_named(
        lines in prop::collection::vec((0..14_usize, 0..4_usize, 1..12_usize, any::<bool>()), 0..40)
    ) {
        static PLACES: OnceLock<Vec<IpAddr>> = OnceLock::new();
        let places = PLACES.get_or_init(|| {
            let all = [phones("ES", 3), phones("FR", 2), phones("VN", 2), hosted("ES", 3), hosted("US", 2)];
            let disputed = addresses(2, |it| it.primary == id("FR") && it.second == id("ES"));
            [all.concat(), disputed].concat()
        });
        let (mut log, mut came) = (Log::new(), BTreeSet::new());
        for (place, account, times, login) in lines {
            let (place, account) = (places[place], format!("100{account}"));
            match login {
                true => {
                    log.logins(&account, place, times);
                    came.insert(place);
                }
                false => drop(log.guesses(&account, place, times)),
            }
        }
        let told = log.recommend();
        let words = countries(&told);
        let policy = Policy {
            hosting: told.proposal.hosting,
            disputed: told.proposal.disputed,
            ..Policy::new(
                told.proposal.mode.unwrap_or(Mode::BlockSelected),
                select(words.iter().map(String::as_str)).unwrap(),
            )
        };
        let exempt: BTreeSet<String> = told.exemptions.iter().map(|it| it.target.clone()).collect();
        let cut = came.into_iter().filter(|address| {
            decide_source(*address, &policy, world()).verdict == Verdict::Drop
                && !exempt.contains(&address.to_string())
        });
        let named: BTreeSet<IpAddr> = told.would_cut.iter().map(|it| it.address).collect();
        prop_assert_eq!(cut.collect::<BTreeSet<_>>(), named);
    }
}
