//! What every handler can reach.

use crate::auth::accounts::Accounts;
use crate::auth::audit_seals::Sealed;
use crate::auth::passwords::Passwords;
use crate::auth::refusals::Refusals;
use crate::auth::seal::Seal;
use crate::auth::session::Forms;
use crate::auth::token::Tokens;
use crate::metrics::WebMetrics;
use crate::places::Places;
use crate::settings::Settings;
use crate::single_sign_on::Provider;
use crate::stream::Rooms;
use crate::throttle::Throttle;
use axum::body::Bytes;
use std::ops::Deref;
use std::sync::Arc;

use watchpost_pipeline::{Feed, Indexing, Intake, PipelineMetrics};
use watchpost_store::Db;

/// How long a search waits for what was just stored. Usually it takes milliseconds; under load it may take long.
const SEARCH_PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// Shared by all requests; cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Inner>);

/// See [`AppState`].
pub struct Inner {
    pub(crate) db: Db,
    pub(crate) intake: Intake,
    pub(crate) indexing: Indexing,
    pub(crate) feed: Feed,
    /// Room for readers of the stream.
    pub(crate) streams: Rooms,
    /// Room for searches.
    pub(crate) searches: Arc<Places>,
    /// Room for pages that take many counts.
    pub(crate) pages: Arc<Places>,
    /// Room for exports.
    pub(crate) exports: Arc<Places>,
    pub(crate) settings: Settings,
    pub(crate) accounts: Accounts,
    pub(crate) passwords: Passwords,
    pub(crate) tokens: Tokens,
    pub(crate) seal: Seal,
    pub(crate) forms: Forms,
    pub(crate) refusals: Refusals,
    pub(crate) sealed: Sealed,
    /// Where people may log in instead.
    pub(crate) provider: Option<Provider>,
    pub(crate) throttle: Throttle,
    pub(crate) metrics: WebMetrics,
    /// Held by whoever has the audit log looked at.
    pub(crate) proving: tokio::sync::Mutex<()>,
    /// The OpenAPI document, ready to send.
    pub(crate) schema: Bytes,
}

impl Deref for AppState {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl AppState {
    /// Brings the parts together.
    pub fn new(
        db: Db,
        intake: Intake,
        indexing: Indexing,
        feed: Feed,
        settings: Settings,
        pipeline: &PipelineMetrics,
    ) -> Self {
        crate::console::prepare();
        let schema = crate::openapi::document(&crate::routes::all()).into();
        Self(Arc::new(Inner {
            accounts: Accounts::new(db.clone()),
            passwords: Passwords::new(),
            tokens: Tokens::new(settings.secret_keys()),
            seal: Seal::new(settings.secret_keys()),
            forms: Forms::new(&settings),
            refusals: Refusals::default(),
            sealed: Sealed::default(),
            provider: settings.single_sign_on.as_ref().map(Provider::new),
            throttle: Throttle::new(settings.rates),
            metrics: WebMetrics::new(pipeline),
            proving: tokio::sync::Mutex::default(),
            streams: Rooms::new(settings.max_streams),
            searches: Places::for_searches(),
            pages: Places::for_pages(),
            exports: Places::for_exports(),
            schema,
            db,
            intake,
            indexing,
            feed,
            settings,
        }))
    }

    /// Waits for a moment until what was just stored can be found by the search index; whether it can.
    pub(crate) async fn is_searchable(&self, wanted: bool) -> bool {
        !wanted || self.indexing.caught_up(SEARCH_PATIENCE).await
    }

    /// Goes on with what was begun with many alerts by servers that ended. Runs until it is dropped.
    pub async fn carry_on_jobs(self) {
        crate::api::running::carry_on(&self).await;
    }

    /// Writes to the audit log what each minute left untold: refusals that were only counted. Runs until it is dropped.
    pub async fn tell_of_refusals(self) {
        self.refusals.keep_telling(&self).await;
    }

    /// Seals the audit log every few seconds. Runs until it is dropped.
    pub async fn keep_audit_log_sealed(self) {
        self.sealed.keep(&self).await;
    }

    /// Ships checkpoints of the audit log where the operator wants them. Runs until it is dropped.
    pub async fn ship_checkpoints(self) {
        crate::auth::shipping::keep(&self).await;
    }

    /// Writes what is left of both when the server stops.
    pub async fn finish_audit_log(&self) {
        self.refusals.tell_all(self).await;
        self.sealed.finish(self).await;
    }

    /// Keeps what is remembered about users and keys current with changes made elsewhere: on another node or at
    /// the command line. Runs until it is dropped.
    pub async fn watch_access(self) {
        self.accounts.watch().await;
    }
}
