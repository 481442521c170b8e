//! Settings as the types they stand for; everything that is wrong is said at once.

mod access;

use crate::exit::{AppError, ExitStatus};
use crate::net::TlsFiles;
use crate::settings::{SETTINGS, Setting, Settings};
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use watchpost_model::Role;
use watchpost_model::net::{Network, Rate};
use watchpost_store::{Location, PostgresOptions};
use watchpost_web::{Rates, SettingInForce, Shipping, SingleSignOn};

/// Everything the operator decides.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) listen: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) location: Location,
    pub(crate) secret_key: Option<String>,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) public_url: Option<String>,
    pub(crate) admin_username: String,
    pub(crate) admin_password: Option<String>,
    pub(crate) signup: bool,
    pub(crate) rates: Option<Rates>,
    pub(crate) metrics_token: Option<String>,
    pub(crate) public_docs: bool,
    pub(crate) previous_secret_key: Option<String>,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) trusted_proxies: Vec<Network>,
    pub(crate) verdict_required: bool,
    pub(crate) second_factor_roles: Vec<Role>,
    pub(crate) single_sign_on: Option<SingleSignOn>,
    pub(crate) max_connections: usize,
    pub(crate) max_connections_per_address: usize,
    pub(crate) max_streams: usize,
    pub(crate) max_body: usize,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
    pub(crate) shipping: Option<Shipping>,
    /// All of it as it was written, without what is secret.
    pub(crate) in_force: Vec<SettingInForce>,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Auto,
    Human,
    Json,
}

/// Yes or no, in any of the ways people write it.
pub(crate) fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn size(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim();
    let unit = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(unit).filter(|bytes| *bytes >= 1_024)
}

fn public_url(text: &str) -> Option<String> {
    let text = text.trim_end_matches('/');
    let place = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let (good, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (address.parse::<Ipv6Addr>().is_ok(), port)
        }
        None => {
            let (host, port) = place.split_at(place.find(':').unwrap_or(place.len()));
            let known = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
            (!host.is_empty() && host.chars().all(known), port)
        }
    };
    let number = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let good = good && (port.is_empty() || port.strip_prefix(':').is_some_and(number));
    good.then(|| text.to_owned())
}

/// Reads settings and collects what is wrong with them.
struct Reader<'a> {
    settings: &'a Settings,
    wrong: Vec<String>,
}

impl Reader<'_> {
    fn text(&self, name: &'static str) -> Option<String> {
        Some(self.settings.get(name).0.to_owned()).filter(|text| !text.is_empty())
    }

    fn read<T>(&mut self, name: &'static str, wanted: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (value, origin) = self.settings.get(name);
        let found = read(value);
        if found.is_none() {
            let shown =
                if is_secret(name) { "its value".to_owned() } else { format!("{:?}", shown(name, value)) };
            self.wrong.push(format!("{name} ({}): {shown} can't be used; {wanted}", origin.name()));
        }
        found
    }
}

fn is_secret(name: &str) -> bool {
    crate::settings::SETTINGS.iter().any(|setting| setting.name == name && setting.secret)
}

impl Config {
    /// The name people know the server by, if it was told.
    pub(crate) fn host(&self) -> Option<&str> {
        self.public_url.as_deref().and_then(watchpost_web::host_of_url)
    }

    /// Whether others than this machine are meant to reach the server, whatever it listens on.
    pub(crate) fn serves_others(&self) -> bool {
        let local = |host: &str| ["localhost", "127.0.0.1", "[::1]"].contains(&host);
        self.host().is_some_and(|host| !local(host)) || !self.trusted_proxies.is_empty() || self.tls.is_some()
    }

    /// Whether the server listens where other machines reach it, as far as the setting says.
    pub(crate) fn listens_outside(&self) -> bool {
        !["127.", "localhost", "[::1]"].iter().any(|local| self.listen.starts_with(local))
    }

    /// Whether passwords and tokens of others come to the server unencrypted, as far as the settings say.
    pub(crate) fn plain_to_others(&self) -> bool {
        let by_proxy = self.public_url.as_deref().is_some_and(|url| url.starts_with("https://"));
        self.listens_outside() && self.tls.is_none() && !by_proxy
    }
}

const ON_OFF: &str = "write on or off";
const RATE: &str = "write a number and s, m, h or d, such as 120/m";

