//! What the portal answers is what its description says, to whatever may be asked and whatever may not: asked by Schemathesis.

use std::path::Path;
use std::process::Command;

use geofilter_lab::portal::Scene;

/// Cases for each operation.
const CASES: &str = "12";
/// What would sign out whoever asks or give another cookie, never ends, or sends to servers that are not there.
const LEFT_OUT: &str = "/(session|session/(first|password|proof|totp)|sessions/.id.|operators/.name./(sessions|totp)|events|test)$";

#[test]
fn whatever_is_asked_the_answer_is_one_that_is_described() {
    Scene::set(&[], |scene| {
        let ana = scene.portal.first_operator().unwrap();
        let header = |name: &str| {
            let (_, value) = ana.own_headers().into_iter().find(|(own, _)| *own == name).unwrap();
            format!("{name}: {value}")
        };
        let (cookie, csrf) = (header("cookie"), header("x-csrf-token"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/schemathesis");
        // It is fetched where there is a network.
        assert!(Command::new(&script).arg("--version").status().unwrap().success());
        let folder = tempfile::tempdir().unwrap();
        let mut asks = Command::new(&script);
        asks.current_dir(folder.path())
            .args(["run", &format!("{}api/docs/openapi.json", scene.portal.url)])
            .args(["--header", &cookie, "--header", &csrf])
            .args(["--exclude-path-regex", LEFT_OUT])
            .args(["--phases", "examples,coverage,fuzzing", "--max-examples", CASES])
            .args([
                "--checks",
                "not_a_server_error,status_code_conformance,content_type_conformance",
            ])
            .args(["--checks", "response_schema_conformance", "--continue-on-failure"])
            .args(["--seed", "20261128", "--no-shrink", "--warnings", "off"]);
        let output = scene.portal.namespace().inside(move || asks.output()).unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("No issues found"), "{said}");
        let session = ana.get("/api/v1/session").unwrap();
        assert_eq!(session.status, 200, "whoever asked was signed in to the end");
    })
    .unwrap();
}
