//! Lists, filters and counts, against a plain model: whatever is asked, both say the same.

use crate::{Place, at, by, move_to, on_both_engines, store, stored};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use std::future::Future;
use watchpost_model::filter::{About, AlertFilter, AlertOrder, EventFilter, Field, Span, Triage};
use watchpost_model::id::event_id_floor;
use watchpost_model::page::{Count, Page, PageRequest};
use watchpost_model::terms::{Search, Word, each_term};
use watchpost_model::text::Given;
use watchpost_model::{
    Alert, AlertId, DetailsDraft, Event, EventDraft, EventId, Severity, Status, Timestamp,
};
use watchpost_store::{Db, testing};

on_both_engines!(lists_agree_with_a_plain_model, lists_that_leave_much_out_are_walked_in_steps);

const SOURCES: [&str; 3] = ["Edge-FW", "cam_1", "50% off"];
const TYPES: [&str; 3] = ["Intrusion", "scan", "back\\slash"];
const WORDS: [&str; 4] = ["Port scan", "100%_sure", "it's \\ here", "日本語"];
const HOSTS: [&str; 2] = ["host-1", "DB"];
/// The last is looked for under the same term as a source and is none.
const LEFT_OUT: [&str; 4] = ["Edge-FW", "cam_1", "50% off", "50%=off"];
/// How many questions are asked of each database.
const QUESTIONS: usize = 150;

fn matches_alert(filter: &AlertFilter, alert: &Alert) -> bool {
    let event = &alert.event;
    (filter.ids.is_empty() || filter.ids.contains(&alert.id))
        && (filter.severities.is_empty() || filter.severities.contains(&alert.severity))
        && (filter.event_severities.is_empty() || filter.event_severities.contains(&event.severity))
        && (filter.statuses.is_empty() || filter.statuses.contains(&alert.status))
        && matches_about(&filter.about, event)
}

fn matches_about(about: &About, event: &Event) -> bool {
    let says = |(field, values): (&Field, &Vec<String>)| {
        let found = match field {
            Field::Source => Some(event.source_name.as_str()),
            Field::Type => Some(event.event_type.as_str()),
            Field::Host => event.details.host.as_deref(),
            Field::User => event.details.user.as_deref(),
            _ => None,
        };
        values.iter().any(|value| found.is_some_and(|found| value.eq_ignore_ascii_case(found)))
    };
    let fields = about.fields.iter().all(says) && !about.without.iter().any(says);
    let mut terms = Vec::new();
    for text in [&event.source_name, &event.event_type, &event.description] {
        each_term(text, |term| terms.push(term.to_owned()));
    }
    for text in event.details.host.iter().chain(&event.details.user) {
        each_term(text, |term| terms.push(term.to_owned()));
    }
    let searched = about.search.as_ref().is_none_or(|search| {
        let there = |word: &Word| {
            terms.iter().any(|term| *term == word.text || (!word.whole && term.starts_with(&word.text)))
        };
        !search.words().is_empty() && search.words().iter().all(there)
    });
    fields
        && searched
        && about.span.since.is_none_or(|since| event.created_at >= since)
        && about.span.until.is_none_or(|until| event.created_at < until)
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

fn values_of(choices: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    prop_oneof![
        5 => Just(Vec::new()),
        2 => proptest::sample::select(choices).prop_map(|text| vec![text.to_ascii_uppercase()]),
        1 => proptest::sample::subsequence(choices.to_vec(), choices.len().min(2))
            .prop_map(|texts| texts.into_iter().map(str::to_owned).collect()),
        1 => Just(vec!["nothing like it".to_owned()]),
    ]
}

pub(crate) fn abouts() -> impl Strategy<Value = About> {
    let needles: &'static [&'static str] = &[
        "scan",
        "%",
        "_",
        "\\",
        "it's",
        "日本",
        "edge",
        "\"edge\"",
        "\"port\" sc",
        "1",
        "sure 100",
        "Host-",
    ];
    let search = prop_oneof![3 => Just(None), 2 => proptest::sample::select(needles).prop_map(|t| Some(Search::parse(t)))];
    let moment = || proptest::option::weighted(0.25, (0_i64..16).prop_map(at));
    let filled = |fields: [(Field, Vec<String>); 3]| -> BTreeMap<Field, Vec<String>> {
        fields.into_iter().filter(|(_, values)| !values.is_empty()).collect()
    };
    let fields = (values_of(&SOURCES), values_of(&TYPES), values_of(&HOSTS));
    let fields = fields.prop_map(move |(sources, types, hosts)| {
        filled([(Field::Source, sources), (Field::Type, types), (Field::Host, hosts)])
    });
    let fields = fields.boxed();
    let without = (values_of(&LEFT_OUT), values_of(&HOSTS), values_of(&["Bob"]));
    let without = without.prop_map(move |(sources, hosts, users)| {
        filled([(Field::Source, sources), (Field::Host, hosts), (Field::User, users)])
    });
    let without = without.boxed();
    // Half of the lists leave nothing out, and half of the others ask for nothing beside it.
    let fields = prop_oneof![
        2 => (fields.clone(), Just(BTreeMap::new())),
        1 => (fields, without.clone()),
        1 => (Just(BTreeMap::new()), without),
    ];
    (fields, search, moment(), moment()).prop_map(|((fields, without), search, since, until)| About {
        fields,
        without,
        search,
        span: Span { since, until },
    })
}

