//! The stories of those who wanted to get in.

use super::cast::Who::{Ana, Rob};
use super::stories::Does::{Acknowledges, Calls, Gives, Notes, Rates, Reopens, Resolves, Tags, Takes};
use super::stories::Scene;
use super::tales::scene;
use watchpost_model::Severity::{Critical, High, Low, Medium};
use watchpost_model::triage::Verdict::{Benign, Duplicate, FalsePositive, TruePositive};

/// Passwords tried on everybody, one that fits, and what left through it.
pub(super) const SPRAYING: &[Scene] = &[
    scene(
        (0, 48, 20),
        ("vpn-gw", "login_failed", Medium),
        "Log-in of {staff} refused: wrong password",
        "user={staff} src=203.0.113.77 country=NL technique=T1110.003",
        &[],
    ),
    scene(
        (10, 1, 0),
        ("vpn-gw", "brute_force", High),
        "48 accounts, one password each, from 203.0.113.77 (NL) within 16 minutes",
        "src=203.0.113.77 country=NL count=48 technique=T1110.003",
        &[
            (24, Rob, Acknowledges),
            (
                26,
                Rob,
                Notes(
                    "One address, one try for each account. Looking for a log-in that worked; none so far.",
                ),
            ),
            (31, Rob, Resolves(TruePositive, "Address blocked at edge-firewall-1.")),
        ],
    ),
    scene(
        (18, 1, 0),
        ("mail-1", "brute_force", High),
        "The same 48 accounts tried at the webmail from 203.0.113.78 (NL)",
        "src=203.0.113.78 country=NL count=48 technique=T1110.003",
        &[
            (12, Rob, Acknowledges),
            (14, Rob, Resolves(Duplicate, "The same spraying, from the address next to it.")),
        ],
    ),
    scene(
        (41, 1, 0),
        ("vpn-gw", "vpn_connected", Low),
        "m.brandt connected from 203.0.113.91 (NL), password only: the account is exempt from the second factor",
        "user=m.brandt src=203.0.113.91 country=NL technique=T1078",
        &[],
    ),
    scene(
        (43, 1, 0),
        ("siem", "impossible_travel", High),
        "m.brandt logged in from NL 9 hours after leaving the office in Hamburg",
        "user=m.brandt src=203.0.113.91 country=NL technique=T1078",
        &[
            (52, Rob, Acknowledges),
            (
                58,
                Rob,
                Resolves(Benign, "Nine hours are enough to travel, and the calendar says customer visit."),
            ),
            (321, Ana, Reopens("m.brandt is at home and has not used the VPN since Friday.")),
            (322, Ana, Takes),
            (323, Ana, Tags("incident:brandt vpn")),
            (330, Ana, Rates(Critical, "This is where they came in.")),
            (
                412,
                Ana,
                Resolves(
                    TruePositive,
                    "Account locked, sessions ended. The exemption from the second factor is gone.",
                ),
            ),
        ],
    ),
    scene(
        (66, 3, 240),
        ("ids-dmz", "port_scan", Medium),
        "10.30.9.41 (VPN, m.brandt) probed 312 ports of files-1, db-1 and backup-1",
        "user=m.brandt src=10.30.9.41 dst=10.10.0.60 count=312 technique=T1046",
        &[],
    ),
    scene(
        (84, 1, 0),
        ("ids-dmz", "lateral_movement", High),
        "10.30.9.41 (VPN, m.brandt) opened remote services on files-1",
        "host=files-1 user=m.brandt src=10.30.9.41 dst=10.10.0.60 technique=T1021.002",
        &[
            (79, Rob, Acknowledges),
            (80, Rob, Tags("incident:brandt")),
            (300, Ana, Resolves(TruePositive, "Part of the incident around m.brandt.")),
        ],
    ),
    scene(
        (97, 1, 0),
        ("ids-dmz", "lateral_movement", High),
        "10.30.9.41 (VPN, m.brandt) tried remote services on db-1 and was refused",
        "host=db-1 user=m.brandt src=10.30.9.41 dst=10.10.0.52 technique=T1021.002",
        &[
            (66, Rob, Acknowledges),
            (67, Rob, Tags("incident:brandt")),
            (287, Ana, Resolves(TruePositive, "They tried; db-1 takes no passwords.")),
        ],
    ),
    scene(
        (118, 1, 0),
        ("dc-1", "privilege_escalation", Critical),
        "m.brandt was given administrator rights on files-1 without a ticket",
        "host=files-1 user=m.brandt dst=10.10.0.60 technique=T1068",
        &[
            (9, Rob, Acknowledges),
            (10, Rob, Takes),
            (
                17,
                Rob,
                Notes(
                    "Paged. The helpdesk gave no such rights and m.brandt doesn't answer the phone. Waking ana.",
                ),
            ),
            (18, Rob, Tags("incident:brandt")),
            (26, Rob, Gives(Ana)),
            (
                341,
                Ana,
                Resolves(
                    TruePositive,
                    "A service account of files-1 was allowed to add administrators. It no longer is.",
                ),
            ),
        ],
    ),
    scene(
        (141, 1, 0),
        ("files-1", "archive_created", Medium),
        "/srv/finance packed into /tmp/.x.7z (18.2 GB) by m.brandt",
        "host=files-1 user=m.brandt bytes=19541950464 technique=T1560.001",
        &[],
    ),
    scene(
        (152, 1, 0),
        ("edge-firewall-1", "data_leaving", Critical),
        "files-1 sent 18.2 GB to 198.51.100.23 within 40 minutes",
        "host=files-1 user=m.brandt src=10.10.0.60 dst=198.51.100.23 bytes=19541950464 technique=T1048",
        &[
            (3, Rob, Acknowledges),
            (4, Rob, Takes),
            (
                6,
                Rob,
                Notes("Egress of files-1 cut at edge-firewall-1. Session of m.brandt ended, account locked."),
            ),
            (9, Rob, Calls("Account of m.brandt taken over: 18 GB of finance data left files-1")),
            (10, Rob, Tags("incident:brandt data-loss legal")),
            (41, Rob, Gives(Ana)),
            (
                292,
                Ana,
                Notes(
                    "Way in: password spraying, then a VPN account without a second factor. Legal and the data protection officer are told.",
                ),
            ),
            (
                2_050,
                Ana,
                Resolves(
                    TruePositive,
                    "Closed with report INC-41. All exemptions from the second factor are gone.",
                ),
            ),
        ],
    ),
    scene(
        (158, 14, 45),
        ("edge-firewall-1", "firewall_deny", Low),
        "Rule incident-41 matched: files-1 to 198.51.100.23:443",
        "host=files-1 src=10.10.0.60 dst=198.51.100.23 port=443 rule=incident-41",
        &[],
    ),
];

