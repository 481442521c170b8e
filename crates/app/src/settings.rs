//! Every setting, in one table: the command line, the environment, the files and the documentation follow it.

use crate::exit::{AppError, ExitStatus};
use std::collections::BTreeMap;
use std::path::Path;

/// One setting.
pub(crate) struct Setting {
    /// Its name in the environment and in `.env`.
    pub(crate) name: &'static str,
    /// Its flag, where it has one. Secrets have none: other users of a machine can read a command line.
    pub(crate) flag: Option<&'static str>,
    /// What it is when nobody says anything.
    pub(crate) default: &'static str,
    pub(crate) meaning: &'static str,
    pub(crate) secret: bool,
}

const fn setting(
    name: &'static str,
    flag: Option<&'static str>,
    default: &'static str,
    meaning: &'static str,
) -> Setting {
    Setting { name, flag, default, meaning, secret: false }
}

const fn secret(name: &'static str, meaning: &'static str) -> Setting {
    Setting { name, flag: None, default: "", meaning, secret: true }
}

/// All of them.
pub(crate) const SETTINGS: &[Setting] = &[
    setting(
        "WATCHPOST_LISTEN",
        Some("listen"),
        "127.0.0.1:8000",
        "Address and port to listen on. `PORT` alone, as hosting platforms set it, means `0.0.0.0:$PORT`.",
    ),
    setting(
        "WATCHPOST_DATA_DIR",
        Some("data-dir"),
        "./watchpost-data",
        "Directory of the SQLite file and the generated secret: for this user alone (0700, its files 0600), whatever the umask is and was.",
    ),
    setting(
        "DATABASE_URL",
        Some("database-url"),
        "",
        "Empty: SQLite in the data directory. Otherwise `sqlite://PATH` or `postgres://USER:PASSWORD@HOST/NAME`, over verified TLS unless HOST is this machine or the address says `?sslmode=disable`.",
    ),
    setting(
        "WATCHPOST_DATABASE_CA",
        Some("database-ca"),
        "",
        "PEM file with the authority that signed the certificate of PostgreSQL; empty: the system's authorities.",
    ),
    setting(
        "WATCHPOST_DATABASE_CONNECTIONS",
        Some("database-connections"),
        "8",
        "Connections to PostgreSQL, 2 to 100.",
    ),
    secret(
        "SECRET_KEY",
        "What tokens are signed with, 32 characters or more. Empty: generated on the first start and kept in the data directory. All nodes that share a database need the same.",
    ),
    secret(
        "SECRET_KEY_PREVIOUS",
        "The `SECRET_KEY` before this one: what it signed and sealed stays good until it is taken away.",
    ),
    setting(
        "ALLOWED_HOSTS",
        None,
        "localhost,127.0.0.1,[::1]",
        "Names this server answers to, separated by commas; `.example.com` is that name and all below it, `*` is any.",
    ),
    setting("DEBUG", None, "false", "More detail in the log."),
    setting(
        "WATCHPOST_PUBLIC_URL",
        Some("public-url"),
        "",
        "The address people use, such as `https://watchpost.example.com`: for links and secure cookies behind a proxy. Its name is always allowed.",
    ),
    setting(
        "WATCHPOST_TLS_CERT",
        Some("tls-cert"),
        "",
        "PEM file with the certificate and those between it and its authority. With it, Watchpost speaks TLS; a new file is taken into use within seconds, or at once on SIGHUP.",
    ),
    setting("WATCHPOST_TLS_KEY", Some("tls-key"), "", "PEM file with the certificate's private key."),
    setting(
        "TRUSTED_PROXIES",
        None,
        "",
        "Addresses of proxies, such as `10.0.0.2, 172.16.0.0/12`, whose `X-Forwarded-For` says where a request comes from. From anybody else it counts for nothing.",
    ),
    setting("WATCHPOST_ADMIN_USERNAME", None, "admin", "The first Admin, made when there is no user yet."),
    secret("WATCHPOST_ADMIN_PASSWORD", "The first Admin's password. Empty: generated and printed once."),
    setting(
        "WATCHPOST_SIGNUP",
        None,
        "off",
        "Whether anyone who reaches the server may make an account by sign-up (`POST /v1/auth/signup/`), as clients of service C do: an Analyst's, which reads every alert and sends no events.",
    ),
    setting(
        "WATCHPOST_VERDICT",
        None,
        "optional",
        "Whether resolving an alert takes a verdict: `optional` or `required`. Clients of the five services send none.",
    ),
    setting(
        "WATCHPOST_SECOND_FACTOR",
        None,
        "",
        "Roles requiring 2FA, such as `Admin, Responder`; users without it set it up at the next log-in. It is checked whenever a session or token is used.",
    ),
    setting(
        "WATCHPOST_OIDC_ISSUER",
        None,
        "",
        "The address of an OpenID Connect provider, as it calls itself: people may log in to the console there, too.",
    ),
    setting("WATCHPOST_OIDC_CLIENT_ID", None, "", "What Watchpost is called at the provider."),
    secret(
        "WATCHPOST_OIDC_CLIENT_SECRET",
        "What Watchpost shows there. Empty for a public client: PKCE is used in any case.",
    ),
    setting("WATCHPOST_OIDC_SCOPES", None, "profile email", "What is asked for beside `openid`."),
    setting(
        "WATCHPOST_OIDC_ROLE_CLAIM",
        None,
        "groups",
        "The claim of the ID token that says who may do what.",
    ),
    setting(
        "WATCHPOST_OIDC_ROLES",
        None,
        "",
        "Which role each value of the claim gives, such as `soc-leads=Admin, soc=Responder, *=Analyst`; the highest counts, and who has none doesn't get in.",
    ),
    setting(
        "WATCHPOST_OIDC_SECOND_FACTOR_ACR",
        None,
        "",
        "Values of the claim `acr` of the ID token, separated by commas, that say that a second factor was used at the provider; it is asked for one of them.",
    ),
    setting(
        "WATCHPOST_OIDC_SECOND_FACTOR_AMR",
        None,
        "mfa",
        "Values of the claim `amr` that say so. Single sign-on counts as a second factor only if the provider says one of either; otherwise roles requiring 2FA are asked for Watchpost's own.",
    ),
    setting("WATCHPOST_OIDC_NAME", None, "single sign-on", "What the button says after \"Sign in with\"."),
    setting(
        "WATCHPOST_OIDC_CA",
        None,
        "",
        "PEM file with the authority that signed the provider's certificate; empty: the system's authorities.",
    ),
    setting("WATCHPOST_THROTTLE", Some("throttle"), "on", "Whether callers that are too fast get 429."),
    setting("WATCHPOST_RATE_ANONYMOUS", None, "120/m", "Requests without a credential, by address."),
    setting("WATCHPOST_RATE_LOGIN", None, "20/m", "Attempts to log in or sign up, by address."),
    setting("WATCHPOST_RATE_USER", None, "6000/m", "Requests of each user."),
    setting(
        "WATCHPOST_RATE_SIGNUP",
        None,
        "600/m",
        "Requests of each user whose account was made by sign-up.",
    ),
    setting("WATCHPOST_RATE_KEY", None, "60000/m", "Requests with each sensor key."),
    secret(
        "WATCHPOST_METRICS_TOKEN",
        "What a scraper of `/metrics` shows as `Authorization: Bearer …`. Empty: `/metrics` answers to this machine only, and to no request once there is a public URL, a trusted proxy, TLS or a listener that others reach.",
    ),
    setting(
        "WATCHPOST_API_DOCS",
        None,
        "public",
        "Who may read the API's documentation (Swagger UI, ReDoc, the OpenAPI document): `public` or `signed-in`.",
    ),
    setting("WATCHPOST_MAX_CONNECTIONS", None, "4096", "Connections that may be open at once."),
    setting(
        "WATCHPOST_MAX_CONNECTIONS_PER_ADDRESS",
        None,
        "1024",
        "Connections that one address may have open while nearly all are free; the fewer are left, the fewer, so that a few addresses don't take all. As many as `WATCHPOST_MAX_CONNECTIONS`: no such limit. Trusted proxies have none.",
    ),
    setting(
        "WATCHPOST_MAX_STREAMS",
        None,
        "1000",
        "Readers of the live stream that may be connected at once; a quarter is kept for Responders and Admins.",
    ),
    setting("WATCHPOST_MAX_BODY", None, "1MiB", "The largest body of a request."),
    setting(
        "WATCHPOST_AUDIT_CHECKPOINT_TO",
        None,
        "",
        "Where checkpoints of the audit log go by themselves: a file that each is added to, a directory (`/` at its end) with a file for each, or an `https://` address that each is sent to (POST, JSON).",
    ),
    setting(
        "WATCHPOST_AUDIT_CHECKPOINT_EVERY",
        None,
        "1d",
        "How often: `15m`, `6h`, `1d`; one is shipped at each start, too.",
    ),
    secret(
        "WATCHPOST_AUDIT_CHECKPOINT_SECRET",
        "What such a request is signed with: `X-Watchpost-Signature: sha256=` and the HMAC-SHA-256 of the body, in hexadecimal. Empty: no such header; the checkpoint itself is signed in any case.",
    ),
    setting(
        "WATCHPOST_LOG",
        Some("log"),
        "info",
        "What to log: `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,watchpost_web=debug`.",
    ),
    setting(
        "WATCHPOST_LOG_FORMAT",
        None,
        "auto",
        "`human`, `json`, or `auto`: human at a terminal, JSON otherwise.",
    ),
];

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    Toml,
    DotEnv,
    Environment,
    Flag,
}

