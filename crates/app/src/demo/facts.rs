//! What the events of a kind state: who, where, how many.

use super::cast::{
    CERTIFICATES, COUNTRIES, DOMAINS, DOORS, FILES, PORTS, PROCESSES, SENDERS, SERVERS, SOFTWARE, STAFF,
    WORKLOADS, laptop_address, server_address,
};
use super::dice::Dice;
use super::kinds::Kind;
use super::sight::{Sight, filled};
use watchpost_model::Severity;

/// Addresses of strangers who come back again and again.
const REGULARS: [&str; 8] = [
    "192.0.2.14",
    "192.0.2.118",
    "198.51.100.7",
    "198.51.100.66",
    "203.0.113.9",
    "203.0.113.45",
    "203.0.113.212",
    "2001:db8:77::1f",
];
/// Networks that belong to nobody, for documentation.
const NETWORKS: [&str; 3] = ["192.0.2", "198.51.100", "203.0.113"];
/// And the one where people live.
const HOMES: &str = "100.64.9";
/// Accounts that work on servers.
const OPERATORS: [&str; 5] = ["backup", "c.moreau", "deploy", "t.okafor", "v.horvat"];
const CLUSTER_ACCOUNTS: [&str; 4] = ["argo", "ci-runner", "deploy", "t.okafor"];
const ZONES: [&str; 4] = ["lobby", "loading dock", "server room", "garage"];
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "TCP"];
const REASONS: [&str; 4] = ["wrong password", "wrong password", "password expired", "second factor missing"];
const PROBED: [&str; 6] = [
    "/.env",
    "/.git/config",
    "/actuator/env",
    "/cgi-bin/luci",
    "/vendor/phpunit/eval-stdin.php",
    "/wp-login.php",
];
const INJECTED: [&str; 3] = ["/account/export?from=1%27", "/api/orders?id=1%27--", "/search?q=%27+OR+1%3D1"];
const LEFT_BEHIND: [&str; 3] = ["/uploads/.style.jsp", "/uploads/cache.php", "/static/fonts/idx.aspx"];
const RULES: [&str; 6] = ["913100", "920350", "930120", "932160", "941100", "942100"];
const CHANGES: [&str; 7] = [
    "access list 110, line 40 removed",
    "firewall object web-servers extended",
    "logging of denied packets switched off",
    "mirror port 24 enabled",
    "password policy: length 12 to 10",
    "route to 10.60.0.0/16 added",
    "VLAN 40 renamed to cameras",
];
const COMMANDS: [&str; 7] = [
    "/usr/bin/apt upgrade",
    "/usr/bin/journalctl -u postgresql",
    "/usr/bin/rsync -a /srv /mnt/backup",
    "/usr/bin/systemctl restart nginx",
    "/usr/bin/tcpdump -i eth0",
    "/usr/bin/vim /etc/hosts",
    "/usr/sbin/useradd temp",
];
const CVES: [&str; 5] = ["CVE-2026-0412", "CVE-2026-1177", "CVE-2026-1630", "CVE-2026-2208", "CVE-2026-2951"];
const POOLS: [&str; 3] = ["pool.hashes.example:3333", "stratum.coins.example:443", "xmr.mine.example:8080"];

/// What a sensor sees of a kind.
pub(super) fn seen(kind: &Kind, severity: Severity, dice: &mut Dice) -> Sight {
    let by = dice.pick(kind.by);
    let mut sight = Sight::new(by, kind.what, severity);
    let person = STAFF[dice.below(STAFF.len() as u64) as usize];
    let facts: Vec<(&str, String)> =
        kind.facts.split(' ').map(|name| (name, stated(name, person, &mut sight, dice))).collect();
    let value = |name: &str| facts.iter().find(|(other, _)| *other == name).map(|(_, value)| value.clone());
    sight.text = filled(dice.pick(kind.texts), value);
    if !kind.technique.is_empty() {
        sight.add("technique", kind.technique);
    }
    // Cameras, readers and servers are machines themselves.
    let speaks_for_itself = by.starts_with("cam-") || server_address(by).is_some();
    if sight.host.is_none() && speaks_for_itself {
        sight.host = Some(by.to_owned());
        sight.dst = sight.dst.or_else(|| server_address(by).filter(|_| sight.src.is_some()));
    }
    sight
}

/// The value of a fact, noted where it belongs: in a field of its own or among the attributes.
fn stated(name: &str, person: (&str, &str), sight: &mut Sight, dice: &mut Dice) -> String {
    match name {
        "user" => {
            let user = account(person.0, &sight.by, &sight.what, dice);
            sight.user = Some(user.to_owned());
            user.to_owned()
        }
        "laptop" => {
            sight.host = Some(person.1.to_owned());
            sight.src = laptop_address(person.1);
            person.1.to_owned()
        }
        "server" => {
            let own = SERVERS.iter().find(|(name, _)| *name == sight.by);
            let (server, address) = own.unwrap_or(&SERVERS[dice.below(SERVERS.len() as u64) as usize]);
            sight.host = Some((*server).to_owned());
            sight.dst = Some((*address).to_owned());
            (*server).to_owned()
        }
        "outside" => {
            let address = match sight.what.as_str() {
                "vpn_connected" => home(person.0),
                _ => outside(dice),
            };
            sight.src = Some(address.clone());
            address
        }
        "inside" => {
            let address = format!("10.30.{}.{}", dice.between(4, 7), dice.between(60, 250));
            sight.src = Some(address.clone());
            address
        }
        "country" => {
            let country = country(sight.src.as_deref().unwrap_or_default());
            sight.add(name, country);
            country.to_owned()
        }
        "zone" => {
            let zone = sight.by.strip_prefix("cam-").map(|place| place.replace('-', " "));
            let zone = zone.unwrap_or_else(|| dice.pick(&ZONES).to_owned());
            sight.add(name, &zone);
            format!("the {zone}")
        }
        name => {
            let value = detail(name, &sight.what, dice);
            sight.add(name, &value);
            value
        }
    }
}

