//! Every answer that says no. Field errors are `{"field": ["message", …]}`; everything else is
//! `{"detail": "…", "code": "…"}`. What goes wrong inside is logged here, once, and not told.

use crate::auth::refusals::BadCredential;
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;
use watchpost_model::{Action, Invalid, invalid};
use watchpost_pipeline::Refused;
use watchpost_store::{StoreError, Whose};

/// When to try again after something that usually takes a moment.
const SOON: Duration = Duration::from_secs(1);
/// When to try again after something that usually takes somebody.
const LATER: Duration = Duration::from_secs(5);

const OUTDATED: &str =
    "This server is older than the database's schema needs, and writes nothing until it is upgraded.";
const DISK_FULL: &str = "The server's disk is full: this can't be stored until there is room again.";
/// What RFC 9470 calls a token that is good, and whose log-in isn't enough for this.
const NOT_ENOUGH: &str = "Bearer realm=\"api\", error=\"insufficient_user_authentication\"";
/// The same, where it is only too long ago.
const TOO_LONG_AGO: &str =
    "Bearer realm=\"api\", error=\"insufficient_user_authentication\", max_age=\"600\"";
const STEP_UP_REQUIRED: &str = "Show first who you are: your last log-in is more than ten minutes ago. Send your `password`, \
    and the code of your second factor as `otp`, to /api/v1/auth/step-up/, or log in again. If you use single sign-on: \
    sign in again in the console and make a new token there.";

/// Why a request was not done.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// Fields are wrong.
    Invalid(Invalid),
    /// The body can't be read.
    Malformed(String),
    /// A name this server doesn't answer to.
    WrongHost(String),
    /// No credential, but one is needed.
    NoCredential,
    /// A token that isn't good (any more).
    BadToken,
    /// A key that isn't good (any more).
    BadKey,
    /// A wrong user name or password.
    BadLogin,
    /// The password was right, and something else is needed.
    LogInStep(Box<Step>),
    /// A token or a session that was opened without the second factor that its user's role requires by now.
    FactorMissing {
        /// Whether the user has one, so that its code is all that is missing.
        in_use: bool,
    },
    /// The caller may, and has to show first who they are: the last time is too long ago.
    StepUpRequired,
    /// The caller is known and may not.
    NotAllowed(String),
    /// There is no such thing.
    NotFound,
    /// There is no such page of the list.
    NoSuchPage,
    /// Somebody else was quicker, or it would break something; with what.
    Conflict(&'static str, String),
    /// Somebody else was quicker; with how the thing is now.
    Overtaken(Box<serde_json::Value>),
    /// The path doesn't do this.
    WrongMethod(String),
    /// The body is too large; with the limit in bytes.
    TooLarge(usize),
    /// The body's kind isn't one that is read here.
    WrongMediaType(String),
    /// The body is packed in a way that isn't read here.
    WrongEncoding(String),
    /// More events than go together; with the limits.
    TooMany(String),
    /// It was good, but others that came with it were not.
    NotStored,
    /// The body unpacks to far more than it is.
    Bomb,
    /// The client stopped sending.
    TooSlow,
    /// Too many requests.
    Throttled(Duration),
    /// Not now.
    Unavailable(&'static str, Duration),
    /// Too many of the kind are under way.
    Busy(Box<Busy>),
    /// It may have been done.
    OutcomeUnknown,
    /// Our fault; the reason is in the log.
    Internal,
}

/// Something of which there is no more room now.
#[derive(Debug)]
pub(crate) struct Busy {
    status: StatusCode,
    code: &'static str,
    detail: &'static str,
    pub(crate) wait: Duration,
}

impl Busy {
    /// The caller has as many as one may.
    pub(crate) fn own(code: &'static str, detail: &'static str, wait: Duration) -> ApiError {
        ApiError::Busy(Box::new(Self { status: StatusCode::TOO_MANY_REQUESTS, code, detail, wait }))
    }

    /// All together have.
    pub(crate) fn all(code: &'static str, detail: &'static str, wait: Duration) -> ApiError {
        ApiError::Busy(Box::new(Self { status: StatusCode::SERVICE_UNAVAILABLE, code, detail, wait }))
    }
}

/// What else a log-in needs.
#[derive(Debug)]
pub(crate) struct Step {
    /// What, for programs.
    pub(crate) code: &'static str,
    /// What, in words.
    pub(crate) detail: &'static str,
    /// What helps to provide it: further fields of the answer.
    said: serde_json::Value,
    /// Shows that the password was right, for a page that asks for the rest.
    pub(crate) halfway: String,
}

impl Step {
    pub(crate) fn new(code: &'static str, detail: &'static str, halfway: String) -> Self {
        Self { code, detail, said: serde_json::Value::Null, halfway }
    }

    pub(crate) fn with(self, said: &impl Serialize) -> Self {
        Self { said: serde_json::to_value(said).unwrap_or_default(), ..self }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self.code {
            "otp_required" | "otp_wrong" => StatusCode::UNAUTHORIZED,
            _ => StatusCode::FORBIDDEN,
        }
    }

    fn body(&self) -> serde_json::Value {
        let mut body = serde_json::json!({ "detail": self.detail, "code": self.code });
        if let (Some(body), Some(said)) = (body.as_object_mut(), self.said.as_object()) {
            body.extend(said.clone());
        }
        body
    }
}

impl From<Step> for ApiError {
    fn from(step: Step) -> Self {
        Self::LogInStep(Box::new(step))
    }
}

/// The body of an answer that says no.
#[derive(Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What is wrong, in words.
    #[schema(example = "Not found.")]
    pub(crate) detail: String,
    /// What is wrong, for programs.
    #[schema(example = "not_found")]
    pub(crate) code: &'static str,
}

