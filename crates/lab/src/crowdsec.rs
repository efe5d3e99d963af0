//! [`CrowdSec`]: a real one, its engine's local API without the logs and without the central API, and its real
//! firewall bouncer, which makes tables in nftables.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};

use crate::namespace::Namespace;
use crate::pbx::within_patience;
use crate::root::{Root, Running};

const CONFIG: &str = "/etc/crowdsec/config.yaml";
const BOUNCER: &str = "/etc/crowdsec/bouncers/crowdsec-firewall-bouncer.yaml";

const INSTALL: &str = "
cd $root/etc/crowdsec
mkdir -p notifications parsers scenarios postoverflows $root/var/lib/crowdsec/data $root/var/lib/crowdsec/hub
cp $root/usr/share/crowdsec/hub/.index.json $root/var/lib/crowdsec/hub/
touch local_api_credentials.yaml console.yaml
sed -i '/online_client/d; /online_api/d; s/log_media: file/log_media: stdout/; s/daemonize: true/daemonize: false/' config.yaml
sed -i 's/${BACKEND}/nftables/; s/${API_KEY}/of-the-lab/; s/log_mode: file/log_mode: stdout/
  s/daemonize: true/daemonize: false/; s/10s/1s/' bouncers/crowdsec-firewall-bouncer.yaml";

/// An engine and its bouncer, until they are dropped.
#[derive(Debug)]
pub struct CrowdSec<'a> {
    bouncer: Option<Running>,
    _engine: Running,
    root: Root<'a>,
    namespace: &'a Namespace,
}

impl<'a> CrowdSec<'a> {
    /// Starts both, and waits until the bouncer has made its tables.
    ///
    /// # Errors
    /// If they can't be fetched, or do not.
    pub fn start(namespace: &'a Namespace) -> Result<Self> {
        let root = Root::new(namespace, "crowdsec", INSTALL)?;
        root.run(&["cscli", "machines", "add", "--auto", "--force"])?;
        root.run(&["cscli", "bouncers", "add", "lab", "--key", "of-the-lab"])?;
        let engine = root.start(&["crowdsec", "-no-cs", "-c", CONFIG])?;
        within_patience(|| root.run(&["cscli", "decisions", "list"]))
            .with_context(|| engine.said())?;
        let mut started = Self { bouncer: None, _engine: engine, root, namespace };
        started.restart_bouncer()?;
        Ok(started)
    }

    /// Ends the bouncer, and starts it again.
    ///
    /// # Errors
    /// If it does not make its tables.
    pub fn restart_bouncer(&mut self) -> Result<()> {
        self.bouncer = None;
        let bouncer = self.root.start(&["crowdsec-firewall-bouncer", "-c", BOUNCER])?;
        within_patience(|| {
            let tables = self.namespace.command("nft", &["list", "tables"])?;
            let both = ["table ip crowdsec\n", "table ip6 crowdsec6\n"];
            ensure!(both.iter().all(|table| tables.contains(table)), "it made no tables");
            Ok(())
        })
        .with_context(|| bouncer.said())?;
        self.bouncer = Some(bouncer);
        Ok(())
    }

    /// Decides that this address is to be banned, and returns when the bouncer has it in its set.
    ///
    /// # Errors
    /// If that does not come about.
    pub fn ban(&self, address: IpAddr) -> Result<()> {
        self.root.run(&["cscli", "decisions", "add", "--ip", &address.to_string()])?;
        self.is_banned_soon(address)
    }

    /// Waits until the bouncer has the address in its set.
    ///
    /// # Errors
    /// If that does not come about.
    pub fn is_banned_soon(&self, address: IpAddr) -> Result<()> {
        let set = if address.is_ipv4() {
            ["ip", "crowdsec", "crowdsec-blacklists"]
        } else {
            ["ip6", "crowdsec6", "crowdsec6-blacklists"]
        };
        within_patience(|| {
            let listed = self.namespace.command("nft", &[&["list", "set"], &set[..]].concat())?;
            ensure!(listed.contains(&address.to_string()), "{address} is not banned");
            Ok(())
        })
    }
}
