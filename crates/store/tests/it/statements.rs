//! Every statement of the store is prepared on both engines.

use crate::{Place, at, on_both_engines};
use std::path::Path;
use watchpost_model::filter::{About, AlertFilter, AlertOrder, EventFilter, Field, Span, Triage, Whose};
use watchpost_model::page::Cursor;
use watchpost_model::triage::Verdict;
use watchpost_model::{Severity, Status, UserId};
use watchpost_store::{Db, Engine, testing};

on_both_engines!(every_statement_prepares, every_filter_prepares);

const VERBS: [&str; 4] = ["SELECT ", "INSERT ", "UPDATE ", "DELETE "];
/// What only one engine understands.
const ONLY: [(&str, Engine); 16] = [
    ("pg_try_advisory", Engine::Postgres),
    ("pg_inherits", Engine::Postgres),
    ("pg_index", Engine::Postgres),
    ("search_queue", Engine::Postgres),
    ("search_late", Engine::Sqlite),
    ("events_elsewhen", Engine::Postgres),
    (" lineage", Engine::Sqlite),
    ("search_origin", Engine::Sqlite),
    (" writers", Engine::Postgres),
    ("sqlite_", Engine::Sqlite),
    ("unixepoch", Engine::Sqlite),
    ("current_setting", Engine::Postgres),
    ("pg_tables", Engine::Postgres),
    ("clock_timestamp", Engine::Postgres),
    ("xact", Engine::Postgres),
    ("pg_snapshot", Engine::Postgres),
];

/// The texts in quotes in a source file.
fn literals(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line_or_more in source.split("\n//").flat_map(|part| part.split('"').skip(1).step_by(2)) {
        found.push(line_or_more.replace("\\\n", ""));
    }
    found
}

/// Every statement in the sources, those of the `select_…!` macros put together.
fn statements() -> Vec<String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files: Vec<_> = std::fs::read_dir(&sources).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.extend(
        ["db/mod.rs", "db/sqlite.rs", "db/postgres.rs", "migrations/mod.rs"].map(|name| sources.join(name)),
    );
    let mut all = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|ending| ending == "rs")) {
        let source = std::fs::read_to_string(file).unwrap();
        let source: String = source
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .map(|line| format!("{line}\n"))
            .collect();
        let texts = literals(&source);
        let head = source
            .contains("macro_rules! select_")
            .then(|| texts.iter().find(|text| text.starts_with("SELECT ")).unwrap().clone());
        for text in texts {
            let whole = match &head {
                Some(head) if *head == text => continue,
                Some(head) if text.starts_with("WHERE ") || text.starts_with("ORDER BY ") => {
                    format!("{head}{text}")
                }
                _ => text,
            };
            if VERBS.iter().any(|verb| whole.starts_with(verb)) && !whole.contains('{') {
                all.push(whole);
            }
        }
    }
    all
}

async fn every_statement_prepares(db: Db, _: Place) {
    let all = statements();
    assert!(all.len() >= 40, "only {} statements were found: the search is broken", all.len());
    for sql in all {
        let elsewhere = ONLY.iter().any(|(mark, engine)| sql.contains(mark) && *engine != db.engine());
        if !elsewhere {
            testing::prepare(&db, &sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
        }
    }
    testing::prepare(&db, "SELECT nothing FROM nowhere").await.expect_err("a wrong statement is noticed");
}

async fn every_filter_prepares(db: Db, _: Place) {
    let cursors = [None, Some(Cursor { backwards: false, rank: 2, time: 5, id: 7 })];
    for bits in 0..128_u32 {
        let on = |bit: u32| bits & (1 << bit) != 0;
        let values = |on: bool| if on { vec!["x".to_owned(), "y".to_owned()] } else { vec![] };
        let fields =
            [(Field::Source, values(on(2))), (Field::Type, values(on(3))), (Field::Host, values(on(4)))];
        let fields = fields.into_iter().filter(|(_, values)| !values.is_empty()).collect();
        let moment = |on: bool| on.then(|| at(0));
        let span = Span { since: moment(on(5)), until: moment(on(6)) };
        let about = About { fields, span, ..About::default() };
        let triages = [
            Triage::default(),
            Triage { tags: vec!["a".into(), "b".into()], whose: Some(Whose::Nobody), ..Triage::default() },
            Triage {
                whose: Some(Whose::User(UserId::new(1))),
                snoozed: Some((false, at(0))),
                ..Triage::default()
            },
            Triage { verdicts: Verdict::ALL[..2].to_vec(), ..Triage::default() },
            Triage { snoozed: Some((true, at(0))), verdicts: vec![Verdict::Benign], ..Triage::default() },
        ];
        let severities = if on(0) { vec![Severity::High, Severity::Low] } else { vec![] };
        for order in [AlertOrder::CreatedAt, AlertOrder::Severity, AlertOrder::Status] {
            for cursor in cursors {
                let filter = AlertFilter {
                    severities: severities.clone(),
                    statuses: if on(1) { vec![Status::Open] } else { vec![] },
                    about: about.clone(),
                    triage: triages[(bits as usize + order as usize) % triages.len()].clone(),
                    order,
                    descending: on(0),
                    ..AlertFilter::default()
                };
                let events = EventFilter {
                    severities: severities.clone(),
                    about: about.clone(),
                    ..EventFilter::default()
                };
                for sql in [
                    testing::alert_statement(&db, &filter, cursor),
                    testing::event_statement(&db, &events, cursor),
                ] {
                    testing::prepare(&db, &sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
                }
            }
        }
    }
}
