//! Follows the chain's blocks.
//!
//! `eth_getBlockByNumber(n + 1)` is null until that block exists, so one call
//! both notices a block and brings it. When to ask is predicted from the last
//! arrival: often around the expected moment, seldom otherwise; where a node
//! tells of blocks by itself, or by the answer to a send, at its word. A block that
//! the clock does not allow is taken only when a second endpoint shows it too;
//! of the others one in a few is held against what the other endpoints show, so
//! that none leads the service away from the chain for long.

mod heads;
mod plausibility;
mod poll;
mod read;
mod send_notice;
mod state;
#[cfg(test)]
mod tests;
mod witness;

use std::{collections::HashSet, sync::Arc, time::Duration};

use chains_core::{
    Network,
    chain::ChainUnavailable,
    clock::Clock,
    observation::{Block, Urgency},
};
use chains_rpc::Agreement;
use parking_lot::Mutex;
use reqwest::Url;
use tokio::time::{Instant, sleep};

pub(crate) use self::heads::probe as probe_heads;
pub(crate) use self::read::{Header, confirmed, final_block, headers, latest};
pub(crate) use self::send_notice::SendNotice;
use self::{
    heads::Heads,
    plausibility::{Doubt, Known},
    poll::{Came, Notice, Plan, Since},
    read::{RawBlock, number},
    state::State,
};
use crate::rpc::{
    Rpc,
    error::{CallError, NodeError},
    method::{At, Call},
};

/// The number of blocks that are made up for one by one.
const BEHIND_MAX: u64 = 64;

/// The number of times that a block is asked for which a node has told, and the
/// one that is asked does not have yet.
const TOLD_QUESTIONS_MAX: u32 = 20;

/// The shortest pause when nobody waits.
const POLL_IDLE_MIN: Duration = Duration::from_secs(2);

/// The longest pause after failures, and while the chain stands still.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// The newest block as it is known here.
#[derive(Clone, Debug)]
pub(crate) struct Newest {
    /// The block.
    pub header: Header,
    /// The number of its transactions.
    pub transactions: usize,
    /// The moment at which it was seen here.
    pub arrived: Instant,
    /// True when it was not there a moment before, so that `arrived` is about
    /// when it came.
    pub live: bool,
    /// The time within which it came before that, as far as it is known.
    within: Option<Duration>,
}

/// A block that came, with the hashes of its transactions.
struct Arrival {
    header: Header,
    transactions: HashSet<String>,
}

/// The blocks of one network.
pub(crate) struct BlockTracker {
    network: Network,
    block_time: Duration,
    clock: Arc<dyn Clock>,
    /// Seconds that this machine's clock and the chain's may differ by.
    skew_max: u64,
    heads: Heads,
    state: Mutex<State>,
}

impl BlockTracker {
    /// Nothing seen yet. `websocket` is a node's that tells of new blocks.
    pub fn new(
        network: Network,
        block_time: Duration,
        clock_skew_max: Duration,
        websocket: Option<Url>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let state = Mutex::new(State::new(block_time));
        let heads = Heads::new(&network, websocket);
        Self { network, block_time, clock, skew_max: clock_skew_max.as_secs(), heads, state }
    }

    /// The newest block seen.
    pub fn newest(&self) -> Option<Newest> {
        self.state.lock().newest.clone()
    }

    /// The time of the newest block seen; 0 before the first.
    pub fn timestamp(&self) -> u64 {
        self.state.lock().newest.as_ref().map_or(0, |newest| newest.header.timestamp)
    }

    /// The sentence about clocks that cannot both be right, if they cannot.
    pub fn trouble(&self) -> Option<String> {
        self.state.lock().trouble.clone()
    }

    /// The time of the block to come, in seconds: a block time after the
    /// newest one's, or now, where blocks are late. Of this machine's clock
    /// counts no more than the time since that block came allows.
    pub fn next_timestamp(&self) -> u64 {
        let now = self.clock.now().seconds();
        let Some(newest) = self.newest() else { return now };
        let whole = |time: Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
        let next = newest.header.timestamp.saturating_add(whole(self.block_time));
        if !newest.live {
            return next.max(now);
        }
        let passed = whole(newest.arrived.elapsed());
        next.max(now.min(next.saturating_add(passed).saturating_add(self.skew_max)))
    }

