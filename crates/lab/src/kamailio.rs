//! [`Kamailio`]: a real one, running in a namespace.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::pbx::{Fetched, Kept, within_patience};

/// A registrar on port 5060, with gateways to send calls to. What is in capitals is said by [`Kamailio::run`].
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
@MODULES@
request_route {
    if (is_method("REGISTER")) {
        @CHALLENGE@
        force_rport();
        fix_nated_register();
        save("location");
        exit;
    }
    sl_send_reply("404", "Not here");
}
"#;

/// What one that wants passwords loads more, and that it asks its gateways whether they are there.
const GUARDED: &str = r#"
loadmodule "auth.so"
loadmodule "xlog.so"
modparam("dispatcher", "ds_ping_interval", 1)
modparam("dispatcher", "ds_probing_mode", 1)
"#;

/// The server itself logs no wrong password: scripts do, and end the line as its stock configuration does.
const CHALLENGE: &str = r#"
        if (!is_present_hf("Authorization")) {
            www_challenge("pbx.example", "1");
            exit;
        }
        if (!pv_www_authenticate("pbx.example", "correct horse battery staple", "0")) {
            xlog("L_ALERT", "authentication failed for $au (IP:$si:$sp)\n");
            www_challenge("pbx.example", "1");
            exit;
        }
"#;

/// A real Kamailio, until it is dropped.
#[derive(Debug)]
pub struct Kamailio {
    _kept: Kept,
    folder: TempDir,
}

impl Kamailio {
    /// Starts one, which sends calls to these gateways, and waits until it answers.
    ///
    /// # Errors
    /// If it can't be fetched, or does not answer.
    pub fn start(namespace: &Namespace, gateways: &[&str]) -> Result<Self> {
        Self::run(namespace, gateways, "", "")
    }

    /// The same, but it lets nobody register without a password, logs who has a wrong one, and asks its gateways
    /// every second whether they are there.
    ///
    /// # Errors
    /// As of [`Kamailio::start`].
    pub fn guarded(namespace: &Namespace, gateways: &[&str]) -> Result<Self> {
        Self::run(namespace, gateways, GUARDED, CHALLENGE)
    }

    /// Where it logs.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("output")
    }

    fn run(
        namespace: &Namespace,
        gateways: &[&str],
        modules: &str,
        challenge: &str,
    ) -> Result<Self> {
        let fetched = Fetched::new("kamailio")?;
        let folder = tempfile::Builder::new().prefix("gf-kamailio").tempdir()?;
        let (here, place) = (folder.path().display().to_string(), |name| folder.path().join(name));
        let config = CONFIG.replace("@MODULES@", modules).replace("@CHALLENGE@", challenge);
        fs::write(place("kamailio.cfg"), config.replace("@FOLDER@", &here))?;
        let gateways: String = gateways.iter().map(|uri| format!("1 {uri}\n")).collect();
        fs::write(place("dispatcher.list"), gateways)?;
        let mut command = fetched.command("usr/sbin/kamailio", &["kamailio"])?;
        command.args(["-DD", "-E", "-m", "16", "-M", "4", "-Y", &here, "-L"]);
        command.arg(fetched.library("kamailio/modules")).arg("-f").arg(place("kamailio.cfg"));
        // Its first process ends the others when it is told to end, and not when it is killed.
        let kept = Kept::start(namespace, &command, "TERM", &place("output"))?;
        within_patience(|| Ok(UnixStream::connect(place("kamailio_ctl"))?))
            .with_context(|| fs::read_to_string(place("output")).unwrap_or_default())?;
        Ok(Self { _kept: kept, folder })
    }
}
