//! `watchpost user …`: people, from a shell on the server.

use super::all_rows;
use crate::config::Config;
use crate::exit::{AppError, ExitStatus};
use crate::printer::{Printer, table};
use crate::{Outcome, start};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::io::{BufRead, IsTerminal, stdin};
use watchpost_model::text::Given;
use watchpost_model::user::NewUser;
use watchpost_model::{Actor, Invalid, Role, User};
use watchpost_pipeline::now;
use watchpost_store::{AuditEntry, Db, NewAccount, NewPassword, StoreError, UserChange, UserFilter};
use watchpost_web::{ONE_TIME_SECONDS, generate_password, hash_password};

fn new_user_args(command: Command) -> Command {
    command
        .arg(Arg::new("username").long("username").value_name("NAME").help("The name to log in with"))
        .arg(Arg::new("email").long("email").value_name("ADDRESS").help("An address"))
        .arg(
            Arg::new("password-stdin")
                .long("password-stdin")
                .action(ArgAction::SetTrue)
                .help("Read the password from the first line of stdin"),
        )
        .arg(Arg::new("noinput").long("noinput").visible_alias("no-input").action(ArgAction::SetTrue).help(
            "Ask nothing: take DJANGO_SUPERUSER_USERNAME, _PASSWORD and _EMAIL, and make up a password if none is given",
        ))
}

pub(crate) fn command() -> Command {
    let role = Arg::new("role").long("role").value_name("ROLE").default_value("analyst");
    let name = || Arg::new("name").value_name("NAME").required(true).help("The user's name");
    Command::new("user")
        .about("Manage users")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            new_user_args(Command::new("create").about("Make a user"))
                .arg(role.help("admin, responder or analyst"))
                .arg(Arg::new("keep-password").long("keep-password").action(ArgAction::SetTrue).help(
                    "The user may keep this password; otherwise it has to be changed at the first log-in, within a day",
                )),
        )
        .subcommand(Command::new("list").about("List users"))
        .subcommand(
            Command::new("disable").about("Deactivate a user: all tokens and sessions end").arg(name()),
        )
        .subcommand(
            Command::new("reset-password")
                .about("Give a user a one-time password, which they have to change within a day, or the one given; activates a disabled user")
                .arg(name())
                .arg(
                    Arg::new("password-stdin")
                        .long("password-stdin")
                        .action(ArgAction::SetTrue)
                        .help("Read the password from the first line of stdin; it needn't be changed"),
                )
                .arg(
                    Arg::new("no-second-factor")
                        .long("no-second-factor")
                        .action(ArgAction::SetTrue)
                        .help("Take the second factor away, too, for somebody who lost it"),
                ),
        )
}

/// What people who come from Django type.
pub(crate) fn create_superuser() -> Command {
    new_user_args(
        Command::new("createsuperuser").about(
            "Make an Admin, who keeps a password that is given; one that is made up has to be changed",
        ),
    )
}

pub(crate) async fn run(config: &Config, asked: &ArgMatches, printer: &Printer) -> Outcome<ExitStatus> {
    match asked.subcommand() {
        Some(("create", asked)) => create(config, asked, printer).await,
        Some(("list", _)) => list(config, printer).await,
        Some(("disable", asked)) => disable(config, asked, printer).await,
        Some(("reset-password", asked)) => reset_password(config, asked, printer).await,
        _ => Ok(ExitStatus::Usage),
    }
}

fn by_command_line() -> AuditEntry {
    AuditEntry::local(now(), Actor::CommandLine)
}

fn wrong(invalid: &Invalid) -> AppError {
    let lines = invalid.fields().iter().map(|(field, said)| format!("{field}: {}", said.join(" ")));
    AppError::new(
        ExitStatus::Usage,
        lines.collect::<Vec<_>>().join("\nerror: "),
        "`--help` says what is expected",
    )
}

