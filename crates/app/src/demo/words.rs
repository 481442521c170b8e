//! What people of the team say about alerts, by what those are about.

use watchpost_model::triage::Verdict;

/// What is said about alerts of some kind.
pub(super) struct Words {
    /// Types of events begin so, or hold it.
    about: &'static [&'static str],
    pub(super) tags: &'static [&'static str],
    pub(super) notes: &'static [&'static str],
    pub(super) titles: &'static [&'static str],
    /// Why, by verdict.
    true_positive: &'static [&'static str],
    benign: &'static [&'static str],
    false_positive: &'static [&'static str],
    duplicate: &'static [&'static str],
    expected: &'static [&'static str],
}

impl Words {
    pub(super) fn why(&self, verdict: Verdict) -> &'static [&'static str] {
        match verdict {
            Verdict::TruePositive => self.true_positive,
            Verdict::Benign => self.benign,
            Verdict::FalsePositive => self.false_positive,
            Verdict::Duplicate => self.duplicate,
            Verdict::Expected => self.expected,
        }
    }
}

/// The words for a type of event; those about machines in general when there are none of its own.
pub(super) fn words_for(what: &str) -> &'static Words {
    let fits = |words: &&Words| words.about.iter().any(|part| what.contains(part));
    WORDS.iter().find(fits).unwrap_or(&WORDS[WORDS.len() - 1])
}

const WORDS: &[Words] = &[
    Words {
        about: &["brute", "travel", "mfa", "privilege"],
        tags: &["accounts", "vpn", "accounts vip"],
        notes: &[
            "Called the user: was asked for a code on the train and pressed yes by mistake.",
            "Same network as last week. Adding it to the list that has to show a second factor.",
            "Asked the helpdesk whether there is a ticket.",
            "Session ended to be safe; the user logs in again.",
        ],
        titles: &["Log-ins from a network nobody knows", "Account used from two places"],
        true_positive: &[
            "Password changed, sessions ended; it was in a leak from March.",
            "Stopped at the second factor. Address blocked.",
            "Rights taken back; there was no ticket and there should have been none.",
        ],
        benign: &[
            "The user is travelling; both log-ins were theirs.",
            "A phone that still has the old password.",
            "New laptop, same person.",
        ],
        false_positive: &[
            "The address belongs to our own exit in Frankfurt.",
            "The place of the address is wrong in the database.",
        ],
        duplicate: &[
            "Same log-in, seen by the gateway as well.",
            "One of the spraying alerts of this morning.",
        ],
        expected: &["Change of rights with ticket CHG-2210.", "Scheduled test of the second factor."],
    },
    Words {
        about: &["malware", "script", "lateral", "process"],
        tags: &["laptops", "malware", "laptops reimage"],
        notes: &[
            "Isolated from the console; user told to leave it on.",
            "Hash is new to all scanners, sent to the lab.",
            "Started from a memory stick. Asked where it came from.",
            "Asked the user to hand the laptop in before noon.",
        ],
        titles: &["Loader on a laptop of the sales team", "Macro that fetches a script"],
        true_positive: &[
            "Laptop reimaged, password changed.",
            "Stopped before it ran; file removed everywhere.",
            "Isolated, cleaned, watched for a day: quiet.",
        ],
        benign: &[
            "An installer that looks worse than it is.",
            "Script of the finance team, signed by now.",
            "Remote help by IT, with the user's consent.",
        ],
        false_positive: &[
            "Signature matches our own deployment script.",
            "The scanner takes the tax software for a loader. Reported to the vendor.",
        ],
        duplicate: &["Second hit for the same file.", "Belongs to the laptop that is isolated already."],
        expected: &["Exercise of the red team.", "Software roll-out of IT."],
    },
    Words {
        about: &["shell", "injection", "web"],
        tags: &["web", "web patch", "shop"],
        notes: &[
            "The shop team looks at the access log with me.",
            "Rule set to block; it only counted before.",
            "Backup of the folder saved before cleaning.",
        ],
        titles: &["Injection at the order search", "File that shouldn't be in uploads/"],
        true_positive: &[
            "Parameter is bound now; nothing was read beyond one row.",
            "File removed, uploads are no longer executed.",
        ],
        benign: &["A customer pasted code into the search.", "Scanner of an insurer; answers were empty."],
        false_positive: &["The rule stumbles over a quote in a company name.", "Our own health check."],
        duplicate: &["Seen by web-1 as well.", "Same scanner, same minute."],
        expected: &["Announced test of the web team.", "Load test before the sale."],
    },
    Words {
        about: &["camera", "tailgating", "door", "intrusion"],
        tags: &["physical", "doors", "physical ticket:fac-198"],
        notes: &[
            "Asked reception: a delivery.",
            "Guard walked by, door is shut.",
            "Looked at the picture: two colleagues with coffee in both hands.",
            "Power of the rack was worked on; facilities told to announce it.",
        ],
        titles: &["Door that doesn't close by itself", "Camera loses power at night"],
        true_positive: &[
            "Somebody came in behind a colleague. Escorted out, reported.",
            "Lock was levered. Repaired, police informed.",
        ],
        benign: &[
            "A colleague held the door for a trolley.",
            "Cleaning staff with a key.",
            "Switch restarted, pictures are back.",
        ],
        false_positive: &["A reflection in the glass door.", "The contact of that door is loose again."],
        duplicate: &["Same door, seen by the camera.", "Second alert for the same power cut."],
        expected: &["Fire drill.", "Maintenance of the readers, announced."],
    },
    Words {
        about: &[],
        tags: &["servers", "backup", "cluster"],
        notes: &[
            "Log looked through, the cause is the disk that is nearly full.",
            "Told the platform team; they restart it tonight.",
            "Happens each time two jobs start at once.",
        ],
        titles: &["Backups of the file server fail", "Workload that eats a node"],
        true_positive: &[
            "Disk replaced, backup repeated and proved.",
            "Workload removed, image deleted from the registry.",
        ],
        benign: &["A batch job with a busy hour.", "Repeated by itself ten minutes later."],
        false_positive: &[
            "The pool's address is a mirror of packages.",
            "The report came before the job had ended.",
        ],
        duplicate: &["Follows from the failure an hour before."],
        expected: &["Maintenance window.", "Restore test of the month."],
    },
];

#[cfg(test)]
mod tests {
    use super::super::kinds::ALARMS;
    use super::*;
    use watchpost_model::text::Given;
    use watchpost_model::triage::{check_tags, check_title};

    #[test]
    fn there_are_words_for_everything_and_they_are_well_formed() {
        for kind in ALARMS {
            let words = words_for(kind.what);
            assert!(Verdict::ALL.iter().all(|verdict| !words.why(*verdict).is_empty()));
            assert!(!words.notes.is_empty());
        }
        for words in WORDS {
            for tags in words.tags {
                assert!(check_tags(&Given::Text((*tags).into())).is_ok(), "{tags}");
            }
            assert!(words.titles.iter().all(|title| check_title(&Given::Text((*title).into())).is_ok()));
        }
        assert!(words_for("backup_failed").tags.contains(&"backup"));
        assert!(words_for("forced_door").tags.contains(&"doors"));
    }
}
