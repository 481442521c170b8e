//! Query parameters: each list says which it takes, and the documentation says it from the same table.

mod access;

mod address;

use crate::api::export::ExportFormat;
use crate::api::triage::person;
use crate::auth::guard::Caller;
use crate::error::{ApiError, choose_from};
pub(crate) use crate::params::*;
use crate::state::AppState;
use crate::stream::{Topic, Wanted};
use std::collections::BTreeMap;
use std::str::FromStr;
use watchpost_model::filter::{
    About, AlertFilter, AlertOrder, EventFilter, Field, MAX_NEEDLE_CHARS, MAX_VALUES, Span, Triage, Watch,
    Whose,
};
use watchpost_model::page::{DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, PageRequest};
use watchpost_model::terms::Search;
use watchpost_model::triage::{Verdict, check_tag};
use watchpost_model::{AlertId, EventId, Invalid, Severity, Status, Timestamp};
use watchpost_pipeline::now;
use watchpost_store::{GroupFilter, GroupOrder};

/// Parameters in one request; a list takes ten or so.
const MAX_PARAMS: usize = 100;

/// The parameters of a request, decoded.
#[derive(Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let pairs: Vec<_> = form_urlencoded::parse(text.as_bytes())
            .take(MAX_PARAMS + 1)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        if pairs.len() > MAX_PARAMS {
            return Err(ApiError::Malformed(format!("More than {MAX_PARAMS} query parameters.")));
        }
        Ok(Self { pairs })
    }

    /// The value of a parameter; one that is empty counts as not given, as HTML forms send it. Of several the last.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().rev().find(|(given, _)| given == name);
        found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    /// Whether a parameter was given at all.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(crate) fn name_unknown(&self, known: &[Param], wrong: &mut Invalid) {
        for (name, _) in &self.pairs {
            if !known.iter().any(|param| param.name == name) {
                let names: Vec<_> = known.iter().map(|param| param.name).collect();
                let shown: String = name.chars().take(80).collect();
                wrong.add(&shown, format!("Unknown parameter. Known are: {}.", names.join(", ")));
            }
        }
    }

    fn choices<T>(&self, param: &Param, read: fn(&str) -> Option<T>, wrong: &mut Invalid) -> Vec<T> {
        let Some(given) = self.get(param.name) else { return Vec::new() };
        let mut chosen = Vec::new();
        for one in given.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            match read(one) {
                Some(value) => chosen.push(value),
                None => wrong.add(param.name, choose_from(one, param.choices)),
            }
        }
        chosen
    }

    /// Every value given for a parameter, empty ones left out.
    fn texts(&self, name: &str, wrong: &mut Invalid) -> Vec<String> {
        let given = self.pairs.iter().filter(|(given, _)| given == name).map(|(_, value)| value.trim());
        let given: Vec<&str> = given.filter(|value| !value.is_empty()).collect();
        if given.len() > MAX_VALUES {
            wrong.add(name, format!("At most {MAX_VALUES} values are expected."));
        }
        if given.iter().any(|text| text.contains('\0') || text.chars().count() > MAX_NEEDLE_CHARS) {
            wrong.add(
                name,
                format!("A text of at most {MAX_NEEDLE_CHARS} characters without NUL is expected."),
            );
            return Vec::new();
        }
        given.into_iter().take(MAX_VALUES).map(str::to_owned).collect()
    }

    fn ids<T: FromStr>(&self, wrong: &mut Invalid) -> Vec<T> {
        let given = self.get("id").unwrap_or_default().split(',').map(str::trim).filter(|id| !id.is_empty());
        let ids: Vec<Result<T, _>> = given.map(str::parse).collect();
        if ids.len() > MAX_PAGE_SIZE as usize || ids.iter().any(Result::is_err) {
            wrong.add("id", format!("At most {MAX_PAGE_SIZE} numbers, separated by commas, are expected."));
        }
        ids.into_iter().take(MAX_PAGE_SIZE as usize).filter_map(Result::ok).collect()
    }

    /// From when until when.
    pub(crate) fn span(&self, now: Timestamp, wrong: &mut Invalid) -> Span {
        let mut read = |name: &str| {
            let given = self.get(name)?;
            let read = Timestamp::parse_relative(given, now);
            if read.is_none() {
                wrong.add(name, "A time such as 2026-11-20T22:05:45Z, a date, or one before now such as -24h is expected.");
            }
            read
        };
        Span { since: read("since"), until: read("until") }
    }

    fn about(&self, wrong: &mut Invalid) -> About {
        let (mut fields, mut without) = (BTreeMap::new(), BTreeMap::new());
        for field in Field::ALL {
            for (name, kept) in [(field.name(), &mut fields), (left_out(field), &mut without)] {
                let values = self.texts(name, wrong);
                if !values.is_empty() {
                    kept.insert(field, values);
                }
            }
        }
        let search = self.texts("search", wrong).pop().map(|text| Search::parse(&text));
        About { fields, without, search, span: self.span(now(), wrong) }
    }

    /// The severities asked for, less those that are left out; none means any.
    fn severities(&self, wrong: &mut Invalid) -> Vec<Severity> {
        let mut wanted = self.choices(&SEVERITY, Severity::parse, wrong);
        let unwanted = self.choices(&NOT_SEVERITY, Severity::parse, wrong);
        if unwanted.is_empty() {
            return wanted;
        }
        if wanted.is_empty() {
            wanted = Severity::ALL.to_vec();
        }
        wanted.retain(|severity| !unwanted.contains(severity));
        if wanted.is_empty() {
            wrong.add(NOT_SEVERITY.name, "Every severity that is asked for is left out.".to_owned());
        }
        wanted
    }

    fn page(&self, wrong: &mut Invalid) -> Result<PageRequest, ApiError> {
        if let Some(format) = self.get("format")
            && !format.eq_ignore_ascii_case("json")
        {
            wrong.add("format", choose_from(format, FORMAT.choices));
        }
        let size = match self.get("page_size").map(str::parse::<u32>) {
            None => DEFAULT_PAGE_SIZE,
            Some(Ok(size)) if size > 0 => size.min(MAX_PAGE_SIZE),
            Some(_) => {
                wrong.add("page_size", format!("A whole number from 1 to {MAX_PAGE_SIZE} is expected."));
                DEFAULT_PAGE_SIZE
            }
        };
        let number = match self.get("page").map(str::parse::<u32>) {
            None => 1,
            Some(Ok(number)) if number > 0 => number,
            Some(_) => return Err(ApiError::NoSuchPage),
        };
        let cursor = match self.get("cursor").map(str::parse) {
            None => None,
            Some(Ok(cursor)) => Some(cursor),
            Some(Err(_)) => {
                wrong.add("cursor", "That is no place that a list gave out.");
                None
            }
        };
        Ok(PageRequest { number, size, cursor })
    }

    /// A list without filters.
    pub(crate) fn plain(&self) -> Result<PageRequest, ApiError> {
        let mut wrong = Invalid::new();
        self.name_unknown(PAGES, &mut wrong);
        let page = self.page(&mut wrong);
        wrong.into_result()?;
        page
    }

    fn event_filter(&self, wrong: &mut Invalid) -> EventFilter {
        EventFilter {
            ids: self.ids::<EventId>(wrong),
            severities: self.severities(wrong),
            about: self.about(wrong),
        }
    }

    /// A list of events.
    pub(crate) fn events(&self) -> Result<(EventFilter, PageRequest), ApiError> {
        let mut wrong = Invalid::new();
        self.name_unknown(EVENTS, &mut wrong);
        let filter = self.event_filter(&mut wrong);
        let page = self.page(&mut wrong);
        wrong.into_result()?;
        Ok((filter, page?))
    }

    /// Events of which something is told, whatever their list looks like; of parameters that are known.
    pub(crate) fn events_of(&self, known: &[Param]) -> Result<EventFilter, ApiError> {
        let mut wrong = Invalid::new();
        self.name_unknown(known, &mut wrong);
        let filter = self.event_filter(&mut wrong);
        wrong.into_result()?;
        Ok(filter)
    }

    /// An export of events.
    pub(crate) fn event_export(&self) -> Result<(EventFilter, ExportFormat), ApiError> {
        let mut wrong = Invalid::new();
        self.name_unknown(EVENT_EXPORT, &mut wrong);
        let filter = self.event_filter(&mut wrong);
        let format = ExportFormat::read(self, &mut wrong);
        wrong.into_result()?;
        Ok((filter, format))
    }

    /// A list of alerts.
    pub(crate) fn alerts(&self) -> Result<(AlertFilter, PageRequest), ApiError> {
        let mut wrong = Invalid::new();
        self.name_unknown(ALERTS, &mut wrong);
        let (order, descending) = self.order(&ORDERING, &mut wrong);
        let filter = AlertFilter {
            ids: self.ids::<AlertId>(&mut wrong),
            severities: self.severities(&mut wrong),
            event_severities: self.choices(&EVENT_SEVERITY, Severity::parse, &mut wrong),
            statuses: self.choices(&STATUS, Status::parse, &mut wrong),
            about: self.about(&mut wrong),
            triage: self.triage(&mut wrong),
            order,
            descending,
        };
        let page = self.page(&mut wrong);
        wrong.into_result()?;
        Ok((filter, page?))
    }

    /// What a stream tells of.
    pub(crate) fn stream(&self) -> Result<Wanted, ApiError> {
        let mut wrong = Invalid::new();
        self.name_unknown(STREAM, &mut wrong);
        let topics = self.choices(&TOPICS, Topic::parse, &mut wrong);
        let watch = Watch { severities: self.severities(&mut wrong), about: self.about(&mut wrong) };
        wrong.into_result()?;
        Ok(Wanted::new(&topics, watch))
    }

    /// Alerts, folded.
    pub(crate) fn groups(&self) -> Result<(GroupFilter, PageRequest), ApiError> {
        let mut wrong = Invalid::new();
        self.name_unknown(GROUPS, &mut wrong);
        let order = match self.get("ordering") {
            None | Some("-last_seen") => GroupOrder::LastSeen,
            Some("-severity") => GroupOrder::Severity,
            Some("-count") => GroupOrder::Count,
            Some(other) => {
                wrong.add("ordering", choose_from(other, GROUP_ORDERING.choices));
                GroupOrder::LastSeen
            }
        };
        let filter = GroupFilter {
            statuses: self.choices(&STATUS, Status::parse, &mut wrong),
            severities: self.choices(&SEVERITY, Severity::parse, &mut wrong),
            sources: self.texts("source_name", &mut wrong),
            types: self.texts("event_type", &mut wrong),
            since: self.span(now(), &mut wrong).since,
            order,
        };
        let page = self.page(&mut wrong);
        wrong.into_result()?;
        Ok((filter, page?))
    }

    /// What people made of alerts, but for whose they are: that takes somebody who knows names.
    fn triage(&self, wrong: &mut Invalid) -> Triage {
        let mut tags = Vec::new();
        for tag in self.texts("tag", wrong) {
            match check_tag(&tag) {
                Ok(tag) => tags.push(tag),
                Err(message) => wrong.add("tag", message),
            }
        }
        let snoozed = match self.get("snoozed") {
            None => None,
            Some("true") => Some((true, now())),
            Some("false") => Some((false, now())),
            Some(other) => {
                wrong.add("snoozed", choose_from(other, SNOOZED.choices));
                None
            }
        };
        Triage { whose: None, tags, verdicts: self.choices(&VERDICT, Verdict::parse, wrong), snoozed }
    }

    /// Whose alerts are asked for. A name that nobody has is nobody's filter: it is said.
    pub(crate) async fn whose(
        &self,
        filter: &mut AlertFilter,
        state: &AppState,
        caller: &Caller,
    ) -> Result<(), ApiError> {
        filter.triage.whose = match self.get("assignee") {
            None => None,
            Some(name) if name.eq_ignore_ascii_case("none") => Some(Whose::Nobody),
            Some(name) => Some(Whose::User(person(state, name, caller).await?.id)),
        };
        Ok(())
    }

    fn order(&self, param: &Param, wrong: &mut Invalid) -> (AlertOrder, bool) {
        let Some(given) = self.get(param.name) else { return (AlertOrder::CreatedAt, true) };
        let descending = given.starts_with('-');
        let order = match given.trim_start_matches('-').to_ascii_lowercase().as_str() {
            "created_at" => AlertOrder::CreatedAt,
            "severity" => AlertOrder::Severity,
            "status" => AlertOrder::Status,
            _ => {
                wrong.add(param.name, choose_from(given, param.choices));
                AlertOrder::CreatedAt
            }
        };
        (order, descending)
    }
}

