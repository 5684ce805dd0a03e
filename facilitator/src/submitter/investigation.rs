//! Bounded questions with backoff: the state of one thing that is asked about
//! again and again.

use tokio::time::Instant;

use super::decide;

/// Questions about one thing, asked with growing intervals.
#[derive(Clone, Debug, Default)]
pub(super) struct Inquiry {
    tries: u32,
    due: Option<Instant>,
    asking: bool,
}

impl Inquiry {
    /// Asks as soon as there is room. Does nothing while it is asked already.
    pub fn want(&mut self, now: Instant) {
        if !self.asking && self.due.is_none_or(|due| due > now) {
            self.due = Some(now);
        }
    }

    /// Asks as soon as there is room, unless an earlier answer set a time.
    pub fn want_once(&mut self, now: Instant) {
        if !self.asking && self.due.is_none() {
            self.due = Some(now);
        }
    }

    /// Returns true when it is time to ask.
    pub fn is_due(&self, now: Instant) -> bool {
        !self.asking && self.due.is_some_and(|due| due <= now)
    }

    /// Notes that it is asked now.
    pub fn ask(&mut self) {
        self.asking = true;
    }

    /// Notes an answer that decided nothing; asks again later. Returns how many
    /// such answers there were.
    pub fn put_off(&mut self, now: Instant) -> u32 {
        self.tries += 1;
        (self.asking, self.due) = (false, Some(now + decide::backoff(self.tries)));
        self.tries
    }

    /// Returns true when the last answer decided nothing.
    pub const fn is_undecided(&self) -> bool {
        self.tries > 0
    }

    /// Notes an answer after which there is nothing to ask.
    pub fn close(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_question_is_asked_once_at_a_time_and_then_later_and_later() {
        let (mut inquiry, start) = (Inquiry::default(), Instant::now());
        assert!(!inquiry.is_due(start));
        inquiry.want(start);
        assert!(inquiry.is_due(start));
        inquiry.ask();
        inquiry.want(start);
        assert!(!inquiry.is_due(start), "it is being asked");
        assert_eq!(inquiry.put_off(start), 1);
        assert!(!inquiry.is_due(start + Duration::from_millis(499)));
        inquiry.want_once(start);
        assert!(!inquiry.is_due(start), "the time is set");
        let later = start + Duration::from_millis(500);
        assert!(inquiry.is_due(later));
        inquiry.ask();
        assert_eq!(inquiry.put_off(later), 2);
        assert!(!inquiry.is_due(later + Duration::from_millis(999)));
        assert!(inquiry.is_due(later + Duration::from_secs(1)));
        inquiry.close();
        assert!(!inquiry.is_due(later + Duration::from_hours(1)));
    }
}
