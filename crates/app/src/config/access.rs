//! Settings about who gets in, and how.

use super::Reader;
use crate::net::TlsFiles;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::{Path, PathBuf};
use std::time::Duration;
use watchpost_model::Role;
use watchpost_model::net::Network;
use watchpost_web::{ShipTo, Shipping, SingleSignOn};

/// Checkpoints that come more often say nothing more.
const SHORTEST_EVERY: Duration = Duration::from_secs(60);
const LONGEST_EVERY: Duration = Duration::from_secs(90 * 86_400);

/// The parts of a list, separated by commas.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

pub(super) fn tls(reader: &mut Reader<'_>) -> Option<Option<TlsFiles>> {
    match (reader.text("WATCHPOST_TLS_CERT"), reader.text("WATCHPOST_TLS_KEY")) {
        (None, None) => Some(None),
        (Some(certificates), Some(key)) => {
            Some(Some(TlsFiles { certificates: certificates.into(), key: key.into() }))
        }
        _ => {
            reader
                .wrong
                .push("WATCHPOST_TLS_CERT and WATCHPOST_TLS_KEY go together: set both or none".into());
            None
        }
    }
}

pub(super) fn trusted_proxies(reader: &mut Reader<'_>) -> Option<Vec<Network>> {
    let wanted = "write addresses or ranges such as 10.0.0.2, 172.16.0.0/12";
    reader.read("TRUSTED_PROXIES", wanted, |text| Network::parse_list(text).ok())
}

pub(super) fn second_factor_roles(reader: &mut Reader<'_>) -> Option<Vec<Role>> {
    let wanted = "write roles such as Admin, Responder, Analyst";
    reader.read("WATCHPOST_SECOND_FACTOR", wanted, |text| parts(text).map(Role::parse).collect())
}

pub(super) fn public_docs(reader: &mut Reader<'_>) -> Option<bool> {
    reader.read("WATCHPOST_API_DOCS", "write public or signed-in", |text| match text {
        "public" => Some(true),
        "signed-in" => Some(false),
        _ => None,
    })
}

fn roles(text: &str) -> Option<Vec<(String, Role)>> {
    let one = |part: &str| {
        let (value, role) = part.rsplit_once('=')?;
        let value = value.trim();
        (!value.is_empty()).then_some((value.to_owned(), Role::parse(role.trim())?))
    };
    parts(text).map(one).collect()
}

/// An address that secrets may be sent to: over TLS, or to this machine itself.
fn issuer(text: &str) -> Option<String> {
    let place = match text.split_once("://")? {
        ("https", place) => place,
        ("http", place) if ["localhost", "127.0.0.1", "[::1]"].contains(&host(place)) => place,
        _ => return None,
    };
    let plain = |c: char| c.is_ascii_graphic() && !['?', '#', '@'].contains(&c);
    (!host(place).is_empty() && place.chars().all(plain)).then(|| text.to_owned())
}

fn host(place: &str) -> &str {
    let authority = place.split('/').next().unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    }
}

fn authorities(file: Option<PathBuf>, wrong: &mut Vec<String>) -> Vec<Vec<u8>> {
    let Some(file) = file else { return Vec::new() };
    let read = || -> Result<Vec<Vec<u8>>, rustls_pki_types::pem::Error> {
        CertificateDer::pem_file_iter(&file)?.map(|one| one.map(|der| der.to_vec())).collect()
    };
    match read() {
        Ok(found) if !found.is_empty() => return found,
        Ok(_) => wrong.push(format!("WATCHPOST_OIDC_CA: there is no certificate in {}", file.display())),
        Err(error) => wrong.push(format!("WATCHPOST_OIDC_CA: {} can't be read: {error}", file.display())),
    }
    Vec::new()
}

fn list(text: Option<String>) -> Vec<String> {
    parts(&text.unwrap_or_default()).map(str::to_owned).collect()
}

