//! Views: lists of alerts that people keep under a name, for themselves or for all.

use crate::api::page::PageView;
use crate::auth::guard::{Caller, Oneself};
use crate::auth::refusals::{Asked, Refused};
use crate::body::{Field, Holds};
use crate::error::ApiError;
use crate::extract::{Id, Input, ListRequest, based_on};
use crate::openapi::Operation;
use crate::query::{self, Query};
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_model::access::allows;
use watchpost_model::text::Given;
use watchpost_model::view::{MAX_VIEW_QUERY_CHARS, MAX_VIEWS, View, ViewDraft, check_view_name};
use watchpost_model::{Action, Invalid, UserId, ViewId};
use watchpost_pipeline::decode::Fields;
use watchpost_store::StoreError;

const NAME: &str = "What it is called: up to 60 characters, once among one's own in any letter case.";
const QUERY: &str = "The query of the list's address, up to 2,000 characters; everything when it is empty. It is \
                     checked and kept written one way, without pages.";
const SHARED: &str = "Whether everybody sees it. Takes the role Responder or Admin.";
const CREATE: &[Field] = &[
    Field::required("name", Holds::Text, NAME, "Bad VPN log-ins"),
    Field::required("query", Holds::Text, QUERY, "status=OPEN&severity=CRITICAL&search=vpn"),
    Field::optional("shared", Holds::Flag, SHARED, "false"),
];
const CHANGE: &[Field] = &[
    Field::optional("name", Holds::Text, NAME, "Bad VPN log-ins"),
    Field::optional("query", Holds::Text, QUERY, "status=OPEN&severity=CRITICAL&search=vpn"),
    Field::optional("shared", Holds::Flag, SHARED, "true"),
    Field::optional(
        "version",
        Holds::Number,
        "The version the change is based on. `If-Match` does the same.",
        "1",
    ),
];

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/views"],
        Operation::get("listViews", "Views", "List one's own views and those for all, by name")
            .query(query::PAGES)
            .lists::<ViewView>("A page of views"),
        list,
    );
    routes.add(
        &["/api/v1/views"],
        Operation::post("createView", "Views", "Keep a list of alerts under a name")
            .about("At most 100 a user.")
            .body(CREATE)
            .answers::<ViewView>(201, "The new view")
            .says(409, "One has as many as one may have"),
        create,
    );
    routes.add(
        &["/api/v1/views/{id}"],
        Operation::get("readView", "Views", "Read a view").answers::<ViewView>(200, "The view"),
        read,
    );
    routes.add(
        &["/api/v1/views/{id}"],
        Operation::patch("changeView", "Views", "Change a view")
            .about("One's own; Admins change what is for all, too.")
            .body(CHANGE)
            .answers::<ViewView>(200, "The view as it is now")
            .says(409, "Somebody else changed it first"),
        change,
    );
    routes.add(
        &["/api/v1/views/{id}"],
        Operation::delete("deleteView", "Views", "Delete a view")
            .about("One's own; Admins delete what is for all, too.")
            .says(204, "Deleted")
            .says(409, "Somebody changed it meanwhile"),
        remove,
    );
}

/// A list of alerts under a name.
#[derive(Serialize, ToSchema)]
#[schema(as = View)]
struct ViewView {
    id: i64,
    name: String,
    /// The query of the list's address: for `/api/v1/alerts`, and for the `filter` of `/api/v1/alerts/bulk`.
    #[schema(example = "status=OPEN&severity=CRITICAL&search=vpn")]
    query: String,
    /// Whether everybody sees it.
    shared: bool,
    /// The name of the user whose it is.
    owner: String,
    /// Whether it is one's own.
    mine: bool,
    #[schema(format = DateTime)]
    created_at: String,
    version: i64,
}

impl ViewView {
    fn new(view: View, user: UserId) -> Self {
        Self {
            id: view.id.get(),
            name: view.name,
            query: view.query,
            shared: view.shared,
            owner: view.owner_name,
            mine: view.owner == user,
            created_at: view.created_at.to_string(),
            version: view.version,
        }
    }
}

/// A view that the caller sees. Whether others have one that they don't share is nobody's business.
pub(crate) async fn seen(state: &AppState, id: ViewId, caller: &Caller) -> Result<View, ApiError> {
    let user = caller.user()?;
    state.db.view(id).await?.filter(|view| view.is_seen_by(user)).ok_or(ApiError::NotFound)
}

/// A view that the caller may change.
async fn kept(state: &AppState, id: ViewId, caller: &Caller) -> Result<View, ApiError> {
    let view = seen(state, id, caller).await?;
    match view.is_kept_by(caller.user()?, caller.rank) {
        true => Ok(view),
        false => {
            let view = Asked::to(format!("view:{id}"));
            state.refusals.note(state, caller, Refused::Sharing, view).await;
            Err(ApiError::NotAllowed("Only its owner or an Admin changes a view that is for all.".into()))
        }
    }
}

