//! How many events there were when and what they say most, against a plain model.

use crate::model::{abouts, event_like, matches_event};
use crate::{Place, at, on_both_engines, store};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;
use std::time::Duration;
use watchpost_model::filter::{About, EventFilter, Field, Span};
use watchpost_model::id::{event_id_floor, event_id_second};
use watchpost_model::{Event, EventId, Severity, Timestamp};
use watchpost_store::{Counts, Db, Effort, Steps, testing};

on_both_engines!(
    histograms_agree_with_a_plain_model,
    facets_agree_with_a_plain_model,
    a_list_is_read_to_its_end_in_batches,
);

const EVENTS: i64 = 90;
const QUESTIONS: usize = 80;

/// Events some minutes apart: half a day of them.
async fn events(db: &Db) -> Vec<Event> {
    testing::small_shards(10);
    let one = |n: i64| {
        let moment = at(n * 487);
        event_like(n, EventId::new(event_id_floor(moment).get() + n), moment)
    };
    let all: Vec<Event> = (0..EVENTS).map(one).collect();
    for batch in all.chunks(13) {
        store(db, batch).await.unwrap();
        testing::index_all(db).await.unwrap();
    }
    all
}

fn filters(events: &[Event]) -> impl Strategy<Value = EventFilter> + use<> {
    let ids: Vec<EventId> = events.iter().step_by(7).map(|event| event.id).collect();
    let ids = prop_oneof![6 => Just(Vec::new()), 1 => Just(ids)];
    let severities = prop_oneof![
        1 => Just(Vec::new()),
        1 => proptest::sample::subsequence(Severity::ALL.to_vec(), 1..=2),
    ];
    let abouts = prop_oneof![1 => Just(About::default()), 5 => abouts()];
    (ids, severities, abouts).prop_map(|(ids, severities, about)| EventFilter {
        ids,
        severities,
        about: About { span: Span::default(), ..about },
    })
}

fn second(event: &Event) -> i64 {
    event_id_second(event.id).seconds()
}

fn of_any(counts: &Counts) -> BTreeMap<i64, i64> {
    let mut sums = BTreeMap::new();
    for ((step, _), n) in counts {
        *sums.entry(*step).or_default() += n;
    }
    sums
}

async fn histograms_agree_with_a_plain_model(db: Db, _: Place) {
    let events = events(&db).await;
    let mut runner = TestRunner::deterministic();
    let filters = filters(&events);
    let floor = |seconds: i64, step: i64| Timestamp::from_micros(0).plus_seconds(seconds / step * step);
    let (mut broken_off, mut unsplit) = (0, 0);
    for n in 0..QUESTIONS {
        let filter = filters.new_tree(&mut runner).unwrap().current();
        let seconds = [60, 600, 3_600, 10_800, 86_400][n % 5];
        let (from, to) = (at(0).seconds() + 3_600 * (n as i64 % 3), at(EVENTS * 487).seconds());
        let steps =
            Steps { since: floor(from, seconds), until: floor(to, seconds).plus_seconds(seconds), seconds };
        let now = at([EVENTS * 487, 5 * 86_400, 50 * 86_400][n % 3]);
        let mut wanted = Counts::new();
        for event in events.iter().filter(|event| matches_event(&filter, event)) {
            let step = second(event).div_euclid(seconds) * seconds;
            if second(event) >= steps.since.seconds() && second(event) < steps.until.seconds() {
                *wanted.entry((step, Some(event.severity))).or_default() += 1;
            }
        }
        let patient = Effort::of(Duration::from_secs(60));
        let whole = db.event_histogram(&filter, &steps, now, patient).await.unwrap();
        assert_eq!((&whole.counts, whole.whole_since), (&wanted, None), "{filter:?} {steps:?}");

        let time = Duration::from_secs(if n % 3 == 0 { 0 } else { 60 });
        let bounds = Effort { in_index: 1 + n as i64 % 9, in_rows: 1 + n as i64 % 13, time };
        let part = db.event_histogram(&filter, &steps, now, bounds).await.unwrap();
        let whole_since = part.whole_since.map_or(i64::MIN, Timestamp::seconds);
        let (found, all) = (of_any(&part.counts), of_any(&wanted));
        for (step, n) in &all {
            let counted = found.get(step).copied().unwrap_or_default();
            match *step >= whole_since {
                true => assert_eq!(counted, *n, "{filter:?} {steps:?} {bounds:?}"),
                false => assert!(counted <= *n, "{filter:?} {steps:?} {bounds:?}"),
            }
        }
        assert!(found.keys().all(|step| all.contains_key(step)), "nothing is made up");
        broken_off += usize::from(part.whole_since.is_some());
        unsplit += usize::from(part.counts.keys().any(|(_, severity)| severity.is_none()));
    }
    assert!(broken_off > 10 && unsplit > 3, "{broken_off} broke off and {unsplit} came from names");
}

