//! What people do with alerts, against a plain model: whatever is done in whatever order, the database says what the
//! model says, in alerts, lists, counts and histories.

use crate::people::user;
use crate::{Place, at, by, event, on_both_engines, store};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::{BTreeMap, BTreeSet};
use watchpost_model::filter::{About, AlertFilter, AlertOrder, Field, Triage, Whose};
use watchpost_model::page::PageRequest;
use watchpost_model::triage::{Action, Assignee, MAX_TAGS, NotNow, Verdict};
use watchpost_model::{Alert, AlertId, Role, Severity, Status};
use watchpost_store::{AuditFilter, AuditProof, Db, Deed, Group, GroupFilter, GroupOrder, StoreError};

on_both_engines!(
    actions_agree_with_a_plain_model,
    actions_at_once_all_land_or_conflict,
    done_together_is_as_done_one_by_one,
    notes_and_tags_have_their_limits,
);

const ALERTS: i64 = 24;
const STEPS: usize = 250;
const QUESTIONS: usize = 160;
/// Two of them are one, in any letter case.
const SOURCES: [&str; 3] = ["fw", "cam", "FW"];
const TAGS: [&str; 4] = ["vpn", "lab", "a:b/c", "größe"];

pub(crate) fn actions(people: Vec<Assignee>) -> impl Strategy<Value = Action> {
    let status = proptest::sample::select(Status::ALL.to_vec());
    let verdict = proptest::option::of(proptest::sample::select(Verdict::ALL.to_vec()));
    let tags = || {
        proptest::sample::subsequence(TAGS.to_vec(), 0..=2)
            .prop_map(|tags| tags.into_iter().map(str::to_owned).collect::<Vec<String>>())
    };
    prop_oneof![
        3 => (status, verdict).prop_map(|(to, verdict)| Action::Move(to, verdict.filter(|_| to == Status::Resolved))),
        2 => Just(Action::Acknowledge),
        1 => Just(Action::Unacknowledge),
        2 => Just(Action::Reopen),
        2 => proptest::option::of(proptest::sample::select(people)).prop_map(Action::Assign),
        2 => proptest::option::of((500_i64..1_500).prop_map(at)).prop_map(Action::Snooze),
        3 => (tags(), tags()).prop_map(|(add, remove)| Action::Tag { add, remove }),
        1 => proptest::option::of(proptest::sample::select(vec!["One", "Two"])).prop_map(|t| Action::Title(t.map(Into::into))),
        1 => Just(Action::Note),
        2 => proptest::sample::select(Severity::ALL.to_vec()).prop_map(Action::Rate),
    ]
}

fn questions(people: Vec<Assignee>) -> impl Strategy<Value = AlertFilter> {
    let whose = prop_oneof![
        2 => Just(None),
        1 => Just(Some(Whose::Nobody)),
        2 => proptest::sample::select(people).prop_map(|person| Some(Whose::User(person.id))),
    ];
    let tags = proptest::sample::subsequence(TAGS.to_vec(), 0..=2)
        .prop_map(|tags| tags.into_iter().map(str::to_owned).collect());
    let verdicts = proptest::sample::subsequence(Verdict::ALL.to_vec(), 0..=2);
    let snoozed = proptest::option::of(any::<bool>()).prop_map(|snoozed| snoozed.map(|yes| (yes, at(1_000))));
    let statuses = proptest::sample::subsequence(Status::ALL.to_vec(), 0..=2);
    let severities = || {
        prop_oneof![
            2 => Just(Vec::new()),
            2 => proptest::sample::subsequence(Severity::ALL.to_vec(), 1..=3),
        ]
    };
    let severities = (severities(), severities());
    let sources = proptest::sample::select(vec![None, None, None, Some("fw"), Some("CAM")]);
    let order =
        proptest::sample::select(vec![AlertOrder::CreatedAt, AlertOrder::Severity, AlertOrder::Status]);
    // Most lists ask for little of it, so that each way to put a list together is taken.
    let triage = (whose, tags, verdicts, snoozed).prop_map(|(whose, tags, verdicts, snoozed)| Triage {
        whose,
        tags,
        verdicts,
        snoozed,
    });
    let triage = prop_oneof![1 => Just(Triage::default()), 2 => triage];
    (triage, statuses, severities, sources, order, any::<bool>()).prop_map(
        |(triage, statuses, (severities, event_severities), source, order, descending)| AlertFilter {
            triage,
            statuses,
            severities,
            event_severities,
            about: About {
                fields: source.map(|name| (Field::Source, vec![name.to_owned()])).into_iter().collect(),
                ..About::default()
            },
            order,
            descending,
            ..AlertFilter::default()
        },
    )
}

