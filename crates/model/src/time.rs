//! Points in time: microseconds since 1970 inside, RFC 3339 in UTC outside.

use std::fmt;

/// A point in time in UTC, to the microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;

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
    fn months_follow_each_other_across_a_year() {
        let month = Timestamp::from_micros(1_798_761_599_999_999).month();
        assert_eq!(month, Month { year: 2026, month: 12 });
        assert_eq!(month.next(), Month { year: 2027, month: 1 });
        assert_eq!(month.next().start().to_string(), "2027-01-01T00:00:00.000000Z");
    }
}
