//! [`Kamailio`]: a real one, running in a namespace.

use std::fs;
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::pbx::{Fetched, Kept, within_patience};

/// A registrar on port 5060, with two gateways to send calls to.
const CONFIG: &str = r#"#!KAMAILIO
log_stderror=yes
children=1
listen=udp:203.0.113.10:5060
listen=tcp:203.0.113.10:5070
listen=udp:127.0.0.1:5090
loadmodule "ctl.so"
loadmodule "kex.so"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "nathelper.so"
loadmodule "dispatcher.so"
modparam("ctl", "binrpc", "unixs:@FOLDER@/kamailio_ctl")
modparam("dispatcher", "list_file", "@FOLDER@/dispatcher.list")
modparam("usrloc", "db_mode", 0)
modparam("registrar", "received_avp", "$avp(RECEIVED)")
modparam("nathelper", "received_avp", "$avp(RECEIVED)")
request_route {
    if (is_method("REGISTER")) {
        force_rport();
        fix_nated_register();
        save("location");
        exit;
    }
    sl_send_reply("404", "Not here");
}
"#;

/// A real Kamailio, until it is dropped.
#[derive(Debug)]
pub struct Kamailio {
    _kept: Kept,
    _folder: TempDir,
}

impl Kamailio {
    /// Starts one, which sends calls to these gateways, and waits until it answers.
    ///
    /// # Errors
    /// If it can't be fetched, or does not answer.
    pub fn start(namespace: &Namespace, gateways: &[&str]) -> Result<Self> {
        let fetched = Fetched::new("kamailio")?;
        let folder = tempfile::Builder::new().prefix("gf-kamailio").tempdir()?;
        let (here, place) = (folder.path().display().to_string(), |name| folder.path().join(name));
        fs::write(place("kamailio.cfg"), CONFIG.replace("@FOLDER@", &here))?;
        let gateways: String = gateways.iter().map(|uri| format!("1 {uri}\n")).collect();
        fs::write(place("dispatcher.list"), gateways)?;
        let mut command = fetched.command("usr/sbin/kamailio", &["kamailio"])?;
        command.args(["-DD", "-E", "-m", "16", "-M", "4", "-Y", &here, "-L"]);
        command.arg(fetched.library("kamailio/modules")).arg("-f").arg(place("kamailio.cfg"));
        // Its first process ends the others when it is told to end, and not when it is killed.
        let kept = Kept::start(namespace, &command, "TERM", &place("output"))?;
        within_patience(|| Ok(UnixStream::connect(place("kamailio_ctl"))?))
            .with_context(|| fs::read_to_string(place("output")).unwrap_or_default())?;
        Ok(Self { _kept: kept, _folder: folder })
    }
}