/// A mail with an invoice, and who opened it.
pub(super) const INVOICE: &[Scene] = &[
    scene(
        (0, 6, 25),
        ("mail-1", "mail_quarantined", Low),
        "Mail from accounts@parcel-status.example to {staff} held back: invoice_4471.docm",
        "user={staff} sender=accounts@parcel-status.example file=invoice_4471.docm technique=T1566.001",
        &[],
    ),
    scene(
        (3, 2, 260),
        ("mail-1", "phishing_reported", Medium),
        "h.tanaka reported a mail from accounts@parcel-status.example that links to login-portal.example",
        "user=h.tanaka sender=accounts@parcel-status.example domain=login-portal.example technique=T1566.002",
        &[],
    ),
    scene(
        (14, 1, 0),
        ("edr-laptops", "suspicious_script", High),
        "powershell.exe, started by winword.exe on lt-0204, fetched a script from cdn-assets.example",
        "host=lt-0204 user=k.oconnor src=10.30.4.30 process=powershell.exe domain=cdn-assets.example technique=T1059.001",
        &[
            (6, Rob, Acknowledges),
            (
                8,
                Rob,
                Notes(
                    "k.oconnor opened invoice_4471.docm: one copy came in before the filter knew it. Calling.",
                ),
            ),
            (9, Rob, Tags("incident:invoice phishing")),
            (14, Rob, Rates(Critical, "It fetched a second stage.")),
            (64, Rob, Resolves(TruePositive, "See the malware alert of the same laptop.")),
        ],
    ),
    scene(
        (19, 22, 300),
        ("ids-dmz", "dns_blocked", Medium),
        "lt-0204 asked for update-check.example, which is on the block list",
        "host=lt-0204 user=k.oconnor src=10.30.4.30 domain=update-check.example technique=T1071.004",
        &[],
    ),
    scene(
        (27, 1, 0),
        ("edr-laptops", "malware_detected", Critical),
        "Updater.exe on lt-0204 is known malware (loader); started by k.oconnor with powershell.exe",
        "host=lt-0204 user=k.oconnor src=10.30.4.30 file=Updater.exe sha256=5d41402abc4b2a76b9719d911017c592aa1e8f2c4c0b7d3e9f60123456789abc technique=T1204.002",
        &[
            (3, Ana, Acknowledges),
            (4, Ana, Takes),
            (5, Ana, Calls("Invoice phishing: lt-0204 of k.oconnor infected")),
            (6, Ana, Tags("incident:invoice phishing laptops")),
            (
                19,
                Ana,
                Notes("Laptop isolated, memory saved. The loader got no answer: its domain is blocked."),
            ),
            (47, Ana, Notes("The mail is pulled from 31 mailboxes; nobody else opened it.")),
            (188, Ana, Resolves(TruePositive, "Reimaged, new password, k.oconnor is back at work.")),
        ],
    ),
    scene(
        (33, 1, 0),
        ("edr-laptops", "malware_detected", High),
        "invoice_4471.docm on lt-0204 matches the same family",
        "host=lt-0204 user=k.oconnor src=10.30.4.30 file=invoice_4471.docm technique=T1204.002",
        &[(4, Ana, Acknowledges), (5, Ana, Resolves(Duplicate, "What the loader came in."))],
    ),
    scene(
        (41, 1, 0),
        ("edr-laptops", "credential_access", High),
        "A process on lt-0204 read the memory of lsass.exe",
        "host=lt-0204 user=SYSTEM src=10.30.4.30 process=memdump64.exe technique=T1003.001",
        &[
            (2, Ana, Acknowledges),
            (6, Ana, Resolves(FalsePositive, "That was us: the forensic agent saves the memory.")),
        ],
    ),
    scene(
        (49, 1, 0),
        ("ids-dmz", "lateral_movement", High),
        "lt-0204 tried remote services on wiki-1 and was refused",
        "host=wiki-1 user=k.oconnor src=10.30.4.30 dst=10.10.12.31 technique=T1021.002",
        &[
            (7, Rob, Acknowledges),
            (9, Rob, Tags("incident:invoice")),
            (70, Rob, Resolves(TruePositive, "Sent before the laptop was isolated. wiki-1 refused it.")),
        ],
    ),
];

