//! What is counted about requests, and the page that shows all counters.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;
use watchpost_pipeline::PipelineMetrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    what: &'static str,
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

pub(crate) struct WebMetrics {
    registry: Registry,
    requests: [Counter; 5],
    seconds: Histogram,
    pub(crate) throttled: Counter,
    pub(crate) logins_failed: Counter,
    pub(crate) logins_held: Counter,
    pub(crate) refused: Counter,
    pub(crate) beyond_key: Counter,
    pub(crate) streams: Gauge,
    pub(crate) audit: AuditMetrics,
    busy: Family<Refused, Counter>,
}

/// How the audit log stands.
pub(crate) struct AuditMetrics {
    pub(crate) sealed_row: Gauge,
    pub(crate) broken: Gauge,
    pub(crate) checkpoint_row: Gauge,
    pub(crate) shipped: Counter,
    pub(crate) not_shipped: Counter,
}

impl AuditMetrics {
    fn new(registry: &mut Registry) -> Self {
        let mut gauge = |name: &str, about: &str| {
            let gauge = Gauge::default();
            registry.register(name, about, gauge.clone());
            gauge
        };
        let sealed_row =
            gauge("watchpost_audit_sealed_row", "The last row of the audit log that a seal vouches for");
        let broken = gauge(
            "watchpost_audit_broken",
            "1 while the audit log isn't what was written, or can't be sealed",
        );
        let checkpoint_row = gauge(
            "watchpost_audit_checkpoint_row",
            "The last row of the audit log that a shipped checkpoint vouches for",
        );
        let (shipped, not_shipped) = (Counter::default(), Counter::default());
        let about = "Checkpoints of the audit log that were shipped";
        registry.register("watchpost_audit_checkpoints_shipped", about, shipped.clone());
        let about = "Attempts to ship a checkpoint of the audit log that failed";
        registry.register("watchpost_audit_checkpoints_failed", about, not_shipped.clone());
        Self { sealed_row, broken, checkpoint_row, shipped, not_shipped }
    }
}

impl WebMetrics {
    pub(crate) fn new(pipeline: &PipelineMetrics) -> Self {
        let mut registry = Registry::default();
        pipeline.register(&mut registry);
        let family = Family::<Labels, Counter>::default();
        let requests = CLASSES.map(|status| family.get_or_create(&Labels { status }).clone());
        registry.register("watchpost_http_requests", "Requests answered, by class of status", family);
        let seconds = Histogram::new([0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0]);
        registry.register_with_unit(
            "watchpost_http_request",
            "How long requests took",
            Unit::Seconds,
            seconds.clone(),
        );
        let mut counter = |name: &str, about: &str| {
            let counter = Counter::default();
            registry.register(name, about, counter.clone());
            counter
        };
        let throttled = counter("watchpost_http_throttled", "Requests refused for coming too fast");
        let logins_failed = counter("watchpost_logins_failed", "Attempts to log in that failed");
        let logins_held =
            counter("watchpost_logins_held", "Attempts to log in that came before their wait was over");
        let refused = counter(
            "watchpost_refused",
            "Requests refused for lack of a role, a second factor or a form of our own",
        );
        let beyond_key = counter(
            "watchpost_events_beyond_key",
            "Events refused for being more than their sensor key may report",
        );
        let audit = AuditMetrics::new(&mut registry);
        let streams = Gauge::default();
        registry.register("watchpost_streams", "Readers of the live stream", streams.clone());
        let busy = Family::<Refused, Counter>::default();
        registry.register(
            "watchpost_busy",
            "Searches, pages, exports and jobs refused because too many are under way",
            busy.clone(),
        );
        Self {
            registry,
            requests,
            seconds,
            throttled,
            logins_failed,
            logins_held,
            refused,
            beyond_key,
            streams,
            audit,
            busy,
        }
    }

    pub(crate) fn answered(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.requests[class].inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// Something was refused, or ended, to leave room for others.
    pub(crate) fn busy(&self, what: &'static str) {
        self.busy.get_or_create(&Refused { what }).inc();
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing to a string doesn't fail.
            Err(_) => String::new(),
        }
    }
}
