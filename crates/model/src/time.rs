//! Points in time: microseconds since 1970 inside, RFC 3339 in UTC outside.

use std::fmt;

/// A point in time in UTC, to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;

/// 2200-01-01: times that somebody gives lie before it.
const MAX_GIVEN: i64 = 7_258_118_400 * SECOND;

impl Timestamp {
    /// Wraps microseconds since 1970-01-01T00:00:00Z.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, as token claims count them.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(SECOND)
    }

    /// This point in time, later by so many seconds (earlier when negative).
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(SECOND)))
    }

    /// This point in time, but not before the second that another one falls in.
    pub fn at_least_second_of(self, other: Self) -> Self {
        Self(self.0.max(other.0.div_euclid(SECOND) * SECOND))
    }

    /// Reads RFC 3339 with any offset, or a date, which begins at midnight in UTC.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let parsed = text.parse::<jiff::Timestamp>().ok().or_else(|| {
            // Longer ones have a time of day without an offset, and could mean any.
            let date: jiff::civil::Date = text.get(..10).filter(|date| *date == text)?.parse().ok()?;
            date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|midnight| midnight.timestamp())
        })?;
        let micros = parsed.as_microsecond();
        (0..MAX_GIVEN).contains(&micros).then_some(Self(micros))
    }

    /// Reads a time as [`Timestamp::parse`] does, or one before now: `-24h`, with s, m, h, d or w.
    pub fn parse_relative(text: &str, now: Self) -> Option<Self> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("now") {
            return Some(now);
        }
        let (sign, away) = match (text.strip_prefix('-'), text.strip_prefix('+')) {
            (Some(ago), _) => (-1, ago),
            (_, Some(ahead)) => (1, ahead),
            _ => return Self::parse(text),
        };
        let last = away.chars().last()?;
        let unit_len = last.len_utf8();
        let unit = match last {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 7 * 86_400,
            _ => return None,
        };
        let digits = &away[..away.len() - unit_len];
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let seconds: i64 = digits.parse::<i64>().ok()?.checked_mul(unit)?;
        Some(Self(now.plus_seconds(seconds.checked_mul(sign)?).0.max(0)))
    }

    fn zoned(self) -> jiff::Timestamp {
        let in_range =
            self.0.clamp(jiff::Timestamp::MIN.as_microsecond(), jiff::Timestamp::MAX.as_microsecond());
        jiff::Timestamp::from_microsecond(in_range).expect("clamped to the range jiff can hold")
    }

    /// The year and the month (1 to 12) this falls in, in UTC.
    pub fn month(self) -> Month {
        let date = self.zoned().to_zoned(jiff::tz::TimeZone::UTC).date();
        Month { year: date.year(), month: date.month() }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.zoned())
    }
}

/// A calendar month in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month {
    /// The year.
    pub year: i16,
    /// 1 to 12.
    pub month: i8,
}

impl Month {
    /// The month after this one.
    pub fn next(self) -> Self {
        match self.month {
            12 => Self { year: self.year + 1, month: 1 },
            month => Self { year: self.year, month: month + 1 },
        }
    }

    /// When the month begins.
    pub fn start(self) -> Timestamp {
        let midnight = jiff::civil::date(self.year, self.month, 1)
            .to_zoned(jiff::tz::TimeZone::UTC)
            .expect("every month of a year that a clock can show begins in range");
        Timestamp(midnight.timestamp().as_microsecond())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_rfc_3339_with_microseconds_and_z() {
        assert_eq!(Timestamp::from_micros(0).to_string(), "1970-01-01T00:00:00.000000Z");
        let later = Timestamp::from_micros(1_795_212_345_000_007);
        assert_eq!(later.to_string(), "2026-11-20T22:05:45.000007Z");
    }

    #[test]
    fn times_are_read_with_any_offset_and_relative_to_now() {
        let noon = Timestamp::parse("2026-11-20T12:00:00Z");
        assert_eq!(noon, Timestamp::parse("2026-11-20T13:00:00+01:00"));
        assert_eq!(
            Timestamp::parse("2026-11-20").map(|t| t.to_string()),
            Some("2026-11-20T00:00:00.000000Z".into())
        );
        for wrong in
            ["", "now", "2026-13-01", "1969-12-31", "2200-01-01", "-1h", "12:00", "2026-11-20T12:00:00"]
        {
            assert_eq!(Timestamp::parse(wrong), None, "{wrong}");
        }
        let now = noon.expect("a time");
        assert_eq!(Timestamp::parse_relative("-24h", now), Some(now.plus_seconds(-86_400)));
        assert_eq!(Timestamp::parse_relative("-2w", now), Some(now.plus_seconds(-14 * 86_400)));
        assert_eq!(Timestamp::parse_relative("NOW", now), Some(now));
        for wrong in
            ["-", "-h", "-1", "-1y", "--1h", "-99999999999999999999s", "-9223372036854775807w", "-1é"]
        {
            assert_eq!(Timestamp::parse_relative(wrong, now), None, "{wrong}");
        }
    }

    #[test]
    fn months_follow_each_other_across_a_year() {
        let month = Timestamp::from_micros(1_798_761_599_999_999).month();
        assert_eq!(month, Month { year: 2026, month: 12 });
        assert_eq!(month.next(), Month { year: 2027, month: 1 });
        assert_eq!(month.next().start().to_string(), "2027-01-01T00:00:00.000000Z");
    }
}