async fn facets_agree_with_a_plain_model(db: Db, _: Place) {
    let events = events(&db).await;
    let mut runner = TestRunner::deterministic();
    let filters = filters(&events);
    for n in 0..QUESTIONS {
        let mut filter = filters.new_tree(&mut runner).unwrap().current();
        if n % 4 == 0 {
            // To the minute, which is how exact counts are; and to the hour, once minutes are forgotten.
            let step = if n % 8 == 0 { 3_600 } else { 60 };
            let floor =
                |seconds: i64| Timestamp::from_micros(0).plus_seconds(seconds.div_euclid(step) * step);
            let (from, to) = (at(0).seconds() + 5_000, at(0).seconds() + 30_000);
            filter.about.span = Span { since: Some(floor(from)), until: Some(floor(to)) };
        }
        let now = at(if n % 8 == 0 { 10 * 86_400 } else { EVENTS * 487 });
        let of = [5, 20, 1_000][n % 3];
        let mut wanted: Vec<&Event> =
            events.iter().rev().filter(|event| matches_event(&filter, event)).collect();
        let facets = db.event_facets(&filter, of, 10, now).await.unwrap();
        let more = wanted.len() as i64 > of;
        assert_eq!(
            (facets.of, facets.more),
            ((wanted.len() as i64).min(of), more),
            "{filter:?} {of} of {}",
            wanted.len()
        );
        let plain = About { span: Span::default(), ..filter.about.clone() } == About::default();
        let counted = plain && filter.ids.is_empty() && filter.severities.is_empty();
        let all = wanted.clone();
        wanted.truncate(of as usize);
        assert_eq!(facets.severities.exact, !more || counted);
        let sum = facets.severities.values.iter().map(|(_, n)| n).sum::<i64>();
        assert_eq!(sum, if counted { all.len() as i64 } else { facets.of });
        for (field, facet) in facets.fields {
            let exact = counted && matches!(field, Field::Source | Field::Type);
            let mut sums: BTreeMap<String, i64> = BTreeMap::new();
            for event in if exact { &all } else { &wanted } {
                if let Some(value) = field.of(event) {
                    *sums.entry(value.to_ascii_lowercase()).or_default() += 1;
                }
            }
            let found: BTreeMap<String, i64> =
                facet.values.iter().map(|(value, n)| (value.to_ascii_lowercase(), *n)).collect();
            assert_eq!(found, sums, "{field:?} {filter:?}");
            assert!(facet.values.is_sorted_by(|(_, a), (_, b)| a >= b));
            assert_eq!(facet.exact, !more || exact);
        }
    }
}

async fn a_list_is_read_to_its_end_in_batches(db: Db, _: Place) {
    let events = events(&db).await;
    let mut runner = TestRunner::deterministic();
    let filters = filters(&events);
    for n in 0..QUESTIONS / 4 {
        let filter = filters.new_tree(&mut runner).unwrap().current();
        let wanted: Vec<Event> =
            events.iter().rev().filter(|event| matches_event(&filter, event)).cloned().collect();
        let (mut found, mut from) = (Vec::new(), None);
        loop {
            let (batch, next) = db.event_batch(&filter, from, 1 + n as u32 * 3).await.unwrap();
            found.extend(batch);
            if next.is_none() {
                break;
            }
            from = next;
        }
        assert_eq!(found, wanted, "{filter:?}");
    }
}
