//! Day and night, the week and the weekend, when somebody sits at a desk. All in UTC: where a visitor is isn't known.

use watchpost_model::Timestamp;
use watchpost_model::time::SECOND;

pub(super) const MINUTE: i64 = 60;
pub(super) const HOUR: i64 = 3_600;
pub(super) const DAY: i64 = 86_400;
pub(super) const WEEK: i64 = 7 * DAY;

/// When the first of the team comes and the last goes, on working days and at the weekend, in hours.
const DESK: [(i64, i64); 2] = [(6, 21), (9, 18)];

/// How busy the house is at each full hour of a working day, in percent.
const WORKDAY: [u64; 24] =
    [6, 5, 4, 4, 5, 9, 22, 48, 82, 100, 98, 92, 70, 84, 97, 94, 85, 62, 38, 24, 18, 14, 10, 8];
/// And of one at the weekend.
const WEEKEND: [u64; 24] =
    [6, 5, 4, 4, 4, 5, 7, 9, 12, 16, 18, 19, 18, 17, 17, 16, 15, 14, 13, 12, 11, 10, 8, 7];

/// The beginning of the day.
pub(super) fn midnight(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.micros().div_euclid(DAY * SECOND) * DAY * SECOND)
}

/// Whether nobody works that day.
pub(super) fn is_weekend(at: Timestamp) -> bool {
    // The first day of 1970 was a Thursday.
    (at.seconds().div_euclid(DAY) + 3).rem_euclid(7) >= 5
}

/// How much people do at that time, in percent.
pub(super) fn bustle(at: Timestamp) -> u64 {
    let hours = if is_weekend(at) { &WEEKEND } else { &WORKDAY };
    let second = at.seconds().rem_euclid(DAY);
    let (hour, within) = ((second / HOUR) as usize, (second % HOUR) as u64);
    (hours[hour] * (HOUR as u64 - within) + hours[(hour + 1) % 24] * within) / HOUR as u64
}

/// Whether machines do what they do while people sleep.
pub(super) fn is_night(at: Timestamp) -> bool {
    let hour = at.seconds().rem_euclid(DAY) / HOUR;
    !(5..22).contains(&hour)
}

/// When somebody of the team is next at a desk; that time itself when somebody is.
pub(super) fn at_desk(at: Timestamp) -> Timestamp {
    let opens = |day: Timestamp| DESK[usize::from(is_weekend(day))];
    let day = midnight(at);
    let (first, last) = opens(day);
    if at < day.plus_seconds(first * HOUR) {
        return day.plus_seconds(first * HOUR);
    }
    if at < day.plus_seconds(last * HOUR) {
        return at;
    }
    let next = day.plus_seconds(DAY);
    next.plus_seconds(opens(next).0 * HOUR)
}

/// The last working day that began at least so many days before.
pub(super) fn workday_before(at: Timestamp, days: i64) -> Timestamp {
    let mut day = midnight(at).plus_seconds(-days * DAY);
    while is_weekend(day) {
        day = day.plus_seconds(-DAY);
    }
    day
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn the_calendar_is_the_one_on_the_wall() {
        assert_eq!(midnight(at("2026-11-20T13:14:15.5Z")), at("2026-11-20"));
        let weekend = |day: &str| is_weekend(at(day));
        assert_eq!(
            ["2026-11-20", "2026-11-21", "2026-11-22", "2026-11-23"].map(weekend),
            [false, true, true, false]
        );
        assert!(is_night(at("2026-11-20T02:00:00Z")) && !is_night(at("2026-11-20T12:00:00Z")));
        assert_eq!(bustle(at("2026-11-20T09:00:00Z")), 100);
        assert_eq!(bustle(at("2026-11-20T08:30:00Z")), 91);
        assert!(bustle(at("2026-11-21T09:00:00Z")) < 20);
        assert_eq!(workday_before(at("2026-11-23T09:00:00Z"), 1), at("2026-11-20"));
        assert_eq!(workday_before(at("2026-11-20T09:00:00Z"), 0), at("2026-11-20"));
    }

    #[test]
    fn nights_and_weekends_wait_for_the_morning() {
        for (then, desk) in [
            ("2026-11-20T03:00:00Z", "2026-11-20T06:00:00Z"),
            ("2026-11-20T11:30:00Z", "2026-11-20T11:30:00Z"),
            ("2026-11-20T21:00:00Z", "2026-11-21T09:00:00Z"),
            ("2026-11-22T18:30:00Z", "2026-11-23T06:00:00Z"),
        ] {
            assert_eq!(at_desk(at(then)), at(desk), "{then}");
        }
    }
}
