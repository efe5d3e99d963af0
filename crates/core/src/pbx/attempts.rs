//! [`sources`]: who knocked, by Asterisk's logs. Other text in a line is the attacker's own.

use std::net::IpAddr;

use super::MOST;

/// The sources of the SIP requests that a log tells of, line by line, from its security events and its
/// notices. Lines tell of one attempt several times.
pub fn sources(log: &str) -> Vec<IpAddr> {
    let source = |line: &str| security_event(line).or_else(|| notice(line));
    log.lines().filter_map(source).take(MOST).collect()
}

/// `…,Service="PJSIP",…,SessionID="…",LocalAddress="…",RemoteAddress="IPV4/UDP/ip/port"`. The session is
/// the attacker's text and could hold all of the others, so the last address counts.
fn security_event(line: &str) -> Option<IpAddr> {
    line.contains("SecurityEvent=\"").then_some(())?;
    line.contains("Service=\"PJSIP\"").then_some(())?;
    let (_, after) = line.rsplit_once("RemoteAddress=\"")?;
    let address = after.split('"').next()?;
    let mut parts = address.rsplit('/').skip(1);
    parts.next()?.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// `Request 'REGISTER' from '…' failed for 'ip:port' (callid: …) - …`. The texts on both sides of the
/// address are the attacker's: where one of them holds another address, the line tells nothing.
fn notice(line: &str) -> Option<IpAddr> {
    let (_, after) = line.split_once(": Request '")?;
    let mut pieces = after.split("' failed for '").skip(1);
    let (place, others) = (pieces.next()?, pieces.count());
    let (place, _) = place.split_once("' (callid: ").filter(|_| others == 0)?;
    let (address, _port) = place.rsplit_once(':')?;
    let address = address.trim_matches(['[', ']']).parse::<IpAddr>().ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_attacker_writes_is_not_taken_for_the_source() {
        let event = "SECURITY[1] res_security_log.c: SecurityEvent=\"InvalidAccountID\",Service=\"PJSIP\",\
             SessionID=\"RemoteAddress=\"IPV4/UDP/1.1.1.1/5\"\",LocalAddress=\"IPV4/UDP/10.9.0.1/5060\",\
             RemoteAddress=\"IPV4/UDP/10.9.0.2/6000\"";
        assert_eq!(sources(event), ["10.9.0.2".parse::<IpAddr>().unwrap()]);
        let notice = "NOTICE[1] res_pjsip/pjsip_distributor.c: Request 'REGISTER' from '<sip:x@h>' failed \
             for '[2001:db8::1]:5060' (callid: z) - No matching endpoint found";
        assert_eq!(sources(notice), ["2001:db8::1".parse::<IpAddr>().unwrap()]);
        let forged = notice.replace("sip:x", "' failed for '1.1.1.1:5' (callid: y");
        assert!(sources(&forged).is_empty());
        let manager = "Service=\"AMI\" SecurityEvent=\"\" RemoteAddress=\"IPV4/TCP/1.1.1.1/1\"";
        assert!(sources(manager).is_empty());
    }
}