impl Origin {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Toml => "watchpost.toml",
            Self::DotEnv => ".env",
            Self::Environment => "environment",
            Self::Flag => "command line",
        }
    }
}

/// Every setting with its value and where that came from.
pub(crate) struct Settings {
    values: BTreeMap<&'static str, (String, Origin)>,
    /// What looks like a setting and is none.
    pub(crate) warnings: Vec<String>,
}

/// The name in `watchpost.toml`: small letters, without the prefix.
fn toml_key(name: &str) -> String {
    name.trim_start_matches("WATCHPOST_").to_ascii_lowercase()
}

impl Settings {
    /// Gathers what flags, environment and files say; flags win, then the environment, `.env`, `watchpost.toml`.
    pub(crate) fn gather(
        flags: &BTreeMap<&'static str, String>,
        environment: &BTreeMap<String, String>,
        directory: &Path,
    ) -> Result<Self, AppError> {
        let dotenv = read_dotenv(&directory.join(".env"))?;
        let toml = read_toml(&directory.join("watchpost.toml"))?;
        let mut values = BTreeMap::new();
        for setting in SETTINGS {
            let sources = [
                (flags.get(setting.name), Origin::Flag),
                (environment.get(setting.name), Origin::Environment),
                (dotenv.get(setting.name), Origin::DotEnv),
                (toml.get(setting.name), Origin::Toml),
            ];
            let found =
                sources.into_iter().find_map(|(value, origin)| Some((value?.trim().to_owned(), origin)));
            values.insert(setting.name, found.unwrap_or((setting.default.to_owned(), Origin::Default)));
        }
        let said = |values: &BTreeMap<&str, (String, Origin)>, name: &str| values[name].1 != Origin::Default;
        let port = environment.get("PORT").or(dotenv.get("PORT"));
        if let (Some(port), false) = (port, said(&values, "WATCHPOST_LISTEN")) {
            values.insert("WATCHPOST_LISTEN", (format!("0.0.0.0:{}", port.trim()), Origin::Environment));
        }
        if !said(&values, "WATCHPOST_LOG") && crate::config::flag(&values["DEBUG"].0) == Some(true) {
            values.insert("WATCHPOST_LOG", ("debug".into(), values["DEBUG"].1));
        }
        let unknown = environment.keys().chain(dotenv.keys()).filter(|name| {
            name.starts_with("WATCHPOST_")
                && !name.starts_with("WATCHPOST_TEST_")
                && !SETTINGS.iter().any(|setting| setting.name == name.as_str())
        });
        let warnings =
            unknown.map(|name| format!("{name} is no setting; did you mean {}?", nearest(name))).collect();
        Ok(Self { values, warnings })
    }

