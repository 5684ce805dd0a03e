//! The memory of the block tracker.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{
    Newest,
    plausibility::{clock_trouble, is_behind},
    poll::{self, Came},
    read::Header,
    witness::ASK_DEPTH,
};

/// The blocks of one network, as far as they are known.
pub(super) struct State {
    pub newest: Option<Newest>,
    /// Those that led to it, one by one: height and hash.
    followed: VecDeque<(u64, String)>,
    /// The endpoint that showed the newest one.
    pub host: String,
    /// The usual time between blocks, as observed.
    pub interval: Duration,
    /// Blocks in a row that came before they were expected.
    late: u32,
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
    pub fn new(block_time: Duration) -> Self {
        Self {
            newest: None,
            followed: VecDeque::new(),
            host: String::new(),
            interval: block_time,
            late: 0,
            failures: 0,
            behind: 0,
            trouble: None,
            distrusted: None,
        }
    }

    /// The hash of a block that was followed a moment ago.
    pub fn hash_at(&self, number: u64) -> Option<String> {
        self.followed.iter().find(|(height, _)| *height == number).map(|(_, hash)| hash.clone())
    }

    /// Notes a trouble, until the next block; returns true when it is news.
    pub fn set_trouble(&mut self, sentence: &str) -> bool {
        let news = self.trouble.as_deref() != Some(sentence);
        self.trouble = Some(sentence.to_owned());
        news
    }

    /// Remembers the last few blocks of a row.
    fn follow(&mut self, header: &Header, came: Came) {
        let follows = self.newest.as_ref().is_some_and(|newest| newest.header.hash == header.parent_hash);
        if came == Came::Jumped || !follows {
            self.followed.clear();
        }
        self.followed.push_back((header.number, header.hash.clone()));
        let kept = usize::try_from(ASK_DEPTH).unwrap_or(usize::MAX).saturating_add(1);
        while self.followed.len() > kept {
            self.followed.pop_front();
        }
    }

    /// Notes the number of the newest block's transactions.
    pub fn count(&mut self, transactions: usize) {
        if let Some(newest) = &mut self.newest {
            newest.transactions = transactions;
        }
    }

    /// Takes in a block.
    pub fn see(&mut self, header: Header, came: Came, block_time: Duration, now: u64, skew_max: u64) -> Change {
        let arrived = Instant::now();
        self.follow(&header, came);
        let before = self.newest.as_ref().filter(|before| before.live && before.header.number + 1 == header.number);
        let took = before.map(|before| arrived.duration_since(before.arrived));
        self.late = if came == (Came::Before { predicted: true }) { self.late.saturating_add(1) } else { 0 };
        self.interval = poll::learn(self.interval, took, came, self.late, block_time);
        let is_new = self.newest.as_ref().is_none_or(|newest| newest.header.number < header.number);
        if !is_behind(&header, now) {
            self.behind = 0;
        } else if is_new && matches!(came, Came::Live(_) | Came::Jumped) {
            self.behind = self.behind.saturating_add(1);
        }
        let trouble = clock_trouble(&header, now, skew_max, self.behind);
        let change = match (&self.trouble, &trouble) {
            (None, Some(sentence)) => Change::Trouble(sentence.clone()),
            (Some(_), None) => Change::Well,
            (None, None) | (Some(_), Some(_)) => Change::Nothing,
        };
        self.trouble = trouble;
        let (live, within) = (matches!(came, Came::Live(_)), came.within(self.interval));
        self.newest = Some(Newest { header, transactions: 0, arrived, live, within });
        change
    }
}
