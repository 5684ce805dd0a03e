use chains_core::{Amount, Code};

use super::*;

fn block(number: u64) -> BlockRef {
    BlockRef { number, hash: format!("b{number}") }
}

fn included(number: u64, confirmed: bool, effect: Effect) -> Observation {
    let fee_paid = Amount::from(1_u64);
    let inclusion =
        Inclusion { hash: "ours".into(), block: block(number), timestamp: None, confirmed, fee_paid, gas_used: 1 };
    Observation::Included(inclusion, vec![effect])
}

fn elsewhere_in(number: u64) -> Effect {
    Effect::Elsewhere { hash: "foreign".into(), block: block(number) }
}

fn rejection() -> Rejection {
    Rejection::new(Code::new("why"), "because")
}

fn missing(executable_until: Option<u64>) -> Effect {
    Effect::Missing { why: rejection(), executable_until }
}

fn item(verdict: &ItemVerdict) -> String {
    match verdict {
        ItemVerdict::Settled(settled) => format!("settled {}", settled.hash()),
        ItemVerdict::Failed(failed) => {
            let until = failed.executable_until.map_or_else(String::new, |until| format!(" until {until}"));
            format!("failed {} {}{until}", failed.reason, failed.transaction.as_deref().unwrap_or("-"))
        }
        ItemVerdict::Next(plan) => format!("next {}", plan.body()),
        ItemVerdict::Unclear(why) => format!("unclear {why}"),
    }
}

fn summary(verdict: Verdict) -> String {
    match verdict {
        Verdict::Pending => "pending".into(),
        Verdict::Confirming(block) => format!("confirming {}", block.number),
        Verdict::Included(inclusion, items) => format!("{}: {}", inclusion.hash, item(&items[0])),
        Verdict::Replaced => "replaced".into(),
        Verdict::Expired(why) => format!("expired {}", why.message),
        Verdict::Unknown { nonce_used, why } => {
            format!("unknown {why}{}", if nonce_used { ", its nonce used" } else { "" })
        }
    }
}

#[test]
fn only_proof_ends_a_settlement() {
    let cases = [
        (Observation::Pending, "pending"),
        (Observation::Replaced, "replaced"),
        (Observation::unknown("no history"), "unknown no history"),
        (Observation::Unknown { nonce_used: true, why: "no history".into() }, "unknown no history, its nonce used"),
        (Observation::Expired(rejection()), "expired because"),
        (included(10, true, Effect::Unclear("rpc".into())), "ours: unclear rpc"),
        (included(10, true, Effect::Done), "ours: settled ours"),
        (included(10, false, Effect::Done), "confirming 10"),
        (included(10, false, missing(None)), "confirming 10"),
        (included(10, true, missing(None)), "ours: failed why ours"),
        (included(10, true, missing(Some(99))), "ours: failed why ours until 99"),
        (included(10, true, Effect::Continues(Plan::new("step"))), "ours: next step"),
        (included(10, true, elsewhere_in(6)), "ours: settled foreign"),
        (included(10, true, elsewhere_in(5)), "ours: failed duplicate_settlement foreign"),
    ];
    for (observation, expected) in cases {
        assert_eq!(summary(after_observation(observation.clone(), &[5])), expected, "{observation:?}");
    }
    let verdict = after_observation(included(10, true, Effect::Done), &[5, 5]);
    assert!(
        matches!(verdict, Verdict::Unknown { nonce_used: true, .. }),
        "an observation that does not fit says nothing"
    );
}

#[test]
fn a_step_whose_transaction_is_dead_goes_on_unless_it_came_to_its_end() {
    let cases = [
        (missing(Some(9)), None),
        (missing(None), Some("failed why -")),
        (elsewhere_in(6), Some("settled foreign")),
        (elsewhere_in(5), Some("failed duplicate_settlement foreign")),
        (Effect::Unclear("rpc".into()), Some("unclear rpc")),
        (Effect::Done, Some("unclear no transaction did it")),
    ];
    for (effect, expected) in cases {
        let after = match after_death(effect.clone(), 5) {
            AfterDeath::CarryAnew => None,
            AfterDeath::Ended(verdict) => Some(item(&verdict)),
        };
        assert_eq!(after.as_deref(), expected, "{effect:?}");
    }
}