/// The parameter that leaves values of a field out.
pub(crate) const fn left_out(field: Field) -> &'static str {
    match field {
        Field::Source => NOT_SOURCE.name,
        Field::Type => NOT_TYPE.name,
        Field::Host => NOT_HOST.name,
        Field::User => NOT_USER.name,
        Field::SrcIp => NOT_SRC_IP.name,
        Field::DstIp => NOT_DST_IP.name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(text).expect("few parameters")
    }

    #[test]
    fn every_wrong_parameter_is_named_at_once() {
        let Err(ApiError::Invalid(wrong)) =
            query("severity=nope&status=closed&ordering=age&colour=red&page_size=0&since=soon&id=x&cursor=y")
                .alerts()
        else {
            panic!("everything in it is wrong")
        };
        let names: Vec<_> = wrong.fields().keys().map(String::as_str).collect();
        assert_eq!(names, ["colour", "cursor", "id", "ordering", "page_size", "severity", "since", "status"]);
        assert!(wrong.fields()["severity"][0].contains("LOW, MEDIUM, HIGH, CRITICAL"));
    }

    #[test]
    fn filters_are_read_in_any_letter_case_and_empty_ones_are_none() {
        let (filter, page) =
            query("severity=high&status=Open&event_type=&page_size=500").alerts().expect("fine");
        assert_eq!(filter.severities, [Severity::High]);
        assert_eq!(filter.statuses, [Status::Open]);
        assert_eq!(filter.about, About::default());
        assert_eq!(page, PageRequest::numbered(1, 100));
    }

    #[test]
    fn what_is_left_out_is_read_like_what_is_asked_for() {
        let asked = "not_host=a&not_host=B&not_src_ip=&not_severity=low,HIGH&severity=low,critical";
        let (filter, _) = query(asked).events().expect("fine");
        assert_eq!(filter.severities, [Severity::Critical]);
        assert_eq!(filter.about.without, [(Field::Host, vec!["a".to_owned(), "B".into()])].into());
        let (filter, _) = query("not_severity=LOW").alerts().expect("fine");
        assert_eq!(filter.severities, [Severity::Medium, Severity::High, Severity::Critical]);
        let Err(ApiError::Invalid(wrong)) = query("severity=LOW&not_severity=LOW").events() else {
            panic!("nothing is left")
        };
        assert!(wrong.fields().contains_key("not_severity"));
    }

    #[test]
    fn what_is_no_page_number_is_no_page() {
        for page in ["0", "-1", "x", "99999999999"] {
            assert!(matches!(query(&format!("page={page}")).alerts(), Err(ApiError::NoSuchPage)), "{page}");
        }
    }
}
