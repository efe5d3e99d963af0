//! [`Caller`]: calls, speaks, hangs up, and calls again, as RFC 3261 has it for UDP: what is not answered is sent again
//! after half a second, then after twice that, and so on.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::net::sockopt;

use super::rtp::Stream;
use super::{EXTENSION, NAME, Report};
use crate::sip;
use crate::site::{PBX_V4, SIP, Site};

/// Whoever is not answered for so long gives up.
pub const PATIENCE: Duration = Duration::from_secs(6);
/// The time between two packets of a talk.
const PACE: Duration = Duration::from_millis(20);
/// How long a caller goes on listening before it hangs up.
const LISTEN: Duration = Duration::from_millis(300);
/// When a request is sent again for the first time.
const AGAIN: Duration = Duration::from_millis(500);
/// The ports of every caller.
const PORT: u16 = 5066;
const RTP: u16 = 30_000;
/// No packet is lost for lack of room on the way to the caller.
const ROOM: usize = 1 << 20;

/// Numbers every caller of this process: no two calls have the same id.
static CALLERS: AtomicU32 = AtomicU32::new(0);

/// One who calls.
#[derive(Debug)]
pub struct Caller {
    /// Where it hears requests and responses.
    pub sip: UdpSocket,
    /// Where it hears the PBX speak.
    pub rtp: UdpSocket,
    /// What came of its calls.
    pub report: Report,
    source: Ipv4Addr,
    number: u32,
    long: Duration,
    call: u32,
    state: State,
}

/// What it is about.
#[derive(Debug)]
enum State {
    /// Will call then.
    Waits(Instant),
    /// Calls since then; an INVITE that a response came to is not sent again.
    Calls { since: Instant, again: Again, heard: bool },
    /// Speaks until then, and listens a little longer.
    Speaks { until: Instant, next: Instant, to: SocketAddr, stream: Stream, dialog: Dialog },
    /// Hangs up.
    HangsUp { since: Instant, again: Again, stream: Stream, dialog: Dialog },
    /// Will call no more.
    Done,
}

/// When a request is sent again.
#[derive(Debug, Clone, Copy)]
struct Again {
    at: Instant,
    wait: Duration,
}

/// What the PBX said about itself when it took the call.
#[derive(Debug, Clone)]
struct Dialog {
    to: String,
    contact: String,
}

impl Again {
    fn after(now: Instant) -> Self {
        Self { at: now + AGAIN, wait: AGAIN }
    }

    /// Whether it is due, which it is then not for twice the time.
    fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.at;
        if due {
            self.wait *= 2;
            self.at = now + self.wait;
        }
        due
    }
}

impl Caller {
    /// One that begins then.
    ///
    /// # Errors
    /// If a socket can't be opened.
    pub fn new(site: &Site, source: Ipv4Addr, long: Duration, begins: Instant) -> Result<Self> {
        let open = |port| -> Result<UdpSocket> {
            let socket = site.anywhere(source, port)?;
            socket.set_nonblocking(true)?;
            sockopt::set_socket_recv_buffer_size_force(&socket, ROOM)?;
            Ok(socket)
        };
        let number = CALLERS.fetch_add(1, Ordering::Relaxed);
        let (report, state) = (Report::default(), State::Waits(begins));
        let (sip, rtp) = (open(PORT)?, open(RTP)?);
        Ok(Self { sip, rtp, report, source, number, long, call: 0, state })
    }

    /// Does what is due, and says when there is more to do; `None` once all is done.
    pub fn act(&mut self, now: Instant, ends: bool) -> Option<Instant> {
        loop {
            let state = std::mem::replace(&mut self.state, State::Done);
            let (state, next) = self.step(state, now, ends);
            self.state = state;
            match next {
                Some(next) if next <= now => {}
                next => return next,
            }
        }
    }