/// Whose account it is: people's on laptops, others' on servers.
fn account<'a>(person: &'a str, by: &str, what: &str, dice: &mut Dice) -> &'a str {
    match (by, what) {
        ("k8s-audit", _) => dice.pick(&CLUSTER_ACCOUNTS),
        (_, "sudo_used" | "config_change" | "slow_query") => dice.pick(&OPERATORS),
        _ => person,
    }
}

fn outside(dice: &mut Dice) -> String {
    match dice.chance(45) {
        true => dice.pick(&REGULARS).to_owned(),
        false => format!("{}.{}", dice.pick(&NETWORKS), dice.between(2, 250)),
    }
}

/// Where somebody connects from who works at home.
fn home(user: &str) -> String {
    let place = STAFF.iter().position(|(name, _)| *name == user).unwrap_or_default();
    format!("{HOMES}.{}", 10 + place * 11)
}

/// Where an address is: the same each time it is asked.
fn country(address: &str) -> &'static str {
    match address.starts_with(HOMES) {
        true => "DE",
        false => {
            let sum: usize = address.bytes().map(usize::from).sum();
            COUNTRIES[sum % COUNTRIES.len()]
        }
    }
}

fn detail(name: &str, what: &str, dice: &mut Dice) -> String {
    let hex = |dice: &mut Dice, chars: usize| -> String {
        (0..chars).filter_map(|_| char::from_digit(dice.below(16) as u32, 16)).collect()
    };
    let text = match name {
        "port" => dice.pick(PORTS),
        "protocol" => dice.pick(&PROTOCOLS),
        "reason" => dice.pick(&REASONS),
        "door" => dice.pick(DOORS),
        "path" => match what {
            "sql_injection" => dice.pick(&INJECTED),
            "web_shell" => dice.pick(&LEFT_BEHIND),
            _ => dice.pick(&PROBED),
        },
        "rule" => dice.pick(&RULES),
        "domain" => dice.pick(DOMAINS),
        "sender" => dice.pick(SENDERS),
        "file" => dice.pick(FILES),
        "software" => dice.pick(SOFTWARE),
        "process" => dice.pick(PROCESSES),
        "certificate" => dice.pick(CERTIFICATES),
        "workload" => dice.pick(WORKLOADS),
        "change" => dice.pick(&CHANGES),
        "command" => dice.pick(&COMMANDS),
        "cve" => dice.pick(&CVES),
        "target" => dice.pick(&POOLS),
        "sha256" => return hex(dice, 64),
        "serial" => return format!("USB-{}", hex(dice, 8).to_uppercase()),
        "mac" => return (0..5).fold("02".to_owned(), |mac, _| format!("{mac}:{}", hex(dice, 2))),
        "count" => return count(what, dice).to_string(),
        number => return numbered(number, dice).to_string(),
    };
    text.to_owned()
}

fn numbered(name: &str, dice: &mut Dice) -> i64 {
    match name {
        "confidence" => dice.between(61, 99),
        "percent" => dice.between(81, 99),
        "minutes" => dice.around(14).max(2),
        "days" => dice.between(2, 21),
        "gigabytes" => dice.around(180),
        "seconds" => dice.around(22).max(5),
        _ => dice.around(800_000),
    }
}

/// How many of what a kind counts.
fn count(what: &str, dice: &mut Dice) -> i64 {
    match what {
        "person_detected" | "tailgating" => dice.between(2, 4),
        "login_failed" => dice.between(2, 9),
        "pod_restarted" => dice.between(3, 19),
        "mfa_fatigue" => dice.between(6, 31),
        "brute_force" => dice.around(420),
        _ => dice.around(60).max(12),
    }
}

#[cfg(test)]
mod tests {
    use super::super::kinds::{ALARMS, ROUTINE};
    use super::*;
    use watchpost_model::Timestamp;

    #[test]
    fn every_kind_becomes_an_event_without_gaps_in_its_text() {
        let mut dice = Dice::new(3, "facts");
        for (kinds, severity, raised) in [(ROUTINE, Severity::Medium, 0), (ALARMS, Severity::High, 1)] {
            for kind in kinds {
                let known: Vec<&str> = kind.facts.split(' ').collect();
                for text in kind.texts {
                    let names = text.split('{').skip(1).filter_map(|part| part.split('}').next());
                    names.for_each(|name| assert!(known.contains(&name), "{}: {name}", kind.what));
                }
                for _ in 0..50 {
                    let sight = seen(kind, severity, &mut dice);
                    assert_eq!(sight.event(Timestamp::from_micros(0)).findings.len(), raised);
                    let clean = !sight.text.contains(['{', '}']) && !sight.text.contains("  ");
                    assert!(clean && kind.by.contains(&sight.by.as_str()), "{sight:?}");
                }
            }
        }
    }

    #[test]
    fn a_laptop_is_its_users() {
        let mut dice = Dice::new(4, "facts");
        let malware = ALARMS.iter().find(|kind| kind.what == "malware_detected").unwrap();
        for _ in 0..50 {
            let sight = seen(malware, Severity::High, &mut dice);
            let (user, host) = (sight.user.as_deref().unwrap(), sight.host.as_deref().unwrap());
            assert!(STAFF.contains(&(user, host)) && sight.src == laptop_address(host));
        }
    }
}