fn fits(filter: &AlertFilter, alert: &Alert) -> bool {
    let Triage { whose, tags, verdicts, snoozed } = &filter.triage;
    let owner = alert.assignee.as_ref().map(|assignee| assignee.id);
    let away = |now| alert.snoozed_until.is_some_and(|until| until > now);
    let sources = filter.about.values(Field::Source);
    (filter.statuses.is_empty() || filter.statuses.contains(&alert.status))
        && (filter.severities.is_empty() || filter.severities.contains(&alert.severity))
        && (filter.event_severities.is_empty() || filter.event_severities.contains(&alert.event.severity))
        && (sources.is_empty() || sources.iter().any(|s| s.eq_ignore_ascii_case(&alert.event.source_name)))
        && match whose {
            None => true,
            Some(Whose::Nobody) => owner.is_none(),
            Some(Whose::User(user)) => owner == Some(*user),
        }
        && tags.iter().all(|tag| alert.tags.contains(tag))
        && (verdicts.is_empty() || alert.verdict.is_some_and(|verdict| verdicts.contains(&verdict)))
        && snoozed.is_none_or(|(yes, now)| away(now) == yes)
}

async fn raised(db: &Db) -> Vec<Alert> {
    let severities = [Severity::High, Severity::Critical];
    let events: Vec<_> = (1..=ALERTS)
        .map(|n| event(n, severities[n as usize % 2], SOURCES[n as usize % 3], "scan", "x"))
        .collect();
    store(db, &events).await.unwrap();
    let mut alerts = Vec::new();
    for n in 1..=ALERTS {
        alerts.push(db.alert(AlertId::new(n)).await.unwrap().unwrap());
    }
    alerts
}

async fn actions_agree_with_a_plain_model(db: Db, _: Place) {
    let mut model = raised(&db).await;
    let mut people = Vec::new();
    for name in ["jane", "joe"] {
        let id = user(&db, name, Role::Responder).await.id;
        people.push(Assignee { id, name: name.into() });
    }
    let mut history = vec![0_i64; model.len()];
    let mut ever: Vec<BTreeSet<Severity>> = model.iter().map(|a| BTreeSet::from([a.severity])).collect();
    let mut runner = TestRunner::deterministic();
    let (actions, questions) = (actions(people.clone()), questions(people));
    for step in 0..STEPS {
        let place = (0..model.len()).new_tree(&mut runner).unwrap().current();
        let action = actions.new_tree(&mut runner).unwrap().current();
        let (id, now) = (model[place].id, 100 + step as i64);
        // Every third states a version, and every ninth an old one.
        let version = (step % 3 == 0).then(|| model[place].version - i64::from(step % 9 == 0));
        let wanted = action.apply(&model[place], "jane", at(now));
        let done = db.act(id, &action, "because", version, &by("jane", now)).await;
        match (done, wanted) {
            (Err(StoreError::Conflict), _)
                if version.is_some_and(|version| version != model[place].version) => {}
            (Err(StoreError::NotNow(why)), Err(wanted)) => assert_eq!(why, wanted),
            (Ok(acted), Ok(wanted)) => {
                assert_eq!(acted.step, wanted, "{action:?}");
                history[place] += i64::from(acted.changed());
                model[place] = wanted.alert;
                ever[place].insert(model[place].severity);
            }
            (done, wanted) => panic!("{action:?}: {done:?} instead of {wanted:?}"),
        }
        assert_eq!(db.alert(id).await.unwrap().as_ref(), Some(&model[place]), "{action:?}");
    }
    for (alert, steps) in model.iter().zip(history) {
        let entries = db.alert_history(alert.id).await.unwrap();
        assert_eq!((entries.len() as i64, alert.version), (steps, steps + 1));
        assert!(entries.iter().all(|entry| entry.why == "because" && entry.actor == "jane"));
        let versions: Vec<i64> = entries.iter().map(|entry| entry.version).collect();
        assert_eq!(versions, (2..=alert.version).collect::<Vec<_>>(), "none is missing");
    }
    let counts = db.alert_counts().await.unwrap();
    for status in Status::ALL {
        for severity in Severity::ALL {
            let there = model.iter().filter(|a| (a.status, a.severity) == (status, severity)).count();
            assert_eq!(counts.sum(&[status], &[severity]), there as i64);
        }
    }
    compare_groups(&db, &model, &ever).await;
    for _ in 0..QUESTIONS {
        let filter = questions.new_tree(&mut runner).unwrap().current();
        compare(&db, &filter, &model).await;
    }
}

