//! The tables in memory, and the transitions on them.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use chains_core::{Identity, Network, clock::Millis, transaction::Plan};

use super::hand_overs::Offer;
use crate::{
    settlement::{
        Attempt, AttemptKind, Caller, Delivered, Facts, Recipient, Record, Settled, SettlementId, State, Status, Step,
        StepNumber, StepState, Transaction, TransactionId, TransactionState,
        record::{Event, Followed, Loss},
    },
    store::{ApplyError, Change, Fence, Instance, SendNote, StoreError},
};

/// A settlement with its steps and its story.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub facts: Arc<Facts>,
    pub state: State,
    pub is_broadcast: bool,
    pub accepted: bool,
    pub delivered: Option<Delivered>,
    pub ended_at: Option<Millis>,
    pub finalized_at: Option<Millis>,
    pub reorged_at: Option<Millis>,
    pub updated_at: Millis,
    pub steps: Vec<Step>,
    /// The transactions that carry or carried it, oldest first.
    pub carriers: Vec<TransactionId>,
    pub events: Vec<Event>,
}

/// A transaction and its network.
#[derive(Clone, Debug)]
pub(super) struct Carrier {
    pub network: Network,
    pub transaction: Transaction,
}

/// The owner of a gas wallet.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub id: String,
    pub name: String,
    pub epoch: u64,
    pub beat: u64,
    pub renewed_at: Millis,
}

impl Default for Owner {
    fn default() -> Self {
        Self { id: String::new(), name: String::new(), epoch: 0, beat: 0, renewed_at: Millis(0) }
    }
}

/// All rows. A copy is cheap: rows are shared until they change.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub settlements: BTreeMap<SettlementId, Arc<Row>>,
    pub carriers: BTreeMap<TransactionId, Arc<Carrier>>,
    /// The owner of each gas wallet.
    pub owners: BTreeMap<(Network, String), Owner>,
    /// The instances that share the wallets, by their ids.
    pub instances: BTreeMap<String, Instance>,
    /// The payments that instances hand over to each other.
    pub handed_over: BTreeMap<SettlementId, Offer>,
}

impl Row {
    fn new(facts: Arc<Facts>, plan: Option<Plan>) -> Self {
        let at = facts.created_at;
        let given = plan.is_none().then_some(at);
        let state = if plan.is_some() { State::Open } else { State::Settled(Settled { proof: None }) };
        let step = plan.map(|plan| Step { number: 0, plan, state: StepState::Waiting });
        Self {
            facts,
            state,
            is_broadcast: false,
            accepted: false,
            delivered: given.map(|at| Delivered { at, to: Recipient::Caller }),
            ended_at: given,
            finalized_at: given,
            reorged_at: None,
            updated_at: at,
            steps: step.into_iter().collect(),
            carriers: vec![],
            events: vec![],
        }
    }

    fn tell(&mut self, kind: &str, detail: &str, at: Millis) {
        self.events.push(Event { kind: kind.to_owned(), detail: detail.to_owned(), at });
    }

    fn open_again(&mut self, is_broadcast: bool, at: Millis) {
        (self.state, self.is_broadcast, self.updated_at) = (State::Open, is_broadcast, at);
    }

    fn status(&self) -> Status {
        match self.state {
            State::Open if self.is_broadcast => Status::Broadcast,
            State::Open => Status::Signed,
            State::Settled(_) => Status::Settled,
            State::Failed(_) => Status::Failed,
            State::Unresolved { .. } => Status::Unresolved,
        }
    }
}

fn contradiction(what: &'static str) -> ApplyError {
    ApplyError::Store(StoreError::Contradiction(what))
}

impl Tables {
    /// Makes transitions, all or none.
    pub fn apply(
        &mut self,
        fence: Option<&Fence>,
        changes: Vec<Change>,
        at: Millis,
    ) -> Result<Vec<SettlementId>, ApplyError> {
        if fence.is_some_and(|fence| !self.holds(fence)) && !mistake!(WritesUnfenced) {
            return Err(ApplyError::EpochOver);
        }
        self.admit(&changes)?;
        let mut next = self.clone();
        let carried: HashSet<SettlementId> = changes.iter().flat_map(carried).collect();
        let mut ended = vec![];
        for change in changes {
            next.make(change, at, &carried, &mut ended)?;
        }
        *self = next;
        Ok(ended)
    }

