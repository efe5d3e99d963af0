//! Folds the country codes that sources write into [`CountryId`].

use crate::country::{CountryCode, CountryId};

/// The country of a code as sources write it, in any case. `UK` is Great Britain; regions (`EU`, `AP`),
/// former countries (`AN`, `CS`, `FX`, `SU`, ...), kinds of network (`A1` to `A3`) and unassigned letters
/// are no country, and neither are a blank and a dash. `None` if the text cannot be a code at all.
pub(super) fn fold(code: &str) -> Option<CountryId> {
    match code {
        "" | "-" => Some(CountryId::UNKNOWN),
        "UK" | "uk" => fold("GB"),
        _ if code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Some(CountryCode::parse(code).map_or(CountryId::UNKNOWN, CountryCode::id))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(code: &str) -> Option<String> {
        fold(code).map(|country| country.code().to_string())
    }

    #[test]
    fn codes_fold() {
        for (code, country) in [("ES", "ES"), ("pt", "PT"), ("UK", "GB"), ("XK", "XK")] {
            assert_eq!(folded(code).as_deref(), Some(country));
        }
        for code in ["EU", "AP", "AN", "CS", "SU", "FX", "ZZ", "A1", "A2", "A3", "QQ", "", "-"] {
            assert_eq!(folded(code).as_deref(), Some("ZZ"), "{code}");
        }
        for code in ["E", "ESP", "Spain", "É", "?!"] {
            assert_eq!(folded(code), None, "{code}");
        }
    }
}
