//! [`Leader`]: a portal on a PostgreSQL server, with an admin who chooses for groups of hosts. There may be another one beside it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use geofilter_cluster::Cluster;
use serde_json::{Value, json};

use crate::fleet::Host;
use crate::namespace::Namespace;
use crate::portal::{Client, Portal};
use crate::process::Agent;

const FLEET: &str = "/api/v1/fleet";
/// Where hosts connect to the portal, and to another one beside it.
pub const PORT: u16 = 8443;
/// See [`PORT`].
pub const BESIDE: u16 = PORT + 1;
/// What the database is called.
const DATABASE: &str = "portal";

/// The portal and its admin.
pub struct Leader<'a> {
    portal: Portal<'a>,
    ana: Client<'a>,
    namespace: &'a Namespace,
    address: Ipv4Addr,
    database: Cluster,
}

/// How a host is, as the portal sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it calls itself.
    pub name: String,
    /// How far it is.
    pub progress: String,
    /// Whether it listens.
    pub is_connected: bool,
}

impl<'a> Leader<'a> {
    /// Starts both in a namespace, where hosts reach the portal at this address.
    ///
    /// # Errors
    /// If one of them does not start.
    pub fn start(namespace: &'a Namespace, address: Ipv4Addr) -> Result<Self> {
        let begin = || -> io::Result<_> {
            let cluster = Cluster::start()?;
            let url = cluster.create(DATABASE)?;
            Ok((cluster, url))
        };
        let (database, url) = namespace.inside(begin)??;
        let portal = Portal::lead(namespace, (address, PORT).into(), Some(&url))?;
        let ana = portal.first_operator()?;
        Ok(Self { portal, ana, namespace, address, database })
    }

    /// Starts another portal on the same database.
    ///
    /// # Errors
    /// If it does not serve.
    pub fn beside(&self) -> Result<Portal<'a>> {
        let fleet = SocketAddr::from((self.address, BESIDE));
        Portal::lead(self.namespace, fleet, Some(&self.database.url(DATABASE)))
    }

    /// Makes a group. Returns its number.
    ///
    /// # Errors
    /// If that is refused.
    pub fn make_group(&self, name: &str) -> Result<i64> {
        let made = self.ask("POST", "/groups", Some(&json!({ "name": name })))?;
        made["id"].as_i64().context("no number of the group")
    }

    /// Makes a host one of a group.
    ///
    /// # Errors
    /// If no token is given, or the host does not enrol by it.
    pub fn enrol(&self, host: &Host<'_>, group: i64) -> Result<()> {
        self.enrol_at(PORT, &host.agent, &host.name, group)
    }

    /// The same of an agent that is called so, which reaches a portal at this port.
    ///
    /// # Errors
    /// If no token is given, or the host does not enrol by it.
    pub fn enrol_at(&self, port: u16, agent: &Agent<'_>, name: &str, group: i64) -> Result<()> {
        let made = self.ask("POST", &format!("/groups/{group}/tokens"), None)?;
        let token = made["token"].as_str().context("no token")?;
        let at = format!("https://{}:{port}", self.address);
        agent.json(&["enrol", &at, "--token", token, "--name", name]).map(drop)
    }

    /// Chooses for a group. Returns the revision that it is.
    ///
    /// # Errors
    /// If that is refused.
    pub fn choose(&self, group: i64, policy: &Value) -> Result<i64> {
        let told = self.ask("PUT", &format!("/groups/{group}/policy"), Some(policy))?;
        told["revision"].as_i64().context("no revision")
    }

    /// How all hosts are.
    ///
    /// # Errors
    /// If the portal does not say.
    pub fn sees(&self) -> Result<Vec<Seen>> {
        let fleet = self.ask("GET", "", None)?;
        let groups = fleet["groups"].as_array().into_iter().flatten();
        let hosts = groups.flat_map(|group| group["hosts"].as_array().into_iter().flatten());
        let seen = hosts.map(|host| {
            let text = |part: &str| host[part].as_str().map(str::to_owned).context(part.to_owned());
            let (name, progress) = (text("name")?, text("progress")?);
            Ok(Seen { name, progress, is_connected: host["connected"] == true })
        });
        seen.collect()
    }

    /// What it answers about its fleet.
    ///
    /// # Errors
    /// If it refuses.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let answer = self.ana.must(method, &format!("{FLEET}{path}"), body);
        answer.with_context(|| format!("ask the portal, {method} {FLEET}{path}"))
    }

    /// `kill -9` of the portal.
    ///
    /// # Errors
    /// If it does not die.
    pub fn kill(&mut self) -> Result<()> {
        self.portal.kill()
    }

    /// Starts the portal again, on the same database.
    ///
    /// # Errors
    /// If it does not serve.
    pub fn restart(&mut self) -> Result<()> {
        self.portal.restart_after_a_kill()?;
        self.ana = self.ana.on(&self.portal);
        Ok(())
    }

    /// `kill -9` of the portal. Its admin goes to the other one.
    ///
    /// # Errors
    /// If it does not die.
    pub fn kill_for(&mut self, other: Portal<'a>) -> Result<()> {
        self.portal.kill()?;
        self.ana = self.ana.on(&other);
        self.portal = other;
        Ok(())
    }

    /// What SQL answers in the database.
    ///
    /// # Errors
    /// If it fails.
    pub fn sql(&self, sql: &str) -> Result<String> {
        Ok(self.namespace.inside(|| self.database.sql(DATABASE, sql))??)
    }
}
