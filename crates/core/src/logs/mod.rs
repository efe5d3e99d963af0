//! What the logs of a phone system tell of those who tried to get in: [`Reader`] makes [`Event`]s of lines,
//! [`Attempts`] attempts of events. No I/O is done here: whoever reads the files gives it blocks of them.
//!
//! Understood are Asterisk's messages and security events, of chan_pjsip and chan_sip; the log of fail2ban, and what its
//! database keeps ([`kept`]);
//! Kamailio's and OpenSIPS' lines about pike and failed authentication ([`kamailio`]); each as a file, from
//! syslog, or from the journal in its short forms and as JSON. [`header`] takes the time and program off,
//! [`stamp`] reads times.
//!
//! **Who wrote a line.** Much of a line is the client's own text, and none of it is escaped, not even line breaks
//! ([`asterisk`]). No text of a client may change whose attempt is counted: what stands before a message is
//! Asterisk's, what is anchored there is trusted, and where two addresses could be meant the line counts as
//! [`Line::Ambiguous`] and tells nothing. A log is of one format, and lines of others tell nothing in it.
//! Traced SIP messages (`pjsip set logger on`) are wholly the client's and are passed over by their length; where
//! that does not add up, it is said how many lines that may have hidden.

mod asterisk;
mod attempts;
mod fail2ban;
mod header;
mod journal;
mod kamailio;
pub mod kept;
mod reader;
pub mod stamp;

#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;

pub use attempts::{Attempts, Counted};
pub use reader::{Lines, Reader};
pub use stamp::{Calendar, Stamp};

use crate::policy::Transport;

/// What a line tells of somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, if the line says so.
    pub time: Option<Stamp>,
    /// Where the packet came from.
    pub source: IpAddr,
    /// From which port.
    pub port: Option<u16>,
    /// Over what.
    pub transport: Option<Transport>,
    /// For which account, as a hash: of a login the one it is for, else the one that the client named.
    pub account: Option<u64>,
    /// Who tells it. Each tells of an attempt once, and several tell of the same.
    pub teller: Teller,
    /// fail2ban kept the line in its database, so that a log may have it as well.
    pub kept: bool,
    /// What they did.
    pub what: What,
}

/// Who tells of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Teller {
    /// Asterisk, at the levels of notices and warnings.
    Notices,
    /// Asterisk, by its security events.
    Security,
    /// Kamailio or OpenSIPS.
    Kamailio,
    /// fail2ban, of what it read in the logs of these.
    Fail2ban,
}

/// The hash of an account's name.
pub(crate) fn account_hash(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(name);
    hasher.finish()
}

/// What somebody did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A request whose account does not exist, or that an ACL is against, and which request if the line
    /// tells. It is challenged all the same, lest the client learn why.
    Rejected(Option<u64>),
    /// A request with credentials that were wrong.
    WrongSecret {
        /// It was also [`What::Rejected`].
        rejected: bool,
        /// Which request, if the line tells.
        request: Option<u64>,
    },
    /// A request that was refused for another reason.
    Refused,
    /// A request without credentials, which was asked for them.
    Challenge {
        /// It was also [`What::Rejected`].
        rejected: bool,
    },
    /// A request whose credentials were right, and of which account.
    Login(Box<str>),
    /// A line in which fail2ban found a failure.
    Found,
    /// fail2ban banned them.
    Ban,
}

/// What there is to say about a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Somebody did something.
    Event(Event),
    /// It is about something else.
    Nothing,
    /// It could be about several addresses.
    Ambiguous,
    /// It breaks off within a client's text, which goes on in lines of its own.
    Open,
    /// It is in no format that is understood.
    Unreadable,
    /// The text of a SIP message follows, of so many bytes.
    Trace(usize),
}
