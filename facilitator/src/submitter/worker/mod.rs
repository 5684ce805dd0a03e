//! The task that owns the transactions of one gas wallet: nothing else gives
//! out its nonces, sends its bytes, or ends its transactions.
//!
//! | module | what it holds |
//! |---|---|
//! | [`queue`] | payments and steps that wait for a place |
//! | `begin` | divide over places, store, hand over to the outbox |
//! | `sign` | the transactions of what is begun |
//! | `replace` | dearer attempts, and cancellations |
//! | [`outbox`] | sends |
//! | [`tracked`] | transactions that are not at their end |
//! | [`questions`] | questions to the chain that are not answered yet |
//! | `judge` | what follows from an answer |
//! | [`upkeep`] | when balance and nonce are read, and what they said |
//! | `health` | what follows from balance, nonce and price |
//! | `leave` | the end |

mod begin;
mod health;
mod judge;
mod leave;
mod outbox;
mod questions;
mod queue;
mod replace;
mod sign;
pub(super) mod tracked;
mod upkeep;

use std::{sync::Arc, time::Duration};

use chains_core::{chain::Parameters, observation::Block, transaction::BroadcastResult};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use self::{
    outbox::{Outbox, Outgoing, Sent},
    questions::{Answer, Questions},
    queue::Queue,
    tracked::{Carried, Tracked, TrackedSet},
    upkeep::Upkeep,
};
use super::{
    context::Context,
    decide::{self, AfterSend},
    dispatch::Dispatcher,
    job::Work,
    mail::{MAILBOX_MAX, Mail},
    ownership::Holding,
    recovery::Recovered,
    status::{Fitness, WalletStatus},
};
use crate::{
    metrics::{self, Stage},
    settlement::{Transaction, TransactionState},
};

/// Messages that are taken out of the mailbox at a time.
const MAIL_GROUP_MAX: usize = 64;

/// The time between two looks for due questions and deferred work.
const TICK: Duration = Duration::from_millis(250);

/// The same while there is neither work nor a transaction.
const TICK_IDLE: Duration = Duration::from_secs(1);

/// The owner of one gas wallet's transactions.
pub(super) struct Worker {
    context: Arc<Context>,
    dispatcher: Arc<Dispatcher>,
    status: Arc<WalletStatus>,
    parameters: Parameters,
    /// The wallet while it is here.
    holding: Holding,
    /// True once the wallet is another owner's.
    is_lost: bool,
    next_nonce: Option<u64>,
    tracked: TrackedSet,
    queue: Queue,
    outbox: Outbox,
    questions: Questions,
    upkeep: Upkeep,
    /// Steps whose transaction is dead, and the times at which the trace of
    /// their authorization is made again.
    untraced: Vec<(Instant, Work)>,
    /// The time until which payments are gathered that are to share a transaction.
    gather_until: Option<Instant>,
    told: Told,
}

/// The numbers that the network's status was told last.
#[derive(Default)]
struct Told {
    open: usize,
    queued: usize,
}

/// The state that a worker starts with.
pub(super) struct Start {
    /// Its gas wallet.
    pub status: Arc<WalletStatus>,
    /// The wallet in its hands.
    pub holding: Holding,
    /// The next nonce; `None` on chains without nonces.
    pub next_nonce: Option<u64>,
    /// The work that it goes on with.
    pub recovered: Recovered,
}

/// The ways into a worker.
pub(super) struct Inlets {
    /// Messages.
    pub mail: mpsc::Receiver<Mail>,
    /// Blocks, in order.
    pub blocks: mpsc::Receiver<Arc<Block>>,
}

impl Worker {
    pub fn new(context: Arc<Context>, dispatcher: Arc<Dispatcher>, start: Start) -> Self {
        let Start { status, holding, next_nonce, recovered } = start;
        let mut worker = Self {
            parameters: context.chain.parameters(),
            holding,
            is_lost: false,
            next_nonce,
            tracked: TrackedSet::default(),
            queue: Queue::default(),
            outbox: Outbox::new(Arc::clone(&context), next_nonce.is_some()),
            questions: Questions::new(Arc::clone(&context)),
            upkeep: Upkeep::default(),
            untraced: vec![],
            gather_until: None,
            told: Told::default(),
            context,
            dispatcher,
            status,
        };
        worker.take_up(recovered);
        worker
    }

    /// Takes up what the store holds: all bytes are sent again, and what is
    /// unknown is asked about beside the traffic.
    fn take_up(&mut self, Recovered { mut tracked, waiting }: Recovered) {
        let now = Instant::now();
        tracked.sort_by_key(|tracked| (tracked.transaction.nonce, tracked.transaction.id));
        for mut tracked in tracked {
            tracked.inquiry.want(now);
            if !tracked.nonce_used {
                self.outbox.push(Outgoing::from(&tracked.transaction));
            }
            self.tracked.insert(tracked);
        }
        for (work, was_carried) in waiting {
            if was_carried {
                // Bytes of it were sent: it may have been executed meanwhile.
                self.trace(work);
            } else {
                self.queue.push(Work { verified_block: None, ..work });
            }
        }
        self.tell_status();
    }

