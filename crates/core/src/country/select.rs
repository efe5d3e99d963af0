//! Reads what an operator writes to select countries: codes, names, groups.

use super::{ALIASES, CODES, CountryCode, CountryId, CountrySet, NAMES, groups};

/// A word that selects no country.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// Neither a code, nor a name, nor a group.
    #[error("`{word}` is not a country: did you mean {suggestion}?")]
    NotACountry {
        /// As it was written.
        word: String,
        /// The nearest country, as `Portugal (PT)`.
        suggestion: String,
    },
    /// Begins with `@` but is no group.
    #[error("`{word}` is not a group of countries: did you mean {suggestion}?")]
    NotAGroup {
        /// As it was written.
        word: String,
        /// The nearest group, as `@eu (European Union)`.
        suggestion: String,
    },
    /// Unknown space is not a country.
    #[error(
        "`{0}` is not a country: use `--unknown pass` or `--unknown drop` for space whose country is unknown"
    )]
    Unknown(String),
}

/// The countries that the words select. A word is a code, an English name or a group, in any case;
/// several may stand in one word, separated by commas.
///
/// # Errors
/// [`SelectionError`] names the first word that selects nothing and the nearest that would.
pub fn select<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<CountrySet, SelectionError> {
    let mut selection = CountrySet::EMPTY;
    for word in words {
        select_word(word.trim(), &mut selection)?;
    }
    Ok(selection)
}

/// The whole word first: some names have a comma in them.
fn select_word(word: &str, selection: &mut CountrySet) -> Result<(), SelectionError> {
    if let Some(country) = country(word) {
        selection.insert(country);
        return Ok(());
    }
    let parts = word.split(',').map(str::trim).filter(|part| !part.is_empty());
    for part in parts {
        read(part)?.iter().for_each(|country| selection.insert(country));
    }
    Ok(())
}

fn read(word: &str) -> Result<CountrySet, SelectionError> {
    let plain = plain(word);
    if plain == "zz" || plain == "unknown" {
        return Err(SelectionError::Unknown(word.to_owned()));
    }
    if word.starts_with('@') {
        let group = groups().find(|group| self::plain(group.name) == plain);
        return group.map(|group| group.countries).ok_or_else(|| not_a_group(word));
    }
    country(word).map(|country| CountrySet::from_iter([country])).ok_or_else(|| not_a_country(word))
}

fn country(word: &str) -> Option<CountryId> {
    let wanted = plain(word);
    let code = words().find(|(candidate, _)| plain(candidate) == wanted).map(|(_, code)| code)?;
    CountryCode::parse(code).ok().map(CountryCode::id)
}

/// Every word that selects one country, with the code it stands for.
fn words() -> impl Iterator<Item = (&'static str, &'static str)> {
    let codes = CODES[1..].iter().map(|code| (*code, *code));
    let names = NAMES[1..].iter().chain(ALIASES).map(|(code, name)| (*name, *code));
    codes.chain(names)
}

/// Letters and digits only, in lower case, without diacritics; `St` is `Saint`.
fn plain(word: &str) -> String {
    let mut plain = String::with_capacity(word.len());
    for letter in word.chars().flat_map(char::to_lowercase) {
        match letter {
            'à'..='å' => plain.push('a'),
            'ç' => plain.push('c'),
            'è'..='ë' => plain.push('e'),
            'ì'..='ï' | 'ı' => plain.push('i'),
            'ñ' => plain.push('n'),
            'ò'..='ö' => plain.push('o'),
            'ù'..='ü' => plain.push('u'),
            '&' => plain.push_str("and"),
            letter if letter.is_alphanumeric() => plain.push(letter),
            _ => {}
        }
    }
    let saint = ["st ", "st. "].iter().any(|st| word.to_lowercase().starts_with(st));
    if saint { plain.replacen("st", "saint", 1) } else { plain }
}

fn not_a_country(word: &str) -> SelectionError {
    let nearest = nearest(word, words().filter(|(name, _)| name.len() > 2));
    let country = nearest.and_then(|code| CountryCode::parse(code).ok()).map(CountryCode::id);
    let suggestion = country.map_or_else(
        || "a code such as ES".to_owned(),
        |country| format!("{} ({})", country.name(), country.code()),
    );
    SelectionError::NotACountry { word: word.to_owned(), suggestion }
}

fn not_a_group(word: &str) -> SelectionError {
    let nearest = nearest(word, groups().map(|group| (group.name, group)));
    let suggestion = nearest.map_or_else(
        || "@eu".to_owned(),
        |group| format!("{} ({})", group.name, group.description),
    );
    SelectionError::NotAGroup { word: word.to_owned(), suggestion }
}

fn nearest<T>(word: &str, candidates: impl Iterator<Item = (&'static str, T)>) -> Option<T> {
    let word = plain(word);
    candidates.min_by_key(|(name, _)| edits(&word, &plain(name))).map(|(_, value)| value)
}

/// How many letters must be inserted, removed, replaced or swapped with their neighbour to turn one word
/// into the other.
fn edits(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let replaced = last[j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut least = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(words: &[&str]) -> String {
        let selection = select(words.iter().copied()).unwrap();
        selection.iter().map(|country| country.code().to_string()).collect::<Vec<_>>().join(" ")
    }

    fn refusal(word: &str) -> String {
        select([word]).unwrap_err().to_string()
    }

    #[test]
    fn codes_names_and_groups_in_any_case() {
        assert_eq!(codes(&["es", "PT", "Fr"]), "ES FR PT");
        assert_eq!(codes(&["russia", "GREAT britain", "USA", "south korea"]), "GB KR RU US");
        assert_eq!(codes(&["Türkiye", "turkey", "Turkiye"]), "TR");
        assert_eq!(codes(&["Côte d'Ivoire", "ivory coast", "cote divoire"]), "CI");
        assert_eq!(codes(&["Czech Republic", "Czechia", "UK", "uk"]), "CZ GB");
        assert_eq!(codes(&["St. Lucia", "Bosnia & Herzegovina"]), "BA LC");
        assert_eq!(codes(&["@Benelux", "@IBERIA"]), "AD BE ES GI LU NL PT");
    }

    #[test]
    fn commas_separate_inside_a_word() {
        assert_eq!(codes(&["es,pt", "@dach, New Zealand,"]), "AT CH DE ES LI NZ PT");
        assert_eq!(codes(&["Bonaire, Sint Eustatius and Saba"]), "BQ");
    }

    #[test]
    fn every_name_and_alias_selects_its_country() {
        for (name, code) in words() {
            assert_eq!(codes(&[name]), code, "{name}");
        }
    }

    #[test]
    fn names_follow_the_order_of_the_codes() {
        assert!(NAMES.iter().map(|(code, _)| *code).eq(CODES));
    }

    #[test]
    fn a_refusal_names_the_word_and_the_nearest() {
        assert_eq!(refusal("Protugal"), "`Protugal` is not a country: did you mean Portugal (PT)?");
        assert_eq!(refusal("es,Germny"), "`Germny` is not a country: did you mean Germany (DE)?");
        assert_eq!(
            refusal("@latm"),
            "`@latm` is not a group of countries: did you mean @latam (Latin America: Mexico, Central and South \
             America, the Caribbean)?"
        );
    }

    #[test]
    fn unknown_is_not_a_country() {
        assert!(refusal("zz").contains("--unknown"));
        assert!(refusal("Unknown").contains("--unknown"));
    }
}
