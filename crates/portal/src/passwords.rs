//! What names and passwords there may be, and the hashing of these, a few at a time.

use zxcvbn::Score;

use crate::problem::{Kind, Problem};
use crate::server::Shared;
use crate::session::BY_TOKEN;
use crate::store::Operator;
use crate::{host, secret};

/// Characters of a password, at least; there are no other rules, as NIST SP 800-63B has it.
const SHORTEST: usize = 12;
/// Bytes of one, at most: hashing more costs without a gain.
const LONGEST: usize = 256;
/// Characters of an operator's name.
const NAME: usize = 64;

/// A name as it is kept.
pub(crate) fn check_name(name: &str) -> Result<&str, Problem> {
    let name = name.trim();
    if !(1..=NAME).contains(&name.chars().count()) || name.chars().any(is_unseen) {
        let detail = format!("a name has 1 to {NAME} characters, in one line");
        return Err(Problem::new(Kind::Invalid, detail));
    }
    // The audit says so of what a token did.
    match name.contains(BY_TOKEN) {
        true => Err(Problem::new(Kind::Invalid, format!("a name has no `{BY_TOKEN}` in it"))),
        false => Ok(name),
    }
}

/// Whether it is no letter that anybody sees, or turns others around (Unicode's Default_Ignorable_Code_Point and Bidi_Control, in part).
fn is_unseen(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || letter.is_control()
}

/// Passwords that leaked often, words, names, dates, keys beside each other, and what is known of this operator are guessed
/// first, however many characters they have.
fn check_password(password: &str, operator: &str) -> Result<(), Problem> {
    let refused = |detail: String| Err(Problem::new(Kind::Invalid, detail));
    if password.chars().count() < SHORTEST || password.len() > LONGEST {
        return refused(format!(
            "a password has at least {SHORTEST} characters, and at most {LONGEST} bytes"
        ));
    }
    let host = host::name();
    let names = operator.split_whitespace().chain([operator, "geofilter", "asterisk", &host]);
    match zxcvbn::zxcvbn(password, &names.collect::<Vec<_>>()).score() < Score::Three {
        true => refused(
            "this password is among the first that are guessed: choose another, such as a sentence that only you would say".to_owned(),
        ),
        false => Ok(()),
    }
}

impl Shared {
    /// What is kept of a new password of this operator, if it is long enough and not among the first that are guessed.
    pub(crate) async fn hash(&self, password: String, operator: &str) -> Result<String, Problem> {
        let operator = operator.to_owned();
        let hashing =
            move || check_password(&password, &operator).map(|()| secret::hash(&password));
        let hashed = self.hashing(hashing).await??;
        hashed.map_err(|error| Problem::internal("the password can't be hashed", &error))
    }

    /// Whether it is the operator's. It takes as long for a name that nobody has.
    pub(crate) async fn verify(
        &self,
        password: String,
        operator: Option<&Operator>,
    ) -> Result<bool, Problem> {
        let hash = operator.map_or(secret::NOBODY, |operator| &operator.password).to_owned();
        if password.len() > LONGEST {
            return Ok(false);
        }
        self.hashing(move || secret::verify(&password, &hash)).await
    }

    /// Hashes on a thread where it holds nobody up.
    async fn hashing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let what = "the password can't be hashed";
        let Ok(_waits) = self.waiting.try_acquire() else {
            let busy = "too many sign in at this moment: try again in some seconds";
            return Err(Problem { retry_after: Some(5), ..Problem::new(Kind::Locked, busy) });
        };
        let turn = self.hashing.acquire().await;
        let _turn = turn.map_err(|error| Problem::internal(what, &error))?;
        let hashed = tokio::task::spawn_blocking(work).await;
        hashed.map_err(|error| Problem::internal(what, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_is_guessed_first_is_refused_however_long() {
        for weak in [
            "too short",
            "password1234",
            "qwertyuiop[]",
            "1234567890123456",
            "aaaaaaaaaaaaaaaa",
            "geofilter2026",
            "popescu12345",
            &"long ".repeat(60),
        ] {
            assert!(check_password(weak, "Ana Popescu").is_err(), "{weak}");
        }
        let strong = [
            "correct horse battery",
            "a fairly long password",
            "another long password",
            "zărzărica de la poartă",
        ];
        for strong in strong {
            assert!(check_password(strong, "Ana Popescu").is_ok(), "{strong}");
        }
    }

    #[test]
    fn a_name_is_one_line_and_imitates_no_token() {
        assert_eq!(check_name("  Ana Popescu ").unwrap(), "Ana Popescu");
        for wrong in ["", "  ", "a\nb", &"x".repeat(65), "Ana (token x)"] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }
}