    /// The right to a send whose answer tells of the block to come; `None` while
    /// none is wanted.
    pub fn send_notice(&self) -> Option<SendNotice> {
        let newest = self.newest()?.header.number;
        self.heads.send_notice(newest)
    }

    /// The next block after `after`; see
    /// [`Execution::next_block`](chains_core::chain::Execution::next_block).
    ///
    /// # Errors
    /// No endpoint gave an answer, or they contradict each other.
    pub async fn next(&self, rpc: &Rpc, after: Option<&Block>, urgency: Urgency) -> Result<Block, ChainUnavailable> {
        loop {
            let found = match (after, urgency) {
                (None, Urgency::Closely | Urgency::Idly) => self.jump(rpc).await,
                (Some(after), Urgency::Closely) => self.follow(rpc, after).await,
                (Some(after), Urgency::Idly) => self.glance(rpc, after).await,
            };
            match found {
                Ok(block) if after.is_some_and(|after| after.hash == block.hash) => sleep(poll::POLL_LATE_MAX).await,
                Ok(block) => {
                    self.state.lock().failures = 0;
                    return Ok(block);
                }
                Err(error) => {
                    sleep(self.pause_after_failure()).await;
                    return Err(rpc.unavailable(error));
                }
            }
        }
    }

    /// A pause that grows with each failure in a row.
    fn pause_after_failure(&self) -> Duration {
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        (poll::POLL_LATE_MAX * 2_u32.pow(state.failures.min(16) - 1)).min(PAUSE_MAX)
    }

    /// The newest block that two endpoints show, once it is another than
    /// `after`. For when nobody waits: what is left out has nothing of ours in
    /// it, and the next payment is compared with this height.
    async fn glance(&self, rpc: &Rpc, after: &Block) -> Result<Block, CallError> {
        let mut pause = self.block_time.max(POLL_IDLE_MIN);
        loop {
            self.heads.sleep_until(Instant::now() + pause).await;
            let (host, arrival) = self.ask(rpc, At::Latest, 0).await?.ok_or_else(CallError::unreadable)?;
            if arrival.header.hash != after.hash {
                let Header { number, hash, .. } = &arrival.header;
                match witness::ask(rpc, *number, hash, self.block_time).await {
                    witness::Verdict::Stands => {}
                    witness::Verdict::Unshared | witness::Verdict::Contradicted => return self.jump(rpc).await,
                    witness::Verdict::Disproven => {
                        self.distrust(rpc, &host, Doubt::Unshared);
                        return self.jump(rpc).await;
                    }
                }
                let follows = arrival.header.parent_hash == after.hash;
                let came = if follows { Came::Before { predicted: false } } else { Came::Jumped };
                return self.take(rpc, &host, arrival, came).await;
            }
            pause = (pause * 2).min(PAUSE_MAX.max(self.block_time));
        }
    }

    async fn follow(&self, rpc: &Rpc, after: &Block) -> Result<Block, CallError> {
        let wanted = after.number.saturating_add(1);
        let mut turn = 0;
        let mut missed: Option<Instant> = None;
        let mut notices = Notices::of(&self.heads, wanted);
        if after.number.is_multiple_of(witness::ASK_EVERY) && !self.is_followed_rightly(rpc, after).await? {
            return self.jump(rpc).await;
        }
        loop {
            let notice = notices.notice();
            let plan = self.plan(after.number, notice, Instant::now());
            if missed.is_some() || plan.early {
                notices.wait_until(plan.next).await;
            }
            // A node that is stuck says null for ever: when a block is late, the others are asked in turn.
            turn = if plan.overdue { turn + 1 } else { 0 };
            let Some((host, arrival)) = self.ask(rpc, At::Number(wanted), turn).await? else {
                missed = Some(Instant::now());
                if plan.overdue && self.is_gone(rpc, after, turn).await? {
                    return self.jump(rpc).await;
                }
                continue;
            };
            // A block that was there at the first look: perhaps many are.
            let predicted = plan.early && notice == Notice::None;
            let came = match missed {
                Some(before) => Came::Live(before.elapsed()),
                None if notices.came => Came::Live(Duration::ZERO),
                None => Came::Before { predicted },
            };
            if !matches!(came, Came::Live(_)) && self.is_far_behind(rpc, wanted).await? {
                return self.jump(rpc).await;
            }
            if arrival.header.number != wanted || arrival.header.parent_hash != after.hash {
                return self.jump(rpc).await;
            }
            return self.take(rpc, &host, arrival, came).await;
        }
    }

