//! Who and what appears in the week: people, sensors, machines and places.

use std::net::{IpAddr, Ipv4Addr};
use watchpost_model::Role;
use watchpost_model::key::GivenKey;
use watchpost_model::text::Given;

/// What everybody logs in with. It is public, so a demo is served to its own machine only.
pub(crate) const PASSWORD: &str = "watchpost-demo";

/// Somebody who logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Admin,
    Ana,
    Rob,
    Lea,
}

impl Who {
    /// Everybody, in the order they are made.
    pub(crate) const ALL: [Self; 4] = [Self::Admin, Self::Ana, Self::Rob, Self::Lea];
    /// Who comes when the week is over: a demo without her broke off.
    pub(crate) const LAST: Self = Self::Lea;

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Ana => "ana",
            Self::Rob => "rob",
            Self::Lea => "lea",
        }
    }

    pub(crate) const fn role(self) -> Role {
        match self {
            Self::Admin => Role::Admin,
            Self::Ana | Self::Rob => Role::Responder,
            Self::Lea => Role::Analyst,
        }
    }

    /// Nobody else's address ends so: a demo is recognised by it.
    pub(crate) fn email(self) -> String {
        format!("{}@watchpost-demo.example", self.name())
    }

    /// Where they sit.
    pub(super) fn address(self) -> IpAddr {
        Ipv4Addr::new(10, 30, 1, 11 + self as u8).into()
    }
}

/// The keys that sensors hand in events with: a name, from where, how fast.
const KEYS: [(&str, &str, &str); 3] =
    [("perimeter", "10.20.0.0/16", ""), ("cameras", "10.40.0.0/16", "600/m"), ("log-forwarder", "", "")];

/// What is asked for when the keys are made.
pub(super) fn keys() -> impl Iterator<Item = GivenKey<'static>> {
    let text = |text: &'static str| Given::Text(text.into());
    KEYS.iter().map(move |(name, networks, rate)| GivenKey {
        name: text(name),
        networks: text(networks),
        rate: text(rate),
        ..GivenKey::default()
    })
}

/// Which of the keys a source uses.
pub(super) fn key_of(source: &str) -> usize {
    let begins = |names: &[&str]| names.iter().any(|name| source.starts_with(name));
    if begins(&["edge-", "core-", "vpn-", "ids-", "web-"]) {
        0
    } else if begins(&["cam-", "ai-", "badge-"]) {
        1
    } else {
        2
    }
}

/// People of the house, by what they log in as, and their laptops.
pub(super) const STAFF: &[(&str, &str)] = &[
    ("a.fischer", "lt-0102"),
    ("b.nowak", "lt-0117"),
    ("c.moreau", "lt-0124"),
    ("d.silva", "lt-0131"),
    ("e.hansen", "lt-0140"),
    ("f.rossi", "lt-0156"),
    ("g.weber", "lt-0163"),
    ("h.tanaka", "lt-0178"),
    ("i.petrov", "lt-0185"),
    ("j.keller", "lt-0192"),
    ("k.oconnor", "lt-0204"),
    ("l.dubois", "lt-0211"),
    ("m.brandt", "lt-0226"),
    ("n.haddad", "lt-0233"),
    ("o.jansen", "lt-0248"),
    ("p.martin", "lt-0255"),
    ("r.schulz", "lt-0262"),
    ("s.lindner", "lt-0279"),
    ("t.okafor", "lt-0286"),
    ("v.horvat", "lt-0293"),
];

/// Servers and their addresses.
pub(super) const SERVERS: &[(&str, &str)] = &[
    ("dc-1", "10.10.0.10"),
    ("mail-1", "10.10.0.25"),
    ("db-1", "10.10.0.52"),
    ("files-1", "10.10.0.60"),
    ("backup-1", "10.10.0.70"),
    ("web-1", "10.10.8.11"),
    ("web-2", "10.10.8.12"),
    ("web-3", "10.10.8.13"),
    ("build-1", "10.10.12.20"),
    ("wiki-1", "10.10.12.31"),
];

/// The address of a laptop.
pub(super) fn laptop_address(laptop: &str) -> Option<String> {
    let place = STAFF.iter().position(|(_, other)| *other == laptop)?;
    Some(format!("10.30.4.{}", 20 + place))
}

/// The address of a server.
pub(super) fn server_address(server: &str) -> Option<String> {
    SERVERS.iter().find(|(name, _)| *name == server).map(|(_, address)| (*address).to_owned())
}

pub(super) const COUNTRIES: &[&str] =
    &["BR", "CN", "DE", "FR", "ID", "IN", "NL", "PL", "RO", "RU", "US", "VN"];
pub(super) const PORTS: &[&str] = &[
    "22", "23", "25", "80", "139", "443", "445", "1433", "3306", "3389", "5432", "5900", "6379", "8080",
    "9200",
];
pub(super) const PROCESSES: &[&str] = &[
    "powershell.exe",
    "rundll32.exe",
    "winword.exe",
    "mshta.exe",
    "cmd.exe",
    "outlook.exe",
    "python3",
    "bash",
];
pub(super) const FILES: &[&str] = &[
    "invoice_4471.docm",
    "Updater.exe",
    "scan0012.pdf.js",
    "teams-plugin.msi",
    "offer-q3.xlsm",
    "setup_codec.exe",
];
pub(super) const DOMAINS: &[&str] = &[
    "login-portal.example",
    "cdn-assets.example",
    "free-codecs.example",
    "parcel-status.example",
    "update-check.example",
    "crm-export.example",
];
pub(super) const DOORS: &[&str] =
    &["main entrance", "loading dock", "server room", "east stairwell", "archive", "garage gate"];
pub(super) const CERTIFICATES: &[&str] =
    &["intranet.example", "mail.example", "vpn.example", "api.example", "wiki.example"];
pub(super) const WORKLOADS: &[&str] = &[
    "billing/api",
    "billing/worker",
    "shop/frontend",
    "shop/search",
    "platform/ingress",
    "platform/metrics",
];
pub(super) const SOFTWARE: &[&str] =
    &["7-Zip 24.08", "AnyDesk 8.1", "Node.js 22.9", "PuTTY 0.81", "VLC 3.0", "Wireshark 4.4"];
pub(super) const SENDERS: &[&str] = &[
    "accounts@parcel-status.example",
    "ceo.office@mail-relay.example",
    "hr-portal@login-portal.example",
    "no-reply@crm-export.example",
];