impl ApiError {
    /// The caller lacks the permission for this.
    pub(crate) fn needs(action: Action) -> Self {
        Self::NotAllowed(format!(
            "You do not have permission to perform this action. It needs {}.",
            action.who()
        ))
    }

    /// Somebody else is at it with the same key.
    pub(crate) fn in_progress() -> Self {
        let detail = "A request with this Idempotency-Key is being taken in; ask again for its answer.";
        Self::Conflict("in_progress", detail.into())
    }

    /// As the end of a line of a report: `"status":…}`.
    pub(crate) fn line(&self) -> String {
        let (status, code, detail) = self.parts();
        let status = status.as_u16();
        match self {
            Self::Invalid(wrong) => {
                let errors = serde_json::to_string(wrong.fields()).unwrap_or_default();
                format!("\"status\":{status},\"errors\":{errors}}}\n")
            }
            _ => {
                let problem = serde_json::to_string(&Problem { detail, code }).unwrap_or_default();
                format!("\"status\":{status},{}\n", problem.trim_start_matches('{'))
            }
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.parts().0
    }

    /// What is wrong, in words; nothing internal.
    pub(crate) fn detail(&self) -> String {
        self.parts().2
    }

    fn parts(&self) -> (StatusCode, &'static str, String) {
        let (status, code, detail) = match self {
            Self::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid", "Some fields are wrong."),
            Self::Malformed(reason) => return (StatusCode::BAD_REQUEST, "parse_error", reason.clone()),
            Self::WrongHost(host) => {
                let detail = format!(
                    "This server doesn't answer to the name \"{host}\". Its operator can add it to ALLOWED_HOSTS."
                );
                return (StatusCode::BAD_REQUEST, "wrong_host", detail);
            }
            Self::NoCredential => (
                StatusCode::UNAUTHORIZED,
                "not_authenticated",
                "Authentication credentials were not provided.",
            ),
            Self::BadToken => {
                (StatusCode::UNAUTHORIZED, "token_not_valid", "Given token not valid for any token type")
            }
            Self::BadKey => (StatusCode::UNAUTHORIZED, "key_not_valid", "The sensor key is not valid."),
            Self::BadLogin => (
                StatusCode::UNAUTHORIZED,
                "no_active_account",
                "No active account found with the given credentials",
            ),
            Self::LogInStep(step) => return (step.status(), step.code, step.detail.to_owned()),
            Self::FactorMissing { in_use: true } => (
                StatusCode::UNAUTHORIZED,
                "otp_required",
                "Your role requires a second factor, and this session was opened without one: log in again with its code as `otp`.",
            ),
            Self::FactorMissing { in_use: false } => (
                StatusCode::UNAUTHORIZED,
                "second_factor_setup",
                "Your role requires a second factor: log in again to set one up.",
            ),
            Self::StepUpRequired => (StatusCode::UNAUTHORIZED, "step_up_required", STEP_UP_REQUIRED),
            Self::NotAllowed(detail) => {
                return (StatusCode::FORBIDDEN, "permission_denied", detail.clone());
            }
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "Not found."),
            Self::NoSuchPage => (StatusCode::NOT_FOUND, "not_found", "Invalid page."),
            Self::Conflict(code, detail) => return (StatusCode::CONFLICT, code, detail.clone()),
            Self::Overtaken(_) => {
                (StatusCode::CONFLICT, "conflict", "It was changed by somebody else in the meantime.")
            }
            Self::WrongMethod(method) => {
                let detail = format!("Method \"{method}\" not allowed.");
                return (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
            }
            Self::TooLarge(limit) => {
                let detail = format!("The body is larger than {limit} bytes.");
                return (StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail);
            }
            Self::WrongMediaType(found) => {
                let detail = format!("Unsupported media type \"{found}\" in request.");
                return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail);
            }
            Self::WrongEncoding(found) => {
                let detail = format!("Unsupported content encoding \"{found}\"; gzip and zstd are read.");
                return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", detail);
            }
            Self::TooMany(limits) => return (StatusCode::PAYLOAD_TOO_LARGE, "too_large", limits.clone()),
            Self::NotStored => (
                StatusCode::FAILED_DEPENDENCY,
                "not_stored",
                "Not stored, because others that came with it are wrong.",
            ),
            Self::Bomb => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "The body unpacks to more than 250 times its size.",
            ),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "timeout", "The request did not arrive in time."),
            Self::Throttled(wait) => {
                let detail =
                    format!("Request was throttled. Expected available in {} seconds.", seconds_up(*wait));
                return (StatusCode::TOO_MANY_REQUESTS, "throttled", detail);
            }
            Self::Unavailable(detail, _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", *detail),
            Self::Busy(busy) => (busy.status, busy.code, busy.detail),
            Self::OutcomeUnknown => (
                StatusCode::GATEWAY_TIMEOUT,
                "outcome_unknown",
                "The database went away at the wrong moment: whether this was done is not known.",
            ),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "error", "A server error occurred."),
        };
        (status, code, detail.to_owned())
    }
}