/// The query that a body gives, as it is kept.
async fn query_of(state: &AppState, given: &Given<'_>, caller: &Caller) -> Result<String, ApiError> {
    let wrong = |message: String| ApiError::from(Invalid::field("query", message));
    let long = || wrong(format!("Ensure this field has no more than {MAX_VIEW_QUERY_CHARS} characters."));
    let text = given.required().map_err(wrong)?.trim();
    if text.chars().count() > MAX_VIEW_QUERY_CHARS {
        return Err(long());
    }
    let read = async {
        let (query, mut filter) = Query::list_of_alerts(text)?;
        query.whose(&mut filter, state, caller).await?;
        Ok(query.kept(&filter))
    };
    match read.await {
        Ok(kept) if kept.len() > MAX_VIEW_QUERY_CHARS => Err(long()),
        // What is wrong with a parameter is wrong with the query.
        Err(ApiError::Invalid(params)) => {
            let mut all = Invalid::new();
            for (name, messages) in params.fields() {
                messages.iter().for_each(|message| all.add("query", format!("{name}: {message}")));
            }
            Err(all.into())
        }
        Err(ApiError::Malformed(message)) => Err(wrong(message)),
        other => other,
    }
}

/// What a body makes of a view, or of none.
async fn draft(
    state: &AppState,
    fields: &Fields<'_>,
    before: Option<&View>,
    caller: &Caller,
) -> Result<ViewDraft, ApiError> {
    let mut wrong = Invalid::new();
    let name = match (fields.get("name"), before) {
        (Given::Missing, Some(before)) => Some(before.name.clone()),
        (given, _) => wrong.take("name", check_view_name(&given)),
    };
    let query = match (fields.get("query"), before) {
        (Given::Missing, Some(before)) => Some(before.query.clone()),
        (given, _) => match query_of(state, &given, caller).await {
            Ok(query) => Some(query),
            Err(ApiError::Invalid(why)) => {
                why.fields().values().flatten().for_each(|message| wrong.add("query", message));
                None
            }
            Err(error) => return Err(error),
        },
    };
    let shared = wrong.take("shared", fields.get("shared").flag()).flatten();
    let shared = shared.unwrap_or(before.is_some_and(|before| before.shared));
    match (name, query) {
        (Some(name), Some(query)) if wrong.is_empty() => {
            may_share(shared, caller).map(|()| ViewDraft { name, query, shared })
        }
        _ => Err(wrong.into()),
    }
}

/// What everybody sees is decided by those who may change what everybody sees.
fn may_share(shared: bool, caller: &Caller) -> Result<(), ApiError> {
    match !shared || allows(caller.rank, Action::ChangeAlerts) {
        true => Ok(()),
        false => Err(ApiError::needs(Action::ChangeAlerts)),
    }
}

/// Keeps a list under a name.
pub(crate) async fn create_view(
    state: &AppState,
    fields: &Fields<'_>,
    caller: &Caller,
) -> Result<View, ApiError> {
    let draft = draft(state, fields, None, caller).await?;
    match state.db.create_view(caller.user()?, &draft, &caller.entry()).await {
        Err(StoreError::Conflict) => {
            let detail = format!("One has at most {MAX_VIEWS} views; delete one first.");
            Err(ApiError::Conflict("too_many_views", detail))
        }
        made => Ok(made?),
    }
}

/// Changes a view; what is left out stays.
pub(crate) async fn change_view(
    state: &AppState,
    id: ViewId,
    fields: &Fields<'_>,
    version: Option<i64>,
    caller: &Caller,
) -> Result<View, ApiError> {
    let before = kept(state, id, caller).await?;
    let after = draft(state, fields, Some(&before), caller).await?;
    if version.is_some_and(|version| version != before.version) {
        return Err(StoreError::Conflict.into());
    }
    if (&after.name, &after.query, after.shared) == (&before.name, &before.query, before.shared) {
        return Ok(before);
    }
    Ok(state.db.change_view(&before, &after, &caller.entry()).await?)
}

/// Deletes a view.
pub(crate) async fn delete_view(state: &AppState, id: ViewId, caller: &Caller) -> Result<(), ApiError> {
    let view = kept(state, id, caller).await?;
    Ok(state.db.delete_view(&view, &caller.entry()).await?)
}

async fn list(
    Oneself(caller): Oneself,
    State(state): State<AppState>,
    asked: ListRequest,
) -> Result<Json<PageView<ViewView>>, ApiError> {
    let user = caller.user()?;
    let page = state.db.views(user, asked.query.plain()?).await?;
    PageView::new(page, &asked, |view| ViewView::new(view, user)).map(Json)
}

async fn create(
    Oneself(caller): Oneself,
    State(state): State<AppState>,
    input: Input,
) -> Result<Response, ApiError> {
    let view = create_view(&state, &input.fields()?, &caller).await?;
    Ok((StatusCode::CREATED, Json(ViewView::new(view, caller.user()?))).into_response())
}

async fn read(
    Oneself(caller): Oneself,
    State(state): State<AppState>,
    Id(id): Id<ViewId>,
) -> Result<Json<ViewView>, ApiError> {
    let view = seen(&state, id, &caller).await?;
    Ok(Json(ViewView::new(view, caller.user()?)))
}

async fn change(
    Oneself(caller): Oneself,
    State(state): State<AppState>,
    Id(id): Id<ViewId>,
    headers: HeaderMap,
    input: Input,
) -> Result<Json<ViewView>, ApiError> {
    let fields = input.fields()?;
    let version = based_on(&headers, &fields)?;
    let view = change_view(&state, id, &fields, version, &caller).await?;
    Ok(Json(ViewView::new(view, caller.user()?)))
}

async fn remove(
    Oneself(caller): Oneself,
    State(state): State<AppState>,
    Id(id): Id<ViewId>,
) -> Result<StatusCode, ApiError> {
    delete_view(&state, id, &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}