fn questions() -> impl Strategy<Value = (AlertFilter, PageRequest)> {
    let severities = proptest::sample::subsequence(Severity::ALL.to_vec(), 0..=2);
    let statuses = proptest::sample::subsequence(Status::ALL.to_vec(), 0..=2);
    let order =
        proptest::sample::select(vec![AlertOrder::CreatedAt, AlertOrder::Severity, AlertOrder::Status]);
    let page = (1_u32..8, 1_u32..15).prop_map(|(number, size)| PageRequest::numbered(number, size));
    let few = proptest::sample::select(vec![true, false, false, false, false, false]);
    (severities.clone(), severities, statuses, abouts(), few, order, any::<bool>(), page).prop_map(
        |(severities, event_severities, statuses, about, few, order, descending, page)| {
            let ids = if few { (3..30).map(alert_id).collect() } else { Vec::new() };
            let filter = AlertFilter {
                ids,
                severities,
                event_severities,
                statuses,
                about,
                triage: Triage::default(),
                order,
                descending,
            };
            (filter, page)
        },
    )
}

/// The time and the id of the event with a number: several at the same moment, so that the id decides.
fn moment(n: i64) -> Timestamp {
    at(n / 4)
}

fn event_id(n: i64) -> EventId {
    EventId::new(event_id_floor(moment(n)).get() + n % 4)
}

fn alert_id(n: i64) -> AlertId {
    AlertId::new(event_id(n).get())
}

fn events() -> Vec<Event> {
    (0..60).map(|n| event_like(n, event_id(n), moment(n))).collect()
}

/// An event that says other things than those with the numbers around it.
pub(crate) fn event_like(n: i64, id: EventId, at: Timestamp) -> Event {
    let i = n as usize;
    let text = |text: &'static str| Given::Text(text.into());
    let draft = EventDraft {
        source_name: text(SOURCES[i % 3]),
        event_type: text(TYPES[(i / 3) % 3]),
        severity: text(Severity::ALL[(i * 7 + i / 5) % 4].as_str()),
        description: text(WORDS[(i / 2) % 4]),
        details: DetailsDraft {
            host: text(HOSTS[i % 2]),
            user: if i.is_multiple_of(4) { text("bob") } else { Given::Missing },
            ..DetailsDraft::default()
        },
    };
    let mut event = stored(&draft, id.get());
    event.created_at = at;
    event
}

/// Follows `next` through a list and `previous` back again: it is the same list both ways.
async fn walk<T, F>(size: u32, wanted: &[T], list: impl Fn(PageRequest) -> F)
where
    T: Clone + PartialEq + std::fmt::Debug,
    F: Future<Output = Page<T>>,
{
    let (mut forwards, mut pages) = (Vec::new(), Vec::new());
    let mut request = PageRequest::numbered(1, size);
    loop {
        let page = list(request).await;
        forwards.extend(page.rows.iter().cloned());
        assert_eq!(page.more, page.next.is_some());
        pages.push(page.clone());
        let Some(next) = page.next else { break };
        request.cursor = Some(next);
    }
    assert_eq!(forwards, wanted);
    let mut last = pages.pop().unwrap();
    while let Some(before) = pages.pop() {
        let previous = last.previous.unwrap();
        last = list(PageRequest { cursor: Some(previous), ..request }).await;
        assert_eq!(last.rows, before.rows);
    }
    assert_eq!(last.rows.first(), wanted.first());
}

/// As before where pages may break off: whatever they hold, together they are the list, both ways.
async fn stroll<T, F>(size: u32, wanted: &[T], list: impl Fn(PageRequest) -> F)
where
    T: Clone + PartialEq + std::fmt::Debug,
    F: Future<Output = Page<T>>,
{
    let mut request = PageRequest::numbered(1, size);
    let mut last = list(request).await;
    let mut forwards = last.rows.clone();
    while let Some(next) = last.next {
        assert!(last.more && (last.partial || last.rows.len() as u32 == size));
        request.cursor = Some(next);
        last = list(request).await;
        forwards.extend(last.rows.iter().cloned());
    }
    assert_eq!(forwards, wanted);
    let mut backwards = last.rows.clone();
    while let Some(previous) = last.previous {
        last = list(PageRequest { cursor: Some(previous), ..request }).await;
        backwards.splice(0..0, last.rows.iter().cloned());
    }
    assert_eq!(backwards, wanted);
}

