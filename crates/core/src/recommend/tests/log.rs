//! A log, made of events.

use std::net::IpAddr;

use super::super::{Around, Evidence, Recommendation, recommend};
use super::world;
use crate::logs::{Event, Stamp, Teller, What, account_hash};

const MINUTE: i64 = 60_000;
const DAY: i64 = 1440 * MINUTE;

/// A log that is written line by line, a minute apart.
pub(super) struct Log {
    pub(super) evidence: Evidence<'static>,
    now: Stamp,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { evidence: Evidence::new(world()), now: Stamp(1_795_000_000_000) }
    }

    pub(super) fn tell(&mut self, account: &str, source: IpAddr, what: What) -> &mut Self {
        self.now.0 += MINUTE;
        self.evidence.add(&Event {
            time: Some(self.now),
            source,
            port: None,
            transport: None,
            account: Some(account_hash(account.as_bytes())),
            teller: Teller::Security,
            kept: false,
            what,
        });
        self
    }

    pub(super) fn logins(&mut self, account: &str, source: IpAddr, many: usize) -> &mut Self {
        for _ in 0..many {
            self.tell(account, source, What::Login(account.into()));
        }
        self
    }

    /// Wrong passwords for an account that there is.
    pub(super) fn guesses(&mut self, account: &str, source: IpAddr, many: usize) -> &mut Self {
        for _ in 0..many {
            let wrong = What::WrongSecret { rejected: false, request: None };
            self.tell(account, source, wrong);
        }
        self
    }

    pub(super) fn days(&mut self, days: i64) -> &mut Self {
        self.now.0 += days * DAY;
        self
    }

    pub(super) fn recommend(&mut self) -> Recommendation {
        self.around(&Around { now: self.now, ..Around::default() })
    }

    pub(super) fn around(&mut self, around: &Around) -> Recommendation {
        let evidence = std::mem::replace(&mut self.evidence, Evidence::new(world()));
        recommend(evidence, around)
    }
}
