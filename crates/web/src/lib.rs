//! The control plane: HTTP in the API's own tongue, in those of the five services it replaces, and as pages.
//!
//! No SQL here. API and console are siblings over the same functions; `compat` only reshapes what `api` does.

mod api;
mod auth;
mod body;
mod bulk;
mod compat;
mod console;
mod docs;
mod edge;
mod error;
mod extract;
mod forwarded;
mod known;
mod metrics;
mod openapi;
mod params;
mod places;
mod query;
mod routes;
mod settings;
mod single_sign_on;
mod state;
mod stream;
mod throttle;

pub use auth::account::ONE_TIME_SECONDS;
pub use auth::audit_seals::audit_keys;
pub use auth::checkpoint::{Checkpoint, CheckpointError};
pub use auth::{generate_key, generate_password, hash_password, random_secret};
pub use edge::{Edge, service};
pub use known::Known;
pub use settings::{Rates, SettingInForce, Settings, ShipTo, Shipping, SingleSignOn, host_of_url};
pub use state::AppState;
pub use stream::line as line_of_news;

/// For suites that walk every route: what is served, and who may use it.
pub mod site_map {
    pub use crate::routes::{RouteInfo, site_map};
}

/// For the benchmark: the same stack without storing.
#[doc(hidden)]
pub mod bench {
    /// Does everything that handing in an event does, but store it.
    pub fn service_without_storing(state: crate::AppState) -> crate::Edge {
        crate::edge::service_without_storing(state)
    }

    /// An access token of the user `admin`, if there is one.
    pub async fn admin_token(state: &crate::AppState) -> Option<String> {
        let known = state.db.credentials_by_name("admin").await.ok()??;
        let agent = crate::auth::guard::Agent("benchmark".into());
        let caller = crate::auth::guard::Caller::anonymous(std::net::Ipv4Addr::LOCALHOST.into());
        let shown = watchpost_store::FactorShown::None;
        let opened = crate::auth::grant::open(state, &known, "the benchmark", shown, &caller, &agent).await;
        opened.ok().map(|pair| pair.access)
    }
}
