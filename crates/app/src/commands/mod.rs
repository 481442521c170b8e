//! The command line: what there is to say, and who does it.

mod audit;
mod backup;
mod demo;
mod doctor;
mod keys;
mod migrate;
mod tail;
mod users;

use crate::config::{Config, shown};
use crate::exit::{AppError, ExitStatus};
use crate::printer::{Printer, table};
use crate::settings::{SETTINGS, Settings, markdown};
use crate::{Outcome, logging, serve};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::collections::BTreeMap;
use std::future::Future;
use watchpost_model::page::{MAX_PAGE_SIZE, Page, PageRequest};
use watchpost_store::StoreError;

fn command() -> Command {
    let mut root = Command::new("watchpost")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Takes in security events, raises alerts and carries them from OPEN to RESOLVED.")
        .after_help(
            "Examples:\n  watchpost                                   start on SQLite, at http://127.0.0.1:8000\n  \
             watchpost --database-url postgres://u@h/db  start on PostgreSQL\n  \
             watchpost user create --username jane --role responder\n  watchpost key create edge-firewall-1\n  \
             watchpost demo                              look around first, in a made-up week\n  \
             watchpost doctor                            check the installation\n\n\
             Settings come from flags, then the environment, then .env and watchpost.toml in the working directory.",
        )
        .subcommand(Command::new("serve").about("Run the server (what happens without a command)"))
        .subcommand(demo::command())
        .subcommand(migrate::command())
        .subcommand(users::command())
        .subcommand(users::create_superuser())
        .subcommand(keys::command())
        .subcommand(audit::command())
        .subcommand(backup::command())
        .subcommand(tail::command())
        .subcommand(
            Command::new("settings")
                .about("Show the settings in force and where each comes from")
                .arg(Arg::new("markdown").long("markdown").action(ArgAction::SetTrue).help("The table of the documentation")),
        )
        .subcommand(doctor::command());
    for setting in SETTINGS {
        if let Some(flag) = setting.flag {
            let default = if setting.default.is_empty() {
                String::new()
            } else {
                format!(" [default: {}]", setting.default)
            };
            let help = format!("{}{default} [{}]", setting.meaning, setting.name);
            let name = flag.rsplit('-').next().unwrap_or(flag).to_ascii_uppercase();
            root = root.arg(Arg::new(setting.name).long(flag).value_name(name).global(true).help(help));
        }
    }
    root
}

/// Understands the command line and does what it says.
pub(crate) fn run(printer: &Printer) -> Outcome<ExitStatus> {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            let wanted = !error.use_stderr();
            error.print().ok();
            return Ok(if wanted { ExitStatus::Ok } else { ExitStatus::Usage });
        }
    };
    let settings = gather(&matches)?;
    if let Some(("settings", asked)) = matches.subcommand() {
        show_settings(&settings, asked.get_flag("markdown"), printer);
        return Ok(ExitStatus::Ok);
    }
    crate::private::from_now_on();
    settings.warnings.iter().for_each(|warning| printer.warn(warning));
    let config = Config::from(&settings)?;
    let serving = match matches.subcommand() {
        None | Some(("serve", _)) => true,
        Some(("demo", asked)) => demo::serves(asked),
        Some(_) => false,
    };
    // Commands speak for themselves; of what happens below them only warnings matter.
    let _log = logging::start(if serving { &config.log } else { "warn" }, config.log_format);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(AppError::failed)?;
    runtime.block_on(async {
        match matches.subcommand() {
            None | Some(("serve", _)) => serve::serve(&config, printer, None).await.map(|()| ExitStatus::Ok),
            Some(("demo", asked)) => demo::run(config, asked, printer).await,
            Some(("migrate", asked)) => migrate::run(&config, asked, printer).await,
            Some(("user", asked)) => users::run(&config, asked, printer).await,
            Some(("createsuperuser", asked)) => users::create(&config, asked, printer).await,
            Some(("key", asked)) => keys::run(&config, asked, printer).await,
            Some(("audit", asked)) => audit::run(&config, asked, printer).await,
            Some(("backup", asked)) => backup::run(&config, asked, printer).await,
            Some(("tail", asked)) => tail::run(&config, asked, printer).await,
            Some(("doctor", asked)) => doctor::run(&config, asked, printer).await,
            Some((other, _)) => Err(AppError::failed(format!("there is no command {other}"))),
        }
    })
}

fn gather(matches: &ArgMatches) -> Outcome<Settings> {
    let mut flags = BTreeMap::new();
    for setting in SETTINGS.iter().filter(|setting| setting.flag.is_some()) {
        if let Some(value) = matches.get_one::<String>(setting.name) {
            flags.insert(setting.name, value.clone());
        }
    }
    if let Some(("demo", asked)) = matches.subcommand() {
        demo::choose_folder(asked, &mut flags)?;
    }
    // A variable that isn't text can't be a setting of ours.
    let texts = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let environment = std::env::vars_os().filter_map(texts).collect();
    let directory = std::env::current_dir().map_err(AppError::failed)?;
    Settings::gather(&flags, &environment, &directory)
}

fn show_settings(settings: &Settings, as_markdown: bool, printer: &Printer) {
    if as_markdown {
        printer.data(markdown());
        return;
    }
    let row = |name: &'static str| {
        let (value, origin) = settings.get(name);
        vec![name.to_owned(), shown(name, value), origin.name().to_owned()]
    };
    let rows: Vec<_> = SETTINGS.iter().map(|setting| row(setting.name)).collect();
    printer.data(table(&["SETTING", "VALUE", "FROM"], &rows));
    crate::private::from_now_on();
    settings.warnings.iter().for_each(|warning| printer.warn(warning));
}

/// Every row of a list, page by page.
async fn all_rows<T, F>(mut page: impl FnMut(PageRequest) -> F) -> Outcome<Vec<T>>
where
    F: Future<Output = Result<Page<T>, StoreError>>,
{
    let mut rows = Vec::new();
    for number in 1.. {
        let page = page(PageRequest::numbered(number, MAX_PAGE_SIZE)).await?;
        rows.extend(page.rows);
        if !page.more {
            break;
        }
    }
    Ok(rows)
}
