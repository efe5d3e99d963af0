//! FreePBX, which runs Asterisk below itself. It is recognised by its files; none that holds a password is
//! read.

use super::{Distribution, printable};

/// The file that is there where FreePBX is. It holds the password of its database, and is not read.
pub const MARK: &str = "/etc/freepbx.conf";
/// Where its version is written.
pub const VERSION: &str = "/var/www/html/admin/modules/framework/module.xml";

/// What is known of a FreePBX whose [`MARK`] is there, from what [`VERSION`] holds.
pub fn recognise(module: Option<&str>) -> Distribution {
    Distribution {
        name: "FreePBX",
        version: module.and_then(version),
        note: "recognised from recorded files, not tried on a live one",
    }
}

fn version(module: &str) -> Option<String> {
    let (_, after) = module.split_once("<version>")?;
    let (version, _) = after.split_once("</version>")?;
    let right = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let version = version.trim();
    (!version.is_empty() && version.len() <= 32 && version.chars().all(right))
        .then(|| printable(version))
}
