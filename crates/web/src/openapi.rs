//! The OpenAPI document, made from the routes that are served.

use crate::api::page::PageView;
use crate::body::{Field, Holds};
use crate::error::Problem;
use crate::query::Param;
use crate::routes::{Entry, Routes};
use axum::http::Method;
use std::collections::BTreeMap;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, ObjectBuilder, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, Content, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApiBuilder, Ref, RefOr,
    Required, ResponseBuilder, Schema, SecurityRequirement,
};
use utoipa::{PartialSchema, ToSchema};
use watchpost_model::Action;
use watchpost_model::access::Proof;

type Schemas = Vec<(String, RefOr<Schema>)>;

/// What a route says about itself.
#[derive(Clone)]
pub(crate) struct Operation {
    pub(crate) method: Method,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    about: &'static str,
    query: &'static [Param],
    body: &'static [Field],
    answers: Vec<(u16, &'static str, Option<RefOr<Schema>>)>,
    schemas: Schemas,
    page: bool,
    many: bool,
    /// What it answers with is a stream of messages.
    stream: Option<&'static str>,
}

impl Operation {
    fn new(method: Method, id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self {
            method,
            id,
            tag,
            summary,
            about: "",
            query: &[],
            body: &[],
            answers: Vec::new(),
            schemas: Vec::new(),
            page: false,
            many: false,
            stream: None,
        }
    }

    pub(crate) fn get(id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self::new(Method::GET, id, tag, summary)
    }

    pub(crate) fn post(id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self::new(Method::POST, id, tag, summary)
    }

    pub(crate) fn put(id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self::new(Method::PUT, id, tag, summary)
    }

    pub(crate) fn patch(id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self::new(Method::PATCH, id, tag, summary)
    }

    pub(crate) fn delete(id: &'static str, tag: &'static str, summary: &'static str) -> Self {
        Self::new(Method::DELETE, id, tag, summary)
    }

    /// A page or a file for browsers: not part of the API, so not in its document.
    pub(crate) fn page(method: Method) -> Self {
        Self { page: true, ..Self::new(method, "", "", "") }
    }

    pub(crate) fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    pub(crate) fn query(self, query: &'static [Param]) -> Self {
        Self { query, ..self }
    }

    pub(crate) fn body(self, body: &'static [Field]) -> Self {
        Self { body, ..self }
    }

    /// The body may be many of what it describes, too, and come under a key.
    pub(crate) fn or_many(self) -> Self {
        Self { many: true, ..self }
    }

    /// What it answers with when it works.
    pub(crate) fn answers<T: ToSchema + PartialSchema>(mut self, status: u16, about: &'static str) -> Self {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        self.answers.push((status, about, Some(Ref::from_schema_name(T::name()).into())));
        self
    }

    /// It answers with messages, as long as somebody reads them.
    pub(crate) fn streams(self, about: &'static str) -> Self {
        Self { stream: Some(about), ..self }
    }

    /// Describes what messages hold.
    pub(crate) fn shows<T: ToSchema + PartialSchema>(mut self) -> Self {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        self
    }

    /// It answers with a page of these.
    pub(crate) fn lists<T: ToSchema + PartialSchema>(mut self, about: &'static str) -> Self {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        // A generic type is called the same whatever is in it: each kind of page gets a name of its own.
        let name = format!("PageOf{}", T::name());
        self.answers.push((200, about, Some(Ref::from_schema_name(&name).into())));
        self.schemas.push((name, PageView::<T>::schema()));
        self
    }

    /// It answers with a list of all of these.
    pub(crate) fn answers_all<T: ToSchema + PartialSchema>(mut self, about: &'static str) -> Self {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        let all = ArrayBuilder::new().items(Ref::from_schema_name(T::name())).build();
        self.answers.push((200, about, Some(Schema::Array(all).into())));
        self
    }

    /// An answer without a body worth describing.
    pub(crate) fn says(mut self, status: u16, about: &'static str) -> Self {
        self.answers.push((status, about, None));
        self
    }

    pub(crate) fn documented(&self) -> bool {
        !self.page
    }

