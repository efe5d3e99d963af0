//! A name server on loopback, over UDP and TCP, that answers what it is told to.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// Longest answer over UDP.
const LONGEST: usize = 512;

#[derive(Default)]
struct Zone {
    records: HashMap<(String, RecordType), Vec<RData>>,
    broken: bool,
    /// Names and types that were asked for over TCP.
    over_tcp: Vec<String>,
}

/// It serves until the test ends.
#[derive(Clone)]
pub(crate) struct Dns {
    pub(crate) at: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

impl Dns {
    pub(crate) fn start() -> Self {
        // The port that UDP is given may be taken for TCP.
        let (udp, tcp) = std::iter::repeat_with(|| {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
            let tcp = TcpListener::bind(udp.local_addr().expect("an address"));
            tcp.ok().map(|tcp| (udp, tcp))
        })
        .flatten()
        .next()
        .expect("a port");
        let dns = Self { at: udp.local_addr().expect("an address"), zone: Arc::default() };
        let (over_udp, over_tcp) = (dns.clone(), dns.clone());
        std::thread::spawn(move || over_udp.serve_udp(&udp));
        std::thread::spawn(move || {
            tcp.incoming().flatten().for_each(|stream| drop(over_tcp.serve_tcp(stream)));
        });
        dns
    }

    /// From now on the name has these addresses.
    pub(crate) fn set(&self, name: &str, addresses: &[&str]) {
        let addresses: Vec<IpAddr> =
            addresses.iter().map(|address| address.parse().expect("an address")).collect();
        let v4 = addresses.iter().filter_map(|address| match address {
            IpAddr::V4(v4) => Some(RData::A(A(*v4))),
            IpAddr::V6(_) => None,
        });
        self.put(name, RecordType::A, v4.collect());
        let v6 = addresses.iter().filter_map(|address| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(RData::AAAA(AAAA(*v6))),
        });
        self.put(name, RecordType::AAAA, v6.collect());
    }

    /// From now on the service is on these hosts, with these priorities.
    pub(crate) fn set_servers(&self, service: &str, servers: &[(u16, &str)]) {
        let data = |(priority, host): &(u16, &str)| {
            RData::SRV(SRV::new(*priority, 0, 5060, Name::from_ascii(host).expect("a name")))
        };
        self.put(service, RecordType::SRV, servers.iter().map(data).collect());
    }

    /// From now on every answer is a failure, or no longer.
    pub(crate) fn set_broken(&self, broken: bool) {
        self.zone.lock().expect("the zone").broken = broken;
    }

    pub(crate) fn was_asked_over_tcp(&self) -> bool {
        !self.zone.lock().expect("the zone").over_tcp.is_empty()
    }

    fn put(&self, name: &str, kind: RecordType, data: Vec<RData>) {
        let mut zone = self.zone.lock().expect("the zone");
        zone.records.insert((format!("{name}."), kind), data);
    }

    fn serve_udp(&self, socket: &UdpSocket) {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let Some(mut answer) = self.answer(&buffer[..length], false) else { continue };
            let mut bytes = answer.to_vec().expect("bytes");
            if bytes.len() > LONGEST {
                answer.metadata.truncation = true;
                answer.answers.clear();
                bytes = answer.to_vec().expect("bytes");
            }
            let _ = socket.send_to(&bytes, from);
        }
    }

    fn serve_tcp(&self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query)?;
            let Some(answer) = self.answer(&query, true) else { return Ok(()) };
            let bytes = answer.to_vec().expect("bytes");
            stream.write_all(&(bytes.len() as u16).to_be_bytes())?;
            stream.write_all(&bytes)?;
        }
    }

    fn answer(&self, query: &[u8], tcp: bool) -> Option<Message> {
        let query = Message::from_vec(query).ok()?;
        let question = query.queries.first()?.clone();
        let mut zone = self.zone.lock().expect("the zone");
        let name = question.name().to_lowercase().to_string();
        if tcp {
            zone.over_tcp.push(format!("{} {name}", question.query_type()));
        }
        let mut answer =
            Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        let is_known = zone.records.keys().any(|(known, _)| *known == name);
        answer.metadata.response_code = match (zone.broken, is_known) {
            (true, _) => ResponseCode::ServFail,
            (false, true) => ResponseCode::NoError,
            (false, false) => ResponseCode::NXDomain,
        };
        if !zone.broken {
            let data =
                zone.records.get(&(name, question.query_type())).cloned().unwrap_or_default();
            let record = |data| Record::from_rdata(question.name().clone(), 60, data);
            answer.answers.extend(data.into_iter().map(record));
        }
        answer.queries.push(question);
        Some(answer)
    }
}
