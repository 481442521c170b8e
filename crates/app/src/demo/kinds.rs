//! What happens on any day: the kinds of events, how often, and how they are told.

/// A kind of event.
pub(super) struct Kind {
    /// Its type.
    pub(super) what: &'static str,
    /// Who sees it.
    pub(super) by: &'static [&'static str],
    /// How often, next to the others.
    pub(super) often: u32,
    /// Of a hundred, so many are of the worse of its two severities.
    pub(super) worse: u32,
    /// Which facts it states, in texts as `{fact}`.
    pub(super) facts: &'static str,
    /// The technique in MITRE ATT&CK; empty for none.
    pub(super) technique: &'static str,
    /// What is said about it, one of these.
    pub(super) texts: &'static [&'static str],
}

const fn kind(
    what: &'static str,
    by: &'static [&'static str],
    (often, worse): (u32, u32),
    facts: &'static str,
    technique: &'static str,
    texts: &'static [&'static str],
) -> Kind {
    Kind { what, by, often, worse, facts, technique, texts }
}

const EDGE: &[&str] = &["edge-firewall-1", "edge-firewall-2"];
const WEB: &[&str] = &["web-1", "web-2", "web-3"];
const CAMERAS: &[&str] = &["cam-lobby", "cam-loading-dock", "cam-server-room", "cam-garage"];
const LAPTOPS: &[&str] = &["edr-laptops"];

/// What raises no alert: LOW, or MEDIUM when it is worse.
pub(super) const ROUTINE: &[Kind] = &[
    kind(
        "firewall_deny",
        EDGE,
        (150, 8),
        "outside server port protocol country",
        "",
        &[
            "Denied {protocol} from {outside} ({country}) to {server} port {port}",
            "Packet to closed port {port} of {server} dropped, sender {outside}",
            "Rule deny-all matched: {outside} to {server}:{port}",
        ],
    ),
    kind(
        "port_scan",
        &["edge-firewall-1", "edge-firewall-2", "ids-dmz"],
        (60, 35),
        "outside server count country",
        "T1046",
        &[
            "{outside} ({country}) probed {count} ports of {server} within a minute",
            "Slow scan of {server}: {count} ports from {outside}",
        ],
    ),
    kind(
        "login_failed",
        &["vpn-gw", "dc-1", "mail-1"],
        (110, 25),
        "user laptop count reason",
        "T1110",
        &[
            "{count} failed log-ins of {user} from {laptop}: {reason}",
            "Log-in of {user} refused: {reason}",
            "{user} could not log in from {laptop} ({reason})",
        ],
    ),
    kind(
        "vpn_connected",
        &["vpn-gw"],
        (70, 0),
        "user outside country minutes",
        "",
        &[
            "{user} connected from {outside} ({country})",
            "Tunnel of {user} is up, last one ended {minutes} minutes ago",
        ],
    ),
    kind(
        "motion",
        CAMERAS,
        (120, 6),
        "zone confidence",
        "",
        &[
            "Motion in {zone}, confidence {confidence} %",
            "Something moved in {zone} for a few seconds",
            "Movement in {zone} outside the schedule",
        ],
    ),
    kind(
        "person_detected",
        &["ai-detector"],
        (60, 15),
        "zone confidence count",
        "",
        &[
            "A person in {zone}, confidence {confidence} %",
            "{count} people in {zone}; usual for this hour: fewer",
        ],
    ),
    kind(
        "badge_denied",
        &["badge-reader"],
        (35, 40),
        "user door",
        "T1078",
        &[
            "The badge of {user} does not open the {door}",
            "{user} held a badge to the {door} outside the times it is good for",
        ],
    ),
    kind(
        "door_held_open",
        &["badge-reader"],
        (25, 30),
        "door minutes",
        "",
        &[
            "The {door} stood open for {minutes} minutes",
            "{door}: opened with a badge, not closed for {minutes} minutes",
        ],
    ),
    kind(
        "web_attack_blocked",
        WEB,
        (75, 45),
        "outside path country rule",
        "T1190",
        &[
            "Request for {path} from {outside} ({country}) blocked by rule {rule}",
            "{outside} tried {path}: rule {rule}",
        ],
    ),
    kind(
        "dns_blocked",
        &["ids-dmz", "core-switch"],
        (55, 20),
        "laptop user domain",
        "T1071.004",
        &[
            "{laptop} asked for {domain}, which is on the block list",
            "Name {domain} not resolved for {user}: newly registered",
        ],
    ),
    kind(
        "mail_quarantined",
        &["mail-1"],
        (60, 30),
        "user sender file",
        "T1566.001",
        &[
            "Mail from {sender} to {user} held back: {file}",
            "{file} from {sender} is in quarantine; {user} was told",
        ],
    ),
    kind(
        "phishing_reported",
        &["mail-1"],
        (14, 70),
        "user sender domain",
        "T1566.002",
        &["{user} reported a mail from {sender} that links to {domain}"],
    ),
    kind(
        "usb_inserted",
        LAPTOPS,
        (22, 45),
        "laptop user serial",
        "T1091",
        &[
            "Unknown USB storage {serial} at {laptop} of {user}",
            "{user} plugged a memory stick into {laptop}; it was mounted read-only",
        ],
    ),
    kind(
        "software_installed",
        LAPTOPS,
        (30, 15),
        "laptop user software",
        "T1072",
        &[
            "{software} installed on {laptop} by {user}",
            "{user} installed {software}, which nobody has asked for",
        ],
    ),
    kind(
        "process_blocked",
        LAPTOPS,
        (28, 60),
        "laptop user process file sha256",
        "T1059",
        &[
            "{process} on {laptop} was kept from starting {file}",
            "{file} ended before it ran; opened by {user} with {process}",
        ],
    ),
    kind(
        "config_change",
        &["core-switch", "edge-firewall-1", "dc-1"],
        (32, 25),
        "user change",
        "T1562",
        &[
            "{user} changed the configuration: {change}",
            "Change outside the maintenance window by {user}: {change}",
        ],
    ),
    kind(
        "sudo_used",
        &["db-1", "web-1", "web-2", "backup-1"],
        (40, 10),
        "user command",
        "T1548.003",
        &["{user} ran {command} as root", "sudo: {user}: {command}"],
    ),
    kind(
        "certificate_expiring",
        &["siem"],
        (8, 50),
        "certificate days",
        "",
        &["The certificate of {certificate} ends in {days} days"],
    ),
    kind(
        "backup_finished",
        &["backup-1"],
        (16, 12),
        "server gigabytes minutes",
        "",
        &[
            "Backup of {server}: {gigabytes} GB in {minutes} minutes",
            "{server} saved, {gigabytes} GB; took {minutes} minutes, longer than usual",
        ],
    ),
    kind(
        "pod_restarted",
        &["k8s-audit"],
        (40, 12),
        "workload count",
        "",
        &[
            "{workload} restarted {count} times within an hour",
            "A container of {workload} was ended: out of memory",
        ],
    ),
    kind(
        "secret_read",
        &["k8s-audit"],
        (18, 50),
        "workload user",
        "T1552.007",
        &[
            "{user} read the secrets of {workload}",
            "Secrets of {workload} listed by {user}, first time this month",
        ],
    ),
    kind(
        "slow_query",
        &["db-1"],
        (18, 10),
        "user seconds rows",
        "",
        &["A query of {user} took {seconds} s and read {rows} rows"],
    ),
    kind(
        "new_device",
        &["core-switch"],
        (14, 55),
        "mac inside",
        "T1200",
        &["Unknown device {mac} got the address {inside}", "{mac} seen for the first time, at {inside}"],
    ),
    kind(
        "patch_missing",
        &["siem"],
        (16, 40),
        "server days cve",
        "",
        &["{server} lacks the fix for {cve}, {days} days after it came out"],
    ),
];

