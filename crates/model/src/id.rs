//! Identifiers, one type per kind of thing so that they can't be mixed up.

use std::fmt;
use std::str::FromStr;

/// Ids stay below 2^53 so that a JavaScript client reads them exactly.
pub const MAX_ID: i64 = (1 << 53) - 1;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// Wraps a number that the store gave out.
            pub const fn new(raw: i64) -> Self {
                Self(raw)
            }

            /// The number behind the id.
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                parse(text).map(Self)
            }
        }
    };
}

id!(
    /// Names an event. Its upper bits are the second it was given out in, see [`event_id_floor`].
    EventId
);
id!(
    /// Names an alert: a small number that people can say to each other.
    AlertId
);
id!(
    /// Names a user.
    UserId
);
id!(
    /// Names a sensor key.
    KeyId
);
id!(
    /// Names a view.
    ViewId
);

/// The text isn't a positive whole number that an id could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnId;

fn parse(text: &str) -> Result<i64, NotAnId> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NotAnId);
    }
    match text.parse() {
        Ok(raw) if (1..=MAX_ID).contains(&raw) => Ok(raw),
        _ => Err(NotAnId),
    }
}

/// Ids per second that all nodes together can give out before ids run ahead of the clock
/// (4.2 million): more than any database behind Watchpost can take.
pub const EVENT_IDS_PER_SECOND_BITS: u32 = 22;

/// Ids that lead with the same second.
pub const EVENT_IDS_PER_SECOND: i64 = 1 << EVENT_IDS_PER_SECOND_BITS;

/// 2024-01-01T00:00:00Z in seconds; 31 bits of seconds from here last until the year 2092.
const EVENT_ID_EPOCH_SECONDS: i64 = 1_704_067_200;

/// The smallest event id that may be given out at this time.
///
/// Because ids lead with their second, the newest events are those with the largest ids, a time
/// range is an id range, and a table partitioned by id is partitioned by time: an event is found
/// by its id in the one partition that can hold it.
pub fn event_id_floor(at: crate::Timestamp) -> EventId {
    let seconds = (at.micros().div_euclid(1_000_000) - EVENT_ID_EPOCH_SECONDS)
        .clamp(0, (1 << (53 - EVENT_IDS_PER_SECOND_BITS)) - 1);
    EventId(seconds << EVENT_IDS_PER_SECOND_BITS)
}

/// Whether ids can lead with this time: from 2024 until 2091. A clock that shows another is wrong.
pub const fn can_lead_event_ids(at: crate::Timestamp) -> bool {
    let second = at.seconds() - EVENT_ID_EPOCH_SECONDS;
    second >= 0 && second < (1 << (53 - EVENT_IDS_PER_SECOND_BITS)) - 1
}

/// The second that an event's id leads with.
pub fn event_id_second(id: EventId) -> crate::Timestamp {
    let seconds = (id.0 >> EVENT_IDS_PER_SECOND_BITS) + EVENT_ID_EPOCH_SECONDS;
    crate::Timestamp::from_micros(seconds * crate::time::SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    #[test]
    fn only_positive_whole_numbers_below_two_to_the_53_are_ids() {
        assert_eq!("42".parse(), Ok(EventId::new(42)));
        for wrong in ["", "0", "-1", "+1", "1.0", "9007199254740992", "x", "١", "1 "] {
            assert_eq!(wrong.parse::<EventId>(), Err(NotAnId), "{wrong:?}");
        }
    }

    #[test]
    fn event_ids_grow_with_time_and_stay_below_two_to_the_53() {
        let second = |s: i64| event_id_floor(Timestamp::from_micros(s * 1_000_000)).get();
        assert_eq!(second(EVENT_ID_EPOCH_SECONDS), 0);
        assert_eq!(second(0), 0, "a clock before the epoch gives the smallest id");
        assert!(second(1_800_000_001) > second(1_800_000_000));
        assert!(second(i64::MAX / 1_000_000) <= MAX_ID, "a clock far ahead stays in range");
        let can_lead = |text: &str| can_lead_event_ids(Timestamp::parse(text).unwrap());
        assert!(can_lead("2024-01-01T00:00:00Z") && can_lead("2091-12-31T23:59:59Z"));
        assert!(!can_lead("2023-12-31T23:59:59Z") && !can_lead("2092-02-01"));
    }
}
