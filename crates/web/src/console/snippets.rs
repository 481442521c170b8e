//! What to paste where, so that something sends events here: filled in with this server's address and a key.

use minijinja::{Value, context};
use watchpost_model::Severity;
use watchpost_model::key::KeyLimits;

/// What stands for a key that nobody made yet.
pub(crate) const SOME_KEY: &str = "wp_…";

/// Where this server is, taken apart as some programs want it.
struct Server<'a> {
    https: bool,
    host: &'a str,
    port: u16,
}

impl<'a> Server<'a> {
    fn of(base: &'a str) -> Option<Self> {
        let (scheme, place) = base.split_once("://")?;
        let https = scheme == "https";
        let usual = if https { 443 } else { 80 };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (place, usual),
        };
        // It goes into shells and configurations, whatever a client called this server.
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
        (!host.is_empty() && host.chars().all(plain)).then_some(Self { https, host, port })
    }
}

/// What templates fill in.
pub(crate) fn snippets(base: &str, key: &str, limits: &KeyLimits) -> Value {
    let known = Server::of(base);
    let base = if known.is_some() { base } else { "https://watchpost.example.com" };
    let server = known.unwrap_or(Server { https: true, host: "watchpost.example.com", port: 443 });
    // Beyond what a key may report events would be refused.
    let up_to = |severity: Severity| limits.max_severity.map_or(severity, |max| max.min(severity)).as_str();
    context! {
        base, key,
        https => server.https,
        host => server.host,
        bare_host => server.host.trim_start_matches('[').trim_end_matches(']'),
        ipv6 => server.host.starts_with('['),
        port => server.port,
        // A key that speaks for one source names it by itself.
        named => limits.source_name.is_none(),
        critical => up_to(Severity::Critical),
        high => up_to(Severity::High),
        medium => up_to(Severity::Medium),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_and_nothing_else_gets_through() {
        let of = |base| Server::of(base).map(|found| (found.https, found.host, found.port));
        assert_eq!(of("http://127.0.0.1:8000"), Some((false, "127.0.0.1", 8_000)));
        assert_eq!(of("https://wp.example"), Some((true, "wp.example", 443)));
        assert_eq!(of("https://[::1]:8443"), Some((true, "[::1]", 8_443)));
        assert_eq!(of("http://[::1]"), Some((false, "[::1]", 80)));
        for wrong in ["", "wp.example", "http://", "http://a'; rm -rf /", "http://a$(b)", "http://a:x"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
