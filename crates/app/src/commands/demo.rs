//! `watchpost demo`: a server with a made-up week in it, for whoever looks around first.

use crate::config::Config;
use crate::demo::{self, FOLDER, Holds, Live, Week, fill};
use crate::exit::{AppError, ExitStatus};
use crate::printer::Printer;
use crate::serve::{self, Demo};
use crate::{Outcome, start};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use watchpost_model::Timestamp;
use watchpost_pipeline::now;
use watchpost_store::{Db, Location};

/// The same week for everybody who doesn't ask for another.
const SEED: &str = "2026";
const EVENTS: &str = "40000";
/// Fewer don't hold the stories; more take longer than anybody waits for a demo.
const MIN_EVENTS: u64 = 1_000;
const MAX_EVENTS: u64 = 50_000_000;
/// Up to so many events everything is searchable before it is served; of more the server makes it so while it serves.
const SEARCHABLE_FIRST: u64 = 200_000;
/// Between two lines about how far it is.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// A week that ended longer ago than this isn't "now" any more, in seconds.
const STALE: i64 = 12 * 3_600;

pub(crate) fn command() -> Command {
    let number = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    Command::new("demo")
        .about("Look around first: a made-up week of events and alerts, served to this machine only")
        .long_about(
            "Makes a database with users, keys, a week of events that ends now, and alerts that a small team has worked \
             on, and serves it to this machine only: everybody knows its passwords. Started again, it serves what is \
             there. A database that holds anything else is never touched.",
        )
        .arg(
            Arg::new("dir")
                .value_name("DIR")
                .help(format!("Where its data goes, unless DATABASE_URL names an empty database [default: {FOLDER}]")),
        )
        .arg(
            number("events", "N")
                .default_value(EVENTS)
                .value_parser(value_parser!(u64).range(MIN_EVENTS..=MAX_EVENTS))
                .help("How many events"),
        )
        .arg(
            number("seed", "N")
                .default_value(SEED)
                .value_parser(value_parser!(u64))
                .help("Another number, another week; the same number and end, the same week"),
        )
        .arg(number("until", "TIME").help(
            "When the week ends: RFC 3339, or before now such as -2d [default: now]",
        ))
        .arg(flag("fresh").help("Make it anew, if what is there is a demo"))
        .arg(flag("fill-only").help("Make it, and don't serve it"))
        .arg(flag("no-live").overrides_with("live").help("Don't let anything more happen in it"))
        .arg(
            flag("live")
                .overrides_with("no-live")
                .help("Let an event come in every few seconds (what happens anyway)"),
        )
}

/// Whether it serves what it makes.
pub(crate) fn serves(asked: &ArgMatches) -> bool {
    !asked.get_flag("fill-only")
}

/// A demo has a folder of its own, whatever the environment says about the one of the real server.
pub(crate) fn choose_folder(asked: &ArgMatches, flags: &mut BTreeMap<&'static str, String>) -> Outcome<()> {
    const DATA_DIR: &str = "WATCHPOST_DATA_DIR";
    match (asked.get_one::<String>("dir"), flags.contains_key(DATA_DIR)) {
        (Some(_), true) => {
            let hint = "give the folder once, as DIR or with --data-dir";
            return Err(AppError::new(ExitStatus::Usage, "there are two folders", hint));
        }
        (Some(folder), false) => drop(flags.insert(DATA_DIR, folder.clone())),
        (None, true) => {}
        (None, false) => drop(flags.insert(DATA_DIR, FOLDER.to_owned())),
    }
    Ok(())
}

pub(crate) async fn run(config: Config, asked: &ArgMatches, printer: &Printer) -> Outcome<ExitStatus> {
    let week = week(asked)?;
    let config = if serves(asked) { for_this_machine(config).await? } else { config };
    let live = prepare(&config, &week, asked, printer).await?;
    if serves(asked) {
        serve::serve(&config, printer, Some(Demo { live })).await?;
    }
    Ok(ExitStatus::Ok)
}

fn week(asked: &ArgMatches) -> Outcome<Week> {
    let now = now();
    let wrong = || {
        let hint = "write RFC 3339 such as 2026-11-20T14:00:00Z, or a time before now such as -2d";
        AppError::new(ExitStatus::Usage, "the week can't end then", hint)
    };
    let until = match asked.get_one::<String>("until") {
        None => now,
        Some(text) => Timestamp::parse_relative(text, now).ok_or_else(wrong)?,
    };
    let number = |name: &str| asked.get_one::<u64>(name).copied().unwrap_or_default();
    let week = Week { seed: number("seed"), events: number("events"), until };
    // Nothing comes in from the future, and ids of events can't be older than their first year.
    match until <= now && week.has_ids() {
        true => Ok(week),
        false => Err(wrong()),
    }
}

