//! From where a request comes: the address of its socket, or what a proxy that is trusted says.

use crate::auth::guard::Peer;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderName, Request};
use std::net::{IpAddr, SocketAddr};
use watchpost_model::net::Network;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address that one element of the header names; proxies may add a port.
fn element(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let address = text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.or_else(|| text.trim_start_matches('[').trim_end_matches(']').parse().ok())
}

/// The nearest address that isn't one of our proxies. Each proxy adds on the right who asked it; what stands further
/// left than the first stranger is that stranger's word.
fn client(socket: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_ours = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut nearest = socket;
    let lines = headers.get_all(&FORWARDED_FOR).into_iter().rev();
    for line in lines {
        // What isn't text was not written by a proxy of ours.
        let Ok(line) = line.to_str() else { return nearest };
        for part in line.rsplit(',') {
            if !is_ours(nearest) {
                return nearest;
            }
            match element(part) {
                Some(address) => nearest = address.to_canonical(),
                None => return nearest,
            }
        }
    }
    nearest
}

/// Notes on a request from where it comes.
pub(crate) fn note_peer(request: &mut Request<Body>, trusted: &[Network]) {
    let Some(ConnectInfo(socket)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else { return };
    let socket = socket.ip().to_canonical();
    let peer = match trusted.is_empty() {
        true => socket,
        false => client(socket, request.headers(), trusted),
    };
    request.extensions_mut().insert(Peer(peer));
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_proxies_of_ours_are_believed() {
        let trusted = Network::parse_list("10.0.0.0/8, ::1").expect("networks");
        let from = |socket: &str, lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(&FORWARDED_FOR, HeaderValue::from_str(line).expect("a header"));
            }
            client(socket.parse().expect("an address"), &headers, &trusted).to_string()
        };
        assert_eq!(from("192.0.2.1", &["10.0.0.9"]), "192.0.2.1", "a stranger says what it likes");
        assert_eq!(from("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(from("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(from("10.0.0.1", &["127.0.0.1, 198.51.100.7"]), "198.51.100.7", "made up on the left");
        assert_eq!(
            from("10.0.0.1", &["6.6.6.6, 198.51.100.7, 10.2.3.4"]),
            "198.51.100.7",
            "through two proxies"
        );
        assert_eq!(from("10.0.0.1", &["6.6.6.6", "198.51.100.7"]), "198.51.100.7", "over two lines");
        assert_eq!(from("::1", &["[2001:db8::1]:443"]), "2001:db8::1");
        assert_eq!(from("10.0.0.1", &["198.51.100.7:1234"]), "198.51.100.7");
        for nonsense in ["", "unknown", "_hidden", "999.1.1.1", "198.51.100.7, ,", "<script>"] {
            assert_eq!(from("10.0.0.1", &[nonsense]), "10.0.0.1", "{nonsense}");
        }
    }
}
