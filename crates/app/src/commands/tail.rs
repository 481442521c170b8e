//! `watchpost tail`: alerts, and what is done with them, line by line as it happens.

use crate::config::Config;
use crate::exit::ExitStatus;
use crate::printer::{Look, Printer};
use crate::{Outcome, serve, start};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::collections::HashSet;
use std::time::Duration;
use watchpost_model::alert::HistoryEntry;
use watchpost_model::filter::{About, AlertFilter, Field, Watch};
use watchpost_model::page::{MAX_PAGE_SIZE, PageRequest};
use watchpost_model::terms::Search;
use watchpost_model::{Alert, AlertId, Event, Severity, Timestamp};
use watchpost_pipeline::{Feed, Follower, News, Next, Piece, Topics};
use watchpost_store::{Db, StoreError};
use watchpost_web::line_of_news;

/// Alerts that are shown first, unless told.
const LINES: &str = "10";
/// How many may be asked for; there is a list for more.
const MAX_LINES: u64 = 10_000;
/// How much of a description a line shows.
const EXCERPT_CHARS: usize = 120;
/// After the database couldn't be read.
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) fn command() -> Command {
    let several = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).action(ArgAction::Append).help(help)
    };
    let severities = PossibleValuesParser::new(Severity::ALL.map(Severity::as_str));
    Command::new("tail")
        .about("Show alerts, and what is done with them, as it happens; stop with Ctrl-C")
        .after_help(
            "Filters work alone and together; one that is given again means any of its values, in any letter case.\n\n\
             Examples:\n  watchpost tail --severity CRITICAL,HIGH      what is bad\n  \
             watchpost tail -n 0 --source edge-fw --events  everything that comes from one source from now on\n  \
             watchpost tail --json | jq -r .alert.title     for programs: {\"alert\":…}, {\"change\":…} or {\"event\":…} a line",
        )
        .arg(
            Arg::new("lines")
                .short('n')
                .long("lines")
                .value_name("N")
                .default_value(LINES)
                .value_parser(value_parser!(u64).range(0..=MAX_LINES))
                .help("Show the last N alerts first"),
        )
        .arg(Arg::new("events").long("events").action(ArgAction::SetTrue).help("Show events, too"))
        .arg(
            several("severity", "SEVERITY", "Only this severity, or these, separated by commas")
                .value_parser(severities)
                .ignore_case(true)
                .value_delimiter(','),
        )
        .arg(several("source", "NAME", "Only what comes from this source"))
        .arg(several("type", "TYPE", "Only this type of event"))
        .arg(several("host", "NAME", "Only what happened on this machine"))
        .arg(several("user", "NAME", "Only what is about this account"))
        .arg(
            Arg::new("search")
                .long("search")
                .value_name("WORDS")
                .help("Only what has all these words, as lists are searched"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("One JSON object a line"))
        .arg(
            Arg::new("color")
                .long("color")
                .value_name("WHEN")
                .default_value("auto")
                .value_parser(["auto", "always", "never"])
                .help("Colour by severity; auto: at a terminal, unless NO_COLOR is set"),
        )
}

/// What is shown, and how.
struct Shown<'a> {
    printer: &'a Printer,
    watch: Watch,
    topics: Topics,
    json: bool,
    colour: bool,
}

/// Nobody reads any more.
struct Unread;

pub(crate) async fn run(config: &Config, asked: &ArgMatches, printer: &Printer) -> Outcome<ExitStatus> {
    let shown = Shown {
        printer,
        watch: watch(asked),
        topics: Topics { alerts: true, events: asked.get_flag("events") },
        json: asked.get_flag("json"),
        colour: match asked.get_one::<String>("color").map(String::as_str) {
            Some("always") => true,
            Some("never") => false,
            _ => printer.colours_data(),
        },
    };
    let lines = asked.get_one::<u64>("lines").copied().unwrap_or(0);
    let db = start::open_current(config).await?;
    let feed = Feed::new(db.clone());
    let reading = tokio::spawn(feed.clone().run());
    let outcome = tokio::select! {
        outcome = show(&db, &feed, &shown, lines) => outcome,
        () = serve::stopped() => Ok(()),
        () = printer.data_is_unread() => Ok(()),
    };
    reading.abort();
    reading.await.ok();
    db.close().await;
    outcome.map(|()| ExitStatus::Ok)
}

fn watch(asked: &ArgMatches) -> Watch {
    let given = |name: &str| -> Vec<String> {
        asked.get_many::<String>(name).into_iter().flatten().map(|text| text.trim().to_owned()).collect()
    };
    let fields = [
        (Field::Source, given("source")),
        (Field::Type, given("type")),
        (Field::Host, given("host")),
        (Field::User, given("user")),
    ];
    Watch {
        severities: given("severity").iter().filter_map(|text| Severity::parse(text)).collect(),
        about: About {
            fields: fields.into_iter().filter(|(_, values)| !values.is_empty()).collect(),
            search: asked.get_one::<String>("search").map(|text| Search::parse(text)),
            ..About::default()
        },
    }
}