    fn admit(&self, changes: &[Change]) -> Result<(), ApplyError> {
        let (mut identities, mut keys, mut claimed) = (HashSet::new(), HashSet::new(), vec![]);
        let mut networks: BTreeMap<SettlementId, &Network> = BTreeMap::new();
        for change in changes {
            match change {
                Change::Receive { id } => {
                    let is_there = self.handed_over.contains_key(id) || mistake!(ReceivesWhatIsWithdrawn);
                    claimed.extend((!is_there).then_some(*id));
                }
                Change::Claim { facts, .. } => {
                    networks.insert(facts.id, &facts.network);
                    let key = facts.caller.key.as_ref().map(|_| &facts.caller);
                    let known = self.by_identity(&facts.identity).is_some()
                        || key.is_some_and(|key| self.by_key(key).is_some())
                        || !identities.insert(facts.identity)
                        || key.is_some_and(|key| !keys.insert(key));
                    claimed.extend(known.then_some(facts.id));
                }
                Change::Carry(transaction) => claimed.extend(self.check_carry(transaction, &networks)?),
                Change::UseNonce { network, transaction } => self.check_owner(network, transaction)?,
                _ => {}
            }
        }
        claimed.sort_unstable();
        claimed.dedup();
        if claimed.is_empty() { Ok(()) } else { Err(ApplyError::Claimed(claimed)) }
    }

    /// The settlements of a transaction that have ended.
    fn check_carry(
        &self,
        transaction: &Transaction,
        fresh: &BTreeMap<SettlementId, &Network>,
    ) -> Result<Vec<SettlementId>, ApplyError> {
        let network = |id: &SettlementId| {
            fresh.get(id).copied().or_else(|| self.settlements.get(id).map(|row| &row.facts.network))
        };
        let ids = || transaction.items.iter().map(|(id, _)| id);
        let first = ids().next().and_then(network).ok_or_else(|| contradiction("a carry of nothing that is stored"))?;
        if ids().any(|id| network(id) != Some(first)) {
            return Err(contradiction("a carry of several networks"));
        }
        self.check_owner(first, transaction)?;
        let has_ended = |id: &&SettlementId| self.settlements.get(id).is_some_and(|row| row.state.is_final());
        Ok(ids().filter(has_ended).copied().collect())
    }

    fn holds(&self, fence: &Fence) -> bool {
        let owner = self.owners.get(&(fence.network.clone(), fence.gas_wallet.clone()));
        owner.is_some_and(|owner| owner.id == fence.owner && owner.epoch == fence.epoch)
    }

    fn check_owner(&self, network: &Network, transaction: &Transaction) -> Result<(), ApplyError> {
        if let Some(value) = transaction.nonce.filter(|nonce| i64::try_from(*nonce).is_err()) {
            return Err(ApplyError::Store(StoreError::TooLarge { column: "nonce", value }));
        }
        let wallet = (network.clone(), transaction.gas_wallet.clone());
        let owned =
            mistake!(WritesUnfenced) || self.owners.get(&wallet).is_some_and(|owner| owner.epoch == transaction.epoch);
        if owned { Ok(()) } else { Err(ApplyError::EpochOver) }
    }

