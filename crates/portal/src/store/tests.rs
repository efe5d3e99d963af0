//! What is kept is the same in a file and on a server: each test is run on both.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};

use geofilter_cluster::Cluster;
use geofilter_core::change::Change;
use geofilter_core::counters::Reason;
use geofilter_core::country::CountryCode;
use geofilter_core::evidence::OfDay;
use geofilter_core::limits::Limits;
use geofilter_core::policy::Mode;
use geofilter_core::series::{Counts, Packets, STEP, Slot};
use geofilter_core::wire::{Data, EvidenceDay, UpdateOutcome};
use geofilter_fleet::{HostId, Mark, Previewed, Report, Said, Served};
use serde_json::json;
use sqlx::types::Json;
use tempfile::TempDir;

use super::*;
use crate::courier;
use crate::fleet::{Settings, Statement};
use crate::notices::Occasion;

mod upgrades;

/// An empty store.
pub(crate) struct Empty {
    store: Store,
    pub(crate) dir: TempDir,
}

impl Deref for Empty {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

/// One in a file.
pub(crate) async fn in_a_file() -> Empty {
    // Nothing is learnt from a disk that is slow.
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let store = Store::open(dir.path(), None).await.unwrap();
    Empty { store, dir }
}

/// One on a server, in a database of its own.
pub(crate) async fn on_a_server() -> Empty {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let url = Cluster::shared().create(&format!("store_{number}")).unwrap();
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let store = Store::open(dir.path(), Some(&url.parse().unwrap())).await.unwrap();
    Empty { store, dir }
}

/// One of each kind.
pub(crate) async fn both() -> [Empty; 2] {
    [in_a_file().await, on_a_server().await]
}

/// A host of this name.
pub(crate) async fn member(store: &Store, name: &str) -> HostId {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let new = KeptAuthority { key: String::new(), certificate: String::new() };
    store.set_authority(&new).await.unwrap();
    let group = store.groups_named(None, "Spain").await.unwrap().first().copied();
    let group = match group {
        Some(group) => group,
        None => store.add_group(1, "Spain").await.unwrap().unwrap(),
    };
    let mut digest = [0; 32];
    digest[..4].copy_from_slice(&number.to_be_bytes());
    store.add_ticket(&digest, group, 1_000).await.unwrap();
    let host = HostId(number.into());
    assert_eq!(store.enrol(&digest, host, name, 9, 500).await.unwrap(), Admitted::Yes);
    host
}

async fn ana(store: &Store) -> Operator {
    store.add_first_operator("Ana", "a hash", 1_000).await.unwrap().unwrap()
}

fn choice(country: &str) -> Choice {
    let countries = [CountryCode::parse(country).unwrap().id()].into_iter().collect();
    Choice { mode: Mode::AllowSelected, countries, hosting: None, unknown: None, disputed: None }
}

fn draft(country: &str) -> Draft {
    Draft { operator: "Ana".to_owned(), time: 5, choice: Json(choice(country)) }
}

#[tokio::test]
async fn operators_differ_in_more_than_case_and_the_last_admin_stays() {
    for store in both().await {
        assert!(!store.has_operators().await.unwrap());
        let ana = ana(&store).await;
        assert_eq!((&*ana.name, ana.role, ana.given), ("Ana", Role::Admin, None));
        assert!(store.add_first_operator("Eve", "a hash", 1).await.unwrap().is_none());
        assert_eq!(store.operator("aNA").await.unwrap().unwrap().id, ana.id);
        assert!(store.operator("Anb").await.unwrap().is_none());
        assert!(store.add_operator("ANA", "", Role::Viewer, None, 1).await.unwrap().is_none());
        let bob = store.add_operator("bob", "h", Role::Viewer, None, 7).await.unwrap().unwrap();
        assert_eq!(bob.given, Some(7));
        assert!(!store.set_role(&ana, Role::Viewer).await.unwrap(), "the last admin");
        assert!(!store.remove_operator(&ana).await.unwrap(), "the last admin");
        assert!(store.set_role(&bob, Role::Admin).await.unwrap());
        assert!(store.set_role(&ana, Role::Operator).await.unwrap());
        let listed = store.operators().await.unwrap();
        let listed: Vec<_> = listed.iter().map(|it| (&*it.name, it.role, it.totp)).collect();
        assert_eq!(listed, [("Ana", Role::Operator, false), ("bob", Role::Admin, false)]);
        assert!(store.remove_operator(&ana).await.unwrap());
        assert!(store.operator("Ana").await.unwrap().is_none());
    }
}

#[tokio::test]
async fn two_admins_who_step_down_at_once_leave_one() {
    for store in both().await {
        for turn in 0..8 {
            let names = [format!("a{turn}"), format!("b{turn}")];
            let one =
                store.add_operator(&names[0], "", Role::Admin, None, 1).await.unwrap().unwrap();
            let other =
                store.add_operator(&names[1], "", Role::Admin, None, 1).await.unwrap().unwrap();
            let (one_did, other_did) = tokio::join!(
                store.set_role(&one, Role::Viewer),
                store.set_role(&other, Role::Viewer)
            );
            let all = store.operators().await.unwrap();
            assert!(all.iter().any(|it| it.role == Role::Admin), "{one_did:?} {other_did:?}");
            for left in all {
                let left = store.operator(&left.name).await.unwrap().unwrap();
                let _ = store.set_role(&left, Role::Viewer).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_session_goes_on_until_it_ends_and_a_new_password_ends_the_others() {
    for store in both().await {
        let ana = ana(&store).await;
        let digests = [[1; 32], [2; 32], [3; 32]];
        let mut sessions = Vec::new();
        for digest in &digests {
            sessions.push(store.begin_session(digest, &ana, "csrf", "::1", 10_000).await.unwrap());
        }
        let found = store.session(&digests[0], true, 100_000).await.unwrap().unwrap();
        assert_eq!((found.operator, &*found.name, found.given), (ana.id, "Ana", false));
        assert_eq!(store.sessions(ana.id, 100_000).await.unwrap()[0].used, 100_000);
        assert!(store.session(&digests[0], false, i64::MAX / 2).await.unwrap().is_none());
        store.renew_session(sessions[0].id, &[9; 32], 77).await.unwrap();
        assert!(store.session(&digests[0], false, 100_000).await.unwrap().is_none());
        assert_eq!(store.session(&[9; 32], false, 100_000).await.unwrap().unwrap().proved, 77);
        store.change_password(ana.id, "another", sessions[0].id).await.unwrap();
        assert!(store.goes_on(sessions[0].id, 100_000).await.unwrap());
        assert!(!store.goes_on(sessions[1].id, 100_000).await.unwrap());
        store.give_password(ana.id, "a third", 5).await.unwrap();
        assert!(store.sessions(ana.id, 100_000).await.unwrap().is_empty());
        let given = store.begin_session(&[4; 32], &ana, "csrf", "::1", 10_000).await.unwrap();
        assert!(store.session(&[4; 32], false, 10_000).await.unwrap().unwrap().given);
        assert!(store.end_session(ana.id, given.id).await.unwrap());
        assert!(!store.end_session(ana.id, given.id).await.unwrap());
    }
}

#[tokio::test]
async fn a_code_is_taken_once_and_so_is_one_for_recovery() {
    for store in both().await {
        let ana = ana(&store).await;
        assert!(store.offer_factor(ana.id, b"first").await.unwrap());
        assert!(store.offer_factor(ana.id, b"second").await.unwrap(), "it is not asked for yet");
        let factor = store.factor(ana.id).await.unwrap().unwrap();
        assert_eq!((&*factor.secret, factor.since), (&b"second"[..], None));
        let [kept, other] = [[1; 32], [2; 32]];
        let kept = store.begin_session(&kept, &ana, "", "", 10).await.unwrap();
        let other = store.begin_session(&other, &ana, "", "", 10).await.unwrap();
        store.ask_for_codes(&factor, &[[7; 32], [8; 32]], kept.id, 50).await.unwrap();
        assert!(store.goes_on(kept.id, 20).await.unwrap());
        assert!(!store.goes_on(other.id, 20).await.unwrap(), "it began without");
        assert!(!store.offer_factor(ana.id, b"third").await.unwrap());
        let factor = store.factor(ana.id).await.unwrap().unwrap();
        assert_eq!(factor.since, Some(50));
        assert!(store.take_step(&factor, 3).await.unwrap());
        assert!(!store.take_step(&factor, 3).await.unwrap());
        assert_eq!(store.recovery_codes(ana.id).await.unwrap(), 2);
        assert!(store.take_recovery_code(ana.id, &[7; 32]).await.unwrap());
        assert!(!store.take_recovery_code(ana.id, &[7; 32]).await.unwrap());
        assert_eq!(store.recovery_codes(ana.id).await.unwrap(), 1);
        assert!(store.operators().await.unwrap()[0].totp);
        assert!(store.remove_factor(ana.id, None).await.unwrap());
        assert_eq!(store.recovery_codes(ana.id).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_token_may_do_no_more_than_its_operator() {
    for store in both().await {
        ana(&store).await;
        let bob = store.add_operator("bob", "", Role::Viewer, None, 1).await.unwrap().unwrap();
        let digest = &[5; 32];
        let (operator, role) = (bob.id, Role::Admin);
        let new = NewToken { digest, operator, name: "ci", role, expires: Some(1_000_000) };
        let id = store.add_token(&new, 10).await.unwrap();
        let found = store.token(digest, 500_000).await.unwrap().unwrap();
        assert_eq!((found.id, found.role(), &*found.operator), (id, Role::Viewer, "bob"));
        assert_eq!(store.tokens().await.unwrap()[0].used, Some(500_000));
        assert!(store.token(digest, 1_000_000).await.unwrap().is_none(), "it has ended");
        assert!(store.token_goes_on(id, 20).await.unwrap());
        assert_eq!(store.remove_token(id).await.unwrap().as_deref(), Some("ci"));
        assert_eq!(store.remove_token(id).await.unwrap(), None);
    }
}

#[tokio::test]
async fn the_audit_is_neither_changed_nor_shortened() {
    for store in both().await {
        for number in 0..3 {
            let after = Some(json!({ "number": number }));
            let action = "try";
            let deed =
                Deed { operator: "Ana", source: "::1", host: None, action, before: None, after };
            store.write_down(&deed, number).await.unwrap();
        }
        let told = store.audit(i64::MAX, 2).await.unwrap();
        assert_eq!(told.len(), 2);
        assert_eq!(told[0].after, Some(json!({ "number": 2 })));
        let earlier = store.audit(told[1].id, 10).await.unwrap();
        assert_eq!((earlier.len(), &earlier[0].after), (1, &Some(json!({ "number": 0 }))));
        for sql in ["UPDATE audit SET operator = 'Eve'", "DELETE FROM audit"] {
            let refused = run!(store, sqlx::query(sql));
            assert!(refused.unwrap_err().to_string().contains("the audit is"), "{sql}");
        }
        assert_eq!(store.audit(i64::MAX, 10).await.unwrap().len(), 3);
    }
}

#[tokio::test]
async fn drafts_are_one_for_a_host_and_profiles_have_names_of_their_own() {
    for store in both().await {
        store.set_draft("local", &draft("ES")).await.unwrap();
        store.set_draft("local", &draft("PT")).await.unwrap();
        assert_eq!(store.draft("local").await.unwrap().unwrap().choice.0, choice("PT"));
        store.remove_draft("local").await.unwrap();
        assert!(store.draft("local").await.unwrap().is_none());

        let office = store.add_profile(None, "Office", &draft("ES"), 2).await.unwrap().unwrap();
        assert!(store.add_profile(None, "OFFICE", &draft("ES"), 2).await.unwrap().is_none());
        let other = store.add_profile(None, "other", &draft("ES"), 2).await.unwrap().unwrap();
        assert!(
            store.add_profile(None, "third", &draft("ES"), 2).await.unwrap().is_none(),
            "too many"
        );
        assert!(!store.set_profile(other.id, "office", &draft("PT")).await.unwrap());
        assert!(store.set_profile(office.id, "office", &draft("PT")).await.unwrap());
        let names = store.profiles(None).await.unwrap();
        let names: Vec<_> = names.iter().map(|it| (&*it.name, it.choice.0.clone())).collect();
        assert_eq!(names, [("office", choice("PT")), ("other", choice("ES"))]);
        assert!(store.remove_profile(other.id).await.unwrap());
        assert!(store.profile(other.id).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn recipients_are_told_of_what_they_want_and_the_last_letters_are_kept() {
    for store in both().await {
        let target: courier::Target =
            serde_json::from_value(json!({ "kind": "webhook", "url": "https://example.net/" }))
                .unwrap();
        let id = store.add_recipient("Ops", &target, &[]).await.unwrap().unwrap();
        assert!(store.add_recipient("ops", &target, &[]).await.unwrap().is_none());
        let wants = [Occasion::AgentAway];
        assert!(store.set_wants(id, &wants).await.unwrap());
        assert_eq!(store.recipient(id).await.unwrap().unwrap().wants, wants);
        for number in 0..250 {
            let subject = &number.to_string();
            let event = Occasion::AgentAway;
            let delivery = Delivery { recipient: "Ops", event, subject, error: None };
            store.note_delivery(&delivery, number).await.unwrap();
        }
        assert_eq!(store.deliveries().await.unwrap().len(), 200);
        assert!(store.remove_recipient(id).await.unwrap());
        assert!(store.recipients().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_link_lets_in_from_when_it_is_opened_first() {
    for store in both().await {
        let grant =
            Grant { name: "Eva", host: "local", operator: "Ana", seconds: 60, expires: 1_000 };
        let made = store.add_traveller(&[1; 32], &grant, 0).await.unwrap();
        assert!(
            store.traveller("local", &[1; 32], 1_000).await.unwrap().is_none(),
            "it was never opened"
        );
        store.let_in(made.id, "198.51.100.7", 500).await.unwrap();
        store.let_in(made.id, "198.51.100.8", 900).await.unwrap();
        let open = store.traveller("local", &[1; 32], 60_000).await.unwrap().unwrap();
        assert_eq!((open.opened, open.target.as_deref()), (Some(500), Some("198.51.100.8")));
        assert!(store.remove_traveller("elsewhere", made.id).await.unwrap().is_none());
        assert!(store.remove_traveller("local", made.id).await.unwrap().is_some());
        assert!(store.travellers("local").await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_ticket_is_good_once_and_what_a_group_wants_is_numbered() {
    for store in both().await {
        let authority = |key: &str| KeptAuthority { key: key.to_owned(), certificate: "C".into() };
        store.set_authority(&authority("first")).await.unwrap();
        store.set_authority(&authority("second")).await.unwrap();
        assert_eq!(store.authority().await.unwrap().unwrap().key, "first");
        assert_eq!(store.fleet_address().await.unwrap(), None);
        store.set_fleet_address("https://p").await.unwrap();
        assert_eq!(store.fleet_address().await.unwrap().as_deref(), Some("https://p"));

        let group = store.add_group(1, "Office").await.unwrap().unwrap();
        assert_eq!(store.add_group(1, "OFFICE").await.unwrap(), None);
        assert_eq!(store.groups_named(None, "office").await.unwrap(), [group]);
        store.add_ticket(&[1; 32], group, 1_000).await.unwrap();
        assert!(!store.has_ticket(&[1; 32], 1_000).await.unwrap(), "it has ended");
        let host = HostId(1 << 52);
        let enrol = async |host| store.enrol(&[1; 32], host, "pbx", 9, 500).await.unwrap();
        assert_eq!(enrol(host).await, Admitted::Yes);
        assert_eq!(enrol(HostId(7)).await, Admitted::Spent);
        store.note_certificate(host, 9).await.unwrap();

        let policy = Change::new(Mode::AllowSelected, choice("ES").countries);
        let settings = Settings::of(&policy);
        let choose =
            async |group| store.choose(1, Target::Group(group), &settings, 50).await.unwrap();
        assert_eq!((choose(group).await, choose(group).await), (Some(50), Some(51)));
        assert_eq!(choose(group + 1).await, None);
        let mark = |epoch, revision| Mark { epoch, revision };
        let group = store.group(group).await.unwrap().unwrap();
        assert_eq!((&*group.name, group.settings()), ("Office", settings));
        assert!(store.group(group.id + 1).await.unwrap().is_none());
        let wanted = store.wanted(host).await.unwrap().unwrap();
        assert_eq!((wanted.mark, wanted.policy), (mark(1, 51), Some(policy)));
        store.begin_epoch(70).await.unwrap();
        assert_eq!(store.all_wanted().await.unwrap().0[0].mark, mark(70, 51));

        let report = |version: &str| Report { version: version.to_owned(), ..Report::default() };
        let said = |host, version, at| {
            Statement::of(host, Said { report: report(version), ..Said::default() }, at)
        };
        let both = [said(host, "0", 4), said(host, "1", 5), said(HostId(7), "2", 6)];
        store.note_statements(&both, 6).await.unwrap();
        store.note_statements(&[said(host, "0", 4)], 7).await.unwrap();
        let members = store.members(100).await.unwrap();
        assert_eq!((members.len(), members[0].reported), (1, Some(5)));
        assert_eq!(members[0].report.as_ref().unwrap().0, report("1"));
        let connected = async |seen| store.members(seen).await.unwrap()[0].connected;
        assert!(!connected(100).await);
        store.note_presence(8, &[(host, true), (HostId(7), true)], 150).await.unwrap();
        assert!(connected(100).await && !connected(150).await, "the portal is gone");
        store.note_presence(9, &[(host, true)], 160).await.unwrap();
        store.note_presence(8, &[(host, false)], 170).await.unwrap();
        assert!(connected(100).await, "it listens to another portal by now");
        store.note_presence(9, &[(host, false)], 180).await.unwrap();
        assert!(!connected(100).await);

        let changed = store.changed().await.unwrap().unwrap();
        assert_eq!(store.known_host(host).await.unwrap().unwrap().name, "pbx");
        store.revoke(host, 9).await.unwrap();
        assert_eq!(store.cut_since(changed).await.unwrap(), [host]);
        assert!(store.cut_since(changed + 1).await.unwrap().is_empty());
        assert!(store.wanted(host).await.unwrap().is_none());
        assert!(store.members(0).await.unwrap().is_empty());
        assert!(store.known_host(host).await.unwrap().is_none());
    }
}

/// A fleet with an organisation of two groups, and these hosts in the first, which listen to portal 8 at 100.
async fn fleet_of(store: &Store, hosts: &[i64]) -> (i64, [i64; 2]) {
    let authority = KeptAuthority { key: "K".to_owned(), certificate: "C".into() };
    store.set_authority(&authority).await.unwrap();
    let tenant = store.add_tenant("Customer").await.unwrap().unwrap();
    let one = store.add_group(tenant, "One").await.unwrap().unwrap();
    let two = store.add_group(tenant, "Two").await.unwrap().unwrap();
    for host in hosts {
        let digest = [u8::try_from(*host).unwrap(); 32];
        store.add_ticket(&digest, one, 1_000).await.unwrap();
        let name = format!("pbx-{host}");
        let enrolled = store.enrol(&digest, HostId(*host), &name, 9, 1).await.unwrap();
        assert_eq!(enrolled, Admitted::Yes);
    }
    let presence: Vec<_> = hosts.iter().map(|host| (HostId(*host), true)).collect();
    store.note_presence(8, &presence, 100).await.unwrap();
    (tenant, [one, two])
}

fn allowing(countries: &str) -> Settings {
    Settings::of(&Change::new(Mode::AllowSelected, choice(countries).countries))
}

/// Which countries a host is to let in, by which revision, and the seconds after which it goes back.
async fn wants(store: &Store, host: i64) -> (String, u64, Option<u64>) {
    let wanted = store.wanted(HostId(host)).await.unwrap().unwrap();
    // Those that are like their group and those that are not are told the same as when they connect.
    let (groups, alone) = store.all_wanted().await.unwrap();
    let told = alone.iter().find(|(of, _)| *of == HostId(host)).map(|(_, wanted)| wanted);
    let told = told.or_else(|| groups.iter().find(|it| it.group == wanted.group)).unwrap();
    assert_eq!((told.mark, &told.policy), (wanted.mark, &wanted.policy));
    assert_eq!(told.within, wanted.within);
    let countries = wanted.policy.map_or_else(String::new, |policy| {
        policy.countries.iter().map(|it| it.code().to_string()).collect()
    });
    (countries, wanted.mark.revision, wanted.within)
}

#[tokio::test]
async fn what_a_host_is_to_do_comes_from_its_organisation_its_group_and_itself() {
    for store in both().await {
        let (tenant, [one, two]) = fleet_of(&store, &[1, 2]).await;
        let choose = async |target, settings: &Settings| {
            store.choose(tenant, target, settings, 50).await.unwrap().unwrap().cast_unsigned()
        };
        assert_eq!(wants(&store, 1).await, (String::new(), 0, None));
        let first = choose(Target::Tenant(tenant), &allowing("ES")).await;
        assert_eq!(wants(&store, 1).await, ("ES".to_owned(), first, None));
        let second = choose(Target::Group(one), &allowing("PT")).await;
        let third = choose(Target::Host(HostId(2)), &allowing("FR")).await;
        assert_eq!(wants(&store, 1).await, ("PT".to_owned(), second, None));
        assert_eq!(wants(&store, 2).await, ("FR".to_owned(), third, None));
        // What is not said any more is as above, by a number that is newer.
        let fourth = choose(Target::Host(HostId(2)), &Settings::default()).await;
        assert_eq!(wants(&store, 2).await, ("PT".to_owned(), fourth, None));
        assert!(store.move_host(tenant, HostId(2), two, 50).await.unwrap());
        let (countries, moved, _) = wants(&store, 2).await;
        assert!(countries == "ES" && moved > fourth, "{countries} by {moved}");
        assert!(store.tell_again(tenant, HostId(2), 50).await.unwrap());
        assert_eq!(wants(&store, 2).await.1, moved + 1);

        let limits = Limits { exemptions: Some(3), hosts: Some(2), ..Limits::default() };
        let set =
            async |name| store.set_tenant(tenant, name, &limits, Editing::Portal).await.unwrap();
        assert!(!set("organisation").await, "that is another one");
        assert!(set("Client").await);
        let of_host = Limits { exemptions: Some(3), ..Limits::default() };
        assert_eq!(store.wanted(HostId(2)).await.unwrap().unwrap().limits, of_host);
        store.add_ticket(&[3; 32], two, 1_000).await.unwrap();
        let third = async || store.enrol(&[3; 32], HostId(3), "pbx-3", 9, 1).await.unwrap();
        assert_eq!(third().await, Admitted::Full(2));
        store.revoke(HostId(2), 2).await.unwrap();
        assert_eq!((store.hosts_of(tenant).await.unwrap(), third().await), (1, Admitted::Yes));
        let kept = store.tenant(tenant).await.unwrap().unwrap();
        assert_eq!((&*kept.name, kept.editing), ("Client", Editing::Portal));
        assert!(!store.remove_tenant(tenant).await.unwrap(), "it has groups");
        assert!(!store.remove_group(one).await.unwrap(), "it has a host");
        assert_eq!(store.add_group(1, "One").await.unwrap().map(|id| id > two), Some(true));
        assert_eq!(store.groups_named(None, "one").await.unwrap().len(), 2);
        assert_eq!(store.groups_named(Some(tenant), "one").await.unwrap(), [one]);

        let own = store.add_profile(Some(tenant), "Home", &draft("ES"), 1).await.unwrap().unwrap();
        assert!(store.add_profile(Some(tenant), "More", &draft("ES"), 1).await.unwrap().is_none());
        store.add_profile(None, "Home", &draft("PT"), 9).await.unwrap().unwrap();
        let names = async |of| store.profiles(of).await.unwrap().len();
        assert_eq!((names(None).await, names(Some(tenant)).await, names(Some(1)).await), (1, 2, 1));
        assert_eq!(own.tenant, Some(tenant));
    }
}

#[tokio::test]
async fn an_organisation_is_changed_and_chosen_for_at_once() {
    for store in both().await {
        let (tenant, _) = fleet_of(&store, &[]).await;
        let (limits, settings) = (Limits::default(), allowing("ES"));
        let change = async || {
            for _ in 0..100 {
                assert!(
                    store.set_tenant(tenant, "Client", &limits, Editing::Tenant).await.unwrap()
                );
            }
        };
        let choose = async || {
            for _ in 0..100 {
                let target = Target::Tenant(tenant);
                store.choose(tenant, target, &settings, 50).await.unwrap().unwrap();
            }
        };
        tokio::join!(change(), choose(), change());
    }
}

#[tokio::test]
async fn a_rollout_is_tried_by_its_canaries_and_is_what_is_chosen_once_it_is_done() {
    for store in both().await {
        let (tenant, [one, _]) = fleet_of(&store, &[1, 2, 3]).await;
        let seen = 50;
        store.note_presence(8, &[(HostId(3), false)], 100).await.unwrap();
        let served = Some(Served { phones: 3, ..Served::default() });
        let report = Report { served, ..Report::default() };
        let said = Statement::of(HostId(1), Said { report, ..Said::default() }, 100);
        store.note_statements(&[said], 100).await.unwrap();
        let (before, policy) = (allowing("ES"), allowing("PT"));
        store.choose(tenant, Target::Group(one), &before, 50).await.unwrap();
        let new = NewRollout {
            tenant,
            host_group: Some(one),
            policy: &policy,
            operator: "ana",
            hold: 60_000,
            canaries: &[HostId(1)],
            seen,
        };
        let begin = async || match store.begin_rollout(&new, 60_000).await.unwrap() {
            RolledOut::Rollout(id) => Some(id),
            RolledOut::Another | RolledOut::Nobody => None,
        };
        let countries = async |host| wants(&store, host).await.0;
        let rollout = async |id| store.rollout(id).await.unwrap().unwrap();

        // It is halted: the canary goes back, by a newer number.
        let id = begin().await.unwrap();
        assert_eq!(begin().await, None, "one goes on");
        assert_eq!(wants(&store, 1).await.2, Some(120));
        assert_eq!((countries(1).await, countries(2).await), ("PT".to_owned(), "ES".to_owned()));
        let watched = store.watched(id).await.unwrap();
        assert_eq!(watched.len(), 2, "the third does not listen");
        assert_eq!((watched[0].canary, watched[0].before.as_ref().map(|it| it.0)), (1, served));
        assert_eq!(watched[0].stale, 0);
        let (tried, on) = (wants(&store, 1).await.1, rollout(id).await);
        let lost = [(HostId(1), "it lost a phone".to_owned())];
        assert!(store.step(&on, Stage::Halted, Some("why"), &lost, 70_000).await.unwrap());
        assert!(!store.step(&on, Stage::All, None, &[], 70_000).await.unwrap(), "it is over");
        let (back, newer, within) = wants(&store, 1).await;
        assert!(back == "ES" && newer > tried && within.is_none(), "{back} {newer} {within:?}");
        assert!(wants(&store, 2).await.1 < tried, "the others never heard of it");
        let lost = store.outstanding(id, Standout::Lost, 9).await.unwrap();
        assert_eq!((lost.len(), lost[0].lost.as_deref()), (1, Some("it lost a phone")));
        let audited = store.audit(i64::MAX, 1).await.unwrap().swap_remove(0);
        assert_eq!(audited.action, "rollout halted");
        assert_eq!(audited.after.unwrap()["hosts"][0]["lost"], "it lost a phone");

        // It is done: all have it, first until a deadline. While it is paused nobody has one. Whom a host serves is known for a while
        // of one whose agent has just started too.
        let started = Statement::of(HostId(1), Said::default(), 100);
        store.note_statements(&[started], 100).await.unwrap();
        let id = begin().await.unwrap();
        let watched = store.watched(id).await.unwrap();
        assert_eq!((watched[0].before.as_ref().map(|it| it.0), watched[0].stale), (served, 1));
        let host = [HostId(1)];
        let applied = rollout(id).await.revision.cast_unsigned();
        let report =
            Report { applied: Some(Mark { epoch: 1, revision: applied }), ..Report::default() };
        let said = |host| {
            Statement::of(HostId(host), Said { report: report.clone(), ..Said::default() }, 101)
        };
        let progress = async || store.rollouts(Some(tenant), 9).await.unwrap().swap_remove(0);
        assert_eq!(progress().await.applied, Some(0));
        store.note_statements(&[said(1), said(2)], 101).await.unwrap();
        let known = progress().await;
        assert_eq!(
            (known.rollout.id, known.hosts, known.canaries, known.applied, known.lost),
            (id, 2, 1, Some(1), 0)
        );
        let canaries = store.outstanding(id, Standout::Canary, 9).await.unwrap();
        assert_eq!((canaries.len(), &*canaries[0].name), (1, "pbx-1"));
        assert!(store.watched(id).await.unwrap()[1].has(&known.rollout));
        // However short the pause was, the whole time begins anew.
        let pause_and_resume = async |of| {
            let before = wants(&store, of).await.1;
            assert!(store.pause_rollout(id, 69_000).await.unwrap());
            assert!(store.resume_rollout(&rollout(id).await, 69_000).await.unwrap());
            let (countries, after, within) = wants(&store, of).await;
            assert!(countries == "PT" && after > before && within == Some(120));
        };
        pause_and_resume(1).await;
        assert!(store.pause_rollout(id, 70_000).await.unwrap());
        assert_eq!(wants(&store, 1).await.2, Some(120), "it may be cut off by it");
        let on = rollout(id).await;
        assert!(!store.step(&on, Stage::All, None, &[], 70_000).await.unwrap(), "it is paused");
        assert!(store.keep_on_trial(&on, &host, 71_000).await.unwrap());
        assert!(!store.keep_on_trial(&on, &host, 72_000).await.unwrap(), "it was told");
        assert!(store.watched(id).await.unwrap()[0].kept);
        assert_eq!(wants(&store, 1).await.2, Some(86_400));
        assert!(store.resume_rollout(&on, 80_000).await.unwrap());
        assert!(!store.resume_rollout(&on, 80_000).await.unwrap());
        assert_eq!(wants(&store, 1).await.2, Some(120));
        assert!(!store.keep_on_trial(&on, &host, 81_000).await.unwrap(), "it is not paused");
        let other = store.choose(tenant, Target::Host(HostId(2)), &policy, 50).await.unwrap();
        assert_eq!(other, None, "nothing else is chosen meanwhile");
        assert!(store.step(&rollout(id).await, Stage::All, None, &[], 90_000).await.unwrap());
        let all = wants(&store, 2).await;
        assert_eq!((wants(&store, 1).await.0, &*all.0, all.2), ("PT".to_owned(), "PT", Some(120)));
        pause_and_resume(2).await;
        // One that lost something by it keeps what was before, until something else is chosen.
        let on = rollout(id).await;
        let lost = [(HostId(2), "it is silent".to_owned())];
        assert!(store.step(&on, Stage::Done, None, &lost, 99_000).await.unwrap());
        assert_eq!((countries(3).await, wants(&store, 1).await.2), ("PT".to_owned(), None));
        assert_eq!(wants(&store, 2).await.0, "ES");
        // Another rollout has it try what the others do, and if nothing comes of that it has it again.
        let id = begin().await.unwrap();
        assert_eq!(countries(2).await, "ES");
        assert!(store.step(&rollout(id).await, Stage::All, None, &[], 99_000).await.unwrap());
        assert_eq!(countries(2).await, "PT");
        assert!(store.abort_rollout(id, "why", 99_000).await.unwrap());
        assert!(!store.abort_rollout(id, "why", 99_000).await.unwrap(), "it is over");
        assert_eq!((countries(1).await, countries(2).await), ("PT".to_owned(), "ES".to_owned()));
        store.choose(tenant, Target::Group(one), &policy, 50).await.unwrap();
        assert_eq!(countries(2).await, "PT");
        assert_eq!(store.group(one).await.unwrap().unwrap().settings(), policy);
        assert!(store.rollouts_on().await.unwrap().is_empty());
        let ended = store.rollouts(Some(tenant), 9).await.unwrap();
        assert_eq!(
            ended.iter().map(|it| (it.applied, it.lost)).collect::<Vec<_>>(),
            [(None, 0), (None, 1), (None, 1)]
        );
        assert!(store.rollouts(Some(1), 9).await.unwrap().is_empty());
        // The last ones are kept, and what a host served long ago says nothing.
        for _ in 0..20 {
            let RolledOut::Rollout(id) = store.begin_rollout(&new, 700_101).await.unwrap() else {
                panic!("none goes on");
            };
            assert!(store.watched(id).await.unwrap()[0].before.is_none());
            assert!(store.abort_rollout(id, "why", 700_102).await.unwrap());
        }
        let kept = store.rollouts(Some(tenant), 99).await.unwrap();
        assert_eq!((kept.len(), kept[0].hosts, kept[0].canaries), (20, 2, 1));

        // What hosts are asked is not told to them, and what they say is theirs alone.
        let asked = store.ask_preview(tenant, None, &allowing("FR"), seen, 100_000).await.unwrap();
        let asked = store.asked(asked).await.unwrap().unwrap();
        assert_eq!(store.asked_since(asked.id - 1, 100_000).await.unwrap().len(), 1);
        let mut of = store.asked_of(&asked).await.unwrap();
        of.sort_by_key(|(host, _)| *host);
        let of: Vec<_> =
            of.iter().map(|(host, policy)| (host.0, policy.clone().unwrap().countries)).collect();
        assert_eq!(
            of,
            [(1, choice("PT").countries), (2, choice("PT").countries)],
            "its group says otherwise"
        );
        assert_eq!(countries(1).await, "PT");
        for host in [1, 3] {
            let previewed = Previewed { number: asked.id, more: 7, ..Previewed::default() };
            let said = Said { previewed: Some(Box::new(previewed)), ..Said::default() };
            store.note_statements(&[Statement::of(HostId(host), said, 101)], 101).await.unwrap();
        }
        let day = |day: &str, logins| EvidenceDay {
            day: day.to_owned(),
            of_day: OfDay { logins, ..OfDay::default() },
        };
        for (host, days) in [
            (1, vec![day("2026-11-01", 1), day("2026-12-01", 2)]),
            (1, vec![day("2026-11-01", 3), day("2026-11-01", 4)]),
            (77, vec![day("2026-11-01", 9)]),
        ] {
            let said = Said { days, ..Said::default() };
            store.note_statements(&[Statement::of(HostId(host), said, 102)], 102).await.unwrap();
        }
        let of_some = async |of, some| store.evidence_until(of, some, "2026-11-30").await.unwrap();
        let known = async |of| of_some(of, 0..=i64::MAX).await;
        let november = known(Some(tenant)).await;
        assert_eq!((november.len(), november[0].member, november[0].of_day.0.logins), (1, 1, 4));
        assert_eq!((known(None).await.len(), known(Some(1)).await.len()), (1, 0));
        assert_eq!((of_some(None, 1..=1).await.len(), of_some(None, 2..=9).await.len()), (1, 0));
        let answers = store.answers(asked.id).await.unwrap();
        let said = |it: &Answered| it.answer.as_ref().map(|answer| answer.0.more);
        assert_eq!(answers.iter().map(said).collect::<Vec<_>>(), [Some(7), None]);
    }
}

#[tokio::test]
async fn what_a_host_counted_is_kept_once_however_often_it_says_it() {
    const NOW: i64 = 1_000_000_000_000;
    for store in both().await {
        let slot = |time: i64, dropped| {
            let packets = Packets { dropped, ..Packets::default() };
            let counts =
                Counts { reasons: [(Reason::Country, packets)].into(), ..Counts::default() };
            Slot { time, watched: STEP, counts }
        };
        let say = async |host, counted: Vec<Slot>| {
            let said = Said { counted, ..Said::default() };
            let twice = [
                Statement::of(HostId(host), said.clone(), 1),
                Statement::of(HostId(host), said, 2),
            ];
            store.note_statements(&twice, NOW).await.unwrap();
        };
        let kept = async |host: &str, step| {
            let slots = store.slots(host, step, 0, i64::MAX).await.unwrap();
            let dropped = |slot: &Slot| slot.counts.reasons[&Reason::Country].dropped;
            slots
                .iter()
                .map(|slot| (slot.time - NOW, slot.watched, dropped(slot)))
                .collect::<Vec<_>>()
        };
        say(7, vec![slot(NOW, 1), slot(NOW + STEP, 2)]).await;
        say(7, vec![slot(NOW + STEP, 2), slot(NOW + 2 * STEP, 4)]).await;
        say(8, vec![slot(NOW, 100)]).await;
        assert_eq!(kept("7", 10).await, [(0, STEP, 1), (STEP, STEP, 2), (2 * STEP, STEP, 4)]);
        let whole: i64 = kept("7", 60).await.iter().map(|(_, watched, _)| watched).sum();
        assert_eq!(whole, 3 * STEP);
        let hour = kept("7", 3600).await;
        assert_eq!((hour.len(), hour[0].1, hour[0].2), (1, 3 * STEP, 7));
        assert_eq!(kept("8", 10).await, [(0, STEP, 100)]);
        // One that makes it up keeps nobody else's from being kept.
        say(6, vec![slot(NOW, u64::MAX), slot(NOW + STEP, u64::MAX)]).await;
        assert_eq!(kept("6", 3600).await[0].2, u64::MAX);
        // Of a clock that is far off, and of a host that makes it up, nothing is kept.
        say(
            9,
            vec![
                slot(NOW + 3_600_000, 1),
                slot(i64::MIN, 1),
                slot(0, 1),
                slot(NOW - 100 * 3_600_000, 1),
            ],
        )
        .await;
        say(9, vec![Slot { watched: 20_000, ..slot(NOW, 1) }, slot(NOW + 5, 1)]).await;
        assert!(kept("9", 10).await.is_empty());
    }
}

#[tokio::test]
async fn of_world_data_one_is_served_one_was_before_and_one_waits() {
    for store in both().await {
        let authority = KeptAuthority { key: "K".into(), certificate: "C".into() };
        store.set_authority(&authority).await.unwrap();
        let new = |digest: &str| NewWorld {
            digest: digest.to_owned(),
            content: digest.as_bytes().to_vec(),
            about: Data { sources: Vec::new(), ipv4_ranges: 1, ipv6_ranges: 2 },
            reasons: vec!["why".to_owned()],
        };
        let kept = async || {
            let worlds = store.worlds(0).await.unwrap();
            let digest = |kept: Option<KeptWorld>| kept.map(|kept| kept.digest).unwrap_or_default();
            [worlds.current, worlds.previous, worlds.held].map(digest)
        };
        let keep = async |digest, place, compared| {
            store.keep_world(&new(digest), place, compared, 5).await.unwrap()
        };
        assert_eq!(store.world_digest().await.unwrap(), None);
        assert!(store.roll_back_world().await.unwrap().is_none());
        assert!(keep("a", Place::Held, None).await);
        assert_eq!(store.world_content("a").await.unwrap(), None, "it is not served");
        let changed = store.changed().await.unwrap();
        assert!(!store.approve_world("b").await.unwrap());
        assert!(store.approve_world("a").await.unwrap());
        assert!(store.changed().await.unwrap() > changed, "hosts are told");
        assert_eq!(store.world_content("a").await.unwrap().as_deref(), Some(&b"a"[..]));
        // What was compared with something else than what is served is not kept.
        assert!(!keep("b", Place::Current, None).await);
        assert!(keep("h", Place::Held, Some("a")).await);
        assert!(keep("b", Place::Current, Some("a")).await);
        assert_eq!(kept().await, ["b", "a", ""], "what waited is older");
        assert_eq!(store.roll_back_world().await.unwrap().as_deref(), Some("a"));
        assert_eq!(kept().await, ["a", "b", ""]);
        assert_eq!(store.worlds(0).await.unwrap().taken_back.as_deref(), Some("b"));
        // What was before is made anew.
        assert!(keep("b", Place::Current, Some("a")).await);
        assert_eq!(kept().await, ["b", "a", ""]);
        assert_eq!(store.worlds(0).await.unwrap().taken_back, None);
        assert_eq!(store.worlds(0).await.unwrap().current.unwrap().about.0, new("b").about);
    }
}

#[tokio::test]
async fn of_portals_that_share_a_database_one_fetches_until_it_says_no_more_that_it_does() {
    for store in both().await {
        assert!(store.begin_fetch(1, 1_000).await.unwrap());
        assert!(!store.begin_fetch(2, 2_000).await.unwrap());
        assert!(store.worlds(2_000).await.unwrap().is_fetched);
        store.go_on_fetching(1, 50_000).await.unwrap();
        assert!(!store.begin_fetch(2, 70_000).await.unwrap());
        assert!(store.begin_fetch(2, 110_000).await.unwrap(), "the other is gone");
        let attempt = Attempt { outcome: UpdateOutcome::Failed, why: Some("why".to_owned()) };
        // It comes back, and has nothing to say by now.
        store.end_fetch(1, &attempt, 111_000).await.unwrap();
        assert_eq!(store.worlds(111_000).await.unwrap().last, None);
        store.end_fetch(2, &attempt, 112_000).await.unwrap();
        let worlds = store.worlds(112_000).await.unwrap();
        assert_eq!((worlds.last, worlds.is_fetched), (Some((112_000, attempt)), false));
    }
}
