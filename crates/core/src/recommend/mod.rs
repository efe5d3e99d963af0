//! [`recommend`]: the policy that a host's own logs speak for, from [`Evidence`].
//!
//! Reading order: [`evidence`] keeps what logs and the PBX tell, [`people`] says who logged in and whether
//! that proves anything, [`choice`] decides, [`told`] tells it
//! with [`trunks`] and [`doubts`], as a [`document`]. docs/recommend.md says the rules in prose.
//!
//! A login counts for its country only if it does not look like a thief's: an attacker who got in once must not
//! open the way for others. Whoever would be cut is named.

mod choice;
mod document;
mod doubts;
mod evidence;
mod people;
mod told;
mod trunks;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;

pub use document::{
    Action, Country, Exempted, Proposal, Recommendation, Role, Seen, Suspect, TrunkSeen, Undecided,
};
pub use evidence::Evidence;

use crate::logs::Stamp;
use crate::pbx::Pbx;

/// What is known beside the logs.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// The present.
    pub now: Stamp,
    /// The PBXs of the host; `None` if nobody looked.
    pub pbxs: Option<Vec<Pbx>>,
    /// Who announces the addresses of [`Evidence::hosted`].
    pub systems: HashMap<IpAddr, (u32, String)>,
}

/// What the evidence speaks for.
pub fn recommend(evidence: Evidence<'_>, around: &Around) -> Recommendation {
    let (facts, world) = evidence.finish();
    let people = people::people(&facts);
    let choice = choice::choose(&facts, &people, around);
    told::tell(&facts, &people, &choice, around, world)
}
