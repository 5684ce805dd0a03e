//! The properties that the history of every run must have.
//!
//! Each is a comparison of sets, or of an order, over one payment, one gas wallet or one settlement.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
};

use super::{
    history::{Answer, History, OnChain, Place, Request, Settlement, Transfer},
    story,
};

/// The longest that a process may take from the moment it can go on until it answers.
const COMES_BACK_MAX: u64 = 2_000;

/// A property of histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Property {
    /// One success for each payment, and it is the transfer's.
    OneSuccess,
    /// No transfer without a settlement that is settled.
    EveryTransferIsSettled,
    /// No transfer of a payment that failed, or that was refused before anything was begun.
    NothingIsPaidThatFailed,
    /// One transaction for each nonce, no gap, and nothing on chain that is not stored.
    OneTransactionForEachNonce,
    /// Nothing reaches a node before it is stored.
    StoredBeforeSent,
    /// Epochs never fall along a wallet's nonces.
    EpochsRise,
    /// The events of a settlement are a path of its states.
    StoriesAreLawful,
    /// No answer contradicts an earlier final one, nor the end.
    AnswersAgree,
    /// Everything that was begun has ended.
    NothingIsUnfinished,
    /// Whoever got no answer had asked a process that was not there.
    SilenceIsExplained,
}

/// A property that a history does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The property.
    pub property: Property,
    /// The facts against it.
    pub facts: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.property, self.facts)
    }
}

/// Returns the facts against a property.
type Judge = fn(&Index<'_>) -> Vec<String>;

/// Returns everything that is wrong with a history.
pub fn check(history: &History) -> Vec<Violation> {
    let index = Index::of(history);
    let properties: [(Property, Judge); 10] = [
        (Property::OneSuccess, one_success),
        (Property::EveryTransferIsSettled, every_transfer_is_settled),
        (Property::NothingIsPaidThatFailed, nothing_is_paid_that_failed),
        (Property::OneTransactionForEachNonce, one_transaction_for_each_nonce),
        (Property::StoredBeforeSent, stored_before_sent),
        (Property::EpochsRise, epochs_rise),
        (Property::StoriesAreLawful, stories_are_lawful),
        (Property::AnswersAgree, answers_agree),
        (Property::NothingIsUnfinished, nothing_is_unfinished),
        (Property::SilenceIsExplained, silence_is_explained),
    ];
    let judged = properties
        .into_iter()
        .flat_map(|(property, judge)| judge(&index).into_iter().map(move |facts| Violation { property, facts }));
    judged.collect()
}

/// A history by payments and by wallets.
struct Index<'a> {
    history: &'a History,
    /// In order of their beginning.
    requests: BTreeMap<&'a str, Vec<&'a Request>>,
    transfers: HashMap<&'a str, Vec<&'a Transfer>>,
    settlements: HashMap<&'a str, Vec<&'a Settlement>>,
    /// In order of their nonces.
    places: BTreeMap<&'a str, Vec<(u64, &'a Place)>>,
}

impl<'a> Index<'a> {
    fn of(history: &'a History) -> Self {
        let mut requests: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for request in &history.requests {
            requests.entry(request.payment.as_str()).or_default().push(request);
        }
        for asked in requests.values_mut() {
            asked.sort_by_key(|request| request.started);
        }
        let mut transfers: HashMap<_, Vec<_>> = HashMap::new();
        for transfer in history.transfers() {
            transfers.entry(transfer.payment.as_str()).or_default().push(transfer);
        }
        let mut settlements: HashMap<_, Vec<_>> = HashMap::new();
        for settlement in &history.tables.settlements {
            settlements.entry(settlement.payment.as_str()).or_default().push(settlement);
        }
        let mut places: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for place in &history.tables.places {
            if let Some(nonce) = place.nonce {
                places.entry(place.wallet.as_str()).or_default().push((nonce, place));
            }
        }
        for places in places.values_mut() {
            places.sort_by_key(|(nonce, _)| *nonce);
        }
        Self { history, requests, transfers, settlements, places }
    }

    fn transfers(&self, payment: &str) -> &[&'a Transfer] {
        self.transfers.get(payment).map_or(&[], Vec::as_slice)
    }

    fn settlements(&self, payment: &str) -> &[&'a Settlement] {
        self.settlements.get(payment).map_or(&[], Vec::as_slice)
    }
}