    fn make(
        &mut self,
        change: Change,
        at: Millis,
        signed: &HashSet<SettlementId>,
        ended: &mut Vec<SettlementId>,
    ) -> Result<(), ApplyError> {
        match change {
            Change::Receive { id } => drop(self.handed_over.remove(&id)),
            Change::Claim { facts, plan } => {
                let (id, created_at) = (facts.id, facts.created_at);
                let kind = if plan.is_some() { "claimed" } else { "settled" };
                let mut row = Row::new(facts, plan);
                if !signed.contains(&id) {
                    row.tell(kind, "", created_at);
                }
                self.settlements.insert(id, Arc::new(row));
            }
            Change::Carry(transaction) => self.carry(transaction, at)?,
            Change::UseNonce { network, transaction } => self.take_nonce(network, transaction)?,
            Change::AddAttempt { transaction, attempt } => self.add_attempt(transaction, attempt, at)?,
            Change::Include { transaction, inclusion } => {
                let Some(carrier) = self.open_carrier(transaction) else { return Ok(()) };
                let mut attempts = carrier.transaction.attempts.iter_mut();
                if let Some(attempt) = attempts.find(|attempt| attempt.signed.hash == inclusion.hash) {
                    let (hash, block) = (inclusion.hash.clone(), inclusion.block.clone());
                    attempt.inclusion = Some(inclusion);
                    carrier.transaction.state = TransactionState::Included { hash, block };
                }
            }
            Change::Reopen { transaction } => self.reopen(transaction, at),
            Change::Kill { transaction, why } => self.kill(transaction, &why, at),
            Change::NextStep { id, done, plan } => self.next_step(id, done, plan, at),
            Change::Settle { id, settled, delivered } => {
                let Some(row) = self.unended(id) else { return Ok(()) };
                row.tell("settled", settled.hash(), at);
                row.delivered = delivered.map(|to| Delivered { at, to });
                row.finalized_at = settled.block().is_none().then_some(at);
                (row.state, row.ended_at, row.updated_at) = (State::Settled(settled), Some(at), at);
                ended.push(id);
            }
            Change::Fail { id, failed } => {
                let Some(row) = self.unended(id) else { return Ok(()) };
                row.tell("failed", &format!("{}: {}", failed.reason, failed.message), at);
                (row.state, row.ended_at, row.updated_at) = (State::Failed(failed), Some(at), at);
                ended.push(id);
            }
            Change::Unresolve { id, why } => {
                let Some(row) = self.unended(id) else { return Ok(()) };
                if row.state == State::Open {
                    row.tell("unresolved", &why, at);
                }
                (row.state, row.updated_at) = (State::Unresolved { why }, at);
            }
            Change::Finalize { id, transfer } => self.finalize(id, transfer, at),
            Change::TakeBack { id, why } => {
                let Some(row) = self.row(id) else { return Ok(()) };
                if matches!(row.state, State::Settled(_)) && row.reorged_at.is_none() {
                    (row.reorged_at, row.updated_at) = (Some(at), at);
                    row.tell("reorged", &why, at);
                }
            }
            Change::ExecutedElsewhere { id, hash } => {
                let Some(row) = self.row(id) else { return Ok(()) };
                if matches!(row.state, State::Failed(_)) && row.finalized_at.is_none() {
                    (row.finalized_at, row.updated_at) = (Some(at), at);
                    row.tell("executed_elsewhere", &hash, at);
                }
            }
        }
        Ok(())
    }

    fn carry(&mut self, transaction: Transaction, at: Millis) -> Result<(), ApplyError> {
        let (id, hash) = (transaction.id, transaction.newest().hash.clone());
        let mut network = None;
        for (settlement, number) in &transaction.items {
            let row = self.row(*settlement).ok_or_else(|| contradiction("a settlement that is not there"))?;
            network.get_or_insert_with(|| row.facts.network.clone());
            let step = row.steps.iter_mut().find(|step| step.number == *number);
            let step = step.filter(|step| step.state == StepState::Waiting);
            step.ok_or_else(|| contradiction("a step that does not wait"))?.state = StepState::Carried(id);
            row.carriers.push(id);
            row.tell("signed", &hash, at);
        }
        self.take_nonce(network.ok_or_else(|| contradiction("a carry of nothing"))?, transaction)
    }

    fn take_nonce(&mut self, network: Network, transaction: Transaction) -> Result<(), ApplyError> {
        let is_taken = |carrier: &&Arc<Carrier>| {
            carrier.network == network
                && carrier.transaction.gas_wallet == transaction.gas_wallet
                && carrier.transaction.nonce == transaction.nonce
        };
        if transaction.nonce.is_some() && self.carriers.values().any(|carrier| is_taken(&carrier)) {
            return Err(contradiction("a nonce is given out once"));
        }
        self.carriers.insert(transaction.id, Arc::new(Carrier { network, transaction }));
        Ok(())
    }

