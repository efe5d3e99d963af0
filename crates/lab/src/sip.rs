//! Just enough SIP to knock at a PBX's door: [`register`] is what a guesser sends, [`guess`] what it says when it
//! is asked for a password, [`answer`] what a PBX that wants one says. [`refresh`] is what a device sends that is registered,
//! [`accept`] what a registrar says.

use std::net::SocketAddr;

/// A REGISTER from `source` for an extension, as guessers send it.
pub fn register(source: SocketAddr, transport: &str, extension: u32) -> String {
    request(source, transport, extension, 1, "")
}

/// The same once more, with a password that is wrong.
pub fn guess(
    source: SocketAddr,
    transport: &str,
    extension: u32,
    challenge: &Challenge<'_>,
) -> String {
    let Challenge { realm, nonce, opaque } = challenge;
    let credentials = format!(
        "Authorization: Digest username=\"{extension}\",realm=\"{realm}\",nonce=\"{nonce}\",\
         uri=\"sip:pbx.example\",response=\"0123456789abcdef0123456789abcdef\",cnonce=\"0a4f113b\",\
         opaque=\"{opaque}\",qop=auth,nc=00000001,algorithm=MD5\r\n"
    );
    request(source, transport, extension, 2, &credentials)
}

/// From a device that needs no password, to be registered for so many seconds from now on. It counts what it sends.
pub fn refresh(source: SocketAddr, extension: u32, number: u32, seconds: u32) -> String {
    let request = request(source, "UDP", extension, number, "");
    request.replace("Expires: 60\r\n", &format!("Expires: {seconds}\r\n"))
}

fn request(
    source: SocketAddr,
    transport: &str,
    extension: u32,
    number: u32,
    headers: &str,
) -> String {
    // A PBX takes what has the id of another for the same request once more.
    let id = format!("{extension}-{source}").replace(['[', ']', ':'], "-");
    format!(
        "REGISTER sip:pbx.example SIP/2.0\r\n\
         Via: SIP/2.0/{transport} {source};branch=z9hG4bK{number}-{id};rport\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:{extension}@pbx.example>;tag={id}\r\n\
         To: <sip:{extension}@pbx.example>\r\n\
         Call-ID: {id}@guesser.example\r\n\
         CSeq: {number} REGISTER\r\n\
         {headers}Contact: <sip:{extension}@{source}>\r\n\
         User-Agent: guesser\r\n\
         Expires: 60\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// What a PBX wants to be answered to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge<'a> {
    realm: &'a str,
    nonce: &'a str,
    opaque: &'a str,
}

impl<'a> Challenge<'a> {
    /// The one in a response, if it is one.
    pub fn of(response: &'a str) -> Option<Self> {
        let line = header(response, "WWW-Authenticate: Digest ")?;
        let value = |name| line.split_once(name)?.1.split('"').next();
        Some(Self {
            realm: value("realm=\"")?,
            nonce: value("nonce=\"")?,
            opaque: value("opaque=\"").unwrap_or_default(),
        })
    }
}

/// What follows the start of a header's line.
pub fn header<'a>(message: &'a str, start: &str) -> Option<&'a str> {
    message.split("\r\n").find_map(|line| line.strip_prefix(start))
}

/// What a PBX says to a request without credentials; `None` if it is no request.
pub fn answer(request: &str) -> Option<String> {
    let (first, headers) = request.split_once("\r\n")?;
    let method = first.strip_suffix(" SIP/2.0")?.split(' ').next()?;
    let status = match method {
        "OPTIONS" => "200 OK",
        _ => "401 Unauthorized",
    };
    let mut text = format!("SIP/2.0 {status}\r\n");
    text += &copied(headers, &SAME);
    if method != "OPTIONS" {
        text.push_str("WWW-Authenticate: Digest realm=\"pbx\", nonce=\"0\", algorithm=MD5\r\n");
    }
    Some(text + "Content-Length: 0\r\n\r\n")
}

/// What a registrar says that registers whoever asks for so many seconds.
pub fn accept(request: &str, seconds: u32) -> String {
    let same = copied(request, &[&SAME[..], &["Contact:"]].concat());
    format!("SIP/2.0 200 OK\r\n{same}Expires: {seconds}\r\nContent-Length: 0\r\n\r\n")
}

/// What a response has of its request.
const SAME: [&str; 5] = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];

/// The lines of these headers.
fn copied(headers: &str, names: &[&str]) -> String {
    let is_one = |line: &&str| names.iter().any(|name| line.starts_with(name));
    let whole = |line: &str| format!("{line}\r\n");
    headers.split("\r\n").filter(is_one).map(whole).collect()
}

/// Whether it says that all went well.
pub fn is_success(response: &[u8]) -> bool {
    response.starts_with(b"SIP/2.0 200 ")
}

/// Whether it asks for a password.
pub fn is_challenge(response: &[u8]) -> bool {
    response.starts_with(b"SIP/2.0 401 ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_is_challenged() {
        let guess = register(SocketAddr::from(([192, 0, 2, 1], 5060)), "UDP", 100);
        let answer = answer(&guess).unwrap();
        assert!(is_challenge(answer.as_bytes()));
        assert!(answer.contains("\r\nCSeq: 1 REGISTER\r\n"));
        assert!(!is_challenge(guess.as_bytes()));
    }

    #[test]
    fn a_challenge_is_read() {
        let request = register(SocketAddr::from(([192, 0, 2, 1], 5060)), "UDP", 100);
        let answer = answer(&request).unwrap();
        let challenge = Challenge::of(&answer).unwrap();
        assert_eq!(challenge, Challenge { realm: "pbx", nonce: "0", opaque: "" });
        assert_eq!(Challenge::of("SIP/2.0 200 OK\r\n\r\n"), None);
    }

    #[test]
    fn what_is_no_request_is_not_answered() {
        assert_eq!(answer("SIP/2.0 200 OK\r\n\r\n"), None);
        assert_eq!(answer("hello"), None);
    }
}
