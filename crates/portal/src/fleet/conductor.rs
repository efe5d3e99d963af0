//! [`conduct`]: brings rollouts from stage to stage. Some hosts try what is chosen, then all have it, and then it stays; where a host
//! loses those whom it serves, or its connection, all go back. One that is cut off from its portal goes back by itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use geofilter_core::desired::State;
use geofilter_fleet::{HostId, Report, Served};
use tokio::time::{MissedTickBehavior, interval};

use super::Follower;
use crate::clock;
use crate::store::{Rollout, Stage, Store, Watched, is_away};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);
/// For so long after this portal came, or its database came back, hosts may still be on their way to it.
const SETTLED: Duration = Duration::from_secs(45);
/// Milliseconds in which a host that listens does what it is told, and after which one that says nothing is lost: it does every 10 s,
/// and that its connection is dead is noticed later.
const PROMPT: i64 = 30_000;
const SILENT: i64 = 25_000;
/// Of so many hosts one may be lost, once all have it: a machine is restarted every now and then.
const OF: usize = 50;

/// What happens next to a rollout.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Nothing yet.
    Wait,
    /// The next stage, at which these hosts keep what was before, since they lost something.
    Step(Stage, Vec<(HostId, String)>),
    /// It is paused, and these hosts keep what they try.
    Keep(Vec<HostId>),
    /// These hosts lost something, and all go back.
    Halt(Vec<(HostId, String)>),
}

/// Does so for as long as it is polled. Of several portals each looks, and one of them steps.
pub(crate) async fn conduct(store: Store, follower: Arc<Follower>) {
    let mut turn = interval(EVERY);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut since = Instant::now();
    // Those of which it was said that they can't be brought on.
    let mut stuck = BTreeSet::new();
    loop {
        turn.tick().await;
        match look(&store, since.elapsed() > SETTLED, &mut stuck).await {
            // What can't be told now is as soon as it can: it looks by itself.
            Ok(true) => drop(follower.catch_up().await),
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(%error, "rollouts wait for the database");
                since = Instant::now();
            }
        }
    }
}

/// Whether any took a step.
async fn look(
    store: &Store,
    is_settled: bool,
    stuck: &mut BTreeSet<i64>,
) -> Result<bool, sqlx::Error> {
    let mut stepped = false;
    for rollout in store.rollouts_on().await? {
        match bring_on(store, &rollout, is_settled).await {
            Ok(is_stepped) => {
                stuck.remove(&rollout.id);
                stepped |= is_stepped;
            }
            Err(error) if is_away(&error) => return Err(error),
            // It keeps no other from going on.
            Err(error) if stuck.insert(rollout.id) => {
                tracing::warn!(rollout = rollout.id, %error, "a rollout can't be brought on; it is tried again each second");
            }
            Err(_) => {}
        }
    }
    Ok(stepped)
}

/// Whether it took a step.
async fn bring_on(store: &Store, rollout: &Rollout, is_settled: bool) -> Result<bool, sqlx::Error> {
    let (now, watched) = (clock::now(), store.watched(rollout.id).await?);
    match next(rollout, &watched, is_settled, now) {
        Next::Wait => Ok(false),
        Next::Step(stage, lost) => store.step(rollout, stage, None, &lost, now).await,
        Next::Keep(hosts) if hosts.is_empty() => Ok(false),
        Next::Keep(hosts) => store.keep_on_trial(rollout, &hosts, now).await,
        Next::Halt(lost) => {
            let why = halted(&watched, &lost);
            let is_halted = store.step(rollout, Stage::Halted, Some(&why), &lost, now).await?;
            if is_halted {
                tracing::warn!(
                    rollout = rollout.id,
                    hosts = lost.len(),
                    "a rollout harmed hosts, and all of its hosts go back; the page names them"
                );
            }
            Ok(is_halted)
        }
    }
}