    fn step(&mut self, state: State, now: Instant, ends: bool) -> (State, Option<Instant>) {
        match state {
            State::Waits(_) if ends => (State::Done, None),
            State::Waits(at) if now < at => (State::Waits(at), Some(at)),
            State::Waits(_) => {
                self.call += 1;
                self.report.calls += 1;
                self.tell(&self.invite());
                let state = State::Calls { since: now, again: Again::after(now), heard: false };
                (state, Some(now + AGAIN))
            }
            State::Calls { since, mut again, heard } => {
                let ends_at = since + PATIENCE;
                if now >= ends_at {
                    return self.fail(now);
                }
                if !heard && again.is_due(now) {
                    self.report.sent_again.0 += 1;
                    self.tell(&self.invite());
                }
                let next = if heard { ends_at } else { again.at.min(ends_at) };
                (State::Calls { since, again, heard }, Some(next))
            }
            State::Speaks { mut until, mut next, to, mut stream, dialog } => {
                if ends {
                    until = until.min(now);
                }
                if next < until && now >= next {
                    self.report.late = self.report.late.max(now - next);
                    // What can't be sent is missed by whoever counts.
                    let _ = self.rtp.send_to(&stream.say(), to);
                    next += PACE;
                }
                if now >= until.max(next) + LISTEN {
                    self.tell(&self.bye(&dialog));
                    let again = Again::after(now);
                    return (State::HangsUp { since: now, again, stream, dialog }, Some(again.at));
                }
                let then = if next < until { next } else { until.max(next) + LISTEN };
                (State::Speaks { until, next, to, stream, dialog }, Some(then))
            }
            State::HangsUp { since, mut again, stream, dialog } => {
                if now >= since + PATIENCE {
                    self.report.heard.add(&stream.heard());
                    return self.fail(now);
                }
                if again.is_due(now) {
                    self.report.sent_again.0 += 1;
                    self.tell(&self.bye(&dialog));
                }
                let next = again.at.min(since + PATIENCE);
                (State::HangsUp { since, again, stream, dialog }, Some(next))
            }
            State::Done => (State::Done, None),
        }
    }

    fn fail(&mut self, now: Instant) -> (State, Option<Instant>) {
        self.report.failed += 1;
        (State::Waits(now), Some(now))
    }

    /// Hears what came.
    ///
    /// # Errors
    /// If a socket fails.
    pub fn hear(&mut self) -> Result<()> {
        let mut buffer = [0; 4096];
        while let Some(length) = receive(&self.sip, &mut buffer)? {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            self.take(&text, Instant::now());
        }
        while let Some(length) = receive(&self.rtp, &mut buffer)? {
            if let State::Speaks { stream, .. } | State::HangsUp { stream, .. } = &mut self.state {
                stream.hear(&buffer[..length]);
            }
        }
        Ok(())
    }

    /// Takes a message of the PBX.
    fn take(&mut self, message: &str, now: Instant) {
        let Some(status) = message.strip_prefix("SIP/2.0 ") else {
            return self.asked(message, now);
        };
        let is_of_this_call = self.is_of_this_call(message);
        let number = sip::header(message, "CSeq: ").unwrap_or_default();
        if !is_of_this_call {
            return;
        }
        let state = std::mem::replace(&mut self.state, State::Done);
        self.state = match (state, number) {
            (State::Calls { since, again, .. }, "1 INVITE") if status.starts_with('1') => {
                State::Calls { since, again, heard: true }
            }
            (State::Calls { since, .. }, "1 INVITE") => {
                let dialog = Dialog::of(message);
                self.tell(&self.ack(&dialog));
                match spoken_to(message) {
                    Some(to) if status.starts_with("200") => {
                        self.report.set_up.push(now - since);
                        let (until, stream) = (now + self.long, Stream::default());
                        State::Speaks { until, next: now, to, stream, dialog }
                    }
                    _ => {
                        self.report.refused.push(status.split("\r\n").take(1).collect());
                        self.report.failed += 1;
                        State::Waits(now + AGAIN)
                    }
                }
            }
            (State::HangsUp { stream, .. }, "2 BYE") if !status.starts_with('1') => {
                self.report.heard.add(&stream.heard());
                State::Waits(now)
            }
            // It has not heard the ACK.
            (state @ (State::Speaks { .. } | State::HangsUp { .. }), "1 INVITE") => {
                if !status.starts_with('1') {
                    self.report.sent_again.1 += 1;
                    self.tell(&self.ack(&Dialog::of(message)));
                }
                state
            }
            (state, _) => state,
        };
    }

