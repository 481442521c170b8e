//! What is suspicious: pure functions from rules and an event to findings. No IO, no clock, no state.

use watchpost_model::{NewEvent, Severity};

/// The name of the rule every Watchpost has: an event that its sender calls HIGH or CRITICAL raises an alert.
pub const SEVERITY_RULE: &str = "builtin.severity";

/// From this severity on an event raises an alert by itself.
pub const RAISED_FROM: Severity = Severity::High;

/// What a rule found in an event; each finding raises one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule that matched.
    pub rule: &'static str,
}

/// Everything that is suspicious about an event. No two findings are of the same rule.
pub fn findings(event: &NewEvent) -> Vec<Finding> {
    let mut found = Vec::new();
    if event.severity() >= RAISED_FROM {
        found.push(Finding { rule: SEVERITY_RULE });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchpost_model::EventDraft;
    use watchpost_model::text::Given;

    #[test]
    fn high_and_critical_raise_one_alert_low_and_medium_none() {
        for severity in Severity::ALL {
            let text = |text: &'static str| Given::Text(text.into());
            let draft = EventDraft {
                source_name: text("fw"),
                event_type: text("scan"),
                severity: text(severity.as_str()),
                description: text("x"),
                ..EventDraft::default()
            };
            let event = NewEvent::check(&draft).expect("a complete event");
            let raised = matches!(severity, Severity::High | Severity::Critical);
            assert_eq!(findings(&event).len(), usize::from(raised), "{severity}");
        }
    }
}
