//! The reconnect policy.

use std::time::Duration;

use crate::limits::{LimitError, table};

/// Reconnecting after a failure or a loss: exponential backoff with jitter.
///
/// The wait before the first new attempt is [`initial`](Self::initial). It is multiplied by [`factor`](Self::factor)
/// with each failure in a row, up to [`cap`](Self::cap). A random part of it, at most [`jitter`](Self::jitter), is
/// taken off, so that the clients of a restarted server do not all come back at once. No wait is shorter than 10 ms.
///
/// [`Connect::reconnect`](crate::Connect::reconnect) checks the range of each value, which the repository's
/// `docs/limits.md` lists.
///
/// ```
/// use std::time::Duration;
///
/// use sockeye::client::Reconnect;
///
/// // 1 s, 2 s, 4 s, .. up to a minute, each less a random part, and no more than 20 attempts.
/// let policy = Reconnect::new().initial(Duration::from_secs(1)).cap(Duration::from_secs(60)).attempts(Some(20));
/// # let _ = policy;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reconnect {
    initial: Duration,
    /// Finite; at least 1.
    factor: f64,
    cap: Duration,
    /// From 0 to 1.
    jitter: f64,
    stable: Duration,
    attempts: Option<u32>,
    /// The longest wait that a server may ask for.
    max_retry_after: Duration,
}

impl Reconnect {
    /// The default policy: 500 ms, doubled up to 30 s, jitter 0.5, stable after 60 s, unlimited attempts, and up to 5
    /// minutes at a server's request.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            initial: table::RECONNECT_INITIAL.default_time(),
            factor: 2.0,
            cap: table::RECONNECT_CAP.default_time(),
            jitter: 0.5,
            stable: table::RECONNECT_STABLE.default_time(),
            attempts: None,
            max_retry_after: table::RECONNECT_MAX_RETRY_AFTER.default_time(),
        }
    }

    /// The wait before the first new attempt. Default 500 ms. RFC 6455 section 7.2.3 asks for "a random amount of time"
    /// and calls 0 to 5 seconds reasonable.
    #[must_use]
    pub const fn initial(self, wait: Duration) -> Self {
        Self { initial: wait, ..self }
    }

    /// The ratio of each wait to the one before. Default 2. A value that is not finite or is below 1 counts as 1: waits
    /// do not grow.
    #[must_use]
    pub fn factor(self, factor: f64) -> Self {
        Self { factor: if factor.is_finite() { factor.max(1.0) } else { 1.0 }, ..self }
    }

    /// The longest wait, except for those that a [server asks for](Self::max_retry_after). Default 30 s.
    #[must_use]
    pub const fn cap(self, wait: Duration) -> Self {
        Self { cap: wait, ..self }
    }

    /// The random part of a wait, from 0 to 1. Default 0.5: a wait of 8 s becomes 4 s to 8 s. With 1 it becomes 0 s to
    /// 8 s, with 0 exactly 8 s. Values out of range are clamped; NaN counts as 0.
    #[must_use]
    pub fn jitter(self, part: f64) -> Self {
        Self { jitter: if part.is_nan() { 0.0 } else { part.clamp(0.0, 1.0) }, ..self }
    }

    /// How long a connection must have been open to reset the count of failures. Default 60 s: a server that accepts
    /// and closes at once is treated like one that does not accept.
    #[must_use]
    pub const fn stable(self, open: Duration) -> Self {
        Self { stable: open, ..self }
    }

    /// The longest wait that a server may ask for with 503 or 429
    /// ([`Refusal::retry_after`](crate::client::Refusal::retry_after)); a longer one is cut to this. Default 5 minutes.
    /// The next attempt starts no sooner than requested. As other clients were given the same wait, a random time is
    /// added: at most what [`jitter`](Self::jitter) would take off an ordinary wait. Zero ignores such requests.
    #[must_use]
    pub const fn max_retry_after(self, most: Duration) -> Self {
        Self { max_retry_after: most, ..self }
    }

    /// The number of attempts in a row that may fail, the first one included, before the service gives up. Default
    /// `None`: unlimited.
    #[must_use]
    pub const fn attempts(self, max: Option<u32>) -> Self {
        Self { attempts: max, ..self }
    }
}

/// Used by the loop.
impl Reconnect {
    /// Whether each value is in its range.
    pub(crate) fn check(&self) -> Result<(), LimitError> {
        table::RECONNECT_INITIAL.check_time(self.initial)?;
        table::RECONNECT_CAP.check_time(self.cap)?;
        table::RECONNECT_STABLE.check_time(self.stable)?;
        table::RECONNECT_MAX_RETRY_AFTER.check_time(self.max_retry_after)?;
        self.attempts.map_or(Ok(()), |attempts| table::RECONNECT_ATTEMPTS.check_number(u64::from(attempts)))
    }

    /// The wait before the next attempt after `failures` in a row, which are 0 if a stable connection was lost.
    /// `random` has 64 random bits; `asked` is the server's `Retry-After`. `None`: give up.
    pub(crate) fn delay(&self, failures: u32, random: u64, asked: Option<Duration>) -> Option<Duration> {
        if self.attempts.is_some_and(|attempts| failures >= attempts) {
            return None;
        }
        let growth = self.factor.powi(i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX));
        // Zero times infinity is NaN.
        let full = if self.initial.is_zero() { 0.0 } else { self.initial.as_secs_f64() * growth };
        let full = full.min(self.cap.as_secs_f64());
        // 53 bits, the precision of an `f64`: `chance` is in [0, 1).
        let chance = (random >> 11) as f64 / (1_u64 << 53) as f64;
        let spread = full * self.jitter * chance;
        let rounded = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or(self.cap).min(self.cap);
        // With a jitter of 1 nearly all of a wait may be taken off.
        let own = rounded(full - spread).max(SHORTEST.min(self.cap));
        let asked = asked.map(|asked| asked.min(self.max_retry_after)).filter(|asked| !asked.is_zero());
        Some(asked.map_or(own, |asked| own.max(asked.saturating_add(rounded(spread)))))
    }

    /// Whether a connection that was open for this long resets the count of failures.
    pub(crate) fn is_stable(&self, open: Duration) -> bool {
        open >= self.stable
    }
}

