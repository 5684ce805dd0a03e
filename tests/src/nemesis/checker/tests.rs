//! A good history, and one broken history for each way to break a property.

use super::*;
use crate::nemesis::history::{Absence, Attempt, Block, Event, Sent, Tables};

const PAID: &str = "0xpayer/0x01";
const FAILED: &str = "0xpayer/0x02";
const REFUSED: &str = "0xpayer/0x03";

fn request(payment: &str, from: u64, answer: Answer) -> Request {
    let (payment, instance) = (payment.to_owned(), Some(0));
    Request { payment, amount: 5, key: None, instance, started: from, ended: from + 10, answer }
}

fn settlement(id: &str, payment: &str, state: &str, transaction: Option<&str>) -> Settlement {
    let (transaction, amount) = (transaction.map(str::to_owned), 5);
    let finalized = state == "settled";
    Settlement {
        id: id.to_owned(),
        payment: payment.to_owned(),
        amount,
        state: state.to_owned(),
        transaction,
        finalized,
    }
}

fn place(id: &str, nonce: u64, epoch: u64) -> Place {
    Place { id: id.to_owned(), wallet: "0xgas".to_owned(), nonce: Some(nonce), epoch, state: "included".to_owned() }
}

fn on_chain(hash: &str, nonce: u64) -> OnChain {
    OnChain { hash: hash.to_owned(), wallet: "0xgas".to_owned(), nonce: Some(nonce) }
}

fn transfer(payment: &str, transaction: &str) -> Transfer {
    Transfer { payment: payment.to_owned(), amount: 5, transaction: transaction.to_owned() }
}

fn events(settlement: &str, kinds: &[&str]) -> Vec<Event> {
    let event = |(number, kind): (u64, &&str)| Event {
        settlement: settlement.to_owned(),
        number,
        kind: (*kind).to_owned(),
        detail: String::new(),
    };
    (0..).zip(kinds).map(event).collect()
}

fn attempt(place: &str, hash: &str) -> Attempt {
    Attempt { place: place.to_owned(), hash: hash.to_owned() }
}

fn sent(hash: &str) -> Sent {
    Sent { hash: hash.to_owned(), at: 5, stored: Some(true) }
}

/// One payment that was made and asked for again, one that failed, one that was refused; an instance was gone once.
fn good() -> History {
    let mut kept = request(PAID, 100, Answer::Nothing("cut".to_owned()));
    kept.instance = Some(1);
    History {
        requests: vec![
            request(PAID, 0, Answer::Pending),
            request(PAID, 20, Answer::Success("0xa".to_owned())),
            request(PAID, 40, Answer::Duplicate("0xa".to_owned())),
            kept,
            request(FAILED, 0, Answer::Failed("invalid_transaction_state".to_owned())),
            request(REFUSED, 0, Answer::Refused),
        ],
        blocks: vec![
            Block { number: 1, transactions: vec![on_chain("0xa", 7)], transfers: vec![transfer(PAID, "0xa")] },
            Block { number: 2, transactions: vec![on_chain("0xc", 8)], transfers: vec![] },
        ],
        sends: vec![sent("0xa"), sent("0xb"), sent("0xc")],
        absences: vec![Absence { instance: 1, from: 105, to: 200 }],
        tables: Tables {
            settlements: vec![
                settlement("s1", PAID, "settled", Some("0xa")),
                settlement("s2", FAILED, "failed", Some("0xc")),
            ],
            places: vec![place("p1", 7, 1), place("p2", 8, 2)],
            attempts: vec![attempt("p1", "0xa"), attempt("p2", "0xb"), attempt("p2", "0xc")],
            events: [events("s1", &["signed", "settled", "delivered"]), events("s2", &["signed", "bumped", "failed"])]
                .concat(),
            handed_over: vec![],
        },
    }
}

#[test]
fn a_good_history_has_every_property() {
    assert_eq!(check(&good()), []);
}