/// The last alerts that are wanted, oldest first.
async fn last(db: &Db, watch: &Watch, count: u64) -> Result<Vec<Alert>, StoreError> {
    let filter = AlertFilter {
        severities: watch.severities.clone(),
        about: watch.about.clone(),
        ..AlertFilter::default()
    };
    let (mut alerts, mut cursor) = (Vec::new(), None);
    while (alerts.len() as u64) < count {
        let size = (count - alerts.len() as u64).min(u64::from(MAX_PAGE_SIZE)) as u32;
        let page = db.alerts(&filter, PageRequest { number: 1, size, cursor }).await?;
        alerts.extend(page.rows);
        cursor = page.next;
        if !page.more || cursor.is_none() {
            break;
        }
    }
    alerts.reverse();
    Ok(alerts)
}

/// Shows the last alerts and then what comes, until nobody reads any more.
async fn show(db: &Db, feed: &Feed, shown: &Shown<'_>, lines: u64) -> Outcome<()> {
    // What comes while the list is read is in both: it is shown once.
    let mut follower = feed.follow().await?;
    let mut listed = HashSet::new();
    for alert in last(db, &shown.watch, lines).await? {
        if shown.tell(&News::Raised(&alert)).is_err() {
            return Ok(());
        }
        listed.insert(alert.id);
    }
    let mut well = true;
    loop {
        let told = match follower.next().await {
            Ok(Next::Piece(piece)) => shown.tell_piece(&piece, &mut follower, &mut listed).await,
            Ok(Next::Lost) => begin_anew(feed, &mut follower, shown).await.map(Ok),
            Err(error) => Err(error),
        };
        match told {
            Ok(Ok(())) => well = true,
            Ok(Err(Unread)) => return Ok(()),
            Err(error) => {
                if std::mem::take(&mut well) {
                    shown.printer.warn(format!("{error}; trying again"));
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Goes on from now, when what came meanwhile isn't kept any more.
async fn begin_anew(feed: &Feed, follower: &mut Follower, shown: &Shown<'_>) -> Result<(), StoreError> {
    *follower = feed.follow().await?;
    shown.printer.warn("some of what happened meanwhile is not shown: it is too long ago");
    Ok(())
}

impl Shown<'_> {
    /// Shows what a piece of the feed tells of, but for alerts that are listed already.
    async fn tell_piece(
        &self,
        piece: &Piece,
        follower: &mut Follower,
        listed: &mut HashSet<AlertId>,
    ) -> Result<Result<(), Unread>, StoreError> {
        let (loaded, place) = (piece.load(self.topics).await?, follower.place());
        let entries = piece.entries.iter().filter(|entry| entry.place > place);
        let news = entries.flat_map(|entry| loaded.news(entry).map(|(_, news)| news));
        let mut wanted = news.filter(|news| news.is_wanted(&self.watch));
        let told = wanted.try_for_each(|news| match news {
            News::Raised(alert) if listed.remove(&alert.id) => Ok(()),
            news => self.tell(&news),
        });
        follower.took(piece.end());
        Ok(told)
    }

    fn tell(&self, news: &News<'_>) -> Result<(), Unread> {
        let read = match self.json {
            true => self.printer.json(&line_of_news(news)),
            false => self.printer.line(&parts(news), self.colour),
        };
        if read { Ok(()) } else { Err(Unread) }
    }
}

/// The parts of a line, and how each looks.
fn parts(news: &News<'_>) -> Vec<(Look, String)> {
    let (at, severity, what) = match news {
        News::Raised(alert) => {
            (alert.created_at, alert.severity, format!("#{} {}", alert.id, alert.shown_title()))
        }
        News::Changed(alert, change) => {
            (change.at, alert.severity, format!("#{} {}", alert.id, done(change)))
        }
        News::Stored(event) => (
            event.created_at,
            event.severity,
            format!("event: {} at {}", event.event_type, event.source_name),
        ),
    };
    let more = match news {
        News::Raised(alert) => about(&alert.event),
        News::Stored(event) => about(event),
        News::Changed(alert, _) => alert.shown_title(),
    };
    let look = match severity {
        Severity::Critical => Look::Worst,
        Severity::High => Look::Bad,
        Severity::Medium => Look::Doubtful,
        Severity::Low => Look::Plain,
    };
    vec![(Look::Faint, clock(at)), (look, format!("{severity:<8}")), (look, what), (Look::Plain, more)]
}

/// A time to the second.
fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    text.split_once('.').map_or(text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

fn done(change: &HistoryEntry) -> String {
    let HistoryEntry { actor, action, from, to, why, .. } = change;
    if action == "note" {
        return format!("note by {actor}: {}", excerpt(why));
    }
    let said = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    let (from, to) = (said(from.as_deref().unwrap_or_default()), said(to));
    let why = if why.is_empty() { String::new() } else { format!(" ({})", excerpt(why)) };
    format!("{action} by {actor}: {from} → {to}{why}")
}

/// Where it happened, to whom, and what was seen.
fn about(event: &Event) -> String {
    let details = &event.details;
    let named = [
        ("host", &details.host),
        ("user", &details.user),
        ("from", &details.src_ip),
        ("to", &details.dst_ip),
    ];
    let named = named.into_iter().filter_map(|(name, value)| Some(format!("{name}={} ", value.as_ref()?)));
    format!("{}{}", named.collect::<String>(), excerpt(&event.description))
}

/// The beginning of a text.
fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