impl Default for Reconnect {
    fn default() -> Self {
        Self::new()
    }
}

/// No wait is shorter, even after the jitter.
const SHORTEST: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let policy = Reconnect::new();
        let longest: Vec<u128> = (0..9).map(|failures| policy.delay(failures, 0, None).unwrap().as_millis()).collect();
        assert_eq!(longest, [500, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        let shortest = policy.delay(5, u64::MAX, None).unwrap();
        assert!(shortest >= Duration::from_secs(4) && shortest < Duration::from_millis(4001), "{shortest:?}");
    }

    #[test]
    fn attempts_in_a_row_are_bounded() {
        let policy = Reconnect::new().attempts(Some(3));
        assert!((0..3).all(|failures| policy.delay(failures, 1, None).is_some()));
        assert!([3, 4, u32::MAX].iter().all(|&failures| policy.delay(failures, 1, None).is_none()));
        assert_eq!(policy.attempts(Some(0)).delay(0, 0, None), None);
    }

    #[test]
    fn invalid_numbers_are_replaced() {
        for factor in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 0.5] {
            assert_eq!(Reconnect::new().factor(factor).delay(9, 0, None), Some(Duration::from_millis(500)), "{factor}");
        }
        for jitter in [f64::NAN, f64::NEG_INFINITY, -1.0] {
            let policy = Reconnect::new().jitter(jitter);
            assert_eq!(policy.delay(1, u64::MAX, None), Some(Duration::from_millis(500)), "{jitter}");
        }
        // Nothing would be left of the wait.
        assert_eq!(Reconnect::new().jitter(9.0).delay(1, u64::MAX, None), Some(SHORTEST));
    }

    #[test]
    fn a_server_may_ask_for_a_wait_up_to_a_bound() {
        let (policy, second) = (Reconnect::new().jitter(0.0), Duration::from_secs(1));
        for (asked, wait) in [(0, 500), (1, 1000), (120, 120_000), (300, 300_000), (301, 300_000), (u64::MAX, 300_000)]
        {
            let asked = Duration::from_secs(asked);
            assert_eq!(policy.delay(1, 0, Some(asked)), Some(Duration::from_millis(wait)), "{asked:?}");
        }
        // A longer wait of the policy's own is not shortened.
        assert_eq!(policy.delay(9, 0, Some(second)), Some(30 * second));
        assert_eq!(policy.max_retry_after(Duration::ZERO).delay(1, 0, Some(9 * second)), Some(second / 2));
        assert_eq!(policy.attempts(Some(1)).delay(1, 0, Some(second)), None);
        // Spread, and never too soon.
        let spread = Reconnect::new().delay(3, u64::MAX, Some(60 * second)).unwrap();
        assert!(spread > 60 * second + second * 9 / 10 && spread <= 61 * second, "{spread:?}");
        let endless = Reconnect::new().max_retry_after(Duration::MAX).delay(3, u64::MAX, Some(Duration::MAX));
        assert_eq!(endless, Some(Duration::MAX));
    }

    #[test]
    fn a_connection_is_stable_after_its_time() {
        assert!(!Reconnect::new().is_stable(Duration::from_millis(59_999)));
        assert!(Reconnect::new().is_stable(Duration::from_secs(60)));
        assert!(Reconnect::new().stable(Duration::ZERO).is_stable(Duration::ZERO));
    }

    fn durations() -> impl Strategy<Value = Duration> {
        prop_oneof![
            Just(Duration::ZERO),
            Just(Duration::MAX),
            (0..100_000_u64).prop_map(Duration::from_millis),
            any::<(u64, u32)>().prop_map(|(seconds, nanos)| Duration::from_secs(seconds) + nanos_below_one(nanos)),
        ]
    }

    fn nanos_below_one(nanos: u32) -> Duration {
        // Below one second, so that the sum does not overflow.
        Duration::from_nanos(u64::from(nanos % 1_000_000_000))
    }

    proptest! {
        #[test]
        fn a_wait_is_never_over_the_cap_and_never_too_short(
            initial in durations(),
            cap in durations(),
            factor in any::<f64>(),
            jitter in any::<f64>(),
            failures in prop_oneof![0..100_u32, any::<u32>(), Just(u32::MAX)],
            random in any::<u64>(),
        ) {
            let policy = Reconnect::new().initial(initial).cap(cap).factor(factor).jitter(jitter);
            let wait = policy.delay(failures, random, None).expect("no bound");
            prop_assert!(wait <= cap);
            let longest = policy.delay(failures, 0, None).expect("no bound");
            prop_assert!(wait <= longest);
            // Tolerance for rounding: relative, and of one nanosecond.
            let shortest = longest.as_secs_f64() * (1.0 - policy.jitter) * 0.999_999 - 1e-9;
            prop_assert!(wait.as_secs_f64() >= shortest, "{wait:?} of {longest:?}");
            prop_assert!(policy.delay(failures.saturating_add(1), 0, None) >= Some(longest), "waits do not shrink");
        }
    }
}
