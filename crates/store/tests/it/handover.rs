//! What happened since somebody looked, against a plain model that remembers everything.

mod undo;

use crate::people::user;
use crate::triage::actions;
use crate::{Place, at, by, event, on_both_engines, run, store};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use watchpost_model::id::event_id_floor;
use watchpost_model::page::Count;
use watchpost_model::triage::{Action, Assignee};
use watchpost_model::{Alert, AlertId, Role, Severity, Status, Timestamp, UserId};
use watchpost_store::{Db, Deeds, Handover, StoreError, Told, testing};

on_both_engines!(
    handovers_agree_with_a_plain_model,
    what_is_too_much_is_said_to_be_a_minimum,
    open_alerts_are_looked_at_to_a_point,
    what_was_seen_only_moves_forward,
);

const DAY: i64 = 86_400;
const ALERTS: usize = 90;
const STEPS: i64 = 300;
const WINDOWS: usize = 60;
const SOURCES: [&str; 8] = ["fw", "cam", "FW", "a", "b", "c", "d", "Cam"];

/// A change as the model remembers it.
struct Change {
    alert: AlertId,
    at: Timestamp,
    version: i64,
    actor: &'static str,
    action: &'static str,
    from: Status,
    to: Status,
    /// Taken back since, or what takes it back.
    undone: bool,
}

#[derive(Default)]
struct Model {
    alerts: Vec<Alert>,
    changes: Vec<Change>,
}

fn micros(at: Timestamp, more: i64) -> Timestamp {
    Timestamp::from_micros(at.micros() + more)
}

/// Alerts raised over forty days: most at any time, some within the same minutes and at their edges.
async fn raised(db: &Db, runner: &mut TestRunner) -> Model {
    let offsets = prop_oneof![
        2 => (-40 * DAY..0).prop_map(|seconds| (seconds, 250_000)),
        1 => (-300_i64..0).prop_map(|seconds| (seconds, 999_999)),
        1 => proptest::sample::select(vec![-60_i64, -3_600, -DAY, -120, -7_200]).prop_map(|seconds| (down(seconds), 0)),
    ];
    let mut times: Vec<Timestamp> = (0..ALERTS)
        .map(|_| {
            let (seconds, more) = offsets.new_tree(runner).unwrap().current();
            micros(at(seconds), more)
        })
        .collect();
    times.sort_unstable();
    let mut model = Model::default();
    for (n, moment) in times.into_iter().enumerate() {
        let severity = [Severity::High, Severity::Critical][n % 2];
        let id = event_id_floor(moment).get() + n as i64;
        let mut one = event(id, severity, SOURCES[n * n / 5 % SOURCES.len()], "scan", "x");
        one.created_at = moment;
        store(db, &[one]).await.unwrap();
        model.alerts.push(db.alert(AlertId::new(id)).await.unwrap().unwrap());
    }
    model
}

/// As far from `at(0)` as given, moved back to a whole minute, hour and day of the clock.
fn down(seconds: i64) -> i64 {
    let grain = if seconds % DAY == 0 {
        DAY
    } else if seconds % 3_600 == 0 {
        3_600
    } else {
        60
    };
    let moment = at(seconds).seconds();
    seconds - moment.rem_euclid(grain)
}

async fn changed(db: &Db, model: &mut Model, people: &[Assignee], runner: &mut TestRunner) {
    let actions = actions(people.to_vec());
    for step in 0..STEPS {
        let place = (0..model.alerts.len()).new_tree(runner).unwrap().current();
        let action = actions.new_tree(runner).unwrap().current();
        // Later ones in the last hour, some of them in the same moment.
        let now = if step < STEPS / 2 { -(STEPS - step) * 20_000 } else { (step - STEPS) * 9 / 10 * 10 };
        let actor = ["jane", "joe", "eve"][(step % 7 % 3) as usize];
        if step % 12 == 0 {
            let all = Vec::from_iter(0..model.alerts.len());
            let places = proptest::sample::subsequence(all, 5..=40).new_tree(runner).unwrap().current();
            let job = model.done_with_many(db, (step, actor), &action, now, &places).await;
            // Most are taken back: at once, or after one of their alerts was changed by itself.
            match step / 12 % 4 {
                0 => {}
                1 => {
                    if let Some((place, ..)) = job.first() {
                        model.done_with_one(db, *place, &Action::Note, "eve", now + 1).await;
                    }
                    model.taken_back(db, (step, actor), &job, now + 2).await;
                }
                _ => model.taken_back(db, (step, actor), &job, now + 1).await,
            }
        } else {
            model.done_with_one(db, place, &action, actor, now).await;
        }
    }
    model.changes.sort_by_key(|change| std::cmp::Reverse((change.at, change.alert, change.version)));
}

