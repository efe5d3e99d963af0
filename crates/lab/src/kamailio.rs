//! [`Kamailio`]: a real one, running in a namespace.

use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::pbx::{Fetched, within_patience};

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
    folder: TempDir,
    child: Child,
}

impl Kamailio {
    /// Starts one, which sends calls to these gateways, and waits until it answers.
    ///
    /// # Errors
    /// If it can't be fetched, or does not answer.
    pub fn start(namespace: &Namespace, gateways: &[&str]) -> Result<Self> {
        let fetched = Fetched::new("kamailio")?;
        let folder = tempfile::Builder::new().prefix("gf-kamailio").tempdir()?;
        let here = folder.path().display().to_string();
        fs::write(folder.path().join("kamailio.cfg"), CONFIG.replace("@FOLDER@", &here))?;
        let gateways: String = gateways.iter().map(|uri| format!("1 {uri}\n")).collect();
        fs::write(folder.path().join("dispatcher.list"), gateways)?;
        let mut command = fetched.command("usr/sbin/kamailio", &["kamailio"])?;
        let output = fs::File::create(folder.path().join("output"))?;
        command.args(["-DD", "-E", "-m", "16", "-M", "4", "-Y", &here, "-L"]);
        command.arg(fetched.library("kamailio/modules")).arg("-f");
        command.arg(folder.path().join("kamailio.cfg")).stdin(Stdio::null());
        command.stdout(output.try_clone()?).stderr(output);
        let child = namespace.inside(move || command.spawn())??;
        let mut kamailio = Self { folder, child };
        kamailio.wait_until_it_answers()?;
        Ok(kamailio)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let [control, output] =
            ["kamailio_ctl", "output"].map(|name| self.folder.path().join(name));
        let child = &mut self.child;
        let goes_on = || match child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("it ended with {status}: {}", fs::read_to_string(&output)?),
        };
        within_patience(goes_on, || Ok(UnixStream::connect(&control)?)).map(drop)
    }
}

impl Drop for Kamailio {
    /// Its first process ends the others when it is told to end, and not when it is killed.
    fn drop(&mut self) {
        let ended = |child: &mut Child| child.try_wait().is_ok_and(|status| status.is_some());
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let since = Instant::now();
        while !ended(&mut self.child) && since.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