    fn add_attempt(&mut self, id: TransactionId, attempt: Attempt, at: Millis) -> Result<(), ApplyError> {
        let carrier = self.open_carrier(id);
        let carrier = carrier.ok_or_else(|| contradiction("an attempt is for a transaction that is open"))?;
        let (hash, kind) = (attempt.signed.hash.clone(), attempt.kind);
        carrier.transaction.attempts.push(attempt);
        let word = if kind == AttemptKind::Cancel { "cancelled" } else { "bumped" };
        self.tell_all(id, word, &hash, at);
        Ok(())
    }

    fn reopen(&mut self, id: TransactionId, at: Millis) {
        let Some(carrier) = self.carriers.get_mut(&id).map(Arc::make_mut) else { return };
        if !matches!(carrier.transaction.state, TransactionState::Included { .. }) {
            return;
        }
        carrier.transaction.state = TransactionState::Open;
        carrier.transaction.attempts.iter_mut().for_each(|attempt| attempt.inclusion = None);
        for (settlement, _) in carrier.transaction.items.clone() {
            if let Some(row) = self.unended(settlement) {
                row.open_again(true, at);
            }
        }
        self.tell_all(id, "reorged", "the chain took the block of its transaction back", at);
    }

    fn kill(&mut self, id: TransactionId, why: &str, at: Millis) {
        let Some(carrier) = self.open_carrier(id) else { return };
        carrier.transaction.state = TransactionState::Dead { why: why.to_owned() };
        for (settlement, number) in carrier.transaction.items.clone() {
            let Some(row) = self.unended(settlement) else { continue };
            let step = row.steps.iter_mut().find(|step| step.number == number);
            if let Some(step) = step.filter(|step| step.state == StepState::Carried(id)) {
                step.state = StepState::Waiting;
                row.open_again(false, at);
            }
        }
        self.tell_all(id, "transaction_dead", why, at);
    }

    fn next_step(&mut self, id: SettlementId, done: StepNumber, plan: Plan, at: Millis) {
        let Some(row) = self.unended(id) else { return };
        let Some(step) = row.steps.iter_mut().find(|step| step.number == done) else { return };
        let StepState::Carried(carrier) = step.state else { return };
        step.state = StepState::Done(carrier);
        row.steps.push(Step { number: done + 1, plan, state: StepState::Waiting });
        row.open_again(false, at);
        row.tell("step_done", &format!("step {done}"), at);
    }

    fn finalize(
        &mut self,
        id: SettlementId,
        transfer: Option<(String, chains_core::observation::BlockRef)>,
        at: Millis,
    ) {
        let Some(row) = self.row(id) else { return };
        if !row.state.is_final() || row.finalized_at.is_some() {
            return;
        }
        (row.finalized_at, row.updated_at) = (Some(at), at);
        let detail = transfer.as_ref().map(|(hash, block)| format!("{hash} in block {} {}", block.number, block.hash));
        row.tell("finalized", &detail.unwrap_or_default(), at);
        if let (State::Settled(settled), Some((hash, block))) = (&mut row.state, transfer) {
            *settled = Settled::by(hash, block);
        }
    }

    /// Adds an event to each settlement of a transaction.
    fn tell_all(&mut self, id: TransactionId, kind: &str, detail: &str, at: Millis) {
        let items = self.carriers.get(&id).map(|carrier| carrier.transaction.items.clone()).unwrap_or_default();
        let ids: HashSet<SettlementId> = items.into_iter().map(|(id, _)| id).collect();
        for id in ids {
            if let Some(row) = self.row(id) {
                row.updated_at = at;
                row.tell(kind, detail, at);
            }
        }
    }

    fn row(&mut self, id: SettlementId) -> Option<&mut Row> {
        self.settlements.get_mut(&id).map(Arc::make_mut)
    }

    fn unended(&mut self, id: SettlementId) -> Option<&mut Row> {
        self.row(id).filter(|row| !row.state.is_final())
    }

    fn open_carrier(&mut self, id: TransactionId) -> Option<&mut Carrier> {
        let carrier = self.carriers.get_mut(&id).map(Arc::make_mut)?;
        (carrier.transaction.state == TransactionState::Open).then_some(carrier)
    }

