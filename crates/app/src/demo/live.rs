//! Keeps a demo alive while somebody looks at it.

use super::dice::Dice;
use super::ordinary::one;
use super::team::Team;
use crate::Outcome;
use std::time::Duration;
use watchpost_model::Timestamp;
use watchpost_pipeline::{Intake, now};
use watchpost_store::Db;

/// Between two events, in milliseconds: often enough to be seen, seldom enough to be read.
const PAUSE: (i64, i64) = (1_500, 6_000);
/// Of a hundred so many raise an alert: one in a few minutes.
const ALARMS: u32 = 3;

/// What goes on happening.
pub(crate) struct Live {
    team: Team,
    dice: Dice,
}

impl Live {
    /// For a demo that is there.
    pub(crate) async fn of(db: &Db) -> Outcome<Self> {
        // Not the same each time: the week is over.
        Ok(Self { team: Team::known(db).await?, dice: Dice::new(now().micros().unsigned_abs(), "live") })
    }

    /// Hands in an event every few seconds, as any sensor does, until it is dropped.
    pub(crate) async fn run(mut self, intake: Intake) {
        loop {
            let pause = self.dice.between(PAUSE.0, PAUSE.1);
            tokio::time::sleep(Duration::from_millis(pause.unsigned_abs())).await;
            let at = now();
            let sight = one(at, ALARMS, &mut self.dice);
            // Somebody may have made keys and none of them be ours: keys are never deleted, though.
            let Some(origin) = self.team.origin(&sight.by) else { return };
            let behind = self.dice.between(40_000, 900_000);
            let event = sight.event(Timestamp::from_micros(at.micros() - behind));
            if let Err(error) = intake.submit(vec![event], origin, None).await {
                tracing::debug!(%error, "an event of the demo was not taken");
            }
        }
    }
}