    pub(crate) fn is_page(&self) -> bool {
        self.page
    }
}

/// The document as JSON.
pub(crate) fn document(routes: &Routes) -> Vec<u8> {
    let mut paths = PathsBuilder::new();
    let mut items: BTreeMap<&str, PathItem> = BTreeMap::new();
    let mut components = ComponentsBuilder::new()
        .schema(Problem::name().into_owned(), Problem::schema())
        .schema("FieldErrors", field_errors());
    for entry in routes.entries.iter().filter(|entry| entry.operation.documented()) {
        for (name, schema) in &entry.operation.schemas {
            components = components.schema(name.clone(), schema.clone());
        }
        let item = PathItem::new(http_method(&entry.operation.method), operation(entry));
        match items.get_mut(entry.path) {
            Some(known) => known.merge_operations(item),
            None => drop(items.insert(entry.path, item)),
        }
    }
    for (path, item) in items {
        paths = paths.path(path, item);
    }
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The `access` token of a log-in, or a sensor key (`wp_…`)."))
        .build();
    let key = ApiKeyValue::with_description("X-Api-Key", "A sensor key (`wp_…`).");
    let components = components
        .security_scheme("bearer", SecurityScheme::Http(bearer))
        .security_scheme("sensorKey", SecurityScheme::ApiKey(ApiKey::Header(key)))
        .build();
    let info = InfoBuilder::new()
        .title("Watchpost")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build();
    let document = OpenApiBuilder::new().info(info).paths(paths).components(Some(components)).build();
    serde_json::to_vec(&document).expect("a document of texts, numbers and lists can be written as JSON")
}

const ABOUT: &str = "Takes in security events, raises alerts and carries them from OPEN to RESOLVED.\n\n\
Log in at `/api/v1/auth/login`, then press *Authorize* and paste the `access` token. Every path answers with and \
without a trailing slash. Errors are `{\"field\": [\"message\"]}` when fields are wrong and \
`{\"detail\": \"…\", \"code\": \"…\"}` otherwise.";

fn http_method(method: &Method) -> HttpMethod {
    match *method {
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

fn operation(entry: &Entry) -> OperationBuilder {
    let said = &entry.operation;
    let mut about = said.about.to_owned();
    if entry.action != Action::EnterAnonymously {
        about = format!("{about}\n\nNeeds {}.", entry.action.who()).trim().to_owned();
    }
    if let Some(when) = entry.proof.when() {
        about = format!("{about} {when}");
    }
    // An id names one operation: the other names of a path get the path into theirs.
    let id = match entry.alias {
        false => said.id.to_owned(),
        true => format!("{}{}", said.id, entry.path.replace(['/', '{', '}', '-'], "_")),
    };
    let mut operation = OperationBuilder::new()
        .operation_id(Some(id))
        .tag(said.tag)
        .summary(Some(said.summary))
        .description((!about.is_empty()).then_some(about));
    for (name, schema) in [("id", whole_number()), ("session", text().into()), ("job", text().into())] {
        if entry.path.contains(&format!("{{{name}}}")) {
            let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path);
            operation = operation.parameter(parameter.required(Required::True).schema(Some(schema)));
        }
    }
    for param in said.query {
        operation = operation.parameter(query_parameter(param));
    }
    if said.stream.is_some() {
        let about = "The id of the message to go on behind.";
        operation = operation.parameter(header("Last-Event-ID", about, text()));
    }
    if !said.body.is_empty() {
        let schema = body_schema(said.body);
        let content = |schema: RefOr<Schema>| ContentBuilder::new().schema(Some(schema)).build();
        let mut body = RequestBodyBuilder::new()
            .content("application/x-www-form-urlencoded", content(schema.clone().into()));
        if said.many {
            let list = ArrayBuilder::new().items(RefOr::T(schema.clone()));
            let either = utoipa::openapi::OneOfBuilder::new().item(schema).item(list).build();
            let lines = text().description(Some("One event as JSON on each line."));
            body = body.content("application/json", content(Schema::OneOf(either).into()));
            body = body.content("application/x-ndjson", content(Schema::from(lines).into()));
            operation = headers_of_many().into_iter().fold(operation, OperationBuilder::parameter);
        } else {
            body = body.content("application/json", content(schema.into()));
        }
        let body = body.required(Some(if said.body.iter().any(|f| f.required) {
            Required::True
        } else {
            Required::False
        }));
        operation = operation.request_body(Some(body.build()));
    }
    if entry.action != Action::EnterAnonymously {
        let none: [&str; 0] = [];
        operation = operation.security(SecurityRequirement::new("bearer", none));
        if matches!(entry.action, Action::IngestEvents | Action::IngestEventsAsAnyone) {
            operation = operation.security(SecurityRequirement::new("sensorKey", none));
        }
    }
    with_answers(operation, entry)
}

fn header(name: &str, about: &str, schema: ObjectBuilder) -> ParameterBuilder {
    let named = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header);
    named.required(Required::False).description(Some(about)).schema(Some(schema))
}

/// What a request that hands in events may say about itself.
fn headers_of_many() -> [ParameterBuilder; 2] {
    [
        header("Idempotency-Key", "The same key and body again, within 72 hours, store nothing.", text()),
        header("Content-Encoding", "How the body is packed.", text().enum_values(Some(["gzip", "zstd"]))),
    ]
}

fn with_answers(mut operation: OperationBuilder, entry: &Entry) -> OperationBuilder {
    let said = &entry.operation;
    for (status, about, schema) in &said.answers {
        let mut response = ResponseBuilder::new().description(*about);
        if said.many {
            response = response.content("application/x-ndjson", lines_of_answers());
        }
        if let Some(schema) = schema {
            let content = ContentBuilder::new().schema(Some(schema.clone())).build();
            response = response.content("application/json", content);
        }
        operation = operation.response(status.to_string(), response.build());
    }
    if let Some(about) = said.stream {
        let messages = text().description(Some("Messages, each with `event`, `id` and `data` as JSON."));
        let content = ContentBuilder::new().schema(Some(Schema::from(messages))).build();
        let response = ResponseBuilder::new().description(about).content("text/event-stream", content);
        operation = operation.response("200", response.build());
    }
    let problem: RefOr<Schema> = Ref::from_schema_name(Problem::name()).into();
    let mut refusals: Vec<(u16, &str, RefOr<Schema>)> = Vec::new();
    if !said.body.is_empty() || !said.query.is_empty() {
        refusals.push((400, "Fields are wrong", Ref::from_schema_name("FieldErrors").into()));
    }
    if !said.body.is_empty() {
        refusals.push((413, "The body is too large", problem.clone()));
        refusals.push((415, "The body is neither JSON nor a form", problem.clone()));
    }
    if entry.action != Action::EnterAnonymously {
        let why = match entry.proof {
            Proof::Never => "No credential, or not a good one",
            _ => "No credential, not a good one, or the log-in is too long ago (`step_up_required`)",
        };
        refusals.push((401, why, problem.clone()));
        refusals.push((403, "The caller may not do this", problem.clone()));
    }
    if entry.path.contains('{') || said.query.iter().any(|param| param.name == "page") {
        refusals.push((404, "There is no such thing", problem.clone()));
    }
    refusals.push((429, "Too many requests; `Retry-After` says when to try again", problem.clone()));
    refusals.push((503, "Not now; `Retry-After` says when to try again", problem));
    for (status, about, schema) in refusals {
        if said.answers.iter().any(|(known, ..)| *known == status) {
            continue;
        }
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let mut response = ResponseBuilder::new().description(about).content("application/json", content);
        if said.many && status == 400 {
            response = response.content("application/x-ndjson", lines_of_answers());
        }
        operation = operation.response(status.to_string(), response.build());
    }
    operation
}

fn lines_of_answers() -> Content {
    let lines = text().description(Some("What became of each event, as JSON, a line each."));
    ContentBuilder::new().schema(Some(Schema::from(lines))).build()
}

fn whole_number() -> Schema {
    ObjectBuilder::new()
        .schema_type(SchemaType::new(Type::Integer))
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(1))
        .into()
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::new(Type::String))
}