    /// Gives a gas wallet to an owner; returns the epoch.
    pub fn own(&mut self, network: &Network, gas_wallet: &str, owner: &str) -> u64 {
        let there = self.owners.entry((network.clone(), gas_wallet.to_owned())).or_default();
        owner.clone_into(&mut there.id);
        there.epoch += 1;
        there.epoch
    }

    /// Gives a success away, once.
    pub fn deliver(&mut self, id: SettlementId, to: Recipient, at: Millis) -> bool {
        let Some(row) = self.row(id) else { return false };
        let is_there = matches!(row.state, State::Settled(_)) && row.delivered.is_none();
        if !is_there || (row.reorged_at.is_some() && row.finalized_at.is_none()) {
            return false;
        }
        (row.delivered, row.updated_at) = (Some(Delivered { at, to }), at);
        row.tell("delivered", "", at);
        true
    }

    /// Notes how sends went.
    pub fn note(&mut self, note: &SendNote) {
        for id in &note.settlements {
            if let Some(row) = self.unended(*id) {
                (row.is_broadcast, row.accepted) = (true, row.accepted || note.answer == "accepted");
            }
        }
    }

    /// The settlement of a payment.
    pub fn by_identity(&self, identity: &Identity) -> Option<&Row> {
        self.settlements.values().find(|row| row.facts.identity == *identity).map(|row| &**row)
    }

    /// The settlement that a caller began under its key.
    pub fn by_key(&self, caller: &Caller) -> Option<&Row> {
        caller.key.as_ref()?;
        self.settlements.values().find(|row| row.facts.caller == *caller).map(|row| &**row)
    }

    /// A settlement without its steps.
    pub fn record(&self, row: &Row) -> Record {
        let newest = row.carriers.last().and_then(|id| self.carriers.get(id));
        let newest = newest.map(|carrier| carrier.transaction.newest().hash.clone());
        let deciding = match &row.state {
            State::Settled(settled) => settled.proof.as_ref().map(|(hash, _)| hash.clone()),
            State::Failed(failed) => failed.transaction.clone(),
            State::Open | State::Unresolved { .. } => None,
        };
        Record {
            facts: Arc::clone(&row.facts),
            state: row.state.clone(),
            status: row.status(),
            transaction: deciding.or(newest).unwrap_or_default(),
            accepted: row.accepted,
            delivered: row.delivered,
            finalized_at: row.finalized_at,
            reorged_at: row.reorged_at,
            updated_at: row.updated_at,
        }
    }

    /// The transactions of a settlement, oldest first.
    pub fn transactions(&self, row: &Row) -> Vec<Transaction> {
        let carriers = row.carriers.iter().filter_map(|id| self.carriers.get(id));
        carriers.map(|carrier| carrier.transaction.clone()).collect()
    }

    /// A settlement with everything that is needed to follow it.
    pub fn followed(&self, row: &Row) -> Followed {
        let (facts, state, steps) = (Arc::clone(&row.facts), row.state.clone(), row.steps.clone());
        Followed { facts, state, steps, transactions: self.transactions(row) }
    }

    /// The gas that a failed settlement cost, where it cost any.
    pub fn loss(&self, row: &Row) -> Option<Loss> {
        let State::Failed(_) = row.state else { return None };
        let paid = self.transactions(row).into_iter().map(|transaction| {
            let inclusion = transaction.attempts.iter().find_map(|attempt| attempt.inclusion.as_ref());
            inclusion.map_or(chains_core::Amount::ZERO, |inclusion| transaction.share(inclusion.fee_paid, row.facts.id))
        });
        let fee_paid = paid.fold(chains_core::Amount::ZERO, |sum, fee| sum.checked_add(fee).unwrap_or(sum));
        let (payer, payer_code) = (row.facts.payer.clone(), row.facts.payer_code.clone());
        let tenant = row.facts.caller.tenant.clone();
        (!fee_paid.is_zero()).then_some(Loss {
            id: row.facts.id,
            payer,
            tenant,
            payer_code,
            fee_paid,
            at: row.ended_at?,
        })
    }
}

/// The settlements that a change's transaction carries.
fn carried(change: &Change) -> Vec<SettlementId> {
    match change {
        Change::Carry(transaction) => transaction.items.iter().map(|(id, _)| *id).collect(),
        _ => vec![],
    }
}