fn next(rollout: &Rollout, watched: &[Watched], is_settled: bool, now: i64) -> Next {
    let is_canary = rollout.stage == Stage::Canary;
    let hosts: Vec<&Watched> =
        watched.iter().filter(|host| !is_canary || host.canary != 0).collect();
    if let Some(paused) = rollout.paused {
        // One that is cut off by it says nothing since, and goes back by itself.
        let keeps = hosts.iter().filter(|host| {
            let is_heard = host.reported.is_some_and(|reported| reported > paused);
            !host.kept && is_heard && host.has(rollout) && {
                let report = host.report.as_ref().map(|report| &report.0);
                report.is_some_and(|report| not_in_force(report).is_none())
            }
        });
        return Next::Keep(keeps.map(|host| HostId(host.id)).collect());
    }
    let lost: Vec<(HostId, String)> = hosts
        .iter()
        .filter_map(|host| Some((HostId(host.id), lost(rollout, host, is_settled, now)?)))
        .collect();
    let tolerated = if is_canary { 0 } else { hosts.len() / OF };
    if lost.len() > tolerated || hosts.is_empty() {
        return Next::Halt(lost);
    }
    // What was said before that says nothing of all that time.
    let watched = rollout.since + rollout.hold;
    let have = |host: &&Watched| {
        let is_watched = host.reported.is_some_and(|reported| reported >= watched);
        host.has(rollout) && is_watched && knows_whom_it_serves(host)
    };
    let is_lost = |host: &&Watched| lost.iter().any(|(lost, _)| *lost == HostId(host.id));
    let have = hosts.iter().copied().filter(|host| have(host) && !is_lost(host)).count();
    if now < watched || have + lost.len() < hosts.len() {
        return Next::Wait;
    }
    Next::Step(if is_canary { Stage::All } else { Stage::Done }, lost)
}

/// What a host lost by it, if anything.
fn lost(rollout: &Rollout, host: &Watched, is_settled: bool, now: i64) -> Option<String> {
    if host.gone {
        return Some("it was revoked, or left".to_owned());
    }
    let silent = now - host.reported.unwrap_or(0).max(rollout.since);
    if is_settled && silent > SILENT {
        return Some("nothing is heard of it any more".to_owned());
    }
    let report = &host.report.as_ref()?.0;
    if let Some(refused) = &report.refused
        && refused.mark.revision >= rollout.revision.cast_unsigned()
    {
        return Some(format!("it refuses it: {}", refused.why));
    }
    if !host.has(rollout) {
        let late = is_settled && now - rollout.since > PROMPT;
        return late.then(|| "it does not do it, and does not say why".to_owned());
    }
    if let Some(away) = not_in_force(report) {
        return Some(away);
    }
    let (before, served) = (host.before.as_ref()?.0, report.served?);
    match host.stale {
        0 => fewer(before, served),
        // Its machine may just have been started: it has the whole time, and its kernel has forgotten its peers.
        _ if now < rollout.since + rollout.hold => None,
        _ => fewer(Served { peers: 0, ..before }, served),
    }
}

/// Whether its PBX has said so since its agent started, if it had said so when the rollout began.
fn knows_whom_it_serves(host: &Watched) -> bool {
    let served = host.report.as_ref().and_then(|report| report.0.served);
    host.before.is_none() || host.stale != 0 || served.is_some()
}

/// Why what a host did is not in force there any more.
fn not_in_force(report: &Report) -> Option<String> {
    let standing = report.standing.as_ref()?;
    match standing.state {
        State::Off | State::Observing => Some("its filter was switched off there".to_owned()),
        State::Enforcing | State::Paused | State::Pending => report
            .instead
            .is_some()
            .then(|| "it went back by itself, or was told something else there".to_owned()),
    }
}

/// Those whom it served and does not any more, beyond what happens on any day.
fn fewer(before: Served, now: Served) -> Option<String> {
    let drop = |before: u32, now: u32| before.saturating_sub(now);
    // A phone or two is switched off, and a peer comes to its end, every now and then.
    let many = |before: u32| (before / 5).max(1);
    let lost = [
        ("registrations at trunks", before.registrations, now.registrations, 0),
        ("registered phones", before.phones, now.phones, many(before.phones)),
        ("peers", before.peers, now.peers, many(before.peers)),
    ];
    let lost = lost.iter().find(|(_, before, now, usual)| drop(*before, *now) > *usual);
    lost.map(|(what, before, now, _)| format!("of its {before} {what} {now} are left"))
}

