//! The settings in force on this server.

use crate::api::nodes::{self, NodeView};
use crate::console::guard::Administrator;
use crate::console::page::render;
use crate::settings::SettingInForce;
use crate::state::AppState;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use minijinja::{Value, context};

fn view(setting: &SettingInForce) -> Value {
    context! {
        name => setting.name,
        flag => setting.flag,
        meaning => setting.meaning,
        secret => setting.secret,
        set => setting.set,
        value => setting.value.as_deref().unwrap_or_default(),
        default => setting.default,
        from => setting.from,
        usual => setting.from == "default",
    }
}

fn node(node: &NodeView) -> Value {
    context! {
        name => &node.name,
        version => &node.version,
        may_write => node.may_write,
        started_at => &node.started_at,
    }
}

pub(crate) async fn show(
    Administrator(session): Administrator,
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
) -> Response {
    // The settings are worth showing without them.
    let nodes = nodes::nodes(&state).await.unwrap_or_default();
    let all = &state.settings.in_force;
    let changed_only = query.as_deref() == Some("only=changed");
    let changed = |setting: &&SettingInForce| setting.from != "default";
    let shown = all.iter().filter(|setting| !changed_only || changed(setting));
    let page = context! {
        title => "Settings",
        changed_only,
        all => all.len(),
        changed => all.iter().filter(changed).count(),
        nodes => nodes.iter().map(node).collect::<Vec<_>>(),
        settings => shown.map(view).collect::<Vec<_>>(),
    };
    render(StatusCode::OK, "settings.html", Some(&session), page)
}
