//! `watchpost doctor`: looks at everything an installation stands on and says what to do.

use crate::config::Config;
use crate::exit::{AppError, ExitStatus};
use crate::net::{Tls, TlsFiles};
use crate::printer::Printer;
use crate::serve::SIGN_UP_IS_ON;
use crate::{Outcome, start};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use watchpost_model::id::{can_lead_event_ids, event_id_second};
use watchpost_model::{Role, Timestamp};
use watchpost_pipeline::{CLOCK_DIFFERENCE_SECONDS, now};
use watchpost_store::{AuditProof, Db, Engine, Location, MAX_AHEAD_COUNTED};
use watchpost_web::{ShipTo, Shipping};

/// A disk that takes longer to keep something makes every event wait for it.
const SLOW_DISK: Duration = Duration::from_millis(100);
/// What is written to try the disk.
const TRIAL_BYTES: usize = 64 << 10;
/// A certificate that ends sooner should have been renewed.
const CERTIFICATE_LEFT_SECONDS: i64 = 7 * 86_400;
/// Events that are less far ahead of the clock were given their ids while it was set.
const AHEAD_SECONDS: i64 = 60;

/// How often is said how far a long look is.
const TELL_EVERY: Duration = Duration::from_secs(2);

struct Finding {
    what: &'static str,
    good: bool,
    said: String,
    todo: String,
}

fn good(what: &'static str, said: impl Into<String>) -> Finding {
    Finding { what, good: true, said: said.into(), todo: String::new() }
}

fn bad(what: &'static str, said: impl Into<String>, todo: impl Into<String>) -> Finding {
    Finding { what, good: false, said: said.into(), todo: todo.into() }
}

pub(crate) fn command() -> Command {
    Command::new("doctor")
        .about("Check settings, database, disk and clock, and say what to do; exit code 8 when something is wrong")
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("One JSON object a line"))
        .arg(
            Arg::new("quick")
                .long("quick")
                .action(ArgAction::SetTrue)
                .help("Leave out the look at every page and row, which takes minutes where there are gigabytes"),
        )
}

pub(crate) async fn run(config: &Config, asked: &ArgMatches, printer: &Printer) -> Outcome<ExitStatus> {
    let mut findings = vec![good("settings", "every setting can be used")];
    findings.extend(look_at_hosts(config));
    findings.extend(look_at_the_way_here(config));
    findings.extend(look_at_sign_up(config));
    findings.extend(look_at_second_factor(config));
    findings.extend(look_at_metrics(config));
    findings.push(look_at_disk(&config.data_dir));
    findings.push(look_at_clock());
    findings.extend(config.tls.as_ref().map(look_at_certificate));
    findings.extend(config.shipping.as_ref().map(look_at_shipping));
    match start::open(config).await {
        Ok(db) => {
            findings.extend(look_at_database(&db, config).await);
            findings.extend(look_at_times(&db).await);
            if !asked.get_flag("quick") {
                findings.push(look_at_every_page(&db, printer).await);
                findings.push(look_at_audit_log(&db, config, printer).await);
            }
            db.close().await;
        }
        Err(AppError { message, hint, .. }) => findings.push(bad("database", message, hint)),
    }
    for finding in &findings {
        if asked.get_flag("json") {
            let line = serde_json::json!({
                "check": finding.what, "ok": finding.good, "said": finding.said, "todo": finding.todo
            });
            printer.data(line);
        } else {
            printer.data(format!(
                "{} {}: {}",
                if finding.good { "ok  " } else { "BAD " },
                finding.what,
                finding.said
            ));
            if !finding.todo.is_empty() {
                printer.data(format!("     → {}", finding.todo));
            }
        }
    }
    let all_good = findings.iter().all(|finding| finding.good);
    Ok(if all_good { ExitStatus::Ok } else { ExitStatus::Findings })
}

fn look_at_hosts(config: &Config) -> Option<Finding> {
    let local = |host: &str| matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    let outside = config.listens_outside();
    let only_local = config.public_url.is_none() && config.allowed_hosts.iter().all(|host| local(host));
    (outside && only_local).then(|| {
        bad(
            "names",
            format!("the server listens on {} but answers to local names only", config.listen),
            "add the name people use to ALLOWED_HOSTS, or set WATCHPOST_PUBLIC_URL",
        )
    })
}

/// Passwords and tokens that travel unencrypted are read on the way.
fn look_at_the_way_here(config: &Config) -> Option<Finding> {
    config.plain_to_others().then(|| {
        bad(
            "TLS",
            format!("the server listens on {} without TLS, and no public URL says that a proxy speaks it", config.listen),
            "set WATCHPOST_TLS_CERT and WATCHPOST_TLS_KEY, or WATCHPOST_PUBLIC_URL=https://… where a proxy speaks TLS",
        )
    })
}