/// Why a rollout is halted, in a line.
fn halted(watched: &[Watched], lost: &[(HostId, String)]) -> String {
    let name = |id: HostId| {
        let host = watched.iter().find(|host| HostId(host.id) == id);
        let name = host.map_or("", |host| host.name.as_str());
        // Another may be named like it.
        match watched.iter().filter(|host| host.name == name).count() {
            1 => name.to_owned(),
            _ => format!("{name} (host {id})"),
        }
    };
    let more = match lost.len() {
        0 | 1 => String::new(),
        some => format!(", and {} more", some - 1),
    };
    lost.first().map_or_else(String::new, |(id, what)| format!("{}: {what}{more}", name(*id)))
}

#[cfg(test)]
mod tests {
    use geofilter_core::change::Change;
    use geofilter_core::country::CountrySet;
    use geofilter_core::policy::Mode;
    use geofilter_fleet::{Mark, Refused, Standing};

    use super::*;
    use crate::fleet::Settings;

    const NOW: i64 = 1_795_400_000_000;
    const SERVED: Served = Served { phones: 10, trunks: 2, registrations: 2, peers: 4 };

    fn rollout(stage: Stage) -> Rollout {
        Rollout {
            id: 1,
            tenant: 1,
            host_group: None,
            policy: Settings::default().into(),
            before: Settings::default().into(),
            operator: "ana".to_owned(),
            began: NOW,
            stage,
            since: NOW,
            paused: None,
            revision: 7,
            hold: 60_000,
            why: None,
        }
    }

    fn host(id: i64, canary: bool, change: impl FnOnce(&mut Watched, &mut Report)) -> Watched {
        let standing = Standing {
            state: State::Pending,
            policy: String::new(),
            confirmed: false,
            dropped: 0,
            passed: 0,
        };
        let mut report =
            Report { standing: Some(standing), served: Some(SERVED), ..Report::default() };
        let mut watched = Watched {
            id,
            name: format!("pbx-{id}"),
            canary: canary.into(),
            before: Some(SERVED.into()),
            stale: 0,
            report: None,
            reported: Some(NOW + 60_000),
            applied: Some(7),
            gone: false,
            kept: false,
        };
        change(&mut watched, &mut report);
        watched.report = Some(report.into());
        watched
    }

    fn fine(id: i64) -> Watched {
        host(id, id == 1, |_, _| {})
    }

    fn after(stage: Stage, seconds: i64, hosts: &[Watched]) -> Next {
        next(&rollout(stage), hosts, true, NOW + seconds * 1000)
    }

    #[test]
    fn a_stage_lasts_until_its_hosts_have_it_and_were_watched_for_a_while() {
        let behind = host(2, false, |host, _| host.applied = None);
        let hosts = [fine(1), behind.clone()];
        assert_eq!(after(Stage::Canary, 59, &hosts), Next::Wait);
        assert_eq!(after(Stage::Canary, 60, &hosts), Next::Step(Stage::All, Vec::new()));
        let old = host(1, true, |host, _| host.reported = Some(NOW + 59_999));
        let old = [old];
        assert_eq!(after(Stage::Canary, 70, &old), Next::Wait, "not the whole time");
        assert!(matches!(after(Stage::Canary, 90, &old), Next::Halt(_)), "it says nothing");
        assert_eq!(after(Stage::All, 29, &hosts), Next::Wait);
        let done = Next::Step(Stage::Done, Vec::new());
        assert_eq!(after(Stage::All, 60, &[fine(1), fine(2)]), done);
        let Next::Halt(lost) = after(Stage::All, 31, &hosts) else { panic!() };
        assert_eq!(lost[0].0, HostId(2));
    }

