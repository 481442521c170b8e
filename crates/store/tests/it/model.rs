//! Lists, filters and counts, against a plain model: whatever is asked, both say the same.

use crate::{Place, actor, at, event, on_both_engines, store};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use watchpost_model::filter::{AlertFilter, AlertOrder, EventFilter};
use watchpost_model::page::PageRequest;
use watchpost_model::{Alert, AlertId, Event, Severity, Status};
use watchpost_store::Db;

on_both_engines!(lists_agree_with_a_plain_model);

const SOURCES: [&str; 3] = ["Edge-FW", "cam_1", "50% off"];
const TYPES: [&str; 3] = ["Intrusion", "scan", "back\\slash"];
const WORDS: [&str; 4] = ["Port scan", "100%_sure", "it's \\ here", "日本語"];
/// How many questions are asked of each database.
const QUESTIONS: usize = 150;

fn matches_alert(filter: &AlertFilter, alert: &Alert) -> bool {
    let event = &alert.event;
    (filter.severities.is_empty() || filter.severities.contains(&alert.severity))
        && (filter.event_severities.is_empty() || filter.event_severities.contains(&event.severity))
        && (filter.statuses.is_empty() || filter.statuses.contains(&alert.status))
        && matches_texts(&filter.event_type, &filter.source_name, &filter.search, event)
}

fn matches_texts(
    kind: &Option<String>,
    source: &Option<String>,
    search: &Option<String>,
    event: &Event,
) -> bool {
    let same = |wanted: &Option<String>, found: &str| {
        wanted.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(found))
    };
    let contains =
        |text: &str, needle: &str| text.to_ascii_lowercase().contains(&needle.to_ascii_lowercase());
    same(kind, &event.event_type)
        && same(source, &event.source_name)
        && search.as_ref().is_none_or(|needle| {
            [&event.description, &event.source_name, &event.event_type]
                .iter()
                .any(|text| contains(text, needle))
        })
}

fn sort(alerts: &mut [Alert], filter: &AlertFilter) {
    alerts.sort_by_key(|alert| {
        let first = match filter.order {
            AlertOrder::CreatedAt => 0,
            AlertOrder::Severity => alert.severity.code(),
            AlertOrder::Status => alert.status.code(),
        };
        (first, alert.created_at, alert.id)
    });
    if filter.descending {
        alerts.reverse();
    }
}

fn text_of(choices: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        4 => Just(None),
        2 => proptest::sample::select(choices).prop_map(|text| Some(text.to_ascii_uppercase())),
        1 => Just(Some("nothing like it".to_owned())),
    ]
}

fn questions() -> impl Strategy<Value = (AlertFilter, PageRequest)> {
    let severities = proptest::sample::subsequence(Severity::ALL.to_vec(), 0..=2);
    let statuses = proptest::sample::subsequence(Status::ALL.to_vec(), 0..=2);
    let order =
        proptest::sample::select(vec![AlertOrder::CreatedAt, AlertOrder::Severity, AlertOrder::Status]);
    let needles: &'static [&'static str] = &["scan", "%", "_", "\\", "'", "日本", "edge"];
    let page = (1_u32..8, 1_u32..15).prop_map(|(number, size)| PageRequest { number, size });
    (
        severities.clone(),
        severities,
        statuses,
        text_of(&TYPES),
        text_of(&SOURCES),
        text_of(needles),
        order,
        any::<bool>(),
        page,
    )
        .prop_map(
            |(
                severities,
                event_severities,
                statuses,
                event_type,
                source_name,
                search,
                order,
                descending,
                page,
            )| {
                let filter = AlertFilter {
                    severities,
                    event_severities,
                    statuses,
                    event_type,
                    source_name,
                    search,
                    order,
                    descending,
                };
                (filter, page)
            },
        )
}

async fn lists_agree_with_a_plain_model(db: Db, _: Place) {
    let mut events = Vec::new();
    for n in 0..60_usize {
        let severity = Severity::ALL[(n * 7 + n / 5) % 4];
        let mut event = event(n as i64 + 1, severity, SOURCES[n % 3], TYPES[(n / 3) % 3], WORDS[(n / 2) % 4]);
        // Several at the same moment: the id decides.
        event.created_at = at(n as i64 / 4);
        events.push(event);
    }
    for batch in events.chunks(7) {
        store(&db, batch).await.unwrap();
    }
    let mut alerts = Vec::new();
    for event in events.iter().filter(|event| event.severity >= Severity::High) {
        let id = AlertId::new(event.id.get());
        let to = Status::ALL[event.id.get() as usize % 3];
        alerts.push(db.change_alert_status(id, to, None, &actor("jane"), at(100)).await.unwrap().alert);
    }
    let mut runner = TestRunner::deterministic();
    for _ in 0..QUESTIONS {
        let (filter, page) = questions().new_tree(&mut runner).unwrap().current();
        let mut wanted: Vec<Alert> =
            alerts.iter().filter(|alert| matches_alert(&filter, alert)).cloned().collect();
        sort(&mut wanted, &filter);
        let found = db.alerts(&filter, page).await.unwrap();
        let (from, size) = (page.offset() as usize, page.size as usize);
        let on_page: Vec<Alert> = wanted.iter().skip(from).take(size).cloned().collect();
        assert_eq!(found.rows, on_page, "{filter:?} {page:?}");
        assert_eq!(found.count.number(), wanted.len() as i64, "{filter:?}");
        assert_eq!(found.more, wanted.len() > from + size, "{filter:?} {page:?}");

        let AlertFilter { severities, event_type, source_name, search, .. } = filter;
        let filter = EventFilter { severities, event_type, source_name, search };
        let matches = |event: &&Event| {
            (filter.severities.is_empty() || filter.severities.contains(&event.severity))
                && matches_texts(&filter.event_type, &filter.source_name, &filter.search, event)
        };
        let wanted: Vec<Event> = events.iter().rev().filter(matches).cloned().collect();
        let found = db.events(&filter, page).await.unwrap();
        let on_page: Vec<Event> = wanted.iter().skip(from).take(size).cloned().collect();
        assert_eq!(found.rows, on_page, "{filter:?} {page:?}");
        assert_eq!(found.count.number(), wanted.len() as i64, "{filter:?}");
    }
}