pub(super) fn single_sign_on(reader: &mut Reader<'_>) -> Option<Option<SingleSignOn>> {
    let wanted = "write the provider's address: https://name/path (http:// for this machine only)";
    let issuer = reader.read("WATCHPOST_OIDC_ISSUER", wanted, |text| match text {
        "" => Some(None),
        text => issuer(text).map(Some),
    })?;
    let wanted = "write value=Role pairs such as soc-leads=Admin, *=Analyst";
    let roles = reader.read("WATCHPOST_OIDC_ROLES", wanted, roles)?;
    let Some(issuer) = issuer else { return Some(None) };
    let client_id = reader.text("WATCHPOST_OIDC_CLIENT_ID");
    if client_id.is_none() {
        reader.wrong.push("WATCHPOST_OIDC_CLIENT_ID is needed with WATCHPOST_OIDC_ISSUER".into());
    }
    if roles.is_empty() {
        let need = "WATCHPOST_OIDC_ROLES is needed with WATCHPOST_OIDC_ISSUER: without it nobody gets in; *=Analyst lets everybody look";
        reader.wrong.push(need.into());
    }
    let authorities = authorities(reader.text("WATCHPOST_OIDC_CA").map(PathBuf::from), &mut reader.wrong);
    Some(Some(SingleSignOn {
        issuer,
        client_id: client_id?,
        client_secret: reader.text("WATCHPOST_OIDC_CLIENT_SECRET"),
        scopes: reader.text("WATCHPOST_OIDC_SCOPES").unwrap_or_default(),
        role_claim: reader.text("WATCHPOST_OIDC_ROLE_CLAIM").unwrap_or_else(|| "groups".into()),
        roles,
        second_factor_acr: list(reader.text("WATCHPOST_OIDC_SECOND_FACTOR_ACR")),
        second_factor_amr: list(reader.text("WATCHPOST_OIDC_SECOND_FACTOR_AMR")),
        name: reader.text("WATCHPOST_OIDC_NAME").unwrap_or_else(|| "single sign-on".into()),
        authorities,
    }))
}

/// A time of a number and `s`, `m`, `h` or `d`; a minute or more.
fn every(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let count: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let every = Duration::from_secs(count.checked_mul(seconds)?);
    (SHORTEST_EVERY..=LONGEST_EVERY).contains(&every).then_some(every)
}

/// Where checkpoints of the audit log go: a path, or an address.
pub(super) fn shipping(reader: &mut Reader<'_>) -> Option<Option<Shipping>> {
    let wanted = "write the path of a file, that of a directory with / at its end, or https://name/path (http:// for this machine only)";
    let to = reader.read("WATCHPOST_AUDIT_CHECKPOINT_TO", wanted, |text| match text {
        "" => Some(None),
        text if text.contains("://") => issuer(text).map(|url| Some(ShipTo::Webhook(url))),
        text if text.ends_with('/') || Path::new(text).is_dir() => Some(Some(ShipTo::Directory(text.into()))),
        text => Some(Some(ShipTo::File(text.into()))),
    })?;
    let wanted = "write a time such as 15m, 6h or 1d, from a minute to 90 days";
    let every = reader.read("WATCHPOST_AUDIT_CHECKPOINT_EVERY", wanted, every)?;
    let secret = reader.text("WATCHPOST_AUDIT_CHECKPOINT_SECRET");
    Some(to.map(|to| Shipping { to, every, secret }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_over_tls_or_stay_on_this_machine() {
        for good in [
            "https://id.example.com",
            "https://id.example.com/realms/soc",
            "http://localhost:3000",
            "http://[::1]:1/x",
        ] {
            assert_eq!(issuer(good).as_deref(), Some(good));
        }
        for bad in [
            "",
            "id.example.com",
            "http://id.example.com",
            "https://",
            "https://a@b",
            "https://a/?x",
            "http://localhost.evil",
        ] {
            assert_eq!(issuer(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_are_a_number_and_a_unit() {
        let seconds = |text| every(text).map(|every| every.as_secs());
        assert_eq!(["60s", "1m", "6h", "1d"].map(seconds), [60, 60, 21_600, 86_400].map(Some));
        assert_eq!(["", "5", "59s", "x", "0d", "91d", "1 year", "-1d", "1ä"].map(seconds), [None; 9]);
    }

    #[test]
    fn roles_are_given_by_the_last_equals_sign() {
        let found = roles("cn=soc,*=analyst").map(|all| all.len());
        assert_eq!(found, None, "soc is no role");
        assert_eq!(
            roles("a=b=Admin, *=analyst"),
            Some(vec![("a=b".into(), Role::Admin), ("*".into(), Role::Analyst)])
        );
        assert_eq!([roles("x"), roles("=Admin"), roles("x=")], [None, None, None]);
    }
}