    /// Works until `stop`, or until the wallet is to be left to another owner.
    pub async fn run(mut self, mut inlets: Inlets, stop: CancellationToken) {
        let mut tick = Instant::now();
        let mut mail = Vec::with_capacity(MAIL_GROUP_MAX);
        let over = self.holding.over().clone();
        while !self.is_lost && !over.is_cancelled() {
            self.hand_on_what_waits();
            self.begin_what_waits().await;
            self.tell_status();
            tick = tick.min(Instant::now() + self.pause());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = over.cancelled() => break,
                Some(block) = inlets.blocks.recv() => self.on_block(&block).await,
                (works, answer) = self.questions.next() => self.on_answer(works, answer).await,
                sent = self.outbox.next() => self.on_sent(sent),
                received = inlets.mail.recv_many(&mut mail, MAIL_GROUP_MAX), if self.has_room() => {
                    if received == 0 {
                        stop.cancelled().await;
                        break;
                    }
                    mail.drain(..).for_each(|mail| self.on_mail(mail));
                }
                () = until(self.gather_until) => {}
                () = tokio::time::sleep_until(tick) => {
                    self.on_tick();
                    tick = Instant::now() + TICK_IDLE;
                }
            }
        }
        if stop.is_cancelled() { self.close(inlets.mail).await } else { self.leave(inlets.mail).await }
    }

    /// The time until the next look for what is due.
    fn pause(&self) -> Duration {
        let idle = self.tracked.len() == 0 && self.queue.is_empty() && self.untraced.is_empty();
        if idle { TICK_IDLE } else { TICK }
    }

    /// Returns true when more mail can be taken: the queue is bounded as the
    /// mailbox is.
    fn has_room(&self) -> bool {
        self.queue.len() < MAILBOX_MAX
    }

    fn on_mail(&mut self, mail: Mail) {
        match mail {
            // The sender has counted it.
            Mail::Job(work) => {
                self.told.queued += 1;
                self.queue.push(*work);
            }
            Mail::Step(work) => self.queue.push(*work),
            Mail::Resend(transaction, items) => self.send_lost(*transaction, items),
        }
    }

    /// Sends a transaction that was at its end and that the chain has lost. Where everything that it carries has ended
    /// for good, it is followed again: it may need a dearer attempt, as what comes after it waits for its nonce. Its
    /// settlements stay as they are. One that is dead, or carries what somebody else follows, is only sent.
    fn send_lost(&mut self, transaction: Transaction, items: Vec<Carried>) {
        self.outbox.push(Outgoing::from(&transaction));
        let is_known = transaction.nonce.is_none() || self.tracked.get(transaction.id).is_some();
        if is_known || matches!(transaction.state, TransactionState::Dead { .. }) {
            return;
        }
        let mut tracked = Tracked::new(transaction, items, self.context.status.block_number());
        if tracked.is_complete() && tracked.items.iter().all(|item| item.entry.has_ended()) {
            tracked.measured.fee = tracked.is_included();
            tracked.inquiry.want(Instant::now());
            self.tracked.insert(tracked);
        }
    }

    /// Hands what waits on to fitter workers, if this gas wallet is not well.
    fn hand_on_what_waits(&mut self) {
        let fitness = self.status.fitness();
        if fitness == Fitness::Well || self.queue.is_empty() {
            return;
        }
        for work in self.queue.take_movable() {
            if let Err(work) = self.dispatcher.hand_on(Box::new(work), &self.status, fitness) {
                self.queue.push(*work);
            }
        }
    }

    async fn on_block(&mut self, block: &Block) {
        self.upkeep.saw_block();
        let wanted = self.tracked.take_wanted(block);
        self.questions.observe(wanted);
        for id in self.tracked.take_unsent(block.number, self.parameters.resend_after) {
            if let Some(tracked) = self.tracked.get_mut(id) {
                self.outbox.push(Outgoing::from(&tracked.transaction));
            }
        }
        let now = Instant::now();
        if let Some(oldest) = self.tracked.oldest()
            && block.number >= oldest.first_block.saturating_add(decide::INVESTIGATE_AFTER_BLOCKS)
        {
            oldest.inquiry.want_once(now);
        }
        self.ask_what_is_due(now);
        self.replace_what_waits(block).await;
        self.watch_price();
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        self.queue.wake(now);
        self.ask_what_is_due(now);
        if self.upkeep.is_due(now, self.tracked.places() > 0) {
            self.questions.upkeep(&self.status.wallet);
        }
    }

    /// Asks by what a step's authorization was used, as soon as there is room.
    fn trace(&mut self, work: Work) {
        self.untraced.push((Instant::now(), work));
    }

    /// Starts the investigations that are due, as many as there is room for.
    fn ask_what_is_due(&mut self, now: Instant) {
        while self.questions.has_room()
            && let Some(index) = self.untraced.iter().position(|(due, _)| *due <= now)
        {
            let (_, work) = self.untraced.swap_remove(index);
            self.questions.trace(work);
        }
        for tracked in self.tracked.iter_mut() {
            if !self.questions.has_room() {
                return;
            }
            if tracked.inquiry.is_due(now) {
                tracked.inquiry.ask();
                self.questions.investigate(tracked.transaction.id, Arc::clone(&tracked.view));
            }
        }
    }

    async fn on_answer(&mut self, works: Vec<Work>, answer: Answer) {
        match answer {
            Answer::Observed(ids, answer) => self.observed(ids, answer).await,
            Answer::Investigated(id, answer) => self.investigated(id, answer).await,
            Answer::Traced(answer) => {
                for work in works {
                    self.traced(work, answer.clone()).await;
                }
            }
            Answer::Rechecked(answers, block) => self.rechecked(works, answers, block).await,
            Answer::Authorization(id, effect) => self.heed_authorization(id, effect),
            Answer::Upkept(balance, nonce) => self.upkept(balance, nonce).await,
        }
    }

    fn on_sent(&mut self, sent: Sent) {
        self.note_refusals(&sent);
        let now = Instant::now();
        for (hash, answer) in sent {
            let Some(tracked) = self.tracked.by_hash(&hash) else { continue };
            let is_newest = tracked.transaction.newest().hash == hash;
            match decide::after_send(&answer, tracked.transaction.attempts.len()) {
                AfterSend::Watch => {
                    tracked.price.refused &= !is_newest;
                    accepted(&self.context, tracked);
                }
                AfterSend::SendAgain | AfterSend::Alarm => tracked.send_again = true,
                AfterSend::OfferMore => {
                    tracked.price.refused |= is_newest;
                    tracked.send_again = true;
                    // Before it is bumped with the next block.
                    let id = tracked.transaction.id;
                    self.ask_for_authorization(id);
                }
                AfterSend::Investigate => tracked.inquiry.want(now),
                AfterSend::WalletEmpty => {
                    tracked.send_again = true;
                    self.upkeep.hurry();
                }
            }
        }
        self.ask_what_is_due(now);
    }

    /// Says so when no node takes the wallet's transactions, and when one does again.
    fn note_refusals(&mut self, sent: &Sent) {
        let mut refused = None;
        for (hash, answer) in sent {
            let attempts = self.tracked.by_hash(hash).map_or(1, |tracked| tracked.transaction.attempts.len());
            match answer {
                BroadcastResult::Accepted | BroadcastResult::NonceTooLow => {
                    refused = None;
                    break;
                }
                // An earlier attempt of the same is there.
                BroadcastResult::NonceTaken if attempts > 1 => {
                    refused = None;
                    break;
                }
                BroadcastResult::Unknown(_) | BroadcastResult::NonceGap => return,
                BroadcastResult::NonceTaken
                | BroadcastResult::Underpriced(_)
                | BroadcastResult::InsufficientFunds
                | BroadcastResult::PoolFull
                | BroadcastResult::Rejected(_) => refused = refused.or(Some(answer)),
            }
        }
        let reason = refused.map(|answer| {
            let said = if answer.detail().is_empty() { answer.word() } else { answer.detail() };
            format!("no node takes its transactions ({said}); they are stored and sent again with each block")
        });
        let came = "no node takes this gas wallet's transactions: compare its price, balance and nonce with the chain's \
                    (`facilitator doctor`, `facilitator audit`)";
        self.status.set(|state| &mut state.refused, reason, (came, "nodes take this gas wallet's transactions again"));
    }

    /// Tells the network's status what has changed.
    fn tell_status(&mut self) {
        let (open, queued) = (self.tracked.len(), self.queue.len());
        self.context.status.add_open(open, std::mem::replace(&mut self.told.open, open));
        let told = std::mem::replace(&mut self.told.queued, queued);
        let (places, open) = (self.tracked.places(), self.tracked.summary());
        self.status.update(|state| {
            // Mail that waits is counted by the sender.
            state.queued = (state.queued + queued).saturating_sub(told);
            (state.in_flight, state.open) = (places, open);
        });
    }
}

/// Waits until a time, or for ever.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// A node has taken a transaction.
fn accepted(context: &Context, tracked: &mut Tracked) {
    tracked.items.iter().for_each(|item| item.entry.accepted());
    if !std::mem::replace(&mut tracked.measured.accepted, true) && tracked.measured.begun_here {
        metrics::stage(context.network(), Stage::Accept, tracked.stored_at.elapsed());
    }
}