/// Two people on one badge, and a door that opened without one.
pub(super) const BREAK_IN: &[Scene] = &[
    scene(
        (0, 1, 0),
        ("ai-detector", "tailgating", High),
        "2 people went through the main entrance on one badge",
        "user=o.jansen door=main-entrance count=2 confidence=94",
        &[
            (21, Rob, Acknowledges),
            (23, Rob, Tags("incident:server-room physical")),
            (318, Ana, Notes("The badge is o.jansen's, who lost it on the train and told nobody.")),
            (320, Ana, Takes),
        ],
    ),
    scene(
        (4, 3, 70),
        ("cam-lobby", "person_detected", Medium),
        "Two people in the lobby, hooded, walking to the east stairwell",
        "host=cam-lobby zone=lobby count=2 confidence=91",
        &[],
    ),
    scene(
        (9, 5, 22),
        ("badge-reader", "badge_denied", Medium),
        "The badge of o.jansen does not open the server room",
        "user=o.jansen door=server-room technique=T1078",
        &[],
    ),
    scene(
        (15, 1, 0),
        ("badge-reader", "forced_door", Critical),
        "The server room opened without a badge",
        "door=server-room",
        &[
            (3, Rob, Acknowledges),
            (4, Rob, Takes),
            (5, Rob, Notes("Guard called, on site in ten minutes.")),
            (7, Rob, Calls("Break-in at the server room")),
            (8, Rob, Tags("incident:server-room physical")),
            (
                24,
                Rob,
                Notes(
                    "Guard found the door ajar and nobody inside. Police case 26/1187. One device too many in rack 4.",
                ),
            ),
            (322, Rob, Gives(Ana)),
            (510, Ana, Notes("Forensics has the device. Waiting for the pictures of the east stairwell.")),
        ],
    ),
    scene(
        (17, 1, 0),
        ("cam-server-room", "camera_offline", High),
        "No picture of the server room for 12 minutes",
        "host=cam-server-room zone=server-room minutes=12 technique=T1489",
        &[(6, Rob, Acknowledges), (7, Rob, Tags("incident:server-room")), (326, Ana, Takes)],
    ),
    scene(
        (24, 1, 0),
        ("core-switch", "new_device", Medium),
        "Unknown device 02:42:ac:1f:00:9e got the address 10.10.0.113 at port 4/17",
        "src=10.10.0.113 mac=02:42:ac:1f:00:9e port=4/17 technique=T1200",
        &[],
    ),
    scene(
        (29, 1, 0),
        ("core-switch", "rogue_router", High),
        "10.10.0.113 at port 4/17 answers as a router for servers",
        "src=10.10.0.113 mac=02:42:ac:1f:00:9e port=4/17 technique=T1557",
        &[
            (5, Rob, Acknowledges),
            (6, Rob, Notes("Port 4/17 shut. No server has taken an address from it.")),
            (8, Rob, Tags("incident:server-room network")),
            (315, Ana, Resolves(TruePositive, "A small computer with a modem, taped under rack 4. Removed.")),
        ],
    ),
    scene(
        (371, 1, 0),
        ("badge-reader", "config_change", Low),
        "ana blocked the badge of o.jansen",
        "user=ana change=badge-blocked",
        &[],
    ),
];