fn one_success(index: &Index<'_>) -> Vec<String> {
    let mut wrong = vec![];
    for (payment, asked) in &index.requests {
        let good: Vec<_> = asked.iter().filter(|request| matches!(request.answer, Answer::Success(_))).collect();
        let Some(first) = good.first() else { continue };
        let keys: BTreeSet<_> = good.iter().map(|request| &request.key).collect();
        if keys.len() > 1 || first.key.is_none() && good.len() > 1 {
            wrong.push(format!("several callers were told of the success of {payment}: {good:?}"));
        }
        match index.transfers(payment) {
            [transfer] if transfer.amount == first.amount => {}
            transfers => {
                wrong.push(format!("{payment} of {} succeeded, and the chain has {transfers:?}", first.amount));
            }
        }
    }
    wrong
}

fn every_transfer_is_settled(index: &Index<'_>) -> Vec<String> {
    let mut wrong = vec![];
    for (payment, transfers) in &index.transfers {
        let settlements = index.settlements(payment);
        let is_settled = |settlement: &&Settlement| {
            settlement.state == "settled"
                && transfers.iter().all(|transfer| {
                    settlement.transaction.as_deref() == Some(transfer.transaction.as_str())
                        && settlement.amount == transfer.amount
                })
        };
        if !(transfers.len() == 1 && settlements.len() == 1 && settlements.iter().all(is_settled)) {
            wrong.push(format!("{payment}: the chain has {transfers:?}, the store {settlements:?}"));
        }
    }
    wrong
}

fn nothing_is_paid_that_failed(index: &Index<'_>) -> Vec<String> {
    let mut wrong = vec![];
    let is_failed = |settlement: &&Settlement| settlement.state == "failed";
    for failed in index.history.tables.settlements.iter().filter(is_failed) {
        let transfers = index.transfers(&failed.payment);
        if !transfers.is_empty() {
            wrong.push(format!("{failed:?}, and the chain has {transfers:?}"));
        }
    }
    for (payment, asked) in &index.requests {
        let nothing_begun = asked.iter().all(|request| matches!(request.answer, Answer::Refused | Answer::Invalid(_)));
        let settlements = index.settlements(payment);
        if nothing_begun && !settlements.is_empty() {
            wrong.push(format!("nothing was begun of {payment}, its callers were told, and there is {settlements:?}"));
        }
    }
    wrong
}

fn one_transaction_for_each_nonce(index: &Index<'_>) -> Vec<String> {
    let mut wrong = vec![];
    for (wallet, places) in &index.places {
        for pair in places.windows(2) {
            if let [(before, one), (after, other)] = pair
                && *after != before + 1
            {
                wrong.push(format!("{wallet}: {after} follows {before}: {one:?}, {other:?}"));
            }
        }
    }
    let nonces: HashMap<&str, &Place> =
        index.history.tables.places.iter().map(|place| (place.id.as_str(), place)).collect();
    let attempts: HashSet<(&str, &str, Option<u64>)> = index
        .history
        .tables
        .attempts
        .iter()
        .filter_map(|attempt| {
            let place = nonces.get(attempt.place.as_str())?;
            Some((attempt.hash.as_str(), place.wallet.as_str(), place.nonce))
        })
        .collect();
    let is_stored = |sent: &&OnChain| !attempts.contains(&(sent.hash.as_str(), sent.wallet.as_str(), sent.nonce));
    let strangers = index.history.transactions().filter(is_stored);
    wrong.extend(strangers.map(|sent| format!("no attempt of the store: {sent:?}")));
    wrong
}

fn stored_before_sent(index: &Index<'_>) -> Vec<String> {
    let attempts: HashSet<&str> = index.history.tables.attempts.iter().map(|attempt| attempt.hash.as_str()).collect();
    let sends = index.history.sends.iter();
    let unstored = sends.filter(|sent| sent.stored == Some(false) || !attempts.contains(sent.hash.as_str()));
    unstored.map(|sent| format!("sent before it was stored, or never stored: {sent:?}")).collect()
}

fn epochs_rise(index: &Index<'_>) -> Vec<String> {
    let mut wrong = vec![];
    for (wallet, places) in &index.places {
        for pair in places.windows(2) {
            if let [(_, before), (_, after)] = pair
                && after.epoch < before.epoch
            {
                wrong.push(format!("{wallet}: an older epoch above a newer one: {before:?}, {after:?}"));
            }
        }
    }
    wrong
}