/// Every way to ask for groups, against the model. When a group was first and last seen is told by all that were ever
/// in it.
async fn compare_groups(db: &Db, model: &[Alert], ever: &[BTreeSet<Severity>]) {
    let mut subsets = vec![Vec::new(), vec![Status::Open], vec![Status::Acknowledged, Status::Resolved]];
    subsets.extend(Status::ALL.map(|status| vec![status]));
    for statuses in subsets {
        for sources in [vec![], vec!["FW".to_owned()], vec!["cam".into(), "fw".into()]] {
            for order in [GroupOrder::LastSeen, GroupOrder::Severity, GroupOrder::Count] {
                let filter = GroupFilter {
                    statuses: statuses.clone(),
                    sources: sources.clone(),
                    order,
                    ..GroupFilter::default()
                };
                let mut wanted: BTreeMap<(String, Severity), Vec<&Alert>> = BTreeMap::new();
                for alert in model {
                    let source = alert.event.source_name.to_ascii_lowercase();
                    if sources.is_empty() || sources.iter().any(|name| name.eq_ignore_ascii_case(&source)) {
                        wanted.entry((source, alert.severity)).or_default().push(alert);
                    }
                }
                let counts = |alert: &&&Alert| statuses.is_empty() || statuses.contains(&alert.status);
                let mut wanted: Vec<(i64, Vec<&Alert>)> = wanted
                    .into_values()
                    .map(|alerts| (alerts.iter().filter(counts).count() as i64, alerts))
                    .filter(|(counted, _)| *counted > 0)
                    .collect();
                let seen = |group: &[&Alert]| {
                    let (source, severity) = (group[0].event.source_name.clone(), group[0].severity);
                    let was = |(alert, ever): &(&Alert, &BTreeSet<Severity>)| {
                        alert.event.source_name.eq_ignore_ascii_case(&source) && ever.contains(&severity)
                    };
                    let all = model.iter().zip(ever).filter(was);
                    all.map(|(alert, _)| (alert.created_at, alert.id)).collect::<BTreeSet<_>>()
                };
                let last = |group: &[&Alert]| *seen(group).last().unwrap();
                wanted.sort_by_key(|(counted, alerts)| {
                    let rank = match order {
                        GroupOrder::LastSeen => 0,
                        GroupOrder::Severity => alerts[0].severity.code(),
                        GroupOrder::Count => *counted,
                    };
                    std::cmp::Reverse((rank, last(alerts), alerts[0].severity))
                });
                let page = db.alert_groups(&filter, PageRequest::numbered(1, 50)).await.unwrap();
                assert_eq!(page.count.number(), wanted.len() as i64, "{filter:?}");
                let of =
                    |alerts: &[&Alert], status| alerts.iter().filter(|a| a.status == status).count() as i64;
                for (found, (_, alerts)) in page.rows.iter().zip(&wanted) {
                    assert_eq!(
                        (found.open, found.acknowledged, found.resolved),
                        (
                            of(alerts, Status::Open),
                            of(alerts, Status::Acknowledged),
                            of(alerts, Status::Resolved)
                        ),
                        "{filter:?} {found:?}"
                    );
                    assert_eq!((found.last_at, found.last_alert), last(alerts), "{filter:?}");
                    assert_eq!(found.first_at, seen(alerts).first().unwrap().0);
                }
                assert_eq!(page.rows.len(), wanted.len());
            }
        }
    }
}

