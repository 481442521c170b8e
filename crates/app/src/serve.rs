//! `watchpost serve`: puts the parts together and runs until told to stop.

use crate::Outcome;
use crate::config::Config;
use crate::demo::{self, Live};
use crate::exit::{AppError, ExitStatus};
use crate::net::{NetLimits, NetOptions, accept};
use crate::node;
use crate::printer::Printer;
use crate::start;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use watchpost_model::password::check_new_password;
use watchpost_model::text::Given;
use watchpost_model::user::check_username;
use watchpost_model::{Actor, Role};
use watchpost_pipeline::{
    Feed, Indexing, Limits, PipelineMetrics, commit_loop, follow_database_clock, intake, now, upkeep,
    watch_clock,
};
use watchpost_store::{AuditEntry, Db, NewAccount, NewPassword, StoreError, seal_audit_log_with};
use watchpost_web::{
    AppState, ONE_TIME_SECONDS, Settings, audit_keys, generate_password, hash_password, service,
};

/// Connections that the system may hold ready while all places are taken.
const BACKLOG: u32 = 1_024;
/// How long what waits in the intake may take to be written when the server stops.
const FAREWELL: Duration = Duration::from_secs(20);

/// How long it may take then to write to the audit log what was only counted.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What it means that sign-up is on.
pub(crate) const SIGN_UP_IS_ON: &str =
    "anyone who reaches this server can make an account and read every alert";

/// A demo that is served.
pub(crate) struct Demo {
    /// What goes on in it; nothing where it stands still.
    pub(crate) live: Option<Live>,
}

/// Runs the server; with a demo, what goes on in it as well.
pub(crate) async fn serve(config: &Config, printer: &Printer, demo: Option<Demo>) -> Outcome<()> {
    start::data_dir(config)?;
    let _lock = start::lock(config)?;
    let secret_key = start::secret_key(config)?;
    let tls = config.tls.clone().map(start::tls).transpose()?;
    let db = start::open_to_serve(config).await?;
    follow_database_clock(&db).await?;
    let applied = db.migrate(now()).await?;
    if !applied.is_empty() {
        tracing::info!(steps = applied.len(), "the database is up to date now");
    }
    if db.settle_feed().await? {
        tracing::warn!(
            "the database was moved to another cluster of PostgreSQL: readers of the stream are told to load everything again"
        );
    }
    seal_audit_log_with(audit_keys(&secret_key, config.previous_secret_key.as_deref()));
    // What is written from now on names the newest seal.
    db.audit_key().await?;
    let listener = listen(&config.listen).await?;
    let address = listener.local_addr().map_err(AppError::failed)?;
    demo::stays_here(&db, address).await?;
    let first_password = first_admin(&db, config).await?;
    tracing::info!(%address, "listening");
    if config.plain_to_others() {
        tracing::warn!(
            "passwords and tokens come unencrypted from other machines: set WATCHPOST_TLS_CERT and WATCHPOST_TLS_KEY, \
             or WATCHPOST_PUBLIC_URL=https://… where a proxy speaks TLS"
        );
    }
    if config.signup {
        tracing::warn!("sign-up is on: {SIGN_UP_IS_ON}");
    }
    greet(config, printer, address, &log_in(config, demo.is_some(), first_password.as_deref()));

    let this_node = node::register(&db, address).await?;
    let metrics = PipelineMetrics::default();
    let (intake, queue) = intake(Limits::default(), metrics.clone());
    let (indexing, feed) = (Indexing::default(), Feed::new(db.clone()));
    let writing = tokio::spawn(commit_loop(db.clone(), queue, indexing.clone()));
    let settings = Settings {
        secret_key,
        allowed_hosts: config.allowed_hosts.clone(),
        public_url: config.public_url.clone(),
        signup: config.signup,
        metrics_token: config.metrics_token.clone(),
        local_metrics: address.ip().is_loopback() && !config.serves_others(),
        public_docs: config.public_docs,
        max_body: config.max_body,
        max_streams: config.max_streams,
        rates: config.rates,
        previous_secret_key: config.previous_secret_key.clone(),
        verdict_required: config.verdict_required,
        second_factor_roles: config.second_factor_roles.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        tls: tls.is_some(),
        single_sign_on: config.single_sign_on.clone(),
        shipping: config.shipping.clone(),
        in_force: config.in_force.clone(),
    };
    let live = demo.and_then(|demo| demo.live).map(|live| live.run(intake.clone()));
    let state = AppState::new(db.clone(), intake, indexing.clone(), feed.clone(), settings, &metrics);
    let mut background = vec![
        tokio::spawn(state.clone().watch_access()),
        tokio::spawn(state.clone().carry_on_jobs()),
        tokio::spawn(state.clone().tell_of_refusals()),
        tokio::spawn(state.clone().keep_audit_log_sealed()),
        tokio::spawn(state.clone().ship_checkpoints()),
        tokio::spawn(node::keep(db.clone(), this_node.clone())),
        tokio::spawn(upkeep(db.clone(), metrics.clone())),
        tokio::spawn(watch_clock(db.clone(), metrics.clone())),
        tokio::spawn(feed.clone().run()),
        tokio::spawn(indexing.run(db.clone(), metrics.clone())),
    ];
    background.extend(live.map(tokio::spawn));
    background.extend(tls.clone().map(|tls| tokio::spawn(tls.watch())));
    let limits = NetLimits {
        connections: config.max_connections,
        connections_per_address: config.max_connections_per_address,
        ..NetLimits::default()
    };
    let options = NetOptions { limits, tls, proxies: config.trusted_proxies.clone() };
    let stop = async {
        stopped().await;
        // Streams would go on for ever: their readers come back to whoever is there then.
        feed.close();
    };
    let outcome = tokio::select! {
        outcome = accept(listener, service(state.clone()), options, stop) => outcome.map_err(AppError::failed),
        // Going on could acknowledge what the disk doesn't keep: stop, and let the supervisor start us again.
        reason = db.disk_failed() => Err(StoreError::DiskFailed(reason).into()),
    };
    background.iter().for_each(tokio::task::JoinHandle::abort);
    for task in background {
        task.await.ok();
    }
    if tokio::time::timeout(LAST_WORDS, state.finish_audit_log()).await.is_err() {
        tracing::warn!("the last rows of the audit log could not be written and sealed in time");
    }
    drop(state);
    // The last intake went with the service and its requests: the loop writes what waits and ends.
    if tokio::time::timeout(FAREWELL, writing).await.is_err() {
        tracing::error!(
            "some events that were waiting could not be written in time; their senders were not told yes"
        );
    }
    node::leave(&db, &this_node).await;
    db.close().await;
    tracing::info!("stopped");
    outcome
}

