//! Ranges of addresses, and rates.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A range of addresses as `10.0.0.0/8` or `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// The address as a number, IPv4 in the upper bits, so that a prefix is a prefix.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl Network {
    /// Whether an address is in it. An IPv4 address is the same one written as IPv6 (`::ffff:…`).
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let outside = 128 - u32::from(self.bits);
        let same = number(self.address) ^ number(address);
        self.address.is_ipv4() == address.is_ipv4() && same.checked_shr(outside).unwrap_or(0) == 0
    }

    /// Reads a list, separated by commas or blanks. The first that is none, otherwise.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        let parts = text.split([',', ' ', '\n', '\t', '\r']).filter(|part| !part.is_empty());
        parts.map(|part| part.parse().map_err(|()| part.to_owned())).collect()
    }

    /// As [`Network::parse_list`] reads it.
    pub fn list(networks: &[Self]) -> String {
        networks.iter().map(Self::to_string).collect::<Vec<_>>().join(",")
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.trim_matches(['[', ']']).parse().map_err(|_| ())?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => whole,
            // Digits alone: `parse` would take a sign.
            Some(bits) if bits.bytes().all(|b| b.is_ascii_digit()) => bits.parse().map_err(|_| ())?,
            Some(_) => return Err(()),
        };
        let network = Self { address, bits };
        let beyond = number(address).checked_shl(u32::from(bits)).unwrap_or(0);
        if bits > whole || beyond != 0 {
            return Err(());
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        match self.bits == whole {
            true => write!(f, "{}", self.address),
            false => write!(f, "{}/{}", self.address, self.bits),
        }
    }
}

/// So many requests in so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests; also how many may come at once after a pause.
    pub count: u32,
    /// Seconds.
    pub per_seconds: u32,
}

impl Rate {
    const UNITS: [(&str, u32); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

    /// Reads `120/m`: a number of requests per second, minute, hour or day.
    pub fn parse(text: &str) -> Option<Self> {
        let (count, unit) = text.split_once('/')?;
        let per_seconds = match unit.trim().to_ascii_lowercase().as_str() {
            "s" | "sec" | "second" => 1,
            "m" | "min" | "minute" => 60,
            "h" | "hour" => 3_600,
            "d" | "day" => 86_400,
            _ => return None,
        };
        let count = count.trim().parse().ok().filter(|count| (1..=100_000_000).contains(count))?;
        Some(Self { count, per_seconds })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = Self::UNITS.into_iter().find(|(_, seconds)| *seconds == self.per_seconds);
        write!(f, "{}/{}", self.count, unit.map_or("s", |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_in_their_network_and_no_other() {
        let network = |text: &str| text.parse::<Network>().expect("a network");
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let rows = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
        ];
        for (text, given, inside) in rows {
            assert_eq!(network(text).contains(address(given)), inside, "{given} in {text}");
            assert_eq!(network(text).to_string(), text);
        }
        for wrong in ["", "10.0.0.0/33", "10.0.0.1/8", "x", "10.0.0.0/", "10.0.0.0/+8", "::/129", "1.2.3"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
        let list = Network::parse_list("10.0.0.0/8, 192.0.2.1\n2001:db8::/32").expect("three networks");
        assert_eq!(Network::list(&list), "10.0.0.0/8,192.0.2.1,2001:db8::/32");
        assert_eq!(Network::parse_list("10.0.0.0/8 nonsense"), Err("nonsense".into()));
    }

    #[test]
    fn rates_are_read_as_they_are_written() {
        assert_eq!(Rate::parse("120/m"), Some(Rate { count: 120, per_seconds: 60 }));
        assert_eq!(Rate::parse("5/hour"), Some(Rate { count: 5, per_seconds: 3_600 }));
        assert_eq!(Rate::parse("5/hour").map(|rate| rate.to_string()), Some("5/h".into()));
        assert!(["0/m", "x/m", "5", "5/y", "-1/s"].iter().all(|wrong| Rate::parse(wrong).is_none()));
    }
}