impl Model {
    /// Writes down what an action makes of an alert, if anything; the alert as it was before.
    fn acted(&mut self, place: usize, action: &Action, actor: &'static str, now: i64) -> Option<Alert> {
        let before = self.alerts[place].clone();
        let step =
            action.apply(&before, actor, at(now)).ok().filter(|s| s.alert.version != before.version)?;
        self.changes.push(Change {
            alert: before.id,
            at: at(now),
            version: step.alert.version,
            actor,
            action: step.action,
            from: before.status,
            to: step.alert.status,
            undone: false,
        });
        self.alerts[place] = step.alert;
        Some(before)
    }

    async fn done_with_one(&mut self, db: &Db, place: usize, action: &Action, actor: &'static str, now: i64) {
        let id = self.alerts[place].id;
        self.acted(place, action, actor, now);
        match db.act(id, action, "because", None, &by(actor, now)).await {
            Ok(acted) => assert_eq!(acted.step.alert, self.alerts[place]),
            Err(StoreError::NotNow(_)) => {}
            Err(error) => panic!("{action:?}: {error}"),
        }
    }

    fn handover(&self, user: UserId, since: Timestamp, until: Timestamp) -> Handover {
        let within = |moment: Timestamp| since <= moment && moment < until;
        let by_severity = |wanted: &dyn Fn(&Alert) -> bool| {
            Severity::ALL
                .map(|severity| {
                    let n = self.alerts.iter().filter(|alert| wanted(alert) && alert.severity == severity);
                    (severity, n.count() as i64)
                })
                .into()
        };
        let open = |wanted: &dyn Fn(&Alert) -> bool| {
            let open = self.alerts.iter().filter(|alert| alert.status == Status::Open && wanted(alert));
            Count::Exact(open.count() as i64)
        };
        let counts = |change: &&Change| within(change.at) && !change.undone;
        let changes: Vec<&Change> = self.changes.iter().filter(counts).collect();
        let notes: Vec<&Change> = changes.iter().copied().filter(|change| change.action == "note").collect();
        let mut by_person: BTreeMap<String, Deeds> = BTreeMap::new();
        let mut done = Deeds::default();
        for change in &changes {
            for deeds in [by_person.entry(change.actor.into()).or_default(), &mut done] {
                let resolved = |status| status == Status::Resolved;
                deeds.changes += 1;
                deeds.acknowledged +=
                    i64::from((change.from, change.to) == (Status::Open, Status::Acknowledged));
                deeds.resolved += i64::from(!resolved(change.from) && resolved(change.to));
                deeds.reopened += i64::from(resolved(change.from) && !resolved(change.to));
                deeds.notes += i64::from(change.action == "note");
            }
        }
        let mut by_person: Vec<_> = by_person.into_iter().collect();
        by_person.sort_by_key(|(name, deeds)| (-deeds.changes, name.clone()));
        let mut sources: BTreeMap<String, i64> = BTreeMap::new();
        for alert in self.alerts.iter().filter(|alert| within(alert.created_at)) {
            *sources.entry(alert.event.source_name.to_lowercase()).or_default() += 1;
        }
        let mut sources: Vec<_> = sources.into_iter().collect();
        sources.sort_by_key(|(name, n)| (-n, name.clone()));
        let ended =
            |alert: &&Alert| alert.snoozed_until.is_some_and(within) && alert.status != Status::Resolved;
        Handover {
            raised: by_severity(&|alert| within(alert.created_at)),
            raised_is_minimum: false,
            done,
            by_person,
            by_person_more: false,
            done_is_minimum: false,
            still_open: by_severity(&|alert| alert.status == Status::Open),
            unassigned_open: open(&|alert| alert.assignee.is_none()),
            mine_open: open(&|alert| alert.assignee.as_ref().is_some_and(|assignee| assignee.id == user)),
            snoozes_ended: Count::Exact(self.alerts.iter().filter(ended).count() as i64),
            top_sources_more: sources.len() > 5,
            top_sources: sources.into_iter().take(5).collect(),
            top_sources_is_minimum: false,
            changes_more: changes.len() > 50,
            changes: self.told(&changes, 50),
            notes_more: notes.len() > 20,
            notes: self.told(&notes, 20),
        }
    }