    /// Returns whether the other endpoints show a block that is followed too.
    ///
    /// # Errors
    /// They contradict each other, and nobody can say who is right.
    async fn is_followed_rightly(&self, rpc: &Rpc, newest: &Block) -> Result<bool, CallError> {
        let number = newest.number.saturating_sub(witness::ASK_DEPTH);
        let Some(hash) = self.state.lock().hash_at(number) else { return Ok(true) };
        match witness::ask(rpc, number, &hash, self.block_time).await {
            witness::Verdict::Stands | witness::Verdict::Unshared => Ok(true),
            witness::Verdict::Disproven => {
                let host = self.state.lock().host.clone();
                self.distrust(rpc, &host, Doubt::Unshared);
                Ok(false)
            }
            witness::Verdict::Contradicted => {
                let sentence = format!(
                    "the endpoints show different blocks at height {number}: one of them is on another chain, or lies, \
                     and nobody can say which. Compare both with a block explorer, and take the wrong one out of `rpc`"
                );
                if self.state.lock().set_trouble(&sentence) {
                    tracing::error!(network = %self.network, "{sentence}");
                }
                Err(contradiction(number))
            }
        }
    }

    /// A block and the host of the endpoint that shows it; `None` when there is none.
    async fn ask(&self, rpc: &Rpc, at: At, turn: usize) -> Result<Option<(String, Arrival)>, CallError> {
        let (host, block) = rpc.call_from::<Option<RawBlock>>(Call::block(at), turn).await?;
        let Some(block) = block else { return Ok(None) };
        let (header, transactions) = block.read()?;
        Ok(Some((host, Arrival { header, transactions })))
    }

    /// Returns whether the chain went back to before this block.
    async fn is_gone(&self, rpc: &Rpc, block: &Block, turn: usize) -> Result<bool, CallError> {
        // A lower newest block may be that of an endpoint that lags: ask for the very one.
        let now = self.ask(rpc, At::Number(block.number), turn).await?;
        Ok(now.is_some_and(|(_, now)| now.header.hash != block.hash))
    }

    /// Returns whether two endpoints are further than blocks are followed one by one.
    async fn is_far_behind(&self, rpc: &Rpc, wanted: u64) -> Result<bool, CallError> {
        let newest: String = rpc.call(Call::block_number()).await?;
        let is_far = |newest: u64| newest.saturating_sub(wanted) > BEHIND_MAX;
        Ok(is_far(number(&newest).unwrap_or(wanted)) && is_far(height(rpc).await?))
    }

    /// The newest block that two endpoints show, with nothing said of those
    /// before it.
    async fn jump(&self, rpc: &Rpc) -> Result<Block, CallError> {
        let number = height(rpc).await?;
        let arrival = self.vouched(rpc, number).await?.ok_or_else(|| contradiction(number))?;
        Ok(self.see(arrival, Came::Jumped))
    }

    /// Takes a block that one endpoint shows, when the clock allows it or
    /// another endpoint shows it too.
    async fn take(&self, rpc: &Rpc, host: &str, arrival: Arrival, came: Came) -> Result<Block, CallError> {
        host.clone_into(&mut self.state.lock().host);
        let Some(doubt) = self.doubt(&arrival.header) else { return Ok(self.see(arrival, came)) };
        match self.vouched(rpc, arrival.header.number).await? {
            Some(vouched) if vouched.header == arrival.header => Ok(self.see(vouched, came)),
            Some(vouched) => {
                self.distrust(rpc, host, doubt);
                Ok(self.see(vouched, Came::Jumped))
            }
            None => {
                self.distrust(rpc, host, doubt);
                self.jump(rpc).await
            }
        }
    }

    fn doubt(&self, block: &Header) -> Option<Doubt> {
        let state = self.state.lock();
        let newest = state.newest.as_ref();
        plausibility::doubt(
            block,
            Known {
                newest: newest.map(|newest| &newest.header),
                elapsed: newest.map(|newest| newest.arrived.elapsed()).unwrap_or_default(),
                now: self.clock.now().seconds(),
                skew_max: self.skew_max,
                block_time: self.block_time,
            },
        )
    }

