//! Where a reader of the stream is, as the id of a message: to go on from after a cut.

use std::fmt;
use std::str::FromStr;
use watchpost_model::Timestamp;
use watchpost_store::{FeedEntry, FeedPlace};

/// Behind what a reader was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// When that was so, in seconds: what is older than the feed is kept can't be gone on from.
    pub(crate) at: i64,
    place: FeedPlace,
    /// How many things of the entry at the place were handled; 0 when all were.
    handled: usize,
}

impl Position {
    /// Behind everything up to a place.
    pub(crate) fn behind(place: FeedPlace, at: Timestamp) -> Self {
        Self { at: at.seconds(), place, handled: 0 }
    }

    /// Behind an entry, or behind so many things in it.
    pub(crate) fn within(entry: &FeedEntry, handled: Option<usize>) -> Self {
        Self { handled: handled.unwrap_or(0), ..Self::behind(entry.place, entry.at) }
    }

    /// The same, now.
    pub(crate) fn still(self, now: Timestamp) -> Self {
        Self { at: now.seconds(), ..self }
    }

    /// The place from which to go on: before the entry that isn't wholly handled.
    pub(crate) fn place(&self) -> FeedPlace {
        match self.handled {
            0 => self.place,
            _ => FeedPlace { seq: self.place.seq - 1, ..self.place },
        }
    }

    /// How many things of an entry were handled.
    pub(crate) fn handled_of(&self, entry: &FeedEntry) -> usize {
        if entry.place == self.place { self.handled } else { 0 }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.at, self.place.xact, self.place.seq)?;
        match (self.handled, self.place.generation) {
            (0, 0) => Ok(()),
            (handled, 0) => write!(f, ".{handled}"),
            (handled, generation) => write!(f, ".{handled}.{generation}"),
        }
    }
}

/// It is no id that a stream gave out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable;

impl FromStr for Position {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let mut numbers = [0_i64; 5];
        let mut parts = text.split('.');
        let mut count = 0;
        for (number, part) in numbers.iter_mut().zip(parts.by_ref()) {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            *number = Some(part).filter(|_| digits).and_then(|part| part.parse().ok()).ok_or(Unreadable)?;
            count += 1;
        }
        let [at, xact, seq, handled, generation] = numbers;
        // What may be left out is never written as 0.
        let partly = count == 4 || handled > 0;
        let in_vain = (partly && (handled == 0 || seq == 0)) || (count == 5 && generation == 0);
        if count < 3 || parts.next().is_some() || in_vain {
            return Err(Unreadable);
        }
        let handled = usize::try_from(handled).map_err(|_| Unreadable)?;
        Ok(Self { at, place: FeedPlace { generation, xact, seq }, handled })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written_and_nothing_else_is() {
        for id in [
            "1795000000.0.0",
            "1795000000.7123.17",
            "1795000000.0.9.3",
            "0.0.1.1",
            "5.7.9.0.11",
            "5.7.9.2.11",
        ] {
            assert_eq!(id.parse::<Position>().expect("an id").to_string(), id);
        }
        for id in [
            "",
            "1",
            "1.2",
            "1.2.3.4.5.6",
            "1.2.3.4.0",
            "1.2.3.0.0",
            "1.2.x",
            "1..3",
            "-1.0.3",
            "+1.0.3",
            "1.0.3.0",
            "1.0.0.1",
            " 1.0.3",
            "99999999999999999999.0.1",
            "1.0.٣",
        ] {
            assert_eq!(id.parse::<Position>(), Err(Unreadable), "{id}");
        }
    }

    #[test]
    fn in_the_middle_of_an_entry_one_goes_on_before_it() {
        let read = |id: &str| id.parse::<Position>().expect("an id");
        assert_eq!(read("5.7.9").place(), FeedPlace { generation: 0, xact: 7, seq: 9 });
        assert_eq!(read("5.7.9.2").place(), FeedPlace { generation: 0, xact: 7, seq: 8 });
        assert_eq!(read("5.7.9.2.11").place(), FeedPlace { generation: 11, xact: 7, seq: 8 });
        let entry = FeedEntry {
            place: FeedPlace { generation: 0, xact: 7, seq: 9 },
            at: Timestamp::from_micros(5_000_000),
            events: vec![(1, 3)],
            alerts: vec![],
            changes: vec![],
        };
        assert_eq!([read("5.7.9.2").handled_of(&entry), read("5.7.8.2").handled_of(&entry)], [2, 0]);
        assert_eq!(Position::within(&entry, Some(2)), read("5.7.9.2"));
        assert_eq!(Position::within(&entry, None), read("5.7.9"));
    }
}