    fn told(&self, changes: &[&Change], most: usize) -> Vec<Told> {
        let alert = |id| self.alerts.iter().find(|alert| alert.id == id).unwrap().clone();
        let told = |change: &&Change| Told { alert: alert(change.alert), entry: self.entry(change) };
        changes.iter().take(most).map(told).collect()
    }

    /// What the history says of a change is proven elsewhere: here it is which, whose and of what.
    fn entry(&self, change: &Change) -> watchpost_model::alert::HistoryEntry {
        watchpost_model::alert::HistoryEntry {
            version: change.version,
            at: change.at,
            actor: change.actor.into(),
            action: change.action.into(),
            from: None,
            to: String::new(),
            verdict: None,
            why: "because".into(),
            undone: false,
        }
    }
}

/// What the store says, as far as the model knows it.
fn comparable(mut found: Handover) -> Handover {
    for told in found.changes.iter_mut().chain(&mut found.notes) {
        (told.entry.from, told.entry.verdict) = (None, None);
        told.entry.to.clear();
    }
    for (name, _) in &mut found.top_sources {
        *name = name.to_lowercase();
    }
    found
}

async fn handovers_agree_with_a_plain_model(db: Db, _: Place) {
    let mut runner = TestRunner::deterministic();
    let mut people = Vec::new();
    for name in ["jane", "joe"] {
        let id = user(&db, name, Role::Responder).await.id;
        people.push(Assignee { id, name: name.into() });
    }
    let mut model = raised(&db, &mut runner).await;
    changed(&db, &mut model, &people, &mut runner).await;
    let edges: Vec<Timestamp> = model.alerts.iter().map(|alert| alert.created_at).collect();
    let edges = edges.into_iter().chain(model.changes.iter().map(|change| change.at)).collect::<Vec<_>>();
    let moments = prop_oneof![
        2 => (proptest::sample::select(edges), 0_i64..2).prop_map(|(edge, more)| micros(edge, more)),
        1 => (-31 * DAY..10).prop_map(|seconds| micros(at(seconds), 77)),
        1 => (-70_i64..1_600).prop_map(at),
        1 => proptest::sample::select(vec![-DAY, -2 * DAY, -3_600, -60]).prop_map(|seconds| at(down(seconds))),
    ];
    let (mut told, mut reached) = (0, [0; 6]);
    for n in 0..WINDOWS {
        let (one, other) = (
            moments.new_tree(&mut runner).unwrap().current(),
            moments.new_tree(&mut runner).unwrap().current(),
        );
        let (since, until) = (one.min(other), if n % 3 == 0 { at(2_000) } else { one.max(other) });
        let wanted = model.handover(people[n % 2].id, since, until);
        let found = comparable(db.handover(people[n % 2].id, since, until).await.unwrap());
        assert_eq!(found, wanted, "{since} to {until}");
        told += i64::from(wanted.changes_more) + i64::from(wanted.notes_more);
        let seen = [
            wanted.done.acknowledged,
            wanted.done.resolved,
            wanted.done.reopened,
            wanted.done.notes,
            wanted.snoozes_ended.number(),
            wanted.raised.values().sum(),
        ];
        reached.iter_mut().zip(seen).for_each(|(reached, n)| *reached += n);
    }
    assert!(told > 10 && reached.iter().all(|n| *n > 10), "the model was hardly asked: {told} {reached:?}");
    undo::histories_say_what_was_undone(&db, &model).await;
    undo::reactions_are_those_that_still_hold(&db, &model).await;
    // A week further on nothing has happened since.
    let later = db.handover(people[0].id, at(7 * DAY), at(8 * DAY)).await.unwrap();
    assert_eq!(
        (later.changes.len(), later.raised.values().sum::<i64>(), later.done),
        (0, 0, Deeds::default())
    );
}

