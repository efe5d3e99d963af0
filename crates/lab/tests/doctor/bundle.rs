//! The support file.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use geofilter_lab::asterisk::Asterisk;
use geofilter_lab::fail2ban::Fail2ban;
use geofilter_lab::site::{Site, WAN};
use serde_json::Value;

use crate::support::{Doctor, PROVIDER, asterisk, enforcing, jail_of, register, wait_for_peers};

#[test]
fn the_support_file_names_nobody() {
    let site = Site::new().unwrap();
    let host = &site.host;
    let config = asterisk()
        .manager("gf", "Secret-Ami-3")
        .endpoint_with_password("4711", "Secret-Phone-2")
        .trunk_with_registration("upstream", SocketAddr::from((PROVIDER, 5090)), "Secret-Reg-1")
        .identify("carrier", "1.2.9.0/28,64.0.0.0/4");
    let asterisk = Asterisk::start(host, &config).unwrap();
    let agent = enforcing(host, "tc");
    wait_for_peers(&agent);
    agent.json(&["exempt", "add", "1.2.3.4", "--note", "Office of Smith"]).unwrap();
    agent.json(&["exempt", "add", "trunk.customer.example"]).unwrap();
    agent.json(&["ban", "add", "5.6.7.0/24", "--note", "Mallory"]).unwrap();
    agent.json(&["observe"]).unwrap();
    let _phone = register(&site);
    let mut fail2ban = Fail2ban::install(&jail_of(&asterisk, "")).unwrap();
    fail2ban.start(host).unwrap();
    for friend in ["1.2.3.4", "1.2.4.16", "1.2.8.77"] {
        fail2ban.client(host, &["set", "asterisk", "banip", friend]).unwrap();
    }
    let doctor = Doctor::of(&agent).with(&fail2ban);
    let said = String::from_utf8(doctor.run(host, &["--json"]).stdout).unwrap();
    for there in ["1.2.8.77", "the identify of carrier"] {
        assert!(said.contains(there), "what is to be taken out is there: {said}");
    }

    let file = doctor.folder.path().join("support.json");
    let path = file.to_str().unwrap();
    let output = doctor.run(host, &["--bundle", path]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let bundle = fs::read_to_string(&file).unwrap();
    for hidden in [
        "1.2.3.4",
        "1.2.4.16",
        "1.2.8.",
        "1.2.9.0",
        "5.6.7.0",
        "203.0.113.10",
        "2001:db8",
        "192.0.2.",
        "1001",
        "4711",
        "carrier",
        "upstream",
        "customer",
        "Smith",
        "Mallory",
        "Secret",
    ] {
        assert!(!bundle.to_lowercase().contains(&hidden.to_lowercase()), "{hidden} in {bundle}");
    }
    let parsed: Value = serde_json::from_str(&bundle).unwrap();
    assert_eq!((&parsed["schema"], &parsed["status"]["state"]), (&1.into(), &"observing".into()));
    assert_eq!(parsed["overrides"]["exempt prefix"], 2, "one of the identify's: {bundle}");
    assert_eq!(parsed["overrides"]["exempt name"], 1);
    assert_eq!(parsed["overrides"]["banned prefix"], 1);
    assert_eq!(parsed["interfaces"][1]["name"], WAN, "{bundle}");
    assert!(bundle.contains("(CN)"), "relations stay readable: {bundle}");
    let again = doctor.run(host, &["--bundle", path]);
    assert_eq!(again.status.code(), Some(1), "a file that is there is kept");
    assert_eq!(fs::read_to_string(&file).unwrap(), bundle);
    let shown = doctor.run(host, &["--bundle", "-"]);
    assert!(serde_json::from_slice::<Value>(&shown.stdout).is_ok());
}