impl Config {
    /// Understands the settings, or says everything that is wrong with them.
    pub(crate) fn from(settings: &Settings) -> Result<Self, AppError> {
        let mut reader = Reader { settings, wrong: Vec::new() };
        let optional = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
        let long_secret =
            |text: &str| (text.is_empty() || text.chars().count() >= 32).then(|| optional(text));
        let secret_key = reader.read("SECRET_KEY", "32 characters or more are needed", long_secret);
        let previous_secret_key =
            reader.read("SECRET_KEY_PREVIOUS", "32 characters or more are needed", long_secret);
        let url = reader.read(
            "WATCHPOST_PUBLIC_URL",
            "write https://name or http://name:port, without a path",
            |text| {
                if text.is_empty() { Some(None) } else { public_url(text).map(Some) }
            },
        );
        let listen = reader.read("WATCHPOST_LISTEN", "write address:port, such as 127.0.0.1:8000", |text| {
            let (host, port) = text.rsplit_once(':')?;
            (!host.is_empty() && port.parse::<u16>().is_ok()).then(|| text.to_owned())
        });
        let connections =
            reader.read("WATCHPOST_DATABASE_CONNECTIONS", "write a number from 2 to 100", |text| {
                text.parse::<usize>().ok().filter(|n| (2..=100).contains(n))
            });
        let signup = reader.read("WATCHPOST_SIGNUP", ON_OFF, flag);
        reader.read("DEBUG", "write true or false", flag);
        let rates = read_rates(&mut reader);
        let tls = access::tls(&mut reader);
        let trusted_proxies = access::trusted_proxies(&mut reader);
        let verdict_required =
            reader.read("WATCHPOST_VERDICT", "write optional or required", |text| match text {
                "optional" => Some(false),
                "required" => Some(true),
                _ => None,
            });
        let second_factor_roles = access::second_factor_roles(&mut reader);
        let single_sign_on = access::single_sign_on(&mut reader);
        let many = |text: &str| text.parse::<usize>().ok().filter(|n| (1..=1_000_000).contains(n));
        let up_to_a_million = "write a number from 1 to 1000000";
        let max_connections = reader.read("WATCHPOST_MAX_CONNECTIONS", up_to_a_million, many);
        let max_connections_per_address =
            reader.read("WATCHPOST_MAX_CONNECTIONS_PER_ADDRESS", up_to_a_million, many);
        let max_streams = reader.read("WATCHPOST_MAX_STREAMS", up_to_a_million, many);
        let max_body =
            reader.read("WATCHPOST_MAX_BODY", "write a size such as 512KiB or 4MiB, at least 1KiB", size);
        let log_format = reader.read("WATCHPOST_LOG_FORMAT", "write auto, human or json", |text| match text
            .to_ascii_lowercase()
            .as_str()
        {
            "auto" => Some(LogFormat::Auto),
            "human" => Some(LogFormat::Human),
            "json" => Some(LogFormat::Json),
            _ => None,
        });
        let log = reader.read("WATCHPOST_LOG", "write error, warn, info, debug, trace or a filter", |text| {
            tracing_subscriber::EnvFilter::try_new(text).ok().map(|_| text.to_owned())
        });
        let data_dir = reader.read("WATCHPOST_DATA_DIR", "write the path of a directory", |text| {
            (!text.is_empty()).then(|| PathBuf::from(text))
        });
        let authority = reader.text("WATCHPOST_DATABASE_CA").map(PathBuf::from);
        let location =
            reader.read("DATABASE_URL", "write sqlite://PATH or postgres://USER:PASSWORD@HOST/NAME", |url| {
                let connections = connections.unwrap_or(2);
                location(url, data_dir.as_deref().unwrap_or(Path::new("")), authority.clone(), connections)
            });
        let hosts = reader.text("ALLOWED_HOSTS").unwrap_or_default();
        let hosts =
            hosts.split(',').map(|host| host.trim().to_owned()).filter(|host| !host.is_empty()).collect();
        let (admin_username, admin_password) =
            (reader.text("WATCHPOST_ADMIN_USERNAME"), reader.text("WATCHPOST_ADMIN_PASSWORD"));
        let metrics_token = reader.text("WATCHPOST_METRICS_TOKEN");
        let public_docs = access::public_docs(&mut reader);
        let shipping = access::shipping(&mut reader);
        let wrong = reader.wrong;
        let complete = || {
            Some(Self {
                listen: listen?,
                data_dir: data_dir?,
                location: location?,
                secret_key: secret_key?,
                allowed_hosts: hosts,
                public_url: url?,
                admin_username: admin_username.unwrap_or_else(|| "admin".into()),
                admin_password,
                signup: signup?,
                rates: rates?,
                metrics_token,
                public_docs: public_docs?,
                previous_secret_key: previous_secret_key?,
                tls: tls?,
                trusted_proxies: trusted_proxies?,
                verdict_required: verdict_required?,
                second_factor_roles: second_factor_roles?,
                single_sign_on: single_sign_on?,
                max_connections: max_connections?,
                max_connections_per_address: max_connections_per_address?,
                max_streams: max_streams?,
                max_body: max_body?,
                log: log?,
                log_format: log_format?,
                shipping: shipping?,
                in_force: in_force(settings),
            })
        };
        complete().filter(|_| wrong.is_empty()).ok_or_else(|| {
            AppError::new(
                ExitStatus::Setting,
                wrong.join("\nerror: "),
                "`watchpost settings` shows the settings in force",
            )
        })
    }
}