    /// The block at a height as two endpoints show it; `None` when two have
    /// none. One that alone answers is believed: nobody else can be asked.
    async fn vouched(&self, rpc: &Rpc, number: u64) -> Result<Option<Arrival>, CallError> {
        let ask = |rpc: Rpc| async move {
            let block: Option<RawBlock> = rpc.call(Call::block(At::Number(number))).await?;
            let read = block.map(RawBlock::read).transpose()?;
            Ok(read.map(|(header, transactions)| Arrival { header, transactions }))
        };
        let key = |arrival: &Option<Arrival>| arrival.as_ref().map(|arrival| arrival.header.clone());
        match rpc.agree(ask, key).await? {
            Agreement::Agreed(arrival) | Agreement::Alone(arrival) => Ok(arrival),
            Agreement::Disagreed(mut answers) if answers.len() == 1 => {
                Ok(answers.pop().and_then(|(_, arrival)| arrival))
            }
            Agreement::Disagreed(_) => Err(contradiction(number)),
        }
    }

    /// Asks an endpoint last for a while, and says so once.
    fn distrust(&self, rpc: &Rpc, host: &str, doubt: Doubt) {
        rpc.distrust(host);
        let mut state = self.state.lock();
        if state.distrusted.as_deref() != Some(host) {
            tracing::warn!(network = %self.network, node = host, ?doubt, "an endpoint shows a block that the others do not; it is asked last");
            state.distrusted = Some(host.to_owned());
        }
    }

    fn see(&self, arrival: Arrival, came: Came) -> Block {
        let now = self.clock.now().seconds();
        let Arrival { header, transactions } = arrival;
        let (number, hash, timestamp) = (header.number, header.hash.clone(), header.timestamp);
        self.heads.found(number);
        let changed = {
            let mut state = self.state.lock();
            let changed = state.see(header, came, self.block_time, now, self.skew_max);
            state.count(transactions.len());
            changed
        };
        match changed {
            state::Change::Nothing => {}
            state::Change::Trouble(sentence) => tracing::error!(network = %self.network, "{sentence}"),
            state::Change::Well => {
                tracing::info!(network = %self.network, "the network's blocks are in order again");
            }
        }
        let transactions = (came != Came::Jumped).then_some(transactions);
        Block { number, hash, timestamp, transactions }
    }

    fn plan(&self, after: u64, notice: Notice, now: Instant) -> Plan {
        let state = self.state.lock();
        let since = match state.newest.as_ref().filter(|newest| newest.header.number == after) {
            Some(newest) => {
                newest.within.map_or(Since::Found(newest.arrived), |within| Since::Came(newest.arrived, within))
            }
            None => Since::Found(now),
        };
        poll::plan(since, state.interval, notice, now)
    }
}

/// Notices of one block, while it is asked for.
struct Notices<'a> {
    heads: &'a Heads,
    wanted: u64,
    /// It was told while it was waited for.
    came: bool,
    /// Questions that may still be asked at the word of the notice.
    questions: u32,
}

impl<'a> Notices<'a> {
    fn of(heads: &'a Heads, wanted: u64) -> Self {
        Self { heads, wanted, came: false, questions: TOLD_QUESTIONS_MAX }
    }

    fn notice(&self) -> Notice {
        match self.questions {
            0 => Notice::None,
            _ if self.heads.has_told(self.wanted) => Notice::Given,
            _ if self.heads.is_live() => Notice::Awaited,
            _ => Notice::None,
        }
    }

    /// Waits until this moment, or until the block is told.
    async fn wait_until(&mut self, until: Instant) {
        if self.questions == 0 || self.heads.has_told(self.wanted) {
            self.heads.sleep_until(until).await;
        } else {
            self.came = self.heads.told(self.wanted, until).await;
        }
        if self.heads.has_told(self.wanted) {
            self.questions = self.questions.saturating_sub(1);
            if self.questions == 0 {
                self.heads.forget();
            }
        }
    }
}

fn contradiction(number: u64) -> CallError {
    let error = NodeError::new(0, &format!("they do not agree on block {number}"), None);
    CallError::Node { host: "the endpoints".to_owned(), error }
}

/// The height that two endpoints have reached.
async fn height(rpc: &Rpc) -> Result<u64, CallError> {
    let ask = |rpc: Rpc| async move {
        let text: String = rpc.call(Call::block_number()).await?;
        number(&text).ok_or_else(CallError::unreadable)
    };
    rpc.second_highest(ask).await
}
