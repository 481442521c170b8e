//! The queue folded: alerts that share rule, source, type and severity as one row.

use crate::api::page::PageView;
use crate::auth::guard::AlertReader;
use crate::error::ApiError;
use crate::extract::ListRequest;
use crate::openapi::Operation;
use crate::places;
use crate::query;
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_store::Group;

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/alerts/groups"],
        Operation::get("listAlertGroups", "Alerts", "List alerts folded by what they share")
            .about(
                "Alerts of one rule, source, type and severity are one row, however many they are. Its `filter` is that of the \
                 alerts in it: for the list, and for `/api/v1/alerts/bulk`.",
            )
            .query(query::GROUPS)
            .lists::<GroupView>("A page of groups"),
        list,
    );
}

/// Alerts that share rule, source, type and severity.
#[derive(Serialize, ToSchema)]
struct GroupView {
    rule: String,
    severity: &'static str,
    source_name: String,
    event_type: String,
    /// How many nobody has looked at.
    open: i64,
    /// How many somebody is on.
    acknowledged: i64,
    /// How many are done.
    resolved: i64,
    #[schema(format = DateTime)]
    first_seen: String,
    #[schema(format = DateTime)]
    last_seen: String,
    /// The last of them.
    last_alert: i64,
    /// The query that lists them.
    #[schema(example = "source_name=cam-3&event_type=motion&severity=HIGH")]
    filter: String,
}

/// The query of the list that a group stands for.
pub(crate) fn query_of(group: &Group) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("source_name", &group.source_name)
        .append_pair("event_type", &group.event_type)
        .append_pair("severity", group.severity.as_str())
        .finish()
}

impl GroupView {
    fn new(group: Group) -> Self {
        Self {
            filter: query_of(&group),
            severity: group.severity.as_str(),
            rule: group.rule,
            source_name: group.source_name,
            event_type: group.event_type,
            open: group.open,
            acknowledged: group.acknowledged,
            resolved: group.resolved,
            first_seen: group.first_at.to_string(),
            last_seen: group.last_at.to_string(),
            last_alert: group.last_alert.get(),
        }
    }
}

async fn list(
    AlertReader(caller): AlertReader,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Json<PageView<GroupView>>, ApiError> {
    let (filter, request) = asked.query.groups()?;
    let _place = places::for_page(&state, &caller).await?;
    let page = state.db.alert_groups(&filter, request).await?;
    PageView::new(page, &asked, GroupView::new).map(Json)
}
