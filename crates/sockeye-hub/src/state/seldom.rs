//! What may happen as often as others like, and is logged seldom.

use std::time::Duration;

/// One kind of it.
#[derive(Debug, Default)]
pub(super) struct Seldom {
    /// When it may be logged again.
    next: Option<Duration>,
    unsaid: u64,
}

/// The least time between two lines.
const PAUSE: Duration = Duration::from_secs(60);

impl Seldom {
    /// It has happened. If it is to be logged: how often it was not, since the last time.
    pub(super) fn happens(&mut self, now: Duration) -> Option<u64> {
        if self.next.is_some_and(|next| now < next) {
            self.unsaid += 1;
            return None;
        }
        self.next = Some(now + PAUSE);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_logged_and_then_one_a_minute_with_the_count_of_the_others() {
        let mut seldom = Seldom::default();
        let said: Vec<_> = (100..230).filter_map(|second| seldom.happens(Duration::from_secs(second))).collect();
        assert_eq!(said, [0, 59, 59]);
    }
}
