//! How pages look for somebody: their own choice.

use crate::auth::guard::{Caller, Oneself};
use crate::body::{Field, Holds, THEMES, TIME_ZONES};
use crate::error::{ApiError, choose_from};
use crate::extract::Input;
use crate::openapi::Operation;
use crate::routes::Routes;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use watchpost_model::text::Given;
use watchpost_model::user::{Theme, TimeZone};
use watchpost_model::{Invalid, User};
use watchpost_pipeline::decode::Fields;

const PATH: &str = "/api/v1/account/preferences";
const CHANGE: &[Field] = &[
    Field::optional("theme", Holds::OneOf(THEMES), "How pages look; `system` until chosen.", "dark"),
    Field::optional(
        "time_zone",
        Holds::OneOf(TIME_ZONES),
        "In which times pages are written; `browser` until chosen. The API always answers in UTC.",
        "UTC",
    ),
];

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &[PATH],
        Operation::get("readPreferences", "My account", "How pages look for me")
            .answers::<PreferencesView>(200, "What was chosen"),
        read,
    );
    routes.add(
        &[PATH],
        Operation::patch("changePreferences", "My account", "Choose how pages look for me")
            .about("What is left out stays.")
            .body(CHANGE)
            .answers::<PreferencesView>(200, "What is chosen now"),
        change,
    );
}

/// How pages look for somebody.
#[derive(Serialize, ToSchema)]
struct PreferencesView {
    /// `system`, `light` or `dark`.
    theme: &'static str,
    /// `browser` or `UTC`.
    time_zone: &'static str,
}

impl PreferencesView {
    fn new(user: &User) -> Self {
        Self { theme: user.theme.as_str(), time_zone: user.time_zone.as_str() }
    }
}

/// Sets what a body or a form chooses; the user as they are now.
pub(crate) async fn choose(state: &AppState, fields: &Fields<'_>, caller: &Caller) -> Result<User, ApiError> {
    let mut wrong = Invalid::new();
    let theme = wrong.take("theme", choice(&fields.get("theme"), Theme::parse, THEMES)).flatten();
    let time_zone =
        wrong.take("time_zone", choice(&fields.get("time_zone"), TimeZone::parse, TIME_ZONES)).flatten();
    wrong.into_result()?;
    let before = user(state, caller).await?;
    let theme = theme.filter(|theme| *theme != before.theme);
    let time_zone = time_zone.filter(|zone| *zone != before.time_zone);
    if theme.is_none() && time_zone.is_none() {
        return Ok(before);
    }
    state.db.prefer(before.id, theme, time_zone, &caller.entry()).await?;
    state.accounts.forget();
    user(state, caller).await
}

fn choice<T>(given: &Given<'_>, read: fn(&str) -> Option<T>, all: &[&str]) -> Result<Option<T>, String> {
    let Some(text) = given.optional()? else { return Ok(None) };
    read(text).map(Some).ok_or_else(|| choose_from(text, all))
}

async fn user(state: &AppState, caller: &Caller) -> Result<User, ApiError> {
    Ok(state.db.credentials(caller.user()?).await?.ok_or(ApiError::BadToken)?.user)
}

async fn read(
    Oneself(caller): Oneself,
    State(state): State<AppState>,
) -> Result<Json<PreferencesView>, ApiError> {
    Ok(Json(PreferencesView::new(&user(&state, &caller).await?)))
}

async fn change(
    Oneself(caller): Oneself,
    State(state): State<AppState>,
    input: Input,
) -> Result<Json<PreferencesView>, ApiError> {
    let user = choose(&state, &input.fields()?, &caller).await?;
    Ok(Json(PreferencesView::new(&user)))
}