/// The address behind what was asked for.
pub(crate) async fn address_of(wanted: &str) -> Outcome<SocketAddr> {
    let found = tokio::net::lookup_host(wanted).await.map_err(|error| cant_listen(wanted, &error))?.next();
    found.ok_or_else(|| cant_listen(wanted, &std::io::ErrorKind::AddrNotAvailable.into()))
}

fn cant_listen(wanted: &str, error: &std::io::Error) -> AppError {
    let hint = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another program has that port; stop it, or choose another with --listen"
        }
        std::io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege; choose another with --listen"
        }
        _ => "choose an address of this machine with --listen",
    };
    AppError::new(ExitStatus::CantListen, format!("can't listen on {wanted}: {error}"), hint)
}

async fn listen(wanted: &str) -> Outcome<TcpListener> {
    let cant = |error: std::io::Error| cant_listen(wanted, &error);
    let address = address_of(wanted).await?;
    let socket = if address.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }.map_err(cant)?;
    // A restart needn't wait for connections of the last run to be forgotten. On Windows it means something else.
    #[cfg(unix)]
    socket.set_reuseaddr(true).map_err(cant)?;
    socket.bind(address).map_err(cant)?;
    socket.listen(BACKLOG).map_err(cant)
}

/// Makes the first Admin on an empty database; the password, when it was generated.
async fn first_admin(db: &Db, config: &Config) -> Outcome<Option<String>> {
    if db.has_users().await? {
        return Ok(None);
    }
    let unusable = |name: &str, why: String| {
        AppError::new(
            ExitStatus::Setting,
            format!("{name} can't be used: {why}"),
            "change it and start again",
        )
    };
    let username = check_username(&Given::Text(config.admin_username.as_str().into()))
        .map_err(|why| unusable("WATCHPOST_ADMIN_USERNAME", why))?;
    let (password, generated) = match &config.admin_password {
        Some(password) => (password.clone(), false),
        None => (generate_password(), true),
    };
    check_new_password(&Given::Text(password.as_str().into()), &username, &[config.host().unwrap_or("")])
        .map_err(|why| unusable("WATCHPOST_ADMIN_PASSWORD", why))?;
    let to_hash = password.clone();
    let hash =
        tokio::task::spawn_blocking(move || hash_password(&to_hash)).await.map_err(AppError::failed)?;
    let by = AuditEntry::local(now(), Actor::Watchpost);
    // One that the operator chose is theirs; one that was generated has been on a screen.
    let until = generated.then(|| by.at.plus_seconds(ONE_TIME_SECONDS));
    let new = NewAccount {
        username: &username,
        email: "",
        role: Role::Admin,
        password: NewPassword { hash, until },
        external_id: None,
        signed_up: false,
    };
    match db.create_account(new, &by).await {
        Ok(_) => Ok(generated.then_some(password)),
        // Another node was quicker.
        Err(StoreError::Taken(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn greet(config: &Config, printer: &Printer, address: SocketAddr, log_in: &str) {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let shown = match address.ip().is_unspecified() {
        true => format!("{scheme}://localhost:{}", address.port()),
        false => format!("{scheme}://{address}"),
    };
    let url = config.public_url.clone().unwrap_or(shown);
    printer.say(format!("Watchpost {} is ready: {url}", env!("CARGO_PKG_VERSION")));
    printer.say(format!("API documentation: {url}/api/docs/"));
    if config.signup {
        printer.say(format!("Sign-up is on: {SIGN_UP_IS_ON}. WATCHPOST_SIGNUP=off ends that."));
    }
    printer.say(log_in);
}

/// What to say about logging in.
fn log_in(config: &Config, demo: bool, first_password: Option<&str>) -> String {
    let admin = &config.admin_username;
    match first_password {
        _ if demo => demo::log_ins(),
        Some(password) => format!(
            "\nLog in as {admin} with the password {password}\nIt is shown this once and has to be changed at the first log-in, within 24 hours; `watchpost user reset-password {admin}` makes a new one.\n"
        ),
        None => "Forgot the password? `watchpost user reset-password NAME`".to_owned(),
    }
}

/// Resolves when somebody wants the process to stop.
pub(crate) fn stopped() -> impl Future<Output = ()> {
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    async {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            () = terminate => {}
        }
        tracing::info!("stopping: finishing what is under way");
    }
}