/// Open alerts as if they had been raised, one a microsecond.
async fn raise_many(db: &Db, first: i64, last: i64) {
    let sql = format!(
        "INSERT INTO alerts (id, event_id, rule, source_name, event_type, severity, status, created_at, updated_at, version)
         WITH RECURSIVE s(n) AS (SELECT CAST({first} AS BIGINT) UNION ALL SELECT n + 1 FROM s WHERE n < {last})
         SELECT n, n, 'r', 'fw', 'scan', 3, 1, {} + n, 0, 1 FROM s",
        at(-100).micros()
    );
    testing::run(db, &sql).await.unwrap();
}

/// Rows as if that many had been written by people.
async fn many_changes(db: &Db, count: i64) {
    let sql = format!(
        "INSERT INTO alert_history (alert_id, version, at, actor, from_status, to_status, action)
         WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count})
         SELECT n, 2, {} + n, 'person ' || CAST(n % 60 AS TEXT), 1, 2, CASE WHEN n <= 5 THEN 'note' ELSE 'status' END FROM s",
        at(100).micros()
    );
    testing::run(db, &sql).await.unwrap();
}

async fn what_is_too_much_is_said_to_be_a_minimum(db: Db, _: Place) {
    let jane = user(&db, "jane", Role::Responder).await.id;
    // One more than is counted in a minute, and then a few.
    let minute = at(0).seconds().div_euclid(60) * 60 - at(0).seconds();
    let mut events = Vec::new();
    for n in 1..=10_005 {
        let source = ["a", "b", "c", "d", "e", "f", "g"][n as usize % 7];
        let mut one = event(n, Severity::High, source, "scan", "x");
        one.created_at = micros(at(minute), n);
        events.push(one);
    }
    store(&db, &events).await.unwrap();
    let raised = async |since, until| {
        let found = db.handover(jane, since, until).await.unwrap();
        (found.raised[&Severity::High], found.raised_is_minimum, found.top_sources_is_minimum)
    };
    assert_eq!(
        raised(at(minute), at(minute + 120)).await,
        (10_005, false, true),
        "whole minutes are counted already"
    );
    assert_eq!(raised(micros(at(minute), 1), at(minute + 120)).await, (10_001, true, true));
    assert_eq!(raised(micros(at(minute), 6), at(minute + 120)).await, (10_000, false, false));
    assert_eq!(raised(at(minute - 59), micros(at(minute), 10_006)).await, (10_001, true, true));
    assert_eq!(raised(at(minute - 59), micros(at(minute), 10_001)).await, (10_000, false, false));

    let found = db.handover(jane, at(minute), at(minute + 60)).await.unwrap();
    assert_eq!(
        (found.still_open[&Severity::High], found.top_sources.len(), found.top_sources_more),
        (10_005, 5, true)
    );
    assert_eq!((found.unassigned_open, found.mine_open), (Count::Exact(10_005), Count::Exact(0)));

    many_changes(&db, 10_000).await;
    let (since, until) = (at(100), at(200));
    let found = db.handover(jane, since, until).await.unwrap();
    assert_eq!((found.done.changes, found.done_is_minimum, found.notes_more), (10_000, false, false));
    assert_eq!((found.notes.len(), found.done.notes, found.done.acknowledged), (5, 5, 10_000));
    assert_eq!((found.by_person.len(), found.by_person_more), (50, true));
    assert_eq!((found.changes.len(), found.changes_more), (50, true));
    testing::run(&db, "DELETE FROM alert_history").await.unwrap();
    many_changes(&db, 10_004).await;
    let found = db.handover(jane, since, until).await.unwrap();
    assert_eq!((found.done.changes, found.done_is_minimum, found.notes_more), (10_001, true, true));
    assert_eq!((found.notes.len(), found.done.notes), (2, 2), "the newest were looked at");
    // What was undone takes nobody else's place, however much it was.
    testing::run(&db, "UPDATE alert_history SET undone = 1 WHERE alert_id > 7").await.unwrap();
    let found = db.handover(jane, since, until).await.unwrap();
    assert_eq!((found.done.changes, found.done_is_minimum, found.done.notes), (7, false, 5));
    assert_eq!((found.by_person.len(), found.changes.len(), found.changes_more), (7, 7, false));
}