fn seconds_up(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).max(1) as u64
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code, detail) = self.parts();
        let mut response = match &self {
            Self::Invalid(wrong) => (status, Json(wrong.fields())).into_response(),
            Self::LogInStep(step) => (status, Json(step.body())).into_response(),
            Self::Overtaken(current) => {
                let body = serde_json::json!({ "detail": detail, "code": code, "current": current });
                (status, Json(body)).into_response()
            }
            _ => (status, Json(Problem { detail, code })).into_response(),
        };
        if let Some(credential) = BadCredential::of(&self) {
            response.extensions_mut().insert(credential);
        }
        let headers = response.headers_mut();
        match &self {
            Self::FactorMissing { .. } => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(NOT_ENOUGH));
            }
            Self::StepUpRequired => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(TOO_LONG_AGO));
            }
            Self::Busy(busy) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds_up(busy.wait)));
            }
            _ if status == StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"api\""));
            }
            Self::Throttled(wait) | Self::Unavailable(_, wait) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds_up(*wait)));
            }
            _ => {}
        }
        response
    }
}

impl From<Invalid> for ApiError {
    fn from(wrong: Invalid) -> Self {
        Self::Invalid(wrong)
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Unavailable("Too many events are waiting to be stored.", SOON),
            Refused::Unavailable => Self::Unavailable("Events can't be stored right now.", LATER),
            Refused::DiskFull => Self::Unavailable(DISK_FULL, LATER),
            Refused::Outdated => Self::Unavailable(OUTDATED, LATER),
            Refused::WrongClock => Self::Unavailable("The server's clock is wrong.", LATER),
            Refused::OutcomeUnknown => Self::OutcomeUnknown,
            Refused::Repeated => Self::in_progress(),
            Refused::Failed => Self::Internal,
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NotFound,
            StoreError::Conflict => {
                Self::Conflict("conflict", "It was changed by somebody else in the meantime.".into())
            }
            StoreError::NotNow(why) => Self::Conflict("not_now", why.to_string()),
            StoreError::LastAdmin => Self::Conflict(
                "last_admin",
                "The last active Admin can't be removed, deactivated or demoted.".into(),
            ),
            StoreError::Taken(constraint) if constraint == "users_username_key" => {
                Self::Invalid(Invalid::field("username", "A user with that username already exists."))
            }
            StoreError::Taken(constraint) if constraint == "user_names_name_key" => {
                let detail = "Another user had this name: what was done under it stays that user's.";
                Self::Invalid(Invalid::field("username", detail))
            }
            StoreError::Taken(constraint) if constraint == "views_user_id" => {
                Self::Invalid(Invalid::field("name", "There is a view with that name already."))
            }
            StoreError::TooMany(Whose::Own) => {
                let detail = "You have as many jobs under way as an account may have (three with more than 500 alerts, ten smaller ones): wait for one to end.";
                Busy::own("too_many_jobs", detail, LATER)
            }
            StoreError::TooMany(Whose::Everybodys) => {
                Busy::all("busy", "Too many jobs with many alerts are under way.", LATER)
            }
            StoreError::TooLong => {
                tracing::warn!("a read took too long and was ended");
                let detail = "This took longer than five seconds and was stopped. Ask for less: a shorter time, or a severity, source or type.";
                Busy::all("took_too_long", detail, LATER)
            }
            StoreError::Crowded => {
                Busy::all("busy", "Too many searches are under way on this server.", LATER)
            }
            StoreError::Unavailable(_) => {
                tracing::warn!(%error, "a request could not be done");
                Self::Unavailable("The database is not available right now.", LATER)
            }
            // The store says these, once a minute.
            StoreError::DiskFull(_) => Self::Unavailable(DISK_FULL, LATER),
            StoreError::Outdated => Self::Unavailable(OUTDATED, LATER),
            StoreError::OutcomeUnknown(_) => {
                tracing::warn!(%error, "the outcome of a request is unknown");
                Self::OutcomeUnknown
            }
            _ => {
                tracing::error!(%error, "a request failed");
                Self::Internal
            }
        }
    }
}

/// The message for a value that isn't one of the choices, naming them.
pub(crate) fn choose_from(given: &str, choices: &[&str]) -> String {
    format!("{} Choose one of: {}.", invalid::not_a_choice(given), choices.join(", "))
}
