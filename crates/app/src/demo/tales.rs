//! The stories of the week, those of machines told here.

use super::cast::Who::{Ana, Rob};
use super::intruders::{BREAK_IN, INVOICE, SPRAYING};
use super::stories::Begins::{self, Ago, Day, Workday};
use super::stories::Does::{Acknowledges, Calls, Gives, Notes, Resolves, Snoozes, Tags, Takes};
use super::stories::{Scene, Tale, Told};
use watchpost_model::Severity::{self, Critical, High, Low, Medium};
use watchpost_model::triage::Verdict::{Expected, FalsePositive};

/// Events alike: when, how many and how far apart; who saw what; how bad; the words; the facts.
pub(super) const fn scene(
    (after, times, gap): (i64, i64, i64),
    (by, what, severity): (&'static str, &'static str, Severity),
    text: &'static str,
    facts: &'static str,
    then: &'static [Told],
) -> Scene {
    Scene { after, times: (times, gap), by, what, severity, text, facts, then }
}

pub(super) const TALES: &[Tale] = &[
    Tale { begins: Workday(4, 95), scenes: SPRAYING },
    Tale { begins: Workday(3, 780), scenes: TEST },
    Tale { begins: Workday(2, 552), scenes: INVOICE },
    Tale { begins: Day(1, 128), scenes: BREAK_IN },
    Tale { begins: Ago(540), scenes: MINING },
    Tale { begins: CAMERA, scenes: UPDATE },
];

/// A test that was announced.
const TEST: &[Scene] = &[
    scene(
        (0, 24, 90),
        ("web-2", "web_attack_blocked", Medium),
        "Request for /search from 10.10.12.20 blocked by rule 942100",
        "host=web-2 src=10.10.12.20 dst=10.10.8.12 path=/search rule=942100 technique=T1190",
        &[],
    ),
    scene(
        (6, 5, 420),
        ("web-2", "sql_injection", High),
        "Injection at /search got past the filter, from 10.10.12.20 (build-1)",
        "host=web-2 src=10.10.12.20 dst=10.10.8.12 path=/search technique=T1190",
        &[
            (11, Ana, Acknowledges),
            (12, Ana, Tags("pentest")),
            (15, Ana, Resolves(Expected, "Announced test of the web team, until 15:00.")),
        ],
    ),
];

/// Somebody else's coins.
const MINING: &[Scene] = &[
    scene(
        (0, 1, 0),
        ("k8s-audit", "secret_read", Medium),
        "ci-runner read the secrets of platform/ingress, first time this month",
        "user=ci-runner src=10.10.12.20 workload=platform/ingress technique=T1552.007",
        &[],
    ),
    scene(
        (6, 1, 0),
        ("k8s-audit", "workload_created", Medium),
        "platform/metrics-agent created by ci-runner from an image outside the registry",
        "user=ci-runner src=10.10.12.20 workload=platform/metrics-agent image=docker.example/library/node-tools:latest technique=T1610",
        &[],
    ),
    scene(
        (20, 1, 0),
        ("k8s-audit", "crypto_mining", High),
        "platform/metrics-agent uses 97 % of node-3 and talks to a mining pool",
        "host=node-3 user=ci-runner workload=platform/metrics-agent percent=97 target=pool.hashes.example:3333 technique=T1496",
        &[
            (31, Rob, Acknowledges),
            (32, Rob, Takes),
            (36, Rob, Tags("incident:mining cluster")),
            (
                48,
                Rob,
                Notes(
                    "Nobody in the platform team knows platform/metrics-agent. Scaled to zero; it came back after four minutes.",
                ),
            ),
        ],
    ),
    scene(
        (45, 12, 1_500),
        ("k8s-audit", "pod_restarted", Low),
        "A container of billing/worker was ended: out of memory",
        "workload=billing/worker host=node-3",
        &[],
    ),
    scene(
        (120, 1, 0),
        ("k8s-audit", "crypto_mining", Critical),
        "platform/metrics-agent runs on 4 nodes and uses 95 % of each",
        "user=ci-runner workload=platform/metrics-agent percent=95 target=pool.hashes.example:3333 technique=T1496",
        &[
            (18, Rob, Acknowledges),
            (21, Rob, Calls("Crypto mining in the cluster through a leaked CI token")),
            (22, Rob, Tags("incident:mining cluster")),
            (40, Rob, Gives(Ana)),
            (
                95,
                Ana,
                Notes(
                    "The token of ci-runner stood in a build log. Turning it over now; egress to the pool is blocked.",
                ),
            ),
        ],
    ),
    scene(
        (130, 1, 0),
        ("k8s-audit", "image_drift", High),
        "4 workloads run images that the registry doesn't have",
        "workload=shop/search count=4 technique=T1525",
        &[
            (34, Rob, Acknowledges),
            (36, Rob, Snoozes(30, "Rolls out anew in tomorrow's maintenance window.")),
        ],
    ),
    scene(
        (300, 1, 0),
        ("k8s-audit", "privilege_escalation", Critical),
        "ci-runner was bound to cluster-admin by ci-runner",
        "user=ci-runner src=10.10.12.20 technique=T1078.004",
        &[(22, Ana, Takes), (23, Ana, Tags("incident:mining cluster"))],
    ),
    scene(
        (420, 1, 0),
        ("k8s-audit", "crypto_mining", High),
        "platform/metrics-agent is back on node-5",
        "host=node-5 user=ci-runner workload=platform/metrics-agent percent=93 target=stratum.coins.example:443 technique=T1496",
        &[],
    ),
    scene(
        (487, 1, 0),
        ("k8s-audit", "crypto_mining", Critical),
        "shop/search-indexer uses 96 % of node-1 and talks to a mining pool",
        "host=node-1 user=ci-runner workload=shop/search-indexer percent=96 target=stratum.coins.example:443 technique=T1496",
        &[],
    ),
];

/// When the camera has got its update.
pub(super) const CAMERA: Begins = Day(1, 1_257);

/// The update, and what was seen of it elsewhere.
const UPDATE: &[Scene] = &[
    scene(
        (0, 1, 0),
        ("core-switch", "config_change", Low),
        "facilities updated the firmware of cam-loading-dock to 4.2.1",
        "host=cam-loading-dock user=facilities dst=10.40.2.17 change=firmware-4.2.1",
        &[],
    ),
    scene(
        (64, 1, 0),
        ("siem", "source_flooding", Medium),
        "cam-loading-dock sends twenty times as much as on other evenings",
        "host=cam-loading-dock",
        &[],
    ),
];

/// What the camera makes of moths since.
pub(super) const FLOODING: Scene = scene(
    (3, 0, 0),
    ("cam-loading-dock", "intrusion", Critical),
    "Intruder at the loading dock, confidence 100 %",
    "host=cam-loading-dock src=10.40.2.17 zone=loading-dock confidence=100 firmware=4.2.1",
    &[
        (17, Rob, Acknowledges),
        (
            19,
            Rob,
            Notes(
                "Moths. The update set the sensitivity to its highest. Facilities can't get at the camera before the morning.",
            ),
        ),
        (20, Rob, Tags("noisy camera ticket:fac-212")),
        (
            22,
            Rob,
            Resolves(FalsePositive, "No intruder, see the note. The others of this group are the same."),
        ),
    ],
);
