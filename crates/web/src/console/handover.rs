//! What happened since somebody last looked: in short on the first page, at length on its own.

use crate::api::handover::{Report, report, see_until};
use crate::console::alert::says;
use crate::console::guard::{AlertReader, Form, SignedIn};
use crate::console::page::{HOME, render};
use crate::console::problem::PageError;
use crate::console::queue::class;
use crate::console::refused::{FormFields, Refused};
use crate::console::said::{Done, Said};
use crate::error::ApiError;
use crate::extract::ListRequest;
use crate::places;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};
use std::collections::BTreeMap;
use watchpost_model::page::Count;
use watchpost_model::{Invalid, Severity};
use watchpost_pipeline::now;
use watchpost_store::Told;

/// What can be wrong with what is asked for.
const FIELDS: &FormFields = &[("since", "Since when")];

fn count(count: Count) -> Value {
    context! { n => count.number(), is_minimum => matches!(count, Count::AtLeast(_)) }
}

fn by_severity(counts: &BTreeMap<Severity, i64>) -> Value {
    let one = |(severity, n): (&Severity, &i64)| {
        let says = severity.title();
        context! { says, class => class(says), value => severity.as_str(), n => *n }
    };
    let all: Vec<Value> = counts.iter().rev().filter(|(_, n)| **n > 0).map(one).collect();
    context! { total => counts.values().sum::<i64>(), all }
}

fn told(told: &Told) -> Value {
    let Told { alert, entry } = told;
    context! {
        at => entry.at.to_string(),
        alert => alert.id.get(),
        title => alert.shown_title(),
        severity => alert.severity.title(),
        severity_class => class(alert.severity.title()),
        says => says(entry),
        why => entry.why.as_str(),
    }
}

/// A report as templates see it.
pub(super) fn view(report: &Report) -> Value {
    let handover = &report.handover;
    let person = |(name, deeds): &(String, watchpost_store::Deeds)| {
        context! {
            name => name.as_str(),
            acknowledged => deeds.acknowledged,
            resolved => deeds.resolved,
            notes => deeds.notes,
            changes => deeds.changes,
        }
    };
    context! {
        since => report.since.to_string(),
        until => report.until.to_string(),
        first => report.seen_until.is_none(),
        raised => by_severity(&handover.raised),
        raised_is_minimum => handover.raised_is_minimum,
        done => context! {
            acknowledged => handover.done.acknowledged,
            resolved => handover.done.resolved,
            reopened => handover.done.reopened,
            is_minimum => handover.done_is_minimum,
        },
        still_open => by_severity(&handover.still_open),
        unassigned => count(handover.unassigned_open),
        mine => count(handover.mine_open),
        came_back => count(handover.snoozes_ended),
        sources => handover.top_sources.iter().map(|(name, n)| context! { name, n => *n }).collect::<Vec<_>>(),
        people => handover.by_person.iter().map(person).collect::<Vec<_>>(),
        changes => handover.changes.iter().map(told).collect::<Vec<_>>(),
        changes_more => handover.changes_more,
        notes => handover.notes.iter().map(told).collect::<Vec<_>>(),
        notes_more => handover.notes_more,
    }
}

pub(crate) async fn show(
    AlertReader(session): AlertReader,
    State(state): State<AppState>,
    said: Said,
    asked: ListRequest,
) -> Result<Response, PageError> {
    let mut wrong = Invalid::new();
    let now = now();
    let span = asked.query.span(now, &mut wrong);
    // A time that can't be read is said beside it; below is what there is without it.
    let refused = match wrong.into_result() {
        Ok(()) => None,
        Err(wrong) => Some(Refused::filter(ApiError::from(wrong), FIELDS, &asked)?),
    };
    let _place = places::for_search(&state, &session.caller).await?;
    let report = report(&state.db.heavy(), span.since, now, &session.caller).await?;
    let page = context! {
        title => "Handover",
        said => said.text(),
        handover => view(&report),
        given => asked.query.get("since").unwrap_or_default(),
        refused => refused.as_ref().map(Refused::view),
    };
    let status = refused.map_or(StatusCode::OK, |refused| refused.status);
    let page = render(status, "handover.html", Some(&session), page);
    Ok(said.on(page, &state.settings))
}

/// Remembers that somebody has seen it.
pub(crate) async fn see(
    SignedIn(session): SignedIn,
    State(state): State<AppState>,
    sent: Form,
) -> Result<Response, PageError> {
    see_until(&state, &sent.fields()?, &session.caller).await?;
    Ok(Done::HandoverSeen.then(HOME, &state.settings))
}