    /// Does as the PBX asks. Whoever is hung up on was cut.
    fn asked(&mut self, request: &str, now: Instant) {
        let copied = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
        let lines =
            request.split("\r\n").filter(|line| copied.iter().any(|it| line.starts_with(it)));
        let answer: String = lines.map(|line| format!("{line}\r\n")).collect();
        self.tell(&format!("SIP/2.0 200 OK\r\n{answer}Content-Length: 0\r\n\r\n"));
        let hung_up = request.starts_with("BYE ") && self.is_of_this_call(request);
        if let (true, State::Speaks { stream, .. }) = (hung_up, &self.state) {
            self.report.heard.add(&stream.heard());
            self.report.failed += 1;
            self.state = State::Waits(now);
        }
    }

    /// What can't be sent was not heard.
    fn tell(&self, message: &str) {
        let _ = self.sip.send_to(message.as_bytes(), (PBX_V4, SIP));
    }

    fn is_of_this_call(&self, message: &str) -> bool {
        sip::header(message, "Call-ID: ").is_some_and(|id| id == self.id())
    }

    fn id(&self) -> String {
        format!("{}-{}-{}", self.source, self.number, self.call)
    }

    fn invite(&self) -> String {
        let Self { source, call, .. } = self;
        let body = format!(
            "v=0\r\no=- {call} 1 IN IP4 {source}\r\ns=-\r\nc=IN IP4 {source}\r\nt=0 0\r\n\
             m=audio {RTP} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n"
        );
        let target = format!("sip:{EXTENSION}@{PBX_V4}");
        self.request("INVITE", &target, 1, &format!("<{target}>"), &body)
    }

    fn ack(&self, dialog: &Dialog) -> String {
        self.request("ACK", &dialog.contact, 1, &dialog.to, "")
    }

    fn bye(&self, dialog: &Dialog) -> String {
        self.request("BYE", &dialog.contact, 2, &dialog.to, "")
    }

    fn request(&self, method: &str, target: &str, number: u32, to: &str, body: &str) -> String {
        let (Self { source, .. }, id) = (self, self.id());
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {target} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {source}:{PORT};branch=z9hG4bK{method}-{id};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{NAME}@{PBX_V4}>;tag={id}\r\nTo: {to}\r\n\
             Call-ID: {id}\r\nCSeq: {number} {method}\r\nContact: <sip:{NAME}@{source}:{PORT}>\r\n\
             {kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

impl Dialog {
    fn of(response: &str) -> Self {
        let to = sip::header(response, "To: ").unwrap_or_default().to_owned();
        let contact = sip::header(response, "Contact: ").unwrap_or_default();
        let contact = contact.trim_start_matches('<').split('>').next().unwrap_or_default();
        let contact = match contact {
            "" => format!("sip:{EXTENSION}@{PBX_V4}"),
            contact => contact.to_owned(),
        };
        Self { to, contact }
    }
}

/// Where the PBX wants to be spoken to.
fn spoken_to(response: &str) -> Option<SocketAddr> {
    let port = sip::header(response, "m=audio ")?.split(' ').next()?.parse().ok()?;
    Some((PBX_V4, port).into())
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Result<Option<usize>> {
    match socket.recv(buffer) {
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        // An ICMP message said that the PBX does not listen there any more.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(None),
        Err(error) => bail!("a caller hears nothing: {error}"),
    }
}
