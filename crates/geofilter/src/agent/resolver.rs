//! [`ask`]: the addresses of one name, as SIP finds them (RFC 3263): its own, and those of the servers that
//! its SRV records name.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use geofilter_core::book::{Answer, HostName};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use tokio::task::JoinSet;

/// How long one question may take, and how often it is asked.
const TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPTS: usize = 2;
/// How many servers of the SRV records are asked for.
const MAX_SERVERS: usize = 64;
const SERVICES: [&str; 3] = ["_sip._udp", "_sip._tcp", "_sips._tcp"];
/// Ages of an answer that says nothing of it.
const NO_TTL: u64 = 0;

/// Asks these servers, or without any those of the host, as `/etc/resolv.conf` names them now.
pub(super) async fn ask(name: &HostName, nameservers: &[SocketAddr]) -> Answer {
    let resolver = match resolver(nameservers) {
        Ok(resolver) => resolver,
        Err(error) => return Answer::Failed(format!("cannot find out whom to ask: {error}")),
    };
    let own = Name::from_ascii(format!("{name}."));
    let services = SERVICES.map(|service| Name::from_ascii(format!("{service}.{name}.")));
    let mut found = Found::default();
    let services = services.into_iter().flatten().map(|service| (service, RecordType::SRV));
    let own = own.into_iter().flat_map(addresses_of);
    found.take(&resolver, services.chain(own).collect()).await;
    if found.servers.len() > MAX_SERVERS {
        let many = found.servers.len();
        return Answer::Failed(format!(
            "the SRV records name {many} servers, more than the {MAX_SERVERS} that are asked for"
        ));
    }
    let servers = std::mem::take(&mut found.servers);
    found.take(&resolver, servers.into_iter().flat_map(addresses_of).collect()).await;
    found.answer()
}

fn addresses_of(name: Name) -> [(Name, RecordType); 2] {
    [(name.clone(), RecordType::A), (name, RecordType::AAAA)]
}

fn resolver(nameservers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let (config, mut options) = match nameservers {
        [] => read_system_conf()?,
        servers => {
            let servers = servers.iter().map(server).collect();
            (ResolverConfig::from_name_servers(servers), ResolverOpts::default())
        }
    };
    options.timeout = TIMEOUT;
    options.attempts = ATTEMPTS;
    options.use_hosts_file = ResolveHosts::Never;
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.with_options(options).build()
}

fn server(at: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = at.port();
        connection
    });
    NameServerConfig::new(at.ip(), true, connections.into())
}

/// What has been found so far.
#[derive(Debug, Default)]
struct Found {
    addresses: BTreeSet<IpAddr>,
    servers: BTreeSet<Name>,
    /// The shortest.
    ttl: Option<u64>,
    /// The first.
    failure: Option<String>,
}

impl Found {
    /// Asks all of these questions at once.
    async fn take(&mut self, resolver: &TokioResolver, questions: Vec<(Name, RecordType)>) {
        let mut asked = JoinSet::new();
        for (name, kind) in questions {
            let resolver = resolver.clone();
            asked.spawn(async move {
                let answer = resolver.lookup(name.clone(), kind).await;
                (name, kind, answer)
            });
        }
        while let Some(answered) = asked.join_next().await {
            match answered {
                Ok((_, _, Ok(lookup))) => {
                    lookup.answers().iter().for_each(|record| self.add(&record.data, record.ttl));
                }
                Ok((_, _, Err(error))) if is_absence(&error) => {}
                Ok((name, kind, Err(error))) => {
                    self.failure.get_or_insert_with(|| format!("{kind} of {name} {error}"));
                }
                Err(error) => {
                    self.failure.get_or_insert_with(|| format!("a question ended early: {error}"));
                }
            }
        }
    }

    fn add(&mut self, data: &RData, ttl: u32) {
        match data {
            RData::A(address) => drop(self.addresses.insert(IpAddr::V4(address.0))),
            RData::AAAA(address) => drop(self.addresses.insert(IpAddr::V6(address.0))),
            // The root says that there is no such service.
            RData::SRV(server) if server.target.is_root() => {}
            RData::SRV(server) => {
                let mut target = server.target.to_lowercase();
                target.set_fqdn(true);
                self.servers.insert(target);
            }
            _ => {}
        }
        let ttl = u64::from(ttl);
        self.ttl = Some(self.ttl.map_or(ttl, |shortest| shortest.min(ttl)));
    }

    fn answer(self) -> Answer {
        match (self.addresses.is_empty(), self.failure) {
            (true, Some(failure)) => Answer::Failed(failure),
            (true, None) => Answer::Failed("DNS has no address for it".to_owned()),
            (false, incomplete) => Answer::Addresses {
                addresses: self.addresses,
                ttl: self.ttl.unwrap_or(NO_TTL),
                incomplete,
            },
        }
    }
}

/// Whether the answer is that there is no such thing.
fn is_absence(error: &NetError) -> bool {
    matches!(
        error,
        NetError::Dns(DnsError::NoRecordsFound(NoRecords {
            response_code: ResponseCode::NXDomain | ResponseCode::NoError,
            ..
        }))
    )
}