/// Every setting as people may see it.
fn in_force(settings: &Settings) -> Vec<SettingInForce> {
    let one = |setting: &'static Setting| {
        let (value, origin) = settings.get(setting.name);
        SettingInForce {
            name: setting.name,
            flag: setting.flag,
            default: setting.default,
            meaning: setting.meaning,
            secret: setting.secret,
            set: !value.is_empty(),
            value: (!setting.secret).then(|| shown(setting.name, value)),
            from: origin.name(),
        }
    };
    SETTINGS.iter().map(one).collect()
}

fn read_rates(reader: &mut Reader<'_>) -> Option<Option<Rates>> {
    let on = reader.read("WATCHPOST_THROTTLE", ON_OFF, flag);
    let anonymous = reader.read("WATCHPOST_RATE_ANONYMOUS", RATE, Rate::parse);
    let login = reader.read("WATCHPOST_RATE_LOGIN", RATE, Rate::parse);
    let user = reader.read("WATCHPOST_RATE_USER", RATE, Rate::parse);
    let signed_up = reader.read("WATCHPOST_RATE_SIGNUP", RATE, Rate::parse);
    let key = reader.read("WATCHPOST_RATE_KEY", RATE, Rate::parse);
    let rates = Rates { anonymous: anonymous?, login: login?, user: user?, signed_up: signed_up?, key: key? };
    Some(on?.then_some(rates))
}

fn location(url: &str, data_dir: &Path, authority: Option<PathBuf>, connections: usize) -> Option<Location> {
    if url.is_empty() {
        return Some(Location::Sqlite(data_dir.join("watchpost.db")));
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        let options = PostgresOptions { url: url.to_owned(), authority, connections };
        return options.is_well_formed().then_some(Location::Postgres(options));
    }
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"))?;
    (!path.is_empty()).then(|| Location::Sqlite(path.into()))
}

/// The value to show for a setting.
pub(crate) fn shown(name: &str, value: &str) -> String {
    if is_secret(name) {
        return if value.is_empty() { "(not set)".into() } else { "(set)".into() };
    }
    if name == "DATABASE_URL" { database_shown(value) } else { value.to_owned() }
}

/// The address of a database without what may be its password, which can stand before the host or behind the `?`.
fn database_shown(url: &str) -> String {
    if url.is_empty() || url.starts_with("sqlite:") {
        return url.to_owned();
    }
    // What isn't an address at all may be anything.
    let Some((scheme, rest)) = url.split_once("://") else { return "…".into() };
    let (before, host) = rest.rsplit_once('@').map_or(("", rest), |(before, host)| (before, host));
    // A `?` before the last `@`: the password holds one of them, and nobody can tell which.
    if before.contains('?') {
        return format!("{scheme}://…");
    }
    let user = if before.is_empty() { "" } else { "…@" };
    match host.split_once('?') {
        Some((host, _)) => format!("{scheme}://{user}{host}?…"),
        None => format!("{scheme}://{user}{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_addresses_are_understood() {
        assert_eq!(size("1MiB"), Some(1 << 20));
        assert_eq!(size("2048"), Some(2_048));
        assert!(["", "1", "x", "1TB", "99999999999GiB"].iter().all(|wrong| size(wrong).is_none()));
        assert_eq!(public_url("https://a.example/"), Some("https://a.example".into()));
        assert_eq!(public_url("http://[::1]:8443"), Some("http://[::1]:8443".into()));
        let wrong = ["a.example", "https://a/b", "ftp://a", "https://", "https://a:b", "https://a:1:2"];
        assert!(wrong.iter().all(|wrong| public_url(wrong).is_none()));
        let wrong =
            ["https://a:0", "https://a:65536", "https://a:", "https://:80", "https://[::1", "https://[x]"];
        assert!(wrong.iter().all(|wrong| public_url(wrong).is_none()));
    }

    #[test]
    fn the_password_in_an_address_is_not_shown() {
        let shown_as = [
            ("", ""),
            ("sqlite://a.db", "sqlite://a.db"),
            ("postgres://h/db", "postgres://h/db"),
            ("postgres://u:p@ss@h/db", "postgres://…@h/db"),
            ("postgres://h/db?user=u&password=pass", "postgres://h/db?…"),
            ("postgres://u:pass@h/db?sslmode=require", "postgres://…@h/db?…"),
            ("postgres://h/db?password=p@ss", "postgres://…"),
            ("postgres://u:p?ss@h/db", "postgres://…"),
            ("mysql://u:pass@h/db", "mysql://…@h/db"),
            ("postgres:u:pass@h/db", "…"),
            ("host=h password=pass", "…"),
        ];
        for (url, wanted) in shown_as {
            assert_eq!(shown("DATABASE_URL", url), wanted);
        }
        assert_eq!(shown("SECRET_KEY", "x"), "(set)");
    }
}