/// The whole list of a filter, page by page, against the model.
async fn compare(db: &Db, filter: &AlertFilter, model: &[Alert]) {
    let mut wanted: Vec<&Alert> = model.iter().filter(|alert| fits(filter, alert)).collect();
    wanted.sort_by_key(|alert| {
        let rank = match filter.order {
            AlertOrder::CreatedAt => 0,
            AlertOrder::Severity => alert.severity.code(),
            AlertOrder::Status => alert.status.code(),
        };
        (rank, alert.created_at, alert.id)
    });
    if filter.descending {
        wanted.reverse();
    }
    let wanted: Vec<AlertId> = wanted.iter().map(|alert| alert.id).collect();
    let mut found = Vec::new();
    let mut request = PageRequest::numbered(1, 5);
    loop {
        let page = db.alerts(filter, request).await.unwrap();
        assert_eq!(page.count.number(), wanted.len() as i64, "{filter:?}");
        found.extend(page.rows.iter().map(|alert| alert.id));
        match page.next.filter(|_| page.more) {
            Some(cursor) => request = PageRequest { number: 1, size: 5, cursor: Some(cursor) },
            None => break,
        }
    }
    assert_eq!(found, wanted, "{filter:?}");
}

async fn actions_at_once_all_land_or_conflict(db: Db, _: Place) {
    raised(&db).await;
    let id = AlertId::new(1);
    let tasks: Vec<_> = (0..12)
        .map(|n| {
            let db = db.clone();
            let action = match n % 3 {
                0 => Action::Tag { add: vec![format!("tag{n}")], remove: vec![] },
                1 => Action::Note,
                _ => Action::Move(Status::ALL[n % 2], None),
            };
            tokio::spawn(async move {
                match db.act(id, &action, "", None, &by("crowd", 7)).await {
                    Ok(acted) => i64::from(acted.changed()),
                    Err(StoreError::Conflict) => 0,
                    Err(error) => panic!("{error}"),
                }
            })
        })
        .collect();
    let mut landed = 0;
    for task in tasks {
        landed += task.await.unwrap();
    }
    let alert = db.alert(id).await.unwrap().unwrap();
    let history = db.alert_history(id).await.unwrap();
    assert_eq!((alert.version, history.len() as i64), (landed + 1, landed));
    let tagged = history.iter().filter(|entry| entry.action == "tags").count();
    assert_eq!(alert.tags.len(), tagged, "no tag got lost");
}

