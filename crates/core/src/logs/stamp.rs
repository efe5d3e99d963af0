//! [`Stamp`]: when a line was written, as the clock on the wall of that host showed it, and how such times
//! are written in logs.

/// Milliseconds since 1970 on the clock on the wall: most logs name no time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(pub i64);

/// What a log leaves out, from the clock of whoever reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Calendar {
    /// The present: a date without a year was in the last twelve months.
    pub now: Stamp,
    /// How far the clock on the wall is ahead of UTC, in milliseconds: some logs count seconds since 1970.
    pub ahead: i64,
}

/// Milliseconds of a day.
pub const DAY: i64 = 86_400_000;

/// Year, month and day, or hour, minute and second.
type Triple = (i64, i64, i64);

impl Stamp {
    /// From a date and a time of day; `None` if there is no such time.
    pub fn new(date: Triple, time: Triple, milliseconds: i64) -> Option<Self> {
        let ((year, month, day), (hour, minute, second)) = (date, time);
        let real = (1970..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second <= 60;
        let seconds = (hour * 60 + minute) * 60 + second;
        real.then(|| Self(days(year, month, day) * DAY + seconds * 1000 + milliseconds))
    }

    /// Year, month and day.
    pub fn date(self) -> Triple {
        let days = self.0.div_euclid(DAY) + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        (year_of_era + era * 400 + i64::from(month <= 2), month, day)
    }

    /// How long before or after another.
    pub fn distance(self, other: Self) -> u64 {
        self.0.abs_diff(other.0)
    }
}

/// Days since 1970, of a year that begins in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// `2026-11-22 08:48:18.905` or `2026-11-22T08:48:18,905123+01:00`, and what follows. A zone is that of the
/// clock on the wall.
pub(super) fn iso(text: &[u8]) -> Option<(Stamp, &[u8])> {
    let (date, rest) = text.split_at_checked(10)?;
    let [y, e, a, r, b'-', m, o, b'-', d, i] = *date else { return None };
    let date = (number(&[y, e, a, r])?, number(&[m, o])?, number(&[d, i])?);
    let (time, rest) = clock(rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b"T"))?)?;
    let (milliseconds, rest) = fraction(rest);
    Some((Stamp::new(date, time, milliseconds)?, zone(rest)))
}

/// `May  3 10:00:00`, and what follows.
pub(super) fn without_year<'a>(text: &'a [u8], calendar: &Calendar) -> Option<(Stamp, &'a [u8])> {
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let ([m, o, n, b' ', d, i, b' '], rest) = text.split_first_chunk()? else { return None };
    let month = MONTHS.chunks(3).position(|name| name == [*m, *o, *n])? as i64 + 1;
    let day = if *d == b' ' { number(&[*i])? } else { number(&[*d, *i])? };
    let (time, rest) = clock(rest)?;
    let (milliseconds, rest) = fraction(rest);
    let (year, ..) = calendar.now.date();
    let this = Stamp::new((year, month, day), time, milliseconds)?;
    // Clocks differ, so that a line may be from a little later than now.
    match this.0 > calendar.now.0 + DAY {
        true => Some((Stamp::new((year - 1, month, day), time, milliseconds)?, rest)),
        false => Some((this, rest)),
    }
}

/// Seconds since 1970 in UTC, with a fraction or without, and what follows.
pub(super) fn epoch<'a>(text: &'a [u8], calendar: &Calendar) -> Option<(Stamp, &'a [u8])> {
    let (seconds, rest) = text.split_at_checked(10)?;
    let (milliseconds, rest) = fraction(rest);
    Some((Stamp(number(seconds)? * 1000 + milliseconds + calendar.ahead), rest))
}

/// `08:48:18`, and what follows.
fn clock(text: &[u8]) -> Option<(Triple, &[u8])> {
    let ([h, o, b':', m, i, b':', s, e], rest) = text.split_first_chunk()? else { return None };
    Some(((number(&[*h, *o])?, number(&[*m, *i])?, number(&[*s, *e])?), rest))
}

/// Milliseconds after a point or comma, and what follows; zero if there are none.
fn fraction(text: &[u8]) -> (i64, &[u8]) {
    let Some((b'.' | b',', digits)) = text.split_first() else { return (0, text) };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let digit = |at: usize| digits[..length].get(at).map_or(0, |digit| i64::from(digit - b'0'));
    (digit(0) * 100 + digit(1) * 10 + digit(2), &digits[length..])
}

/// What follows `Z`, `+0100` or `+01:00`.
fn zone(text: &[u8]) -> &[u8] {
    match text {
        [b'Z', rest @ ..] => rest,
        [b'+' | b'-', rest @ ..] => {
            let end = rest.iter().position(|byte| !byte.is_ascii_digit() && *byte != b':');
            &rest[end.unwrap_or(rest.len())..]
        }
        _ => text,
    }
}

/// A number of nothing but digits; few enough of them that it fits.
pub(super) fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(date: (i64, i64, i64), time: (i64, i64, i64), milliseconds: i64) -> Stamp {
        Stamp::new(date, time, milliseconds).unwrap()
    }

    #[test]
    fn times_are_read_as_logs_write_them() {
        let time = stamp((2026, 11, 22), (8, 48, 18), 905);
        assert_eq!(time.0, 1_795_337_298_905, "as `date -u -d @1795337298` says");
        for text in ["2026-11-22 08:48:18.905", "2026-11-22T08:48:18,905123+01:00"] {
            assert_eq!(iso(text.as_bytes()), Some((time, &b""[..])), "{text}");
        }
        let calendar = Calendar { now: time, ahead: 3_600_000 };
        let (read, rest) = epoch(b"1795333698.905] x", &calendar).unwrap();
        assert_eq!((read, rest), (time, &b"] x"[..]));
        for text in ["2026-13-22 08:48:18", "2026-11-22 24:00:00", "2026-11-22", "20x6-11-22 1"] {
            assert_eq!(iso(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_date_without_a_year_was_in_the_last_twelve_months() {
        let calendar = Calendar { now: stamp((2026, 2, 3), (0, 0, 0), 0), ahead: 0 };
        let date =
            |text: &str| without_year(text.as_bytes(), &calendar).map(|(stamp, _)| stamp.date());
        assert_eq!(date("Feb  3 10:00:00 host"), Some((2026, 2, 3)));
        assert_eq!(date("Dec 31 23:59:59.123"), Some((2025, 12, 31)));
        assert_eq!(date("Xxx 31 23:59:59"), None);
    }

    #[test]
    fn dates_come_back() {
        for days in (0..60_000).step_by(7) {
            let stamp = Stamp(days * DAY);
            let (year, month, day) = stamp.date();
            assert_eq!(Stamp::new((year, month, day), (0, 0, 0), 0), Some(stamp));
        }
    }
}