    #[test]
    fn what_a_host_loses_halts_it() {
        let refused = |host: &mut Watched, report: &mut Report| {
            let mark = Mark { epoch: 1, revision: 7 };
            report.refused =
                Some(Refused { mark, why: "it would cut a trunk".to_owned(), risks: Vec::new() });
            host.applied = None;
        };
        let served =
            |now: Served| move |_: &mut Watched, report: &mut Report| report.served = Some(now);
        let lost = |host: Watched, why: &str| match after(Stage::Canary, 30, &[host]) {
            Next::Halt(lost) => assert!(lost[0].1.contains(why), "{lost:?}"),
            other => panic!("{other:?} and not {why}"),
        };
        lost(host(1, true, refused), "it would cut a trunk");
        let gone = |host: &mut Watched, _: &mut Report| {
            host.reported = Some(NOW + 2_000);
        };
        lost(host(1, true, gone), "nothing is heard");
        lost(host(1, true, |host, _| host.gone = true), "revoked, or left");
        lost(
            host(1, true, served(Served { registrations: 1, ..SERVED })),
            "of its 2 registrations",
        );
        lost(
            host(1, true, served(Served { phones: 7, ..SERVED })),
            "of its 10 registered phones 7",
        );
        lost(host(1, true, served(Served { peers: 0, ..SERVED })), "peers");
        let off = |_: &mut Watched, report: &mut Report| {
            report.standing.as_mut().unwrap().state = State::Off;
        };
        lost(host(1, true, off), "switched off");
        // What happens on any day does not.
        let usual = Served { phones: 8, peers: 3, ..SERVED };
        assert_eq!(after(Stage::Canary, 30, &[host(1, true, served(usual))]), Next::Wait);
        // A portal that has just come does not know yet who comes too.
        let away = host(1, true, gone);
        assert_eq!(next(&rollout(Stage::Canary), &[away], false, NOW + 30_000), Next::Wait);
    }

    #[test]
    fn a_host_whose_pbx_has_not_spoken_since_its_agent_started_is_waited_for() {
        let started = host(1, true, |_, report| report.served = None);
        assert_eq!(after(Stage::Canary, 60, std::slice::from_ref(&started)), Next::Wait);
        let on = Next::Step(Stage::All, Vec::new());
        let without = Watched { before: None, ..started.clone() };
        assert_eq!(after(Stage::Canary, 60, &[without]), on);
        // One that had not when the rollout began may have none any more.
        let stale = Watched { stale: 1, ..started };
        assert_eq!(after(Stage::Canary, 60, &[stale]), on);
    }

    #[test]
    fn a_host_that_is_started_as_a_rollout_begins_has_the_whole_time_to_serve_those_it_served_before()
     {
        let with = |now: Served| {
            host(1, true, move |host, report| {
                host.stale = 1;
                report.served = Some(now);
            })
        };
        let fewer = with(Served { phones: 2, ..SERVED });
        assert_eq!(after(Stage::Canary, 59, std::slice::from_ref(&fewer)), Next::Wait);
        assert!(matches!(after(Stage::Canary, 60, &[fewer]), Next::Halt(_)));
        let forgot = with(Served { peers: 0, ..SERVED });
        assert_eq!(after(Stage::Canary, 60, &[forgot]), Next::Step(Stage::All, Vec::new()));
    }

    #[test]
    fn while_it_is_paused_hosts_keep_what_they_try_unless_they_are_cut_off_by_it() {
        let paused = Rollout { paused: Some(NOW + 20_000), ..rollout(Stage::Canary) };
        let back = host(2, true, |_, report| {
            report.instead =
                Some(Box::new(Change::new(Mode::BlockSelected, CountrySet::default())));
        });
        let silent = host(3, true, |host, _| host.reported = Some(NOW + 19_000));
        let hosts = [fine(1), back, silent, host(4, false, |_, _| {})];
        assert_eq!(next(&paused, &hosts, true, NOW + 900_000), Next::Keep(vec![HostId(1)]));
    }

    #[test]
    fn of_many_hosts_one_may_be_restarted() {
        let gone = |host: &mut Watched, _: &mut Report| {
            host.reported = Some(NOW + 2_000);
        };
        let away = host(1, true, gone);
        let mut hosts: Vec<Watched> = (2..=50).map(fine).collect();
        hosts.push(away);
        let Next::Step(Stage::Done, lost) = after(Stage::All, 60, &hosts) else { panic!() };
        assert_eq!(lost.len(), 1, "it keeps what was before");
        hosts.pop();
        hosts.pop();
        hosts.push(host(60, false, gone));
        assert!(matches!(after(Stage::All, 60, &hosts), Next::Halt(_)), "of fewer than fifty none");
    }
}
