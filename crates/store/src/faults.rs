//! Places where a test may end the process, and mistakes it may have it make. Only with the feature `faults`, which
//! no released binary has: otherwise these are nothing.

/// Whether whoever has passed this place so often has to wait there: `FAULT_HOLD` names it as `NAME:TIMES:FILE`, and
/// the file is there.
#[cfg(feature = "faults")]
pub fn held(name: &str, passed: usize) -> bool {
    let Ok(wanted) = std::env::var("FAULT_HOLD") else { return false };
    let mut parts = wanted.splitn(3, ':');
    let (place, times, file) = (parts.next(), parts.next(), parts.next());
    let times = times.and_then(|times| times.parse::<usize>().ok());
    place == Some(name)
        && times.is_some_and(|times| passed >= times)
        && file.is_some_and(|file| std::path::Path::new(file).exists())
}

/// A time that a test sets otherwise.
#[cfg(feature = "faults")]
pub fn seconds(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Nothing, without the feature.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn seconds(_: &str) -> Option<u64> {
    None
}

/// Never, without the feature.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn held(_: &str, _: usize) -> bool {
    false
}

/// Ends the process here, as a power failure would, if `FAULT_POINT` names this point: `NAME`, or `NAME:N` for
/// the Nth time it is passed.
#[cfg(feature = "faults")]
pub fn point(name: &str) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let Ok(wanted) = std::env::var("FAULT_POINT") else { return };
    let (wanted, nth) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    if wanted == name && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == nth.parse().unwrap_or(1) {
        std::process::abort();
    }
}

/// Whether `FAULT_MUTANT` asks for this mistake, which a test has to notice.
#[cfg(feature = "faults")]
pub fn mutant(name: &str) -> bool {
    std::env::var("FAULT_MUTANT").is_ok_and(|wanted| wanted == name)
}

/// A time that `FAULT_<NAME>_MS` makes shorter, so that a test needn't wait for it.
#[cfg(feature = "faults")]
pub fn within(name: &str, usual: std::time::Duration) -> std::time::Duration {
    let asked = std::env::var(format!("FAULT_{name}_MS")).ok().and_then(|text| text.parse().ok());
    asked.map_or(usual, std::time::Duration::from_millis)
}

/// The usual time, without the feature.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn within(_: &str, usual: std::time::Duration) -> std::time::Duration {
    usual
}

/// A number that a test has made smaller or larger by a variable; the usual one otherwise.
#[cfg(feature = "faults")]
pub fn number(variable: &str, usual: i64) -> i64 {
    std::env::var(variable).ok().and_then(|number| number.parse().ok()).unwrap_or(usual)
}

/// The usual number, without the feature.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn number(_: &str, usual: i64) -> i64 {
    usual
}

/// Nothing, without the feature.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn point(_: &str) {}

/// Never, without the feature.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub fn mutant(_: &str) -> bool {
    false
}
