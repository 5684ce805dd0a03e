//! One observation out of those of several endpoints. Pure.

use std::borrow::Cow;

use chains_core::{
    Amount, Rejection,
    observation::{Effect, Inclusion, Observation},
    reason::SETTLEMENT_PENDING,
};
use chains_rpc::Agreement;

/// Endpoints that must say the same.
const WITNESSES: usize = 2;

/// The part of an observation that two endpoints must say alike: everything but sentences, block times,
/// which only people read, prices, which some nodes tell without the part of the data, and the reason of a failure, which an endpoint without old
/// states cannot tell.
pub(super) fn key(observation: &Observation) -> Observation {
    match observation {
        Observation::Pending => Observation::Pending,
        Observation::Replaced => Observation::Replaced,
        Observation::Included(inclusion, effects) => {
            let inclusion = Inclusion { timestamp: None, fee_paid: Amount::ZERO, gas_used: 0, ..inclusion.clone() };
            Observation::Included(inclusion, effects.iter().map(effect_key).collect())
        }
        Observation::Expired(_) => Observation::Expired(blank()),
        Observation::Unknown { nonce_used, .. } => Observation::Unknown { nonce_used: *nonce_used, why: String::new() },
    }
}

/// The part of an effect that two endpoints must say alike.
pub(super) fn effect_key(effect: &Effect) -> Effect {
    match effect {
        Effect::Done | Effect::Elsewhere { .. } | Effect::Continues(_) => effect.clone(),
        Effect::Missing { executable_until, .. } => {
            Effect::Missing { why: blank(), executable_until: *executable_until }
        }
        Effect::Unclear(_) => Effect::Unclear(String::new()),
    }
}

fn blank() -> Rejection {
    Rejection { code: SETTLEMENT_PENDING, message: Cow::Borrowed("") }
}

/// One observation of two that are alike: of two prices the lower one, which
/// no single endpoint can drive up.
pub(super) fn join(one: Observation, other: Observation) -> Observation {
    match (one, other) {
        (Observation::Included(one, effects), Observation::Included(other, _)) => {
            let (fee_paid, gas_used) = (one.fee_paid.min(other.fee_paid), one.gas_used.min(other.gas_used));
            Observation::Included(Inclusion { fee_paid, gas_used, ..one }, effects)
        }
        (one, _) => one,
    }
}

/// The observation on which endpoints agree.
pub(super) fn merge(said: Agreement<Observation>) -> Observation {
    match said {
        Agreement::Agreed(observation) | Agreement::Alone(observation) => observation,
        Agreement::Disagreed(answers) => two_alike(&answers),
    }
}

/// The effect on which two endpoints agree.
pub(super) fn merge_effects(said: Agreement<Effect>) -> Effect {
    match said {
        Agreement::Agreed(effect) | Agreement::Alone(effect) => effect,
        Agreement::Disagreed(answers) => {
            let hosts: Vec<_> = answers.iter().map(|(host, _)| host.as_str()).collect();
            Effect::Unclear(format!("no two endpoints say the same of the authorization ({})", hosts.join(", ")))
        }
    }
}

/// The observation that two endpoints of which no two say the same make together:
/// two that differ in the depth alone agree that it is not deep yet.
fn two_alike(answers: &[(String, Observation)]) -> Observation {
    for (index, (_, answer)) in answers.iter().enumerate() {
        let Some(shallow) = shallow(answer) else { continue };
        let mut others = answers.iter().skip(index + 1).filter_map(|(_, other)| self::shallow(other));
        if let Some(other) = others.find(|other| key(other) == key(&shallow)) {
            return join(shallow, other);
        }
    }
    let used = answers.iter().filter(|(_, answer)| is_nonce_used(answer)).count();
    Observation::Unknown { nonce_used: used >= WITNESSES, why: contradiction(answers) }
}

/// Returns whether it says that the nonce is used for good.
const fn is_nonce_used(observation: &Observation) -> bool {
    match observation {
        Observation::Included(inclusion, _) => inclusion.confirmed,
        Observation::Replaced => true,
        Observation::Unknown { nonce_used, .. } => *nonce_used,
        Observation::Pending | Observation::Expired(_) => false,
    }
}

/// The same inclusion, not deep enough.
fn shallow(observation: &Observation) -> Option<Observation> {
    let Observation::Included(inclusion, effects) = observation else { return None };
    let mut inclusion = inclusion.clone();
    inclusion.confirmed = false;
    Some(Observation::Included(inclusion, effects.clone()))
}

fn contradiction(answers: &[(String, Observation)]) -> String {
    let said: Vec<String> = answers.iter().map(|(host, said)| format!("{host} says {}", summary(said))).collect();
    match said.as_slice() {
        [] => "no endpoint answered".to_owned(),
        [alone] => format!("{alone}, and no other endpoint answered to confirm it"),
        _ => format!("the endpoints do not agree: {}", said.join("; ")),
    }
}