/// Without a token metrics are for this machine only, which can't be told where others reach the server.
fn look_at_metrics(config: &Config) -> Option<Finding> {
    let nobody = config.metrics_token.is_none() && (config.serves_others() || config.listens_outside());
    let todo = "set WATCHPOST_METRICS_TOKEN, and have the scraper show it, if metrics are wanted";
    nobody.then(|| Finding {
        todo: todo.into(),
        ..good(
            "metrics",
            "/metrics refuses every request: other machines reach the server, and WATCHPOST_METRICS_TOKEN isn't set",
        )
    })
}

/// The operator may have wanted it, so it is nothing bad; but who reads this should know.
fn look_at_sign_up(config: &Config) -> Option<Finding> {
    let todo = "set WATCHPOST_SIGNUP=off unless clients of service C have to sign up";
    config
        .signup
        .then(|| Finding { todo: todo.into(), ..good("sign-up", format!("it is on: {SIGN_UP_IS_ON}")) })
}

/// Where others reach the server, a password alone is little for those who may do everything.
fn look_at_second_factor(config: &Config) -> Option<Finding> {
    let alone = config.public_url.is_some() && !config.second_factor_roles.contains(&Role::Admin);
    let todo = "set WATCHPOST_SECOND_FACTOR=Admin (or Admin,Responder): Admins are asked to set 2FA up at their next log-in";
    let said = "Admins can log in with a password alone, and the server has a public URL";
    alone.then(|| Finding { todo: todo.into(), ..good("second factor", said) })
}

fn look_at_disk(directory: &Path) -> Finding {
    if !directory.is_dir() {
        return good("disk", format!("{} will be made on the first start", directory.display()));
    }
    let path = directory.join(format!(".doctor-{}", std::process::id()));
    let started = Instant::now();
    let tried = std::fs::File::create(&path).and_then(|mut file| {
        file.write_all(&vec![0; TRIAL_BYTES])?;
        file.sync_all()
    });
    let took = started.elapsed();
    std::fs::remove_file(&path).ok();
    let took_ms = took.as_secs_f64() * 1000.0;
    match tried {
        Err(error) => bad(
            "disk",
            format!("{} can't be written: {error}", directory.display()),
            "make room, or make it writable for this user",
        ),
        Ok(()) if took > SLOW_DISK => bad(
            "disk",
            format!("keeping 64 KiB took {took_ms:.0} ms"),
            "events wait for the disk: use a faster one for the data directory",
        ),
        Ok(()) => good("disk", format!("keeping 64 KiB took {took_ms:.1} ms")),
    }
}

/// What was shipped last, where that can be told; otherwise where to.
fn look_at_shipping(shipping: &Shipping) -> Finding {
    let (place, every) = (shipping.place(), shipping.every.as_secs());
    let todo = "make it writable for this user, and start the server: its log says what goes wrong";
    let failed = |why: String| bad("checkpoints", why, todo);
    match (&shipping.to, shipping.last()) {
        (ShipTo::Webhook(_), _) => good(
            "checkpoints",
            format!(
                "they go to {place} every {every} s; watchpost_audit_checkpoints_failed counts what fails"
            ),
        ),
        (_, Err(error)) => failed(format!("{place} can't be read: {error}")),
        (_, Ok(None)) => good("checkpoints", format!("none was shipped to {place} yet")),
        (_, Ok(Some(last))) => {
            let made = Timestamp::parse(&last.made_at);
            let late = made.is_none_or(|made| {
                now().seconds() - made.seconds() > i64::try_from(2 * every).unwrap_or(i64::MAX)
            });
            match late {
                true => failed(format!(
                    "the last one in {place} is of {}, and one is due every {every} s",
                    last.made_at
                )),
                false => good(
                    "checkpoints",
                    format!("the last one in {place} is of {}, for row {}", last.made_at, last.row),
                ),
            }
        }
    }
}

fn look_at_certificate(files: &TlsFiles) -> Finding {
    if let Err(error) = Tls::load(files.clone()) {
        return bad("certificate", error.to_string(), "certificate and key are PEM files that go together");
    }
    match files.expires() {
        Ok(Some(end)) if end <= now() => bad("certificate", format!("it expired at {end}"), "renew it"),
        Ok(Some(end)) if end <= now().plus_seconds(CERTIFICATE_LEFT_SECONDS) => bad(
            "certificate",
            format!("it expires at {end}"),
            "renew it; a new file is taken into use by itself",
        ),
        Ok(Some(end)) => good("certificate", format!("it is good until {end}")),
        Ok(None) => good("certificate", "it can be used; until when can't be told"),
        Err(error) => bad("certificate", error.to_string(), "check the file"),
    }
}

fn look_at_clock() -> Finding {
    let now = now();
    match can_lead_event_ids(now) {
        true => good("clock", format!("it shows {now}")),
        false => bad(
            "clock",
            format!("it shows {now}: events are refused"),
            "set the clock, and have it set from the network",
        ),
    }
}

