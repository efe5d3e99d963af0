//! [`Attempts`]: from events to attempts, each once.
//!
//! **An attempt** is a request that was refused: its credentials were wrong, its account does not exist, or an
//! ACL or the like was against it. A client that guesses first asks without credentials and is challenged; both
//! requests are one attempt. It leaves these lines, in this order:
//!
//! | the account | security events | notices |
//! |---|---|---|
//! | exists | `ChallengeSent`, `ChallengeResponseFailed` | failed to authenticate |
//! | does not | `InvalidAccountID`, `ChallengeSent`, `InvalidAccountID`, `ChallengeResponseFailed` | no match, no match, failed to authenticate |
//! | does not, and no credentials follow | `InvalidAccountID`, `ChallengeSent` | no match |
//!
//! An account that an ACL is against is as one that does not exist: `FailedACL`, not match ACL. So of each
//! teller the wrong secrets count, and the rejected requests that led to none: a wrong secret of a rejected
//! request takes up to two of these. What several tellers say of an address in a [burst](Burst)
//! is the same attempts, of which the teller who saw most tells; lines that fail2ban kept in its database count as of tellers of
//! their own, since a log may have them as well. fail2ban counts lines, and not in one way, so
//! it counts only where nobody else says anything of the address.
//!
//! **A probe** is a request for an existing account that was challenged and went no further. A phone's own first
//! request is answered at once by one that succeeds, so it is none; floods without credentials are.
//!
//! Requests are not told apart by their Call-ID, nor by port: a client chooses these. Memory is bounded by the
//! number of addresses in bursts at a time; where there are more, those are counted early, at which an attempt
//! whose lines come before and after counts twice. The same can happen once in every [`LONGEST`] of a burst.

use std::collections::HashMap;
use std::net::IpAddr;

use super::{Event, Stamp, Teller, What};

/// After so many milliseconds without a line of it, a burst is over. fail2ban may tell a minute late.
const QUIET: u64 = 90_000;
/// A burst that lasts longer is counted before it is over, since one of the tellers may have fallen silent.
const LONGEST: u64 = 600_000;
/// How many bursts are kept: one more eighth would double the memory.
const MOST: usize = 28_000;

/// Attempts of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Whose.
    pub source: IpAddr,
    /// When it began.
    pub since: Option<Stamp>,
    /// Requests that were refused.
    pub attempts: u64,
    /// Requests that were challenged and not followed up.
    pub probes: u64,
    /// The attempts are lines that fail2ban found, and nothing else tells of them.
    pub found: bool,
}

/// Counts attempts, of events that come about in the order of their time.
#[derive(Debug, Default)]
pub struct Attempts {
    bursts: HashMap<IpAddr, Burst>,
    now: Stamp,
    looked: Stamp,
}

impl Attempts {
    /// Takes the next event, and tells of the bursts that are over by then. Logins end no burst and bans are
    /// no attempts.
    pub fn add(&mut self, event: &Event, mut tell: impl FnMut(Counted)) {
        self.now = event.time.unwrap_or(self.now);
        if self.bursts.len() >= MOST {
            self.finish(&mut tell);
        } else if self.now.distance(self.looked) > QUIET {
            self.looked = self.now;
            self.bursts.retain(|source, burst| {
                let over = burst.is_over(self.now);
                if over {
                    burst.counted(*source).into_iter().for_each(&mut tell);
                }
                !over
            });
        }
        if event.what != What::Ban {
            let burst = self.bursts.entry(event.source);
            burst.or_insert_with(|| Burst::new(event.time, self.now)).add(event, self.now);
        }
    }

    /// How many bursts are kept.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.bursts.len()
    }

    /// Tells of all that is left.
    pub fn finish(&mut self, tell: impl FnMut(Counted)) {
        let bursts = self.bursts.drain();
        bursts.filter_map(|(source, burst)| burst.counted(source)).for_each(tell);
    }
}

/// What was told of an address, without a long silence in between.
#[derive(Debug, Clone, Default)]
struct Burst {
    since: Option<Stamp>,
    first: Stamp,
    last: Stamp,
    logged: Told,
    /// Of what fail2ban kept, which may be lines of these logs.
    kept: Told,
    found: u32,
    found_kept: u32,
    challenges: u32,
    answers: u32,
    /// The last requests that a notice said were rejected.
    rejected: [u64; 4],
}

impl Burst {
    fn new(since: Option<Stamp>, now: Stamp) -> Self {
        Self { since, first: now, ..Self::default() }
    }

    fn add(&mut self, event: &Event, now: Stamp) {
        self.last = now;
        let told = if event.kept { &mut self.kept } else { &mut self.logged };
        let refusals = match event.teller {
            Teller::Notices => &mut told.notices,
            Teller::Security => &mut told.security,
            Teller::Kamailio => &mut told.kamailio,
            Teller::Fail2ban => {
                let found = if event.kept { &mut self.found_kept } else { &mut self.found };
                *found += 1;
                return;
            }
        };
        match event.what {
            What::Rejected(request) => {
                refusals.rejected += 1;
                if let Some(request) = request
                    && !self.rejected.contains(&request)
                {
                    self.rejected.rotate_right(1);
                    self.rejected[0] = request;
                }
            }
            What::WrongSecret { rejected, request } => {
                // Of one request, notices say first that it is rejected, then that it failed.
                let rejected = rejected || request.is_some_and(|it| self.rejected.contains(&it));
                refusals.wrong += 1;
                refusals.rejected = refusals.rejected.saturating_sub(if rejected { 2 } else { 0 });
                let answers = !rejected && !event.kept && event.teller == Teller::Security;
                self.answers += u32::from(answers);
            }
            What::Refused => refusals.others += 1,
            What::Challenge { rejected } => {
                self.challenges += u32::from(!rejected && !event.kept);
            }
            What::Login(_) => self.answers += 1,
            What::Found | What::Ban => {}
        }
    }

    fn is_over(&self, now: Stamp) -> bool {
        now.distance(self.last) > QUIET || now.distance(self.first) > LONGEST
    }

    fn counted(&self, source: IpAddr) -> Option<Counted> {
        let told = self.logged.attempts().max(self.kept.attempts());
        let lines = u64::from(self.found.max(self.found_kept));
        let found = told == 0 && lines > 0;
        let attempts = if found { lines } else { told };
        let probes = u64::from(self.challenges.saturating_sub(self.answers));
        let counted = Counted { source, since: self.since, attempts, probes, found };
        (attempts > 0 || probes > 0).then_some(counted)
    }
}

/// What the tellers said.
#[derive(Debug, Clone, Default)]
struct Told {
    notices: Refusals,
    security: Refusals,
    kamailio: Refusals,
}

impl Told {
    /// What the one says who saw most.
    fn attempts(&self) -> u64 {
        let tellers = [&self.notices, &self.security, &self.kamailio];
        tellers.map(Refusals::attempts).into_iter().max().unwrap_or_default()
    }
}

/// What one of the tellers said.
#[derive(Debug, Clone, Default)]
struct Refusals {
    rejected: u32,
    wrong: u32,
    others: u32,
}

impl Refusals {
    fn attempts(&self) -> u64 {
        u64::from(self.rejected) + u64::from(self.wrong) + u64::from(self.others)
    }
}
