//! A database that an earlier portal left is brought up to this version, and nothing in it is lost.

use sqlx::AssertSqlSafe;

use super::*;
use crate::store::database::on;

/// The last version in which hosts had groups, and groups no organisation.
const BEFORE: i64 = 31;

const HOST: HostId = HostId(4_503_599_627_370_503);

/// What was kept by it.
fn kept(policy: &str) -> String {
    let choice = json!({ "mode": "allow", "countries": ["ES"] });
    let report = json!({ "applied": { "epoch": 1, "revision": 41 }, "version": "0.8.0" });
    let HostId(host) = HOST;
    format!(
        "INSERT INTO fleet (one, key, certificate, epoch, revision, address) VALUES (1, 'K', 'C', 1, 42, 'https://p');
         INSERT INTO operator (id, name, password, role, created) VALUES (7, 'Ana', 'a hash', 'admin', 5);
         INSERT INTO profile (name, operator, time, choice) VALUES ('Home', 'Ana', 6, '{choice}');
         INSERT INTO host_group (name) VALUES ('Empty');
         INSERT INTO host_group (name, policy, revision) VALUES ('Branches', '{policy}', 41);
         INSERT INTO member (id, host_group, name, enrolled, until, report, reported)
             VALUES ({host}, 2, 'pbx', 8, 9, '{report}', 10);
         INSERT INTO member (id, host_group, name, enrolled, until, revoked) VALUES (12, 2, 'gone', 8, 9, 11)"
    )
}

/// One of each kind, as that version left it, brought up.
async fn left(policy: &str) -> [Empty; 2] {
    let folder = || tempfile::tempdir_in("/dev/shm").unwrap();
    let (dir, other) = (folder(), folder());
    let rows = || sqlx::raw_sql(AssertSqlSafe(kept(policy)));
    let file = format!("sqlite:{}?mode=rwc", dir.path().join("portal.db").display());
    let pool = SqlitePool::connect(&file).await.unwrap();
    sqlx::migrate!("migrations/sqlite").run_to(BEFORE, &pool).await.unwrap();
    rows().execute(&pool).await.unwrap();
    pool.close().await;
    let url = Cluster::shared().create("store_of_before").unwrap();
    let pool = PgPool::connect(&url).await.unwrap();
    sqlx::migrate!("migrations/postgres").run_to(BEFORE, &pool).await.unwrap();
    rows().execute(&pool).await.unwrap();
    pool.close().await;
    let in_a_file = Store::open(dir.path(), None).await.unwrap();
    let on_a_server = Store::open(other.path(), Some(&url.parse().unwrap())).await.unwrap();
    [Empty { store: in_a_file, dir }, Empty { store: on_a_server, dir: other }]
}

#[tokio::test]
async fn a_database_of_before_organisations_keeps_its_hosts_and_what_they_are_to_do() {
    let policy = Change::new(Mode::AllowSelected, choice("ES").countries);
    for store in left(&serde_json::to_string(&policy).unwrap()).await {
        let tenants = store.tenants().await.unwrap();
        assert_eq!((tenants.len(), &*tenants[0].name), (1, "Organisation"));
        let group = store.group(2).await.unwrap().unwrap();
        assert_eq!((group.tenant, &*group.name), (tenants[0].id, "Branches"));
        assert_eq!(group.settings(), Settings::of(&policy));
        let wanted = store.wanted(HOST).await.unwrap().unwrap();
        assert_eq!(wanted.mark, Mark { epoch: 1, revision: 41 }, "nothing is done anew");
        assert_eq!((wanted.policy, wanted.limits), (Some(policy.clone()), Limits::default()));
        let members = store.members(0).await.unwrap();
        assert_eq!((members.len(), &*members[0].name, members[0].reported), (1, "pbx", Some(10)));
        assert_eq!(members[0].report.as_ref().unwrap().0.version, "0.8.0");
        let query = "SELECT applied FROM member WHERE id = $1";
        let applied: Option<i64> =
            on!(store, |db| sqlx::query_scalar(query).bind(HOST.0).fetch_one(db)).unwrap();
        assert_eq!(applied, Some(41));
        assert_eq!(store.authority().await.unwrap().unwrap().certificate, "C");
        let operators = store.operators().await.unwrap();
        assert_eq!((operators.len(), &*operators[0].name), (1, "Ana"));
        let profiles = store.profiles(None).await.unwrap();
        assert_eq!((profiles.len(), &*profiles[0].name, profiles[0].tenant), (1, "Home", None));

        // It goes on from there: what is new gets numbers of its own.
        let revision = store.choose(1, Target::Group(2), &allowing("PT"), 20).await.unwrap();
        assert_eq!(revision, Some(43));
        assert!(store.add_group(1, "New").await.unwrap().unwrap() > 2);
        assert!(store.remove_group(1).await.unwrap());
        assert!(!store.remove_group(2).await.unwrap(), "it has hosts");
        store.add_ticket(&[1; 32], 2, 1_000).await.unwrap();
        let enrolled = store.enrol(&[1; 32], HostId(13), "pbx-2", 9, 500).await.unwrap();
        assert_eq!(enrolled, Admitted::Yes);
    }
}
