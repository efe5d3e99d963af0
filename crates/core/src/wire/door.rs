//! What may be asked at which door: root's, where everything may, and the portal's.

use super::{Failure, FailureKind, GeodataAsk, Request};
use crate::book::Origin;

impl Request {
    /// Refuses what the portal has no business with. It speaks for operators, and for nobody else.
    ///
    /// # Errors
    /// With why, if it may not be asked.
    pub fn check_for_portal(&self) -> Result<(), Failure> {
        match self {
            Self::Geodata { ask: GeodataAsk::Import { .. } } => {
                Err(refused("files of the host are root's to name"))
            }
            Self::Geodata {
                ask:
                    GeodataAsk::State | GeodataAsk::Update | GeodataAsk::Approve | GeodataAsk::Rollback,
            } => Ok(()),
            Self::Join { .. } | Self::Leave => Err(refused("whose host this is is root's to say")),
            Self::Fail2ban { .. } => {
                Err(refused("fail2ban's bans come from its action, which runs as root"))
            }
            Self::Add { origin: Origin::Fail2ban | Origin::Pbx | Origin::Fleet, .. }
            | Self::Remove {
                origin: Some(Origin::Fail2ban | Origin::Pbx | Origin::Fleet), ..
            } => Err(refused("it asks in the name of an operator")),
            Self::Add { origin: Origin::Operator, .. }
            | Self::Remove { origin: Some(Origin::Operator) | None, .. }
            | Self::Status
            | Self::Enforce { .. }
            | Self::Preview { .. }
            | Self::Sources { .. }
            | Self::Confirm { .. }
            | Self::Revert { .. }
            | Self::Observe
            | Self::Pause { .. }
            | Self::Resume
            | Self::Off
            | Self::Why { .. }
            | Self::List { .. }
            | Self::Protected { .. }
            | Self::Evidence
            | Self::Peers
            | Self::RemovePeer { .. }
            | Self::Log { .. } => Ok(()),
        }
    }
}

fn refused(why: &str) -> Failure {
    Failure::new(FailureKind::Invalid, format!("the portal may not ask this: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::Kind;
    use crate::fail2ban::Ask;

    fn may(request: &str) -> bool {
        let request: Request = serde_json::from_str(request).unwrap();
        request.check_for_portal().is_ok()
    }

    #[test]
    fn the_portal_asks_as_an_operator_and_never_as_fail2ban() {
        for command in ["status", "observe", "resume", "off", "evidence", "peers", "log", "confirm"]
        {
            assert!(may(&format!(r#"{{"command":"{command}"}}"#)), "{command}");
        }
        let ask = Ask::Unban { address: [192, 0, 2, 1].into(), until: None };
        let refused = Request::Fail2ban { ask }.check_for_portal().unwrap_err();
        assert_eq!(refused.kind, FailureKind::Invalid);
        assert!(refused.message.contains("fail2ban"), "{refused:?}");
    }

    #[test]
    fn the_portal_adds_and_ends_records_in_no_other_name() {
        let add = |origin| Request::Add {
            kind: Kind::Ban,
            targets: vec!["192.0.2.1".to_owned()],
            seconds: None,
            note: String::new(),
            origin,
        };
        let remove = |origin| Request::Remove { kind: Kind::Ban, targets: Vec::new(), origin };
        for origin in [Origin::Operator, Origin::Fail2ban, Origin::Pbx, Origin::Fleet] {
            let ours = origin == Origin::Operator;
            assert_eq!(add(origin).check_for_portal().is_ok(), ours, "{origin:?}");
            assert_eq!(remove(Some(origin)).check_for_portal().is_ok(), ours, "{origin:?}");
        }
        assert!(remove(None).check_for_portal().is_ok());
    }
}