    pub(crate) fn get(&self, name: &'static str) -> (&str, Origin) {
        let (value, origin) = &self.values[name];
        (value, *origin)
    }
}

fn unclear(place: &str) -> String {
    format!("{place} can't be understood (quote a value that holds spaces or #)")
}

/// Which line of a file this is, or is the end of.
fn number_of(line: &str, path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let number =
        text.lines().position(|other| !line.is_empty() && other.trim_end().ends_with(line.trim_end()));
    number.map_or("a line".to_owned(), |number| format!("line {}", number + 1))
}

fn read_dotenv(path: &Path) -> Result<BTreeMap<String, String>, AppError> {
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let unusable = |error: &dyn std::fmt::Display| {
        AppError::new(ExitStatus::Setting, format!(".env can't be read: {error}"), "each line is NAME=value")
    };
    let lines = dotenvy::from_path_iter(path).map_err(|error| unusable(&error))?;
    let understood = |line: Result<_, dotenvy::Error>| {
        line.map_err(|error| match error {
            // The line may hold a secret: it is named by its number.
            dotenvy::Error::LineParse(line, _) => unusable(&unclear(&number_of(&line, path))),
            error => unusable(&error),
        })
    };
    lines.map(understood).collect()
}

fn read_toml(path: &Path) -> Result<BTreeMap<&'static str, String>, AppError> {
    let unusable =
        |message: String| AppError::new(ExitStatus::Setting, message, "`watchpost settings` lists them all");
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(unusable(format!("watchpost.toml can't be read: {error}"))),
    };
    // The error's own text quotes the line, which may hold a secret.
    let unclear = |error: toml::de::Error| {
        let start = error.span().map_or(0, |span| span.start);
        let number = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
        unusable(format!("watchpost.toml can't be read: line {number}: {}", error.message()))
    };
    let table: toml::Table = text.parse().map_err(unclear)?;
    let mut values = BTreeMap::new();
    for (key, value) in table {
        let Some(setting) = SETTINGS.iter().find(|s| toml_key(s.name) == key || s.name == key) else {
            let nearest = toml_key(nearest(&format!("WATCHPOST_{}", key.to_ascii_uppercase())));
            return Err(unusable(format!("watchpost.toml: {key} is no setting; did you mean {nearest}?")));
        };
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Array(list) => {
                let texts: Option<Vec<_>> = list.iter().map(|one| one.as_str()).collect();
                let texts =
                    texts.ok_or_else(|| unusable(format!("watchpost.toml: {key} takes texts only")))?;
                texts.join(",")
            }
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            _ => return Err(unusable(format!("watchpost.toml: {key} takes a text, a number or true/false"))),
        };
        values.insert(setting.name, value);
    }
    Ok(values)
}