async fn done_together_is_as_done_one_by_one(db: Db, _: Place) {
    raised(&db).await;
    let jane = user(&db, "jane", Role::Responder).await;
    let mut runner = TestRunner::deterministic();
    let actions = actions(vec![Assignee { id: jane.id, name: jane.username }]);
    let mut deeds = Vec::new();
    let mut done = 0;
    // What is done one by one with one half of the alerts is done together with their likes in the other.
    for step in 0..STEPS as i64 {
        let alert = AlertId::new(1 + step * 7 % (ALERTS / 2));
        let action = actions.new_tree(&mut runner).unwrap().current();
        let (why, by) = (format!("because {step}"), by("jane", 100 + step));
        match db.act(alert, &action, &why, None, &by).await {
            Ok(acted) => done += usize::from(acted.changed()),
            Err(StoreError::NotNow(_)) => {}
            Err(error) => panic!("{action:?}: {error}"),
        }
        deeds.push(Deed { alert: AlertId::new(alert.get() + ALERTS / 2), action, why, by });
    }
    let mut together = 0;
    for some in deeds.chunks(STEPS / 3) {
        together += db.act_together(some).await.unwrap();
    }
    assert!(done < STEPS, "some can't be done");
    assert_eq!(together, done);
    for n in 1..=ALERTS / 2 {
        let (one, other) = (AlertId::new(n), AlertId::new(n + ALERTS / 2));
        assert_eq!(db.alert_history(one).await.unwrap(), db.alert_history(other).await.unwrap());
        let (one, mut other) =
            (db.alert(one).await.unwrap().unwrap(), db.alert(other).await.unwrap().unwrap());
        (other.id, other.created_at, other.event) = (one.id, one.created_at, one.event.clone());
        assert_eq!(one, other);
    }
    let counts = db.alert_counts().await.unwrap();
    let filter = GroupFilter::default();
    let groups = db.alert_groups(&filter, PageRequest::numbered(1, 100)).await.unwrap().rows;
    let mut all = 0;
    for status in Status::ALL {
        for severity in Severity::ALL {
            let there = counts.sum(&[status], &[severity]);
            assert_eq!(there % 2, 0, "both halves count");
            let of = |group: &Group| [group.open, group.acknowledged, group.resolved][status as usize - 1];
            let grouped: i64 = groups.iter().filter(|group| group.severity == severity).map(of).sum();
            assert_eq!(grouped, there);
            all += there;
        }
    }
    assert_eq!(all, ALERTS);
    let audited = AuditFilter { actions: vec!["alert.".into()], ..AuditFilter::default() };
    let rows = db.audit_log(&audited, PageRequest::numbered(1, 1)).await.unwrap();
    assert_eq!(rows.count.number(), 2 * done as i64);
    assert!(matches!(db.prove_audit(|_, _| {}).await.unwrap(), AuditProof::Intact(_)));
    let unknown = Deed { alert: AlertId::new(ALERTS + 1), ..deeds.remove(0) };
    assert!(matches!(db.act_together(&[unknown]).await, Err(StoreError::NotFound)));
    assert_eq!(db.act_together(&[]).await.unwrap(), 0);
}

async fn notes_and_tags_have_their_limits(db: Db, _: Place) {
    raised(&db).await;
    let id = AlertId::new(1);
    let add = (0..=MAX_TAGS).map(|n| format!("t{n}")).collect();
    let many = Action::Tag { add, remove: vec![] };
    let refused = db.act(id, &many, "", None, &by("jane", 1)).await;
    assert!(matches!(refused, Err(StoreError::NotNow(NotNow::TooManyTags))));
    for n in 0..3 {
        db.act(id, &Action::Note, &format!("note {n} 日本語\n"), None, &by("jane", n)).await.unwrap();
    }
    let history = db.alert_history(id).await.unwrap();
    let notes: Vec<&str> = history.iter().map(|entry| entry.why.as_str()).collect();
    assert_eq!(
        notes,
        ["note 0 日本語\n", "note 1 日本語\n", "note 2 日本語\n"],
        "the same act is another note"
    );
    db.act(id, &Action::Move(Status::Resolved, Some(Verdict::Benign)), "", None, &by("jane", 5))
        .await
        .unwrap();
    for action in [Action::Acknowledge, Action::Unacknowledge] {
        let refused = db.act(id, &action, "", None, &by("jane", 6)).await;
        assert!(matches!(refused, Err(StoreError::NotNow(NotNow::Resolved))));
    }
}