/// Makes sure that nobody else's machine is served.
async fn for_this_machine(config: Config) -> Outcome<Config> {
    let address = serve::address_of(&config.listen).await?;
    if !address.ip().to_canonical().is_loopback() {
        return Err(demo::strangers(&config.listen));
    }
    if let Some(url) = &config.public_url {
        return Err(demo::strangers(url));
    }
    // What was looked up is what is listened on.
    Ok(Config { listen: address.to_string(), ..config })
}

/// Makes the demo unless it is there; what goes on in it.
async fn prepare(
    config: &Config,
    week: &Week,
    asked: &ArgMatches,
    printer: &Printer,
) -> Outcome<Option<Live>> {
    if let Location::Sqlite(_) = config.location {
        start::data_dir(config)?;
    }
    let _lock = start::lock(config)?;
    let mut db = start::open(config).await?;
    let holds = demo::look(&db).await?;
    let fresh = asked.get_flag("fresh");
    let anew = match holds {
        Holds::Nothing => false,
        Holds::SomebodysData => return Err(not_a_demo(config)),
        Holds::HalfAWeek => true,
        Holds::Week => fresh,
    };
    if anew {
        if holds == Holds::HalfAWeek && !fresh {
            printer.say("The last time its making broke off; it is made anew.");
        }
        db.close().await;
        remove(config)?;
        db = start::open(config).await?;
    }
    db.migrate(now()).await?;
    start::seal_as_the_server(config, &db).await?;
    match holds == Holds::Week && !fresh {
        true => say_how_old(&db, printer).await?,
        false => {
            make(&db, week, printer).await?;
            if !serves(asked) || week.events <= SEARCHABLE_FIRST {
                make_searchable(&db, printer).await?;
            }
        }
    }
    let live = match serves(asked) && !asked.get_flag("no-live") {
        true => Some(Live::of(&db).await?),
        false => None,
    };
    db.close().await;
    Ok(live)
}

fn not_a_demo(config: &Config) -> AppError {
    let place = match &config.location {
        Location::Sqlite(path) => path.display().to_string(),
        Location::Postgres(_) => "the database that DATABASE_URL names".to_owned(),
    };
    AppError::new(
        ExitStatus::DatabaseUnfit,
        format!("{place} holds something that is no demo, and is left as it is"),
        "name another folder, as in `watchpost demo DIR`, or an empty database",
    )
}

/// Removes a demo's database: its own files and no others.
fn remove(config: &Config) -> Outcome<()> {
    if let Location::Postgres(_) = config.location {
        return Err(AppError::new(
            ExitStatus::DatabaseUnfit,
            "a demo on PostgreSQL isn't made anew in its place",
            "drop the database and create it again, or name another one",
        ));
    }
    for file in config.location.files() {
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let message = format!("{} can't be removed: {error}", file.display());
                return Err(AppError::new(ExitStatus::DataDirectory, message, ""));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Says how far something is, but not all the time.
fn teller(printer: &Printer) -> impl FnMut(String) {
    let mut told = Instant::now();
    move |line| {
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            printer.say(line);
        }
    }
}

async fn make(db: &Db, week: &Week, printer: &Printer) -> Outcome<()> {
    let (started, mut tell) = (Instant::now(), teller(printer));
    printer.say(format!("Making a week with {} events …", week.events));
    fill(db, week, |stored| tell(format!("{stored} of {} events", week.events))).await?;
    printer.say(format!("Made in {:.1} s.", started.elapsed().as_secs_f64()));
    Ok(())
}

async fn make_searchable(db: &Db, printer: &Printer) -> Outcome<()> {
    let (mut texts, mut tell) = (0, teller(printer));
    loop {
        let round = db.index_round().await?;
        texts += round.texts;
        if !round.more {
            return Ok(());
        }
        tell(format!("{texts} events and alerts can be searched"));
    }
}

async fn say_how_old(db: &Db, printer: &Printer) -> Outcome<()> {
    let hours = match demo::ended(db).await? {
        Some(ended) if now().seconds() - ended.seconds() > STALE => {
            (now().seconds() - ended.seconds()) / 3_600
        }
        _ => return Ok(()),
    };
    printer.say(format!("Its week ended {hours} hours ago; with --fresh it is made anew and ends now."));
    Ok(())
}
