use super::*;
use crate::country::CountryCode;

const NOON: Stamp = Stamp(20_780 * DAY + DAY / 2);

fn code(text: &str) -> CountryCode {
    CountryCode::parse(text).unwrap()
}

fn ago(days: i64) -> Stamp {
    Stamp(NOON.0 - days * DAY)
}

fn counted(since: Option<Stamp>, attempts: u64) -> Counted {
    let source = std::net::Ipv4Addr::new(192, 0, 2, 1).into();
    Counted { source, since, attempts, probes: 1, found: false }
}

#[test]
fn a_day_is_written_as_its_date() {
    assert_eq!(Day::of(NOON).to_string(), "2026-11-23");
    assert_eq!(Day::of(ago(327)).to_string(), "2025-12-31");
}

#[test]
fn attempts_count_for_their_day_and_country() {
    let mut evidence = Evidence::default();
    evidence.count(&counted(Some(ago(1)), 3), code("CN"), NOON);
    evidence.count(&counted(Some(ago(1)), 2), code("RU"), NOON);
    evidence.count(&counted(None, 4), code("CN"), NOON);
    evidence.count(&counted(Some(ago(-3)), 5), code("CN"), NOON);
    evidence.login(ago(1), NOON);
    let days: Vec<_> = evidence.days().map(|(day, of)| (day, of.attempted(), of.logins)).collect();
    assert_eq!(days, [(Day::of(ago(1)), 5, 1), (Day::of(NOON), 9, 0)]);
    let (_, yesterday) = evidence.days().next().unwrap();
    assert_eq!((yesterday.attempts[&code("RU")], yesterday.probes), (2, 2));
}

#[test]
fn whole_days_without_a_policy_are_set_against_those_with_one() {
    let mut evidence = Evidence::default();
    // Before there was an agent, on the day when it came, and afterwards.
    for (days, attempts, [with, without]) in [
        (9, 1_000, [0, 0]),
        (8, 300, [0, 0]),
        (7, 500, [0, 2]),
        (6, 77, [10, 13]),
        (5, 10, [23, 1]),
        (4, 20, [24, 0]),
        // Nobody looked, or not for long.
        (3, 55, [0, 0]),
        (2, 55, [0, 22]),
        (1, 400, [0, 23]),
        (0, 9, [12, 0]),
    ] {
        evidence.count(&counted(Some(ago(days)), attempts), code("CN"), NOON);
        evidence.watch(with * 3600, true, ago(days));
        evidence.watch(without * 3600, false, ago(days));
    }
    let Comparison { without, with } = evidence.compare(NOON);
    assert_eq!(without, Span { days: 3, attempts: 1_200, logins: 0 });
    assert_eq!(with, Span { days: 2, attempts: 30, logins: 0 });
    assert!((without.a_day() - 400.0).abs() < 1e-9 && (with.a_day() - 15.0).abs() < 1e-9);
    assert_eq!(Evidence::default().compare(NOON), Comparison::default());
}

#[test]
fn no_more_than_two_years_are_kept() {
    let mut evidence = Evidence::default();
    for days in (0..1_000).rev() {
        evidence.count(&counted(Some(ago(days)), 1), code("CN"), NOON);
    }
    assert_eq!(evidence.days().count(), KEPT);
    assert_eq!(evidence.days().next().unwrap().0, Day::of(ago(KEPT as i64 - 1)));
    // What comes late counts for the oldest day there is.
    evidence.count(&counted(Some(ago(2_000)), 1), code("CN"), NOON);
    assert_eq!(evidence.days().count(), KEPT);
}

#[test]
fn it_is_read_as_it_was_written() {
    let mut evidence = Evidence::default();
    evidence.count(&counted(None, 3), code("CN"), NOON);
    let text = serde_json::to_string(&evidence).unwrap();
    assert_eq!(serde_json::from_str::<Evidence>(&text).unwrap(), evidence);
}

#[test]
fn a_day_is_read_as_it_is_written_and_nothing_else_is() {
    for day in ["1970-01-01", "2026-11-23", "2028-02-29"] {
        assert_eq!(day.parse::<Day>().unwrap().to_string(), day);
    }
    for odd in [
        "",
        "2026",
        "2026-11",
        "2026-11-3",
        "2026-13-01",
        "2026-02-30",
        "+026-11-23",
        "2026-11-23 ",
    ] {
        assert_eq!(odd.parse::<Day>(), Err(NoDay), "{odd}");
    }
}