fn summary(observation: &Observation) -> String {
    match observation {
        Observation::Pending => "it is in no block".to_owned(),
        Observation::Included(inclusion, effects) => {
            let block = &inclusion.block;
            let effects: Vec<&str> = effects.iter().map(word).collect();
            format!("{} is in block {} ({}): {}", inclusion.hash, block.number, block.hash, effects.join(", "))
        }
        Observation::Replaced => "its nonce was used by another transaction".to_owned(),
        Observation::Expired(why) => format!("it can be in no block any more ({})", why.message),
        Observation::Unknown { why, .. } => why.clone(),
    }
}

fn word(effect: &Effect) -> &str {
    match effect {
        Effect::Done => "the transfer is there",
        Effect::Elsewhere { .. } => "the transfer is in another transaction",
        Effect::Missing { .. } => "the transfer is missing",
        Effect::Continues(_) => "the next step can follow",
        Effect::Unclear(text) => text,
    }
}

#[cfg(test)]
mod tests {
    use chains_core::observation::BlockRef;

    use super::*;

    fn included(hash: &str, block: &str, confirmed: bool, effect: Effect) -> Observation {
        let block = BlockRef { number: 5, hash: block.into() };
        let (fee_paid, gas_used) = (Amount::from(1_u64), 1);
        let (hash, timestamp) = (hash.into(), Some(1));
        Observation::Included(Inclusion { hash, block, timestamp, confirmed, fee_paid, gas_used }, vec![effect])
    }

    fn missing(code: chains_core::Code) -> Effect {
        Effect::Missing { why: Rejection::new(code, "x"), executable_until: None }
    }

    fn merged(answers: &[Observation]) -> Observation {
        let answers = answers.iter().enumerate().map(|(n, said)| (format!("node{n}"), said.clone()));
        merge(Agreement::Disagreed(answers.collect()))
    }

    #[test]
    fn words_and_prices_need_not_be_the_same_and_the_lower_price_counts() {
        let failed = |code, price: u64| {
            let Observation::Included(inclusion, effects) = included("a", "b", true, missing(code)) else { panic!() };
            Observation::Included(Inclusion { fee_paid: Amount::from(price), gas_used: price, ..inclusion }, effects)
        };
        let (dear, cheap) = (failed(SETTLEMENT_PENDING, 9), failed(chains_core::reason::INVALID_PAYLOAD, 7));
        assert_eq!(key(&dear), key(&cheap));
        assert_eq!(join(dear.clone(), cheap.clone()), failed(SETTLEMENT_PENDING, 7));
        assert_eq!(join(cheap.clone(), dear), cheap);
        assert_eq!(join(Observation::Pending, Observation::Pending), Observation::Pending);
        assert_ne!(key(&included("a", "b", true, Effect::Done)), key(&cheap));
    }

    #[test]
    fn endpoints_that_differ_in_the_depth_alone_agree_that_it_is_not_deep_yet() {
        let done = included("a", "b", true, Effect::Done);
        let early = included("a", "b", false, Effect::Done);
        let cases = [
            (vec![included("a", "c", true, Effect::Done), done.clone()], None),
            (vec![included("a", "b", true, Effect::Unclear("u".into())), done.clone()], None),
            (vec![done.clone(), Observation::Pending], None),
            (vec![done.clone()], None),
            (vec![], None),
            (vec![done.clone(), early.clone()], Some(early.clone())),
            (vec![early.clone(), Observation::Pending, done.clone()], Some(early)),
        ];
        for (answers, expected) in cases {
            let merged = merged(&answers);
            match expected {
                Some(expected) => assert_eq!(merged, expected, "{answers:?}"),
                None => assert!(matches!(merged, Observation::Unknown { .. }), "{answers:?}: {merged:?}"),
            }
        }
    }

    #[test]
    fn a_nonce_is_used_when_two_say_so_whatever_else_they_differ_in() {
        let unknown = |nonce_used| Observation::Unknown { nonce_used, why: "why".into() };
        let done = included("a", "b", true, Effect::Done);
        let cases = [
            (vec![Observation::Replaced, done.clone()], true),
            (vec![unknown(true), Observation::Replaced], true),
            (vec![Observation::Pending, unknown(true), done], true),
            (vec![unknown(true), unknown(false)], false),
            (vec![unknown(true), Observation::Pending], false),
            (vec![unknown(true)], false),
        ];
        for (answers, expected) in cases {
            let Observation::Unknown { nonce_used, .. } = merged(&answers) else { panic!("{answers:?}") };
            assert_eq!(nonce_used, expected, "{answers:?}");
        }
    }

    #[test]
    fn a_contradiction_names_who_says_what() {
        let apart = [included("a", "b", true, Effect::Done), Observation::Pending];
        let Observation::Unknown { why: text, .. } = merged(&apart) else { panic!("a contradiction") };
        for part in ["node0 says a is in block 5 (b)", "node1 says it is in no block"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