async fn lists_that_leave_much_out_are_walked_in_steps(db: Db, _: Place) {
    testing::small_shards(10);
    let events = events();
    store(&db, &events).await.unwrap();
    testing::index_all(&db).await.unwrap();
    let mut alerts = Vec::new();
    for event in events.iter().filter(|event| event.severity >= Severity::High) {
        let to = Status::ALL[event.id.get() as usize % 3];
        let id = AlertId::new(event.id.get());
        alerts.push(move_to(&db, id, to, None, &by("jane", 100)).await.unwrap().step.alert);
    }
    let (mut runner, mut walked) = (TestRunner::deterministic(), 0);
    let leaves_out = questions().prop_filter("leaves something out", |(f, _)| !f.about.without.is_empty());
    for n in 0..QUESTIONS / 3 {
        let (filter, page) = leaves_out.new_tree(&mut runner).unwrap().current();
        let looked_at = [1, 2, 5, 13][n % 4];
        let mut wanted: Vec<Alert> =
            alerts.iter().filter(|alert| matches_alert(&filter, alert)).cloned().collect();
        sort(&mut wanted, &filter);
        stroll(page.size, &wanted, |request| {
            let (db, filter) = (db.clone(), filter.clone());
            async move { testing::alerts_among(&db, &filter, request, looked_at).await.unwrap() }
        })
        .await;
        let AlertFilter { severities, about, ids, .. } = filter;
        let ids: Vec<EventId> = ids.into_iter().map(|id| EventId::new(id.get())).collect();
        let filter = EventFilter { ids, severities, about };
        let wanted: Vec<Event> =
            events.iter().rev().filter(|event| matches_event(&filter, event)).cloned().collect();
        stroll(page.size, &wanted, |request| {
            let (db, filter) = (db.clone(), filter.clone());
            async move { testing::events_among(&db, &filter, request, looked_at).await.unwrap() }
        })
        .await;
        let first =
            testing::events_among(&db, &filter, PageRequest::numbered(1, 5), looked_at).await.unwrap();
        let told = match first.count {
            Count::Exact(n) => n == wanted.len() as i64,
            Count::AtLeast(n) => n <= wanted.len() as i64,
        };
        assert!(told, "{:?} of {}: {filter:?}", first.count, wanted.len());
        walked += usize::from(first.partial);
    }
    assert!(walked > 5, "only {walked} lists broke off: the questions are too easy");
}

pub(crate) fn matches_event(filter: &EventFilter, event: &Event) -> bool {
    (filter.ids.is_empty() || filter.ids.contains(&event.id))
        && (filter.severities.is_empty() || filter.severities.contains(&event.severity))
        && matches_about(&filter.about, event)
}

async fn lists_agree_with_a_plain_model(db: Db, _: Place) {
    testing::small_shards(10);
    let events = events();
    for batch in events.chunks(7) {
        store(&db, batch).await.unwrap();
        testing::index_all(&db).await.unwrap();
    }
    let mut alerts = Vec::new();
    for event in events.iter().filter(|event| event.severity >= Severity::High) {
        let id = AlertId::new(event.id.get());
        let to = Status::ALL[event.id.get() as usize % 3];
        alerts.push(move_to(&db, id, to, None, &by("jane", 100)).await.unwrap().step.alert);
    }
    let mut runner = TestRunner::deterministic();
    for n in 0..QUESTIONS {
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
        if n % 3 == 0 {
            walk(page.size, &wanted, |request| {
                let (db, filter) = (db.clone(), filter.clone());
                async move { db.alerts(&filter, request).await.unwrap() }
            })
            .await;
        }

        let AlertFilter { severities, about, ids, .. } = filter;
        let ids: Vec<EventId> = ids.into_iter().map(|id| EventId::new(id.get())).collect();
        let filter = EventFilter { ids, severities, about };
        let wanted: Vec<Event> =
            events.iter().rev().filter(|event| matches_event(&filter, event)).cloned().collect();
        for event in &events {
            let whenever = About { span: Span::default(), ..filter.about.clone() };
            assert_eq!(whenever.fits(event), matches_about(&whenever, event), "{filter:?}");
        }
        let found = db.events(&filter, page).await.unwrap();
        let on_page: Vec<Event> = wanted.iter().skip(from).take(size).cloned().collect();
        assert_eq!(found.rows, on_page, "{filter:?} {page:?}");
        assert_eq!(found.count.number(), wanted.len() as i64, "{filter:?}");
        if n % 3 == 0 {
            walk(page.size, &wanted, |request| {
                let (db, filter) = (db.clone(), filter.clone());
                async move { db.events(&filter, request).await.unwrap() }
            })
            .await;
        }
    }
}