async fn open_alerts_are_looked_at_to_a_point(db: Db, _: Place) {
    let jane = user(&db, "jane", Role::Responder).await.id;
    let whose = async || {
        let found = db.handover(jane, at(0), at(60)).await.unwrap();
        (found.mine_open, found.unassigned_open, found.snoozes_ended)
    };
    raise_many(&db, 1, 10_000).await;
    let taken = format!("UPDATE alerts SET assignee_id = {jane}, snoozed_until = {}", at(50).micros());
    testing::run(&db, &taken).await.unwrap();
    testing::run(&db, "UPDATE alerts SET status = 3 WHERE id <= 2000").await.unwrap();
    assert_eq!(whose().await, (Count::Exact(8_000), Count::Exact(0), Count::Exact(8_000)));
    raise_many(&db, 10_001, 52_000).await;
    assert_eq!(
        whose().await,
        (Count::Exact(8_000), Count::Exact(42_000), Count::Exact(8_000)),
        "as many as are looked at"
    );
    raise_many(&db, 52_001, 60_000).await;
    let (mine, nobodys, _) = whose().await;
    assert_eq!(mine, Count::Exact(8_000), "they are found among what is hers");
    assert!(matches!(nobodys, Count::AtLeast(42_001..=50_000)), "{nobodys:?}");
    testing::run(&db, &taken).await.unwrap();
    assert_eq!(
        whose().await,
        (Count::AtLeast(50_001), Count::AtLeast(0), Count::AtLeast(10_000)),
        "the newest are looked at"
    );
}

async fn what_was_seen_only_moves_forward(db: Db, _: Place) {
    let (jane, joe) = (user(&db, "jane", Role::Analyst).await.id, user(&db, "joe", Role::Analyst).await.id);
    assert_eq!(db.seen_until(jane).await.unwrap(), None);
    let tasks: Vec<_> = (0..24)
        .map(|n| {
            let db = db.clone();
            tokio::spawn(async move { (n * 7 % 24, db.see_until(jane, at(n * 7 % 24)).await.unwrap()) })
        })
        .collect();
    for task in tasks {
        let (wanted, seen) = task.await.unwrap();
        assert!(seen >= at(wanted));
    }
    assert_eq!(db.seen_until(jane).await.unwrap(), Some(at(23)));
    assert_eq!(db.see_until(jane, at(5)).await.unwrap(), at(23));
    assert_eq!(db.seen_until(joe).await.unwrap(), None, "others have seen nothing");
}

#[test]
fn large_tables_are_read_by_an_index_in_its_order() {
    run(Place::sqlite(), |db, _| async move {
        for sql in testing::handover_statements() {
            let plan = testing::plan(&db, sql).await.unwrap();
            let table =
                plan.iter().find(|line| line.contains(" alerts") || line.contains(" alert_history")).unwrap();
            assert!(table.starts_with("SEARCH") && table.contains("INDEX"), "{plan:?}");
            // What is sorted or grouped are the rows that were read, never the table.
            let inner = plan.iter().position(|line| line == table).unwrap();
            let sorted = plan.get(inner + 1).is_some_and(|line| line.contains("TEMP B-TREE FOR ORDER BY"));
            assert!(!sorted || sql.contains("action = 'note' ORDER BY"), "{plan:?}");
        }
    });
}
