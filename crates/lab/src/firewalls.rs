//! [`Ufw`] and [`Firewalld`]: the real ones, each in a [`Root`] of its own.

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::pbx::within_patience;
use crate::root::{Root, Running};

/// What its package does, and nothing that is not the namespace's: no kernel settings, no modules.
const INSTALL_UFW: &str = "
cp $root/usr/share/ufw/iptables/*.rules $root/usr/share/ufw/*.init $root/usr/share/ufw/ufw.conf $root/etc/ufw/
sed -i 's/^IPT_SYSCTL=.*/IPT_SYSCTL=/; s/^IPT_MODULES=.*/IPT_MODULES=/' $root/etc/default/ufw";

/// Whom its bus serves, and nobody to ask for permission.
const INSTALL_FIREWALLD: &str = "
for name in messagebus polkitd systemd-network; do
  echo $name:x:100:100::/:/bin/false >>$root/etc/passwd
done
echo messagebus:x:100: >>$root/etc/group
rm -f $root/usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service
mkdir -p $root/run/dbus";

/// A real ufw.
#[derive(Debug)]
pub struct Ufw<'a>(Root<'a>);

impl<'a> Ufw<'a> {
    /// Installs it; it is not enabled.
    ///
    /// # Errors
    /// If it can't be fetched.
    pub fn install(namespace: &'a Namespace) -> Result<Self> {
        Root::new(namespace, "ufw", INSTALL_UFW).map(Self)
    }

    /// Runs `ufw` with these words.
    ///
    /// # Errors
    /// If it fails.
    pub fn run(&self, words: &str) -> Result<String> {
        let words: Vec<&str> = ["ufw"].into_iter().chain(words.split(' ')).collect();
        self.0.run(&words)
    }
}

/// A real firewalld with a bus of its own.
#[derive(Debug)]
pub struct Firewalld<'a> {
    running: Option<Running>,
    _bus: Running,
    root: Root<'a>,
}

impl<'a> Firewalld<'a> {
    /// Installs it and starts its bus alone.
    ///
    /// # Errors
    /// If it can't be fetched.
    pub fn install(namespace: &'a Namespace) -> Result<Self> {
        let root = Root::new(namespace, "firewalld", INSTALL_FIREWALLD)?;
        let bus = root.start(&["dbus-daemon", "--system", "--nofork", "--nopidfile"])?;
        Ok(Self { running: None, _bus: bus, root })
    }

    /// Starts it, and waits until it runs.
    ///
    /// # Errors
    /// If it does not.
    pub fn start(&mut self) -> Result<()> {
        within_patience(|| self.root.run(&["test", "-S", "/run/dbus/system_bus_socket"]))?;
        let running = self.root.start(&["firewalld", "--nofork", "--nopid"])?;
        within_patience(|| self.command("--state")).with_context(|| running.said())?;
        self.running = Some(running);
        Ok(())
    }

    /// Ends it, which takes its rules away.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Runs `firewall-cmd` with these words.
    ///
    /// # Errors
    /// If it fails.
    pub fn command(&self, words: &str) -> Result<String> {
        let words: Vec<&str> = ["firewall-cmd"].into_iter().chain(words.split(' ')).collect();
        self.root.run(&words)
    }
}
