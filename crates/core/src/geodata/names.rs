//! Names in data that others published are shown on terminals: [`shown`] is what may be.

/// Characters of a name. The longest known has 100.
const LONGEST: usize = 200;

/// A name without what moves a cursor or turns text around, and not too much of it.
pub(super) fn shown(name: &str) -> impl Iterator<Item = char> {
    name.chars().take(LONGEST).map(|letter| if is_plain(letter) { letter } else { '?' })
}

fn is_plain(letter: char) -> bool {
    // What Unicode has for the direction of text, and what takes no room.
    let turns = matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !letter.is_control() && !turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_a_cursor_or_turns_text_around_is_not_shown() {
        let name = |name| shown(name).collect::<String>();
        assert_eq!(name("Société Générale, \"Ltd\""), "Société Générale, \"Ltd\"");
        assert_eq!(name("\x1b[2Jred\u{9b}1m\r\n\u{202e}x"), "?[2Jred?1m???x");
        assert_eq!(name(&"n".repeat(1000)).len(), LONGEST);
    }
}
