//! Just enough SIP to knock at a PBX's door: [`register`] is what a guesser sends, [`answer`] what a PBX
//! that wants a password says to it.

use std::net::SocketAddr;

/// A REGISTER from `source` for an extension, as guessers send it.
pub fn register(source: SocketAddr, transport: &str, extension: u32) -> String {
    // A PBX takes what has the id of another for the same request once more.
    let id = format!("{extension}-{source}").replace(['[', ']', ':'], "-");
    format!(
        "REGISTER sip:pbx.example SIP/2.0\r\n\
         Via: SIP/2.0/{transport} {source};branch=z9hG4bK{id};rport\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:{extension}@pbx.example>;tag={id}\r\n\
         To: <sip:{extension}@pbx.example>\r\n\
         Call-ID: {id}@guesser.example\r\n\
         CSeq: 1 REGISTER\r\n\
         Contact: <sip:{extension}@{source}>\r\n\
         User-Agent: guesser\r\n\
         Expires: 60\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// What a PBX says to a request without credentials; `None` if it is no request.
pub fn answer(request: &str) -> Option<String> {
    let (first, headers) = request.split_once("\r\n")?;
    let method = first.strip_suffix(" SIP/2.0")?.split(' ').next()?;
    let status = match method {
        "OPTIONS" => "200 OK",
        _ => "401 Unauthorized",
    };
    let copied = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
    let copied = headers.split("\r\n").filter(|line| copied.iter().any(|it| line.starts_with(it)));
    let mut text = format!("SIP/2.0 {status}\r\n");
    for line in copied {
        text.push_str(line);
        text.push_str("\r\n");
    }
    if method != "OPTIONS" {
        text.push_str("WWW-Authenticate: Digest realm=\"pbx\", nonce=\"0\", algorithm=MD5\r\n");
    }
    Some(text + "Content-Length: 0\r\n\r\n")
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
    fn what_is_no_request_is_not_answered() {
        assert_eq!(answer("SIP/2.0 200 OK\r\n\r\n"), None);
        assert_eq!(answer("hello"), None);
    }
}
