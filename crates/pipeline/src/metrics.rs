//! What the data plane counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;
use watchpost_model::Severity;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    severity: &'static str,
}

/// Counters and gauges of the data plane. Clones share them.
#[derive(Clone, Debug)]
pub struct PipelineMetrics {
    stored: [Counter; 4],
    events: Family<Labels, Counter>,
    pub(crate) alerts: Counter,
    pub(crate) refused: Counter,
    pub(crate) failed: Counter,
    pub(crate) waiting: Gauge,
    pub(crate) batch_events: Histogram,
    pub(crate) batch_seconds: Histogram,
    pub(crate) indexed: Counter,
    pub(crate) index_lag: Gauge<f64, AtomicU64>,
    pub(crate) clock_difference: Gauge<f64, AtomicU64>,
    pub(crate) upkeep_rounds: Counter,
}

impl Default for PipelineMetrics {
    fn default() -> Self {
        let events = Family::<Labels, Counter>::default();
        let stored = Severity::ALL
            .map(|severity| events.get_or_create(&Labels { severity: severity.as_str() }).clone());
        Self {
            stored,
            events,
            alerts: Counter::default(),
            refused: Counter::default(),
            failed: Counter::default(),
            waiting: Gauge::default(),
            batch_events: Histogram::new([1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0]),
            batch_seconds: Histogram::new([0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0]),
            indexed: Counter::default(),
            index_lag: Gauge::default(),
            clock_difference: Gauge::default(),
            upkeep_rounds: Counter::default(),
        }
    }
}

impl PipelineMetrics {
    /// Makes them visible.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("watchpost_events_stored", "Events stored, by severity", self.events.clone());
        registry.register("watchpost_alerts_raised", "Alerts raised", self.alerts.clone());
        registry.register(
            "watchpost_events_refused",
            "Events refused because too many were waiting",
            self.refused.clone(),
        );
        registry.register(
            "watchpost_events_failed",
            "Events that could not be stored, or whose outcome is unknown",
            self.failed.clone(),
        );
        registry.register("watchpost_intake_waiting", "Events waiting to be stored", self.waiting.clone());
        registry.register("watchpost_commit_events", "Events in one commit", self.batch_events.clone());
        registry.register_with_unit(
            "watchpost_commit",
            "How long a commit took",
            Unit::Seconds,
            self.batch_seconds.clone(),
        );
        registry.register(
            "watchpost_search_indexed",
            "Events and alerts made searchable",
            self.indexed.clone(),
        );
        registry.register_with_unit(
            "watchpost_search_lag",
            "How long the search index has been behind what is stored",
            Unit::Seconds,
            self.index_lag.clone(),
        );
        registry.register(
            "watchpost_upkeep_rounds",
            "How often what expired was looked for and forgotten",
            self.upkeep_rounds.clone(),
        );
        registry.register_with_unit(
            "watchpost_clock_difference",
            "How far this machine's clock is ahead of the database's, whose time is used; 0 on SQLite",
            Unit::Seconds,
            self.clock_difference.clone(),
        );
    }

    pub(crate) fn count_stored(&self, severity: Severity) {
        self.stored[severity as usize - 1].inc();
    }
}
