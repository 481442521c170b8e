//! Until when a certificate is good: as much of X.509 as that takes.

use watchpost_model::Timestamp;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The first value of some DER: its tag, what it holds, and what follows it.
fn first(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (held, rest) = rest.split_at_checked(length)?;
    Some((tag, held, rest))
}

fn time(tag: u8, held: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(held).ok()?.strip_suffix('Z')?;
    let text = match tag {
        UTC_TIME => format!("{}{text}", if text.get(..2)? < "50" { "20" } else { "19" }),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let part = |from: usize| text.get(from..from + 2);
    let (year, month, day) = (text.get(..4)?, part(4)?, part(6)?);
    Timestamp::parse(&format!("{year}-{month}-{day}T{}:{}:{}Z", part(8)?, part(10)?, part(12)?))
}

/// When a certificate (DER) ends; nothing if it can't be read.
pub(crate) fn expires(certificate: &[u8]) -> Option<Timestamp> {
    let (SEQUENCE, certificate, _) = first(certificate)? else { return None };
    let (SEQUENCE, signed, _) = first(certificate)? else { return None };
    let mut rest = signed;
    // The version, which old certificates leave out, then serial number, algorithm and issuer.
    if let (VERSION, _, after) = first(rest)? {
        rest = after;
    }
    for _ in 0..3 {
        rest = first(rest)?.2;
    }
    let (SEQUENCE, validity, _) = first(rest)? else { return None };
    let (_, _, until) = first(validity)?;
    let (tag, held, _) = first(until)?;
    time(tag, held)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_kinds_are_read_and_nonsense_is_none() {
        let shown = |tag, text: &str| time(tag, text.as_bytes()).map(|at| at.to_string());
        assert_eq!(shown(UTC_TIME, "261120220545Z").as_deref(), Some("2026-11-20T22:05:45.000000Z"));
        assert_eq!(shown(UTC_TIME, "991120220545Z").as_deref(), Some("1999-11-20T22:05:45.000000Z"));
        assert_eq!(
            shown(GENERALIZED_TIME, "20501120220545Z").as_deref(),
            Some("2050-11-20T22:05:45.000000Z")
        );
        assert_eq!(
            [shown(UTC_TIME, "26112022"), shown(UTC_TIME, "ä"), shown(2, "261120220545Z")],
            [None, None, None]
        );
        for broken in
            [&[][..], &[0x30], &[0x30, 0x85, 1, 1, 1, 1, 1], &[0x30, 0x02, 0x30, 0x00], &[0x30, 0xff]]
        {
            assert_eq!(expires(broken), None);
        }
    }
}