/// What raises an alert: HIGH, or CRITICAL when it is worse.
pub(super) const ALARMS: &[Kind] = &[
    kind(
        "malware_detected",
        LAPTOPS,
        (22, 18),
        "laptop user file process sha256",
        "T1204.002",
        &[
            "{file} on {laptop} is known malware; started by {user} with {process}",
            "Malware in {file} ({laptop}, {user}); the file is isolated, the process is not",
        ],
    ),
    kind(
        "suspicious_script",
        LAPTOPS,
        (16, 5),
        "laptop user process domain",
        "T1059.001",
        &[
            "{process} on {laptop} ran an encoded command and fetched a script from {domain}",
            "Script started by {process} as {user} switches off logging on {laptop}",
        ],
    ),
    kind(
        "brute_force",
        &["vpn-gw", "mail-1"],
        (14, 5),
        "outside user count country",
        "T1110.003",
        &[
            "{count} passwords tried for {user} and others from {outside} ({country})",
            "Password spraying from {outside}: {count} attempts in ten minutes, also for {user}",
        ],
    ),
    kind(
        "impossible_travel",
        &["siem"],
        (10, 5),
        "user outside country minutes",
        "T1078",
        &["{user} logged in from {country} {minutes} minutes after a log-in at the office"],
    ),
    kind(
        "privilege_escalation",
        &["dc-1", "k8s-audit", "db-1"],
        (8, 35),
        "user server command",
        "T1068",
        &[
            "{user} became administrator of {server} without a ticket: {command}",
            "{user} was given administrator rights on {server}",
        ],
    ),
    kind(
        "web_shell",
        WEB,
        (2, 60),
        "outside server path country",
        "T1505.003",
        &["{server} answers commands at {path}; first called by {outside} ({country})"],
    ),
    kind(
        "sql_injection",
        WEB,
        (10, 8),
        "outside path country",
        "T1190",
        &[
            "{path} answered {outside} ({country}) with rows of another customer",
            "Injection at {path} got past the filter, from {outside}",
        ],
    ),
    kind(
        "lateral_movement",
        &["ids-dmz", "edr-laptops"],
        (8, 20),
        "laptop user server",
        "T1021.002",
        &["{laptop} opened remote services on {server} as {user}"],
    ),
    kind(
        "mfa_fatigue",
        &["siem"],
        (9, 0),
        "user count outside",
        "T1621",
        &["{user} was asked for a second factor {count} times in five minutes and then said yes ({outside})"],
    ),
    kind(
        "camera_offline",
        CAMERAS,
        (12, 0),
        "zone minutes",
        "T1489",
        &["No picture of {zone} for {minutes} minutes"],
    ),
    kind(
        "tailgating",
        &["ai-detector"],
        (12, 0),
        "door count",
        "",
        &["{count} people went through the {door} on one badge"],
    ),
    kind("forced_door", &["badge-reader"], (5, 0), "door", "", &["The {door} opened without a badge"]),
    kind(
        "backup_failed",
        &["backup-1"],
        (9, 10),
        "server days",
        "",
        &["Backup of {server} failed; the last good one is {days} days old"],
    ),
    kind(
        "crypto_mining",
        &["k8s-audit"],
        (2, 10),
        "workload percent target",
        "T1496",
        &["{workload} uses {percent} % of a node and talks to a mining pool at {target}"],
    ),
];