/// The setting whose name is most like this one.
fn nearest(name: &str) -> &'static str {
    let distance = |known: &str| {
        let known: Vec<char> = known.chars().collect();
        let mut row: Vec<usize> = (0..=known.len()).collect();
        for (i, c) in name.chars().enumerate() {
            let mut diagonal = std::mem::replace(&mut row[0], i + 1);
            for (j, k) in known.iter().enumerate() {
                let changed = diagonal + usize::from(c != *k);
                diagonal = row[j + 1];
                row[j + 1] = changed.min(row[j] + 1).min(row[j + 1] + 1);
            }
        }
        row[known.len()]
    };
    SETTINGS.iter().map(|setting| setting.name).min_by_key(|known| distance(known)).unwrap_or_default()
}

/// The table of the documentation.
pub(crate) fn markdown() -> String {
    let mut text = String::from("| setting | flag | default | meaning |\n|---|---|---|---|");
    for s in SETTINGS {
        let flag = s.flag.map_or("—".to_owned(), |flag| format!("`--{flag}`"));
        let default = if s.default.is_empty() { "—".to_owned() } else { format!("`{}`", s.default) };
        text.push_str(&format!("\n| `{}` | {flag} | {default} | {} |", s.name, s.meaning));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_have_no_flags_and_names_are_unique() {
        for (n, setting) in SETTINGS.iter().enumerate() {
            assert!(!setting.secret || setting.flag.is_none(), "{}", setting.name);
            assert!(SETTINGS[n + 1..].iter().all(|other| other.name != setting.name));
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        assert_eq!(nearest("WATCHPOST_LISTE"), "WATCHPOST_LISTEN");
        assert_eq!(nearest("WATCHPOST_TROTTLE"), "WATCHPOST_THROTTLE");
    }
}