fn stories_are_lawful(index: &Index<'_>) -> Vec<String> {
    let mut events: HashMap<&str, Vec<(u64, &str)>> = HashMap::new();
    for event in &index.history.tables.events {
        events.entry(event.settlement.as_str()).or_default().push((event.number, event.kind.as_str()));
    }
    for events in events.values_mut() {
        events.sort_by_key(|(number, _)| *number);
    }
    let error = |settlement: &Settlement| {
        let events = events.get(settlement.id.as_str()).cloned().unwrap_or_default();
        let error = story::error(events.iter().copied(), &settlement.state)?;
        Some(format!("settlement {}: {error}: {events:?}", settlement.id))
    };
    index.history.tables.settlements.iter().filter_map(error).collect()
}

fn answers_agree(index: &Index<'_>) -> Vec<String> {
    let mut wrong = vec![];
    let events = index.history.tables.events.iter().filter(|event| event.kind == "reorged");
    let taken_back: HashSet<&str> = events.map(|event| event.settlement.as_str()).collect();
    for (payment, asked) in &index.requests {
        let settlements = index.settlements(payment);
        // Where a block was taken back, another attempt may be included later, and its name is another one.
        let same_name = !settlements.iter().any(|settlement| taken_back.contains(settlement.id.as_str()));
        for (number, earlier) in asked.iter().enumerate() {
            let later = asked.iter().skip(number + 1).filter(|later| later.started > earlier.ended);
            let contrary = later.filter(|later| contradicts(&earlier.answer, &later.answer, same_name));
            wrong.extend(contrary.map(|later| format!("{earlier}, and then {later}")));
        }
        let is_true = |request: &Request| settlements.iter().any(|end| is_true(&request.answer, end, same_name));
        let untrue = asked.iter().filter(|request| request.answer.is_final() && !is_true(request));
        wrong.extend(untrue.map(|request| format!("{request}, and the store has {settlements:?}")));
    }
    wrong
}

impl Answer {
    /// True for an answer after which nothing else may become of the payment.
    const fn is_final(&self) -> bool {
        matches!(self, Self::Success(_) | Self::Failed(_))
    }
}

/// True when both answers cannot be true in this order.
fn contradicts(earlier: &Answer, later: &Answer, same_name: bool) -> bool {
    match (earlier, later) {
        (Answer::Success(one), Answer::Success(other) | Answer::Duplicate(other)) => same_name && one != other,
        (Answer::Success(_), Answer::Failed(_)) | (Answer::Failed(_), Answer::Success(_) | Answer::Duplicate(_)) => {
            true
        }
        _ => false,
    }
}

/// True when the settlement at the end says the same as a final answer.
fn is_true(answer: &Answer, settlement: &Settlement, same_name: bool) -> bool {
    match answer {
        Answer::Success(hash) => {
            settlement.state == "settled" && (!same_name || settlement.transaction.as_ref() == Some(hash))
        }
        Answer::Failed(_) => settlement.state == "failed",
        _ => true,
    }
}

fn nothing_is_unfinished(index: &Index<'_>) -> Vec<String> {
    let is_open = |settlement: &&Settlement| match settlement.state.as_str() {
        "settled" => !settlement.finalized,
        state => state != "failed",
    };
    let settlements = index.history.tables.settlements.iter().filter(is_open).map(|open| format!("{open:?}"));
    let places =
        index.history.tables.places.iter().filter(|place| place.state == "open").map(|open| format!("{open:?}"));
    let handed_over = index.history.tables.handed_over.iter().map(|id| format!("handed over, and nobody has it: {id}"));
    settlements.chain(places).chain(handed_over).collect()
}

/// Instances that refuse a request refuse those about that time, in milliseconds.
const ABOUT: u64 = 500;

fn silence_is_explained(index: &Index<'_>) -> Vec<String> {
    let was_absent = |request: &Request| {
        index.history.absences.iter().any(|absence| {
            request.instance.is_none_or(|instance| instance == absence.instance)
                && request.started <= absence.to + COMES_BACK_MAX
                && request.ended >= absence.from
        })
    };
    // HAProxy, which repeats what was refused, breaks the connection where it finds nobody to repeat it to.
    let was_refused = |request: &Request| {
        let beside =
            |other: &&Request| other.started <= request.ended + ABOUT && other.ended + ABOUT >= request.started;
        let refused = |other: &&Request| matches!(other.answer, Answer::Refused);
        request.instance.is_none() && index.history.requests.iter().filter(refused).any(|other| beside(&other))
    };
    let silent = index.history.requests.iter().filter(|request| matches!(request.answer, Answer::Nothing(_)));
    let unexplained = silent.filter(|request| !was_absent(request) && !was_refused(request));
    unexplained.map(|request| format!("no answer: {request}")).collect()
}