/// What a wrong clock left can't be put right, as events never change, and is nothing bad: they are found as all others.
async fn look_at_times(db: &Db) -> Vec<Finding> {
    let mut findings = Vec::new();
    let now = db.clock().await.unwrap_or_else(|_| now());
    if let Ok(Some(ahead)) = db.events_ahead(now.plus_seconds(AHEAD_SECONDS)).await {
        let more = if ahead.events == MAX_AHEAD_COUNTED { " or more" } else { "" };
        let said = format!(
            "{}{more} are from a time that is still to come, {} to {} (from id {} on): a clock was ahead when they came in",
            ahead.events,
            event_id_second(ahead.first),
            event_id_second(ahead.last),
            ahead.first
        );
        let todo =
            "make sure that the clock is right now; until those times come, these events lead the lists";
        findings.push(Finding { todo: todo.into(), ..good("events", said) });
    }
    if let Ok(Some(misplaced)) = db.misplaced_events().await {
        let said = format!(
            "{} events from {} on (id {}) lie in events_elsewhen, in no month's place",
            misplaced.events,
            event_id_second(misplaced.first),
            misplaced.first
        );
        let todo = "nothing has to be done: they are found, and moved when the place of their month is made, if they are few";
        findings.push(Finding { todo: todo.into(), ..good("partitions", said) });
    }
    findings
}

/// Says how far something is, but not all the time.
fn teller(printer: &Printer) -> impl FnMut(String) + Send + 'static + use<> {
    let (printer, mut told) = (printer.clone(), Instant::now());
    move |line| {
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            printer.say(line);
        }
    }
}

async fn look_at_every_page(db: &Db, printer: &Printer) -> Finding {
    if db.engine() == Engine::Postgres {
        return good("data", "PostgreSQL looks at its own: pg_amcheck, and checksums of its pages");
    }
    match db.examine(teller(printer)).await {
        Ok(found) if found.is_empty() => good("data", "every page and row is whole, and search fits them"),
        Ok(found) => bad(
            "data",
            found.join("; "),
            "where the search index is named, stop the server and remove watchpost-search.db: it is made anew; otherwise restore a \
             backup",
        ),
        Err(error) => bad("data", error.to_string(), "restore a backup if it stays so"),
    }
}

async fn look_at_audit_log(db: &Db, config: &Config, printer: &Printer) -> Finding {
    let sealed = start::seal_if_there_is_a_secret(config).unwrap_or(false);
    let mut tell = teller(printer);
    match db.prove_audit(|done, of| tell(format!("audit log: {done} of {of} rows"))).await {
        Ok(AuditProof::Intact(_)) if sealed => {
            good("audit log", "each row follows from the one before it, and is vouched for")
        }
        Ok(AuditProof::Intact(_)) => good("audit log", "each row follows from the one before it"),
        Ok(AuditProof::Unvouched(row, why)) => bad(
            "audit log",
            format!("nothing vouches for row {row}: {why}"),
            "`watchpost audit verify` says more; compare it with a backup, and with an export of it",
        ),
        Ok(AuditProof::Broken(row, how)) => bad(
            "audit log",
            format!("it breaks at row {row}: {how}"),
            "compare it with a backup, and with an export of it",
        ),
        Err(error) => bad("audit log", error.to_string(), "check that the database is up to date"),
    }
}

/// On SQLite there is one at most. A database that lacks steps says nothing of nodes either.
async fn look_at_nodes(db: &Db) -> Option<Finding> {
    let (least, nodes) = (db.least_step().await.ok()?, db.nodes(now()).await.ok()?);
    if db.engine() == Engine::Sqlite || nodes.is_empty() {
        return None;
    }
    let told: Vec<String> =
        nodes.iter().map(|node| format!("{} ({}, step {})", node.name, node.version, node.step)).collect();
    let said = format!("{} run(s): {}", nodes.len(), told.join(", "));
    Some(match nodes.iter().all(|node| node.step >= least) {
        true => good("nodes", said),
        false => bad("nodes", said, format!("upgrade those below step {least}: they are not let write")),
    })
}

async fn look_at_database(db: &Db, config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let place = match &config.location {
        Location::Sqlite(path) => path.display().to_string(),
        Location::Postgres(_) => "PostgreSQL".to_owned(),
    };
    match db.health().await {
        Ok(health) => findings.push(good("database", format!("{place}: {}", health.version))),
        Err(error) => {
            findings.push(bad("database", error.to_string(), "check that it runs and can be reached"))
        }
    }
    match db.pending_migrations().await {
        Ok(pending) if pending.is_empty() => findings.push(good("migrations", "the database is up to date")),
        Ok(pending) => findings.push(bad(
            "migrations",
            format!("{} step(s) are missing", pending.len()),
            "run `watchpost migrate`, or start the server",
        )),
        Err(error) => {
            findings.push(bad("migrations", error.to_string(), "install the Watchpost that wrote it"))
        }
    }
    findings.extend(look_at_nodes(db).await);
    if let Ok(theirs) = db.clock().await {
        let difference = (theirs.seconds() - now().seconds()).abs();
        findings.push(match difference > CLOCK_DIFFERENCE_SECONDS {
            true => bad(
                "database clock",
                format!("it differs by {difference} s from this machine's; the database's is used"),
                "have both set from the network",
            ),
            false => good("database clock", "it agrees with this machine's"),
        });
    }
    findings
}
