//! `openapi/geofilter-v1.json` is what the code says. `UPDATE_OPENAPI=1 cargo test -p geofilter-portal` writes it anew.

use std::path::Path;
use std::{env, fs};

#[test]
fn the_description_in_the_repository_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi/geofilter-v1.json");
    let described = geofilter_portal::document().to_pretty_json().unwrap() + "\n";
    if env::var_os("UPDATE_OPENAPI").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &described).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap();
    assert!(
        kept == described,
        "the API has changed: see that it should, then write it anew with UPDATE_OPENAPI=1"
    );
}