#[test]
fn a_worker_never_goes_below_chain_or_store() {
    let cases = [
        (None, None, NextNonce::None),
        (None, Some(3), NextNonce::None),
        (Some(0), None, NextNonce::From(0)),
        (Some(57), None, NextNonce::From(57)),
        (Some(4), Some(3), NextNonce::From(4)),
        (Some(2), Some(3), NextNonce::From(4)),
        (Some(5), Some(3), NextNonce::Foreign { chain: 5, stored: 3 }),
    ];
    for (chain, stored, expected) in cases {
        assert_eq!(next_nonce(chain, stored), expected, "{chain:?} {stored:?}");
    }
}

fn stands(hash: &str, number: u64) -> Finality {
    Finality::Stands { hash: hash.into(), block: block(number) }
}

#[test]
fn only_the_effect_lets_a_settlement_stand() {
    let again = |why: &str| Finality::AskAgain(why.into());
    let cases = [
        (Observation::Pending, Finality::TakenBack),
        (Observation::unknown("old"), again("old")),
        (Observation::Replaced, Finality::Lost("another transaction took its nonce".into())),
        (Observation::Expired(rejection()), Finality::Lost("because".into())),
        (included(7, true, Effect::Done), stands("ours", 7)),
        (included(7, false, Effect::Done), Finality::NotYet),
        (included(8, true, Effect::Done), Finality::NotYet),
        (included(8, true, missing(None)), Finality::NotYet),
        (included(7, true, elsewhere_in(6)), stands("foreign", 6)),
        (included(7, true, elsewhere_in(8)), Finality::NotYet),
        (included(7, true, missing(None)), Finality::Lost("because".into())),
        (included(7, true, Effect::Unclear("rpc".into())), again("rpc")),
    ];
    for (observation, expected) in cases {
        assert_eq!(finality(observation.clone(), 7), expected, "{observation:?}");
    }
}

#[test]
fn a_transfer_by_somebody_else_stands_when_its_own_block_is_final() {
    let cases = [
        (elsewhere_in(7), stands("foreign", 7)),
        (elsewhere_in(8), Finality::NotYet),
        (missing(Some(9)), Finality::TakenBack),
        (missing(None), Finality::Lost("because".into())),
        (Effect::Unclear("rpc".into()), Finality::AskAgain("rpc".into())),
        (Effect::Done, Finality::AskAgain("no transaction did it".into())),
    ];
    for (effect, expected) in cases {
        assert_eq!(finality_elsewhere(effect.clone(), 7), expected, "{effect:?}");
    }
}

#[test]
fn questions_are_asked_with_growing_intervals() {
    let seconds: Vec<_> = [1, 2, 3, 4, 5, 12, 30].map(|tries| backoff(tries).as_millis()).into();
    assert_eq!(seconds, [500, 1_000, 2_000, 4_000, 8_000, 600_000, 600_000]);
}

#[test]
fn a_failure_by_a_block_stands_once_the_block_is_final_and_is_none_when_the_payment_is_executed() {
    use FailureByBlock::{Executed, NotYet, Stands};
    let failed = |number| State::Failed(Failed::new(rejection(), Some("ours".into()), Some(block(number))));
    let unclear = Effect::Unclear("why".into());
    let cases = [
        ("cancelled, not final", failed(10), missing(None), 9, NotYet),
        ("cancelled, final", failed(10), missing(None), 10, Stands),
        ("the cancellation is taken back", failed(10), missing(Some(99)), 10, NotYet),
        ("executed in another block", failed(10), elsewhere_in(11), 9, Executed),
        ("executed before the claim", failed(3), elsewhere_in(3), 9, Stands),
        ("executed before the claim, not final", failed(3), elsewhere_in(3), 2, NotYet),
        ("the use that the failure names", failed(10), elsewhere_in(10), 10, Stands),
        ("nobody can tell", failed(10), unclear, 99, NotYet),
        ("no failure", State::Open, missing(None), 99, NotYet),
    ];
    for (name, state, effect, final_block, expected) in cases {
        assert_eq!(failed_by_block(&state, &effect, 5, final_block), expected, "{name}");
    }
}
