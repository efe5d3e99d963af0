//! The PBX: its ports, its trunks, and where its calls come from.

use super::Severity::{Note, Problem, Warning};
use super::agent::status;
use super::{Check, Code, Complaint, Facts, Outcome};
use crate::desired::State;
use crate::pbx::findings;
use crate::pbx::{Kind, Pbx};
use crate::policy::{Scope, Transport, Verdict};

const IAX2: u16 = 4569;

pub(super) const CHECKS: &[Check] = &[
    (Code::HostNotSeen, host_not_seen),
    (Code::OnePrivateSource, |facts| {
        warned(
            facts,
            findings::Code::OnePrivateSource,
            "run GeoFilter where the public address is: on the session border controller, the load balancer or the router, or have that hand on the source",
        )
    }),
    (Code::Container, |facts| {
        warned(
            facts,
            findings::Code::Container,
            "name the ports of this host that lead to it: `geofilter allow CC... --scope udp/5060`",
        )
    }),
    (Code::Forwarded, |facts| {
        warned(
            facts,
            findings::Code::Forwarded,
            "name the ports that are forwarded: `geofilter allow CC... --scope udp/5060`",
        )
    }),
    (Code::IdentifyTooWide, |facts| {
        warned(
            facts,
            findings::Code::IdentifyTooWide,
            "name the provider's own prefixes in that identify, and no more",
        )
    }),
    (Code::PortsUnprotected, ports_unprotected),
    (Code::Iax2Open, iax2_open),
    (Code::TrunkDropped, trunk_dropped),
    (Code::AsteriskNoSecurityLog, no_security_log),
];

fn host_not_seen(facts: &Facts) -> Outcome {
    let complaint = |note: &String| {
        Complaint::new(
            Note,
            format!("could not be seen: {note}"),
            "run `geofilter doctor` as root; see docs/detect.md",
        )
    };
    Ok(facts.detected.notes.iter().map(complaint).collect())
}

fn warned(facts: &Facts, code: findings::Code, remedy: &str) -> Outcome {
    let severity = match code {
        findings::Code::OnePrivateSource => Problem,
        findings::Code::Container | findings::Code::Forwarded | findings::Code::IdentifyTooWide => {
            Warning
        }
    };
    let warnings = facts.detected.warnings.iter().filter(|warning| warning.code == code);
    Ok(warnings.map(|warning| Complaint::new(severity, &warning.message, remedy)).collect())
}

/// The PBXs whose ports are those of this host.
pub(super) fn at_home(facts: &Facts) -> impl Iterator<Item = &Pbx> {
    facts.detected.pbx.iter().filter(|pbx| !pbx.container)
}

fn ports_unprotected(facts: &Facts) -> Outcome {
    let protected = &status(facts)?.scope;
    let Some(found) = &facts.detected.scope else {
        return Err("no PBX was found that takes calls here".to_owned());
    };
    let open = found.0.iter().filter(|ports| {
        (ports.first..=ports.last).any(|port| !protected.contains(ports.transport, port))
    });
    let open: Vec<String> = open.map(ToString::to_string).collect();
    Complaint::if_so(
        !open.is_empty(),
        Problem,
        format!("the PBX takes calls on {}, which the policy does not protect", open.join(" ")),
        format!("choose the policy again with --scope {}", listed(found)),
    )
}

fn listed(scope: &Scope) -> String {
    scope.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn iax2_open(facts: &Facts) -> Outcome {
    let open = at_home(facts).flat_map(|pbx| &pbx.sockets).any(|socket| {
        socket.protocol == Transport::Udp
            && socket.address.port() == IAX2
            && !socket.address.ip().to_canonical().is_loopback()
    });
    let protected = status(facts)?.scope.contains(Transport::Udp, IAX2);
    Complaint::if_so(
        open && !protected,
        Warning,
        format!(
            "Asterisk takes IAX2 calls on udp/{IAX2}, which it does unless told otherwise, and the policy does not protect that port"
        ),
        format!(
            "if no trunk uses IAX2, unload chan_iax2 (noload in modules.conf); else add udp/{IAX2} to --scope and exempt its trunks"
        ),
    )
}

fn trunk_dropped(facts: &Facts) -> Outcome {
    if status(facts)?.state == State::Off {
        return Err("GeoFilter is off, so no policy is in force".to_owned());
    }
    let judged = facts.trunks.as_ref().map_err(Clone::clone)?;
    let dropped = judged.iter().filter(|trunk| trunk.why.verdict == Some(Verdict::Drop));
    Ok(dropped.map(|judged| {
        let (address, country) = (judged.why.lookup.address, judged.why.lookup.country);
        Complaint::new(
            Problem,
            format!("the policy drops the trunk {} at {address} ({country}): the agent does not know it as a peer or an exemption", judged.trunk),
            format!("geofilter exempt add {address}; and let the agent ask the PBX (`--config` with the login to its manager, see docs/detect.md)"),
        )
    }).collect())
}

fn no_security_log(facts: &Facts) -> Outcome {
    let mut asterisks = at_home(facts).filter(|pbx| pbx.kind == Kind::Asterisk).peekable();
    if asterisks.peek().is_none() {
        return Err("no Asterisk runs here".to_owned());
    }
    let mut complaints = Vec::new();
    for pbx in asterisks {
        let logs = pbx.logs.as_ref().ok_or("Asterisk could not be asked for its logs")?;
        complaints.extend((!logs.iter().any(|log| log.writes("SECURITY"))).then(|| Complaint::new(
            Warning,
            "Asterisk writes its security events to no file: attempts that it answers with a challenge leave no trace, for you or for fail2ban",
            "add `security.log => security` to [logfiles] in logger.conf, then `asterisk -rx 'logger reload'`",
        )));
    }
    Ok(complaints)
}
