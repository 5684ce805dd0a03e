//! The memory of the block tracker.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Newest,
    plausibility::{clock_trouble, is_behind},
    poll::{self, Came},
    read::Header,
};

/// The blocks of one network, as far as they are known.
pub(super) struct State {
    pub newest: Option<Newest>,
    /// The usual time between blocks, as observed.
    pub interval: Duration,
    /// Failures in a row.
    pub failures: u32,
    /// New blocks in a row that were far behind this machine's clock.
    behind: u32,
    /// The clocks cannot both be right.
    pub trouble: Option<String>,
    /// The endpoint that last showed a block that no other did.
    pub distrusted: Option<String>,
}

/// The change that a block made about the clocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    Nothing,
    /// They cannot both be right, as this sentence says.
    Trouble(String),
    /// They fit again.
    Well,
}

impl State {
    /// Nothing seen yet.
    pub const fn new(block_time: Duration) -> Self {
        Self { newest: None, interval: block_time, failures: 0, behind: 0, trouble: None, distrusted: None }
    }

    /// Takes in a block.
    pub fn see(&mut self, header: Header, came: Came, block_time: Duration, now: u64, skew_max: u64) -> Change {
        let arrived = Instant::now();
        let before = self.newest.as_ref().filter(|before| before.live && before.header.number + 1 == header.number);
        let took = before.map(|before| arrived.duration_since(before.arrived));
        self.interval = poll::learn(self.interval, took, came, block_time);
        let is_new = self.newest.as_ref().is_none_or(|newest| newest.header.number < header.number);
        if !is_behind(&header, now) {
            self.behind = 0;
        } else if is_new && matches!(came, Came::Live | Came::Jumped) {
            self.behind = self.behind.saturating_add(1);
        }
        let trouble = clock_trouble(&header, now, skew_max, self.behind);
        let change = match (&self.trouble, &trouble) {
            (None, Some(sentence)) => Change::Trouble(sentence.clone()),
            (Some(_), None) => Change::Well,
            (None, None) | (Some(_), Some(_)) => Change::Nothing,
        };
        self.trouble = trouble;
        self.newest = Some(Newest { header, arrived, live: came == Came::Live });
        change
    }
}
