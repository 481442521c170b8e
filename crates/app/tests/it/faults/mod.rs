//! Faults of what the server stands on: databases that fail over, connections that break, clocks that are wrong.
//!
//! Every run makes a few rounds of each. `WATCHPOST_TEST_ROUNDS` asks for more; the figures are printed. Each test is
//! shown a mistake (`faults::mutant`) or a control that it must notice.

mod cluster;
mod failover;
mod power_loss;

/// How many rounds to make where every run makes so many.
pub(crate) fn rounds(usual: usize) -> usize {
    std::env::var("WATCHPOST_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

/// The number that follows a number, for rounds that differ and can be had again.
pub(crate) fn scatter(n: usize) -> usize {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
}