fn query_parameter(param: &Param) -> ParameterBuilder {
    let schema: Schema = match param.name {
        "page" | "page_size" => whole_number(),
        _ => text().into(),
    };
    let about = match param.choices {
        [] => param.about.to_owned(),
        choices => format!("{} One of: {}.", param.about, choices.join(", ")),
    };
    ParameterBuilder::new()
        .name(param.name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(about))
        .schema(Some(schema))
}

fn body_schema(fields: &[Field]) -> Schema {
    let mut object = ObjectBuilder::new();
    for field in fields {
        let schema = match field.holds {
            Holds::Text => text(),
            Holds::Secret => text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Password))),
            Holds::Number => ObjectBuilder::new().schema_type(SchemaType::new(Type::Integer)),
            Holds::Flag => ObjectBuilder::new().schema_type(SchemaType::new(Type::Boolean)),
            Holds::Object => ObjectBuilder::new().schema_type(SchemaType::new(Type::Object)),
            Holds::Texts => {
                return Schema::Array(
                    ArrayBuilder::new().items(text()).description(Some(field.about)).build(),
                );
            }
            Holds::OneOf(choices) => text().enum_values(Some(choices.iter().copied())),
        };
        let schema = schema.description(Some(field.about)).examples([example(field)]);
        object = object.property(field.name, schema);
        if field.required {
            object = object.required(field.name);
        }
    }
    object.into()
}

fn example(field: &Field) -> serde_json::Value {
    match field.holds {
        Holds::Number | Holds::Flag | Holds::Object | Holds::Texts => {
            serde_json::from_str(field.example).unwrap_or_default()
        }
        Holds::Text | Holds::Secret | Holds::OneOf(_) => field.example.into(),
    }
}

fn field_errors() -> Schema {
    let messages = ArrayBuilder::new().items(text());
    ObjectBuilder::new()
        .description(Some("Messages by the name of the field they are about, or a `detail` with its `code`."))
        .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(Schema::OneOf(
            utoipa::openapi::OneOfBuilder::new().item(messages).item(text()).build(),
        )))))
        .into()
}
