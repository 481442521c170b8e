//! The limit: the same HTTP stack that does everything but store.

use anyhow::{Context, Result};
use std::path::PathBuf;
use tokio::net::TcpListener;
use watchpost::{NetOptions, accept};
use watchpost_model::{Actor, Role};
use watchpost_pipeline::{Feed, Indexing, Limits, PipelineMetrics, intake, now};
use watchpost_store::{AuditEntry, Db, Location};
use watchpost_web::{AppState, Settings, bench, hash_password};

/// What tells this program to be the baseline instead of measuring.
pub(crate) const ARGUMENT: &str = "serve-without-storing";
/// What tokens are signed with; the measuring process makes one with it.
const SECRET: &str = "only for the benchmark, never for a server";

/// Serves until it is killed; prints where, and a token.
pub(crate) fn run() -> Result<()> {
    let folder = std::env::args().nth(2).map(PathBuf::from).context("a folder is needed")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let db = Db::open(&Location::Sqlite(folder.join("baseline.db"))).await?;
        db.migrate(now()).await?;
        let by = AuditEntry::local(now(), Actor::Watchpost);
        db.create_user("admin", "", Role::Admin, hash_password(crate::server::PASSWORD), &by).await?;
        let metrics = PipelineMetrics::default();
        // Nobody takes events from the queue: nothing may be handed in.
        let (intake, _queue) = intake(Limits::default(), metrics.clone());
        let settings = Settings {
            secret_key: SECRET.into(),
            allowed_hosts: vec!["127.0.0.1".into()],
            public_url: None,
            signup: false,
            metrics_token: None,
            local_metrics: true,
            public_docs: true,
            max_body: 1 << 20,
            max_streams: 0,
            rates: None,
            previous_secret_key: None,
            verdict_required: false,
            second_factor_roles: Vec::new(),
            trusted_proxies: Vec::new(),
            tls: false,
            single_sign_on: None,
            shipping: None,
            in_force: Vec::new(),
        };
        let feed = Feed::new(db.clone());
        let state = AppState::new(db, intake, Indexing::default(), feed, settings, &metrics);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        println!("{}", bench::admin_token(&state).await.context("the user was just made")?);
        accept(
            listener,
            bench::service_without_storing(state),
            NetOptions::default(),
            std::future::pending(),
        )
        .await?;
        Ok(())
    })
}