fn password_from_stdin() -> Outcome<String> {
    let mut line = String::new();
    stdin().lock().read_line(&mut line).map_err(AppError::failed)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn ask(printer: &Printer, question: &str) -> Outcome<String> {
    printer.ask(question);
    let mut line = String::new();
    stdin().lock().read_line(&mut line).map_err(AppError::failed)?;
    Ok(line.trim().to_owned())
}

fn ask_password() -> Outcome<String> {
    let password = rpassword::prompt_password("Password: ").map_err(AppError::failed)?;
    let again = rpassword::prompt_password("Password (again): ").map_err(AppError::failed)?;
    if password != again {
        return Err(AppError::new(ExitStatus::Usage, "the two passwords differ", "try again"));
    }
    Ok(password)
}

async fn hashed(password: String) -> Outcome<String> {
    tokio::task::spawn_blocking(move || hash_password(&password)).await.map_err(AppError::failed)
}

/// What was given for a new user: by flags, by Django's variables, or by asking.
struct Wanted {
    username: String,
    email: String,
    password: String,
    generated: bool,
}

fn wanted(asked: &ArgMatches, printer: &Printer) -> Outcome<Wanted> {
    let quiet = asked.get_flag("noinput");
    let variable =
        |name: &str| quiet.then(|| std::env::var(format!("DJANGO_SUPERUSER_{name}")).ok()).flatten();
    let interactive = stdin().is_terminal() && !quiet;
    let username = match asked.get_one::<String>("username").cloned().or(variable("USERNAME")) {
        Some(name) => name,
        None if interactive => ask(printer, "User name: ")?,
        None => {
            let hint = "give one with --username";
            return Err(AppError::new(ExitStatus::Usage, "a user name is needed", hint));
        }
    };
    let email = asked.get_one::<String>("email").cloned().or(variable("EMAIL")).unwrap_or_default();
    let (password, generated) = if asked.get_flag("password-stdin") {
        (password_from_stdin()?, false)
    } else if let Some(password) = variable("PASSWORD") {
        (password, false)
    } else if interactive {
        (ask_password()?, false)
    } else {
        (generate_password(), true)
    };
    Ok(Wanted { username, email, password, generated })
}

/// Makes a user; `createsuperuser` has no role to name and makes an Admin, whose password the operator chose unless it
/// is made up.
pub(crate) async fn create(config: &Config, asked: &ArgMatches, printer: &Printer) -> Outcome<ExitStatus> {
    let role = match asked.try_get_one::<String>("role") {
        Ok(Some(role)) => role.clone(),
        _ => Role::Admin.as_str().to_owned(),
    };
    let Wanted { username, email, password, generated } = wanted(asked, printer)?;
    let text = |text: &str| Given::Text(text.to_owned().into());
    let new = NewUser::check(&text(&username), &text(&password), &text(&email), &text(&role), config.host())
        .map_err(|invalid| wrong(&invalid))?;
    let kept = match asked.try_get_one::<bool>("keep-password") {
        Ok(Some(kept)) => *kept,
        _ => !generated,
    };
    let db = start::open(config).await?;
    db.migrate(now()).await?;
    start::seal_as_the_server(config, &db).await?;
    let hash = hashed(new.password).await?;
    let by = by_command_line();
    let until = (!kept).then(|| by.at.plus_seconds(ONE_TIME_SECONDS));
    let account = NewAccount {
        username: &new.username,
        email: &new.email,
        role: new.role,
        password: NewPassword { hash, until },
        external_id: None,
        signed_up: false,
    };
    match db.create_account(account, &by).await {
        Ok(user) => printer.say(format!("{} is made: {} (id {})", user.role.title(), user.username, user.id)),
        Err(StoreError::Taken(_)) => {
            return Err(AppError::new(
                ExitStatus::Failed,
                format!("there is a user {} already", new.username),
                "`watchpost user reset-password` gives a new password",
            ));
        }
        Err(error) => return Err(error.into()),
    }
    if !kept {
        printer.say("The password has to be changed at the first log-in, within 24 hours.");
    }
    if generated {
        printer.say("The password, shown this once:");
        printer.data(password);
    }
    db.close().await;
    Ok(ExitStatus::Ok)
}

async fn list(config: &Config, printer: &Printer) -> Outcome<ExitStatus> {
    let db = start::open_current(config).await?;
    let row = |user: User| {
        let last = user.last_login_at.map_or("never".to_owned(), |at| at.to_string());
        let state = if user.active { "active" } else { "disabled" };
        vec![user.id.to_string(), user.username, user.role.title().into(), state.into(), last]
    };
    let everybody = UserFilter::default();
    let users = all_rows(|page| db.users(&everybody, page)).await?;
    let rows: Vec<_> = users.into_iter().map(row).collect();
    if rows.is_empty() {
        printer.say("There are no users yet. The first start of the server makes an Admin.");
    } else {
        printer.data(table(&["ID", "NAME", "ROLE", "STATE", "LAST LOG-IN"], &rows));
    }
    Ok(ExitStatus::Ok)
}

async fn find(db: &Db, asked: &ArgMatches) -> Outcome<User> {
    let name = asked.get_one::<String>("name").cloned().unwrap_or_default();
    match db.credentials_by_name(&name).await? {
        Some(found) => Ok(found.user),
        None => Err(AppError::new(
            ExitStatus::Failed,
            format!("there is no user {name}"),
            "`watchpost user list` shows all of them",
        )),
    }
}

async fn disable(config: &Config, asked: &ArgMatches, printer: &Printer) -> Outcome<ExitStatus> {
    let db = start::open_to_change(config).await?;
    let User { id, username: name, .. } = find(&db, asked).await?;
    let change = UserChange { active: Some(false), ..UserChange::default() };
    db.update_user(id, change, None, &by_command_line()).await.map_err(|error| match error {
        StoreError::LastAdmin => AppError::new(ExitStatus::Failed, error, "make another Admin first"),
        error => error.into(),
    })?;
    printer.say(format!("{name} is disabled; all tokens and sessions have ended."));
    db.close().await;
    Ok(ExitStatus::Ok)
}

async fn reset_password(config: &Config, asked: &ArgMatches, printer: &Printer) -> Outcome<ExitStatus> {
    let db = start::open_to_change(config).await?;
    let User { id, username: name, email, .. } = find(&db, asked).await?;
    let given = asked.get_flag("password-stdin");
    let password = if given { password_from_stdin()? } else { generate_password() };
    let others = [email.as_str(), config.host().unwrap_or("")];
    watchpost_model::password::check_new_password(&Given::Text(password.as_str().into()), &name, &others)
        .map_err(|why| wrong(&Invalid::field("password", why)))?;
    let hash = hashed(password.clone()).await?;
    let by = by_command_line();
    let until = (!given).then(|| by.at.plus_seconds(ONE_TIME_SECONDS));
    let password_change = Some(NewPassword { hash, until });
    let change = UserChange { password: password_change, active: Some(true), ..UserChange::default() };
    db.update_user(id, change, None, &by).await?;
    printer.say(format!("{name} has a new password; all tokens and sessions have ended."));
    if asked.get_flag("no-second-factor") {
        match db.end_factor(id, None, &by).await {
            Ok(()) => printer.say("The second factor is taken away."),
            Err(StoreError::Conflict) => printer.say("There was no second factor."),
            Err(error) => return Err(error.into()),
        }
    }
    if !given {
        printer.say("A one-time password, shown this once; it lets in within a day, to choose another:");
        printer.data(password);
    }
    db.close().await;
    Ok(ExitStatus::Ok)
}
