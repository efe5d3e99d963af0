//! What the attack log shows of a payload. It is the attacker's text: nothing of it is trusted, and no
//! character of it reaches a terminal but printable ASCII.

const LONGEST: usize = 200;

/// The telling parts of a SIP message, as far as there are any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Sip {
    pub(crate) first_line: Option<String>,
    pub(crate) method: Option<String>,
    pub(crate) user_agent: Option<String>,
}

/// Reads the start of a payload, which may end anywhere.
pub(crate) fn read(payload: &[u8]) -> Sip {
    let mut lines = payload.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.find(|line| !line.is_empty()).unwrap_or_default();
    if !first.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ' || *byte >= 0x80)
        || first.is_empty()
    {
        return Sip::default();
    }
    let user_agent = lines.take_while(|line| !line.is_empty()).find_map(user_agent);
    Sip { first_line: Some(printable(first)), method: method(first), user_agent }
}

fn method(first: &[u8]) -> Option<String> {
    let mut words = first.split(|byte| *byte == b' ');
    let word = words.next()?;
    let uri = words.next()?;
    let plain = (2..=16).contains(&word.len()) && word.iter().all(u8::is_ascii_uppercase);
    let sip = [&b"sip:"[..], b"sips:", b"tel:"].iter().any(|scheme| {
        uri.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    (plain && sip).then(|| printable(word))
}

fn user_agent(line: &[u8]) -> Option<String> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at(colon);
    name.trim_ascii()
        .eq_ignore_ascii_case(b"user-agent")
        .then(|| printable(value[1..].trim_ascii()))
}

fn printable(text: &[u8]) -> String {
    let character = |byte: &u8| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '?',
    };
    text.iter().take(LONGEST).map(character).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read() {
        let sip = read(
            b"REGISTER sip:203.0.113.9 SIP/2.0\r\nVia: x\r\nuser-agent : friendly-scanner\r\n\r\n",
        );
        assert_eq!(sip.method.as_deref(), Some("REGISTER"));
        assert_eq!(sip.first_line.as_deref(), Some("REGISTER sip:203.0.113.9 SIP/2.0"));
        assert_eq!(sip.user_agent.as_deref(), Some("friendly-scanner"));
    }

    #[test]
    fn escapes_do_not_reach_a_terminal() {
        let sip = read(b"OPTIONS sip:a\xe2\x80\xae SIP/2.0\r\nUser-Agent: \x1b[31mred\x07\r\n");
        assert_eq!(sip.first_line.as_deref(), Some("OPTIONS sip:a??? SIP/2.0"));
        assert_eq!(sip.user_agent.as_deref(), Some("?[31mred?"));
    }

    #[test]
    fn what_is_not_sip_is_not_made_up() {
        for payload in [&b""[..], b"\r\n\r\n", b"\0\x01\x02binary", b"\x16\x03\x01\0"] {
            assert_eq!(read(payload), Sip::default());
        }
        let web = read(b"GET / HTTP/1.1\r\nUser-Agent: curl\r\n");
        assert_eq!((web.method, web.user_agent.as_deref()), (None, Some("curl")));
        assert_eq!(read(b"INVITE").method, None);
        let body = read(b"INVITE sip:1 SIP/2.0\r\n\r\nUser-Agent: in the body");
        assert_eq!(body.user_agent, None);
    }

    #[test]
    fn lines_are_cut() {
        let sip = read(&[b"INVITE sip:".as_slice(), &[b'9'; 500]].concat());
        assert_eq!(sip.first_line.map(|line| line.len()), Some(LONGEST));
    }
}