/// A broken history, by its name, the change that breaks it, and the property that it lacks then.
type Case = (&'static str, fn(&mut History), Property);

#[test]
fn each_broken_history_lacks_its_property() {
    use Property::{
        AnswersAgree, EpochsRise, EveryTransferIsSettled, NothingIsPaidThatFailed, NothingIsUnfinished, OneSuccess,
        OneTransactionForEachNonce, SilenceIsExplained, StoredBeforeSent, StoriesAreLawful,
    };
    let cases: [Case; 28] = [
        ("two strangers succeed", |h| h.requests[2].answer = Answer::Success("0xa".to_owned()), OneSuccess),
        (
            "two keys succeed",
            |h| {
                h.requests[1].key = Some("one".to_owned());
                h.requests[2].key = Some("other".to_owned());
                h.requests[2].answer = Answer::Success("0xa".to_owned());
            },
            OneSuccess,
        ),
        ("a success without a transfer", |h| h.blocks[0].transfers.clear(), OneSuccess),
        ("a success of another amount", |h| h.blocks[0].transfers[0].amount = 6, OneSuccess),
        ("paid twice", |h| h.blocks[1].transfers.push(transfer(PAID, "0xc")), OneSuccess),
        (
            "a transfer that nobody stored",
            |h| h.blocks[1].transfers.push(transfer("0xpayer/0x09", "0xc")),
            EveryTransferIsSettled,
        ),
        (
            "settled by another transaction",
            |h| h.tables.settlements[0].transaction = Some("0xc".to_owned()),
            EveryTransferIsSettled,
        ),
        (
            "two settlements of one payment",
            |h| h.tables.settlements.push(settlement("s3", PAID, "settled", Some("0xa"))),
            EveryTransferIsSettled,
        ),
        ("a failed payment is made", |h| h.blocks[1].transfers.push(transfer(FAILED, "0xc")), NothingIsPaidThatFailed),
        (
            "a refused payment is begun",
            |h| h.tables.settlements.push(settlement("s3", REFUSED, "failed", None)),
            NothingIsPaidThatFailed,
        ),
        ("a nonce twice", |h| h.tables.places[1].nonce = Some(7), OneTransactionForEachNonce),
        ("a gap", |h| h.tables.places[1].nonce = Some(9), OneTransactionForEachNonce),
        (
            "a stranger's transaction",
            |h| h.blocks[1].transactions[0].hash = "0xd".to_owned(),
            OneTransactionForEachNonce,
        ),
        ("at another nonce than stored", |h| h.blocks[1].transactions[0].nonce = Some(9), OneTransactionForEachNonce),
        ("sent first", |h| h.sends[1].stored = Some(false), StoredBeforeSent),
        ("sent and never stored", |h| h.sends.push(Sent { stored: None, ..sent("0xe") }), StoredBeforeSent),
        ("an epoch falls", |h| h.tables.places[1].epoch = 0, EpochsRise),
        ("an event is missing", |h| drop(h.tables.events.remove(1)), StoriesAreLawful),
        ("failed, then settled", |h| h.tables.events[2].kind = "failed".to_owned(), StoriesAreLawful),
        ("success, then failure", |h| h.requests[2].answer = Answer::Failed("x".to_owned()), AnswersAgree),
        ("failure, then success", |h| h.requests[0].answer = Answer::Failed("x".to_owned()), AnswersAgree),
        ("another transaction", |h| h.requests[2].answer = Answer::Duplicate("0xb".to_owned()), AnswersAgree),
        ("a failure that is none", |h| h.tables.settlements[1].state = "settled".to_owned(), AnswersAgree),
        ("a settlement stays open", |h| h.tables.settlements[1].state = "broadcast".to_owned(), NothingIsUnfinished),
        ("a payment stays handed over", |h| h.tables.handed_over.push("s9".to_owned()), NothingIsUnfinished),
        ("a transfer stays unsure", |h| h.tables.settlements[0].finalized = false, NothingIsUnfinished),
        ("a transaction stays open", |h| h.tables.places[1].state = "open".to_owned(), NothingIsUnfinished),
        ("nobody was away", |h| h.absences[0].instance = 2, SilenceIsExplained),
    ];
    for (name, break_it, property) in cases {
        let mut history = good();
        break_it(&mut history);
        let found: BTreeSet<_> = check(&history).into_iter().map(|violation| violation.property).collect();
        assert!(found.contains(&property), "{name}: {found:?}");
    }
}

#[test]
fn a_caller_with_a_key_is_told_twice() {
    let mut history = good();
    history.requests[2].answer = Answer::Success("0xa".to_owned());
    for request in &mut history.requests[1..3] {
        request.key = Some("one".to_owned());
    }
    assert_eq!(check(&history), []);
}
