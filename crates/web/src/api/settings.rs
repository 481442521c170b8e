//! The settings in force on this server, for Admins.

use crate::auth::guard::Administrator;
use crate::openapi::Operation;
use crate::routes::Routes;
use crate::settings::SettingInForce;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) fn routes(routes: &mut Routes) {
    routes.add(
        &["/api/v1/settings"],
        Operation::get("listSettings", "Settings", "The settings in force")
            .about(
                "On the server that answers, as they were when it started. Of secrets it is only said whether they are \
                 set. They are changed where they come from, and take a restart.",
            )
            .answers_all::<SettingView>("All of them, as `watchpost settings` shows them"),
        list,
    );
}

/// One setting.
#[derive(Serialize, ToSchema)]
struct SettingView {
    /// Its name in the environment and in `.env`.
    #[schema(example = "WATCHPOST_LISTEN")]
    name: &'static str,
    /// Its flag on the command line, where it has one.
    #[schema(example = "--listen")]
    flag: Option<String>,
    /// Its value; nothing for a secret, and without the password in an address.
    value: Option<String>,
    /// Whether it has a value.
    is_set: bool,
    /// Whether its value is a secret.
    is_secret: bool,
    /// What it is when nobody says anything.
    default: &'static str,
    /// Where the value came from: `default`, `watchpost.toml`, `.env`, `environment` or `command line`.
    from: &'static str,
    /// What it is for.
    meaning: &'static str,
}

impl SettingView {
    fn new(setting: &SettingInForce) -> Self {
        Self {
            name: setting.name,
            flag: setting.flag.map(|flag| format!("--{flag}")),
            value: setting.value.clone(),
            is_set: setting.set,
            is_secret: setting.secret,
            default: setting.default,
            from: setting.from,
            meaning: setting.meaning,
        }
    }
}

async fn list(_: Administrator, State(state): State<AppState>) -> Json<Vec<SettingView>> {
    Json(state.settings.in_force.iter().map(SettingView::new).collect())
}
