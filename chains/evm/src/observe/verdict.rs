//! One observation out of those of several endpoints. Pure.

use std::borrow::Cow;

use chains_core::{
    Rejection,
    observation::{Effect, Observation},
    reason::SETTLEMENT_PENDING,
};
use chains_rpc::Agreement;

/// Endpoints that must say the same.
const WITNESSES: usize = 2;

/// The part of an observation that two endpoints must say alike: everything but sentences, and the reason
/// of a failure, which an endpoint without old states cannot tell.
pub(super) fn key(observation: &Observation) -> Observation {
    match observation {
        Observation::Pending => Observation::Pending,
        Observation::Replaced => Observation::Replaced,
        Observation::Included(inclusion, effects) => {
            Observation::Included(inclusion.clone(), effects.iter().map(effect_key).collect())
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

/// The observations of `count` transactions, on which two endpoints agree one
/// by one.
pub(super) fn merge(said: Agreement<Vec<Observation>>, count: usize) -> Vec<Observation> {
    match said {
        Agreement::Agreed(observations) => observations,
        Agreement::Disagreed(answers) => (0..count)
            .map(|index| {
                let of = |(host, all): &(String, Vec<Observation>)| Some((host.clone(), all.get(index)?.clone()));
                two_alike(&answers.iter().filter_map(of).collect::<Vec<_>>())
            })
            .collect(),
    }
}

/// The effect on which two endpoints agree.
pub(super) fn merge_effects(said: Agreement<Effect>) -> Effect {
    match said {
        Agreement::Agreed(effect) => effect,
        Agreement::Disagreed(answers) => {
            let hosts: Vec<_> = answers.iter().map(|(host, _)| host.as_str()).collect();
            Effect::Unclear(format!("no two endpoints say the same of the authorization ({})", hosts.join(", ")))
        }
    }
}

/// The observation that two endpoints make.
fn two_alike(answers: &[(String, Observation)]) -> Observation {
    for (index, (_, answer)) in answers.iter().enumerate() {
        let mut others = answers.iter().skip(index + 1).map(|(_, other)| other);
        if others.clone().any(|other| key(other) == key(answer)) {
            return answer.clone();
        }
        // Two that differ in the depth alone agree that it is not deep yet.
        if let Some(shallow) = shallow(answer)
            && others.any(|other| self::shallow(other).is_some_and(|other| key(&other) == key(&shallow)))
        {
            return shallow;
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
    use chains_core::{
        Amount,
        observation::{BlockRef, Inclusion},
    };

    use super::*;

    fn included(hash: &str, block: &str, confirmed: bool, effect: Effect) -> Observation {
        let block = BlockRef { number: 5, hash: block.into() };
        let (fee_paid, gas_used) = (Amount::from(1_u64), 1);
        Observation::Included(Inclusion { hash: hash.into(), block, confirmed, fee_paid, gas_used }, vec![effect])
    }

    fn missing(code: chains_core::Code) -> Effect {
        Effect::Missing { why: Rejection::new(code, "x"), executable_until: None }
    }

    fn merged(answers: &[Observation]) -> Observation {
        let answers = answers.iter().enumerate().map(|(n, said)| (format!("node{n}"), vec![said.clone()]));
        merge(Agreement::Disagreed(answers.collect()), 1).remove(0)
    }

    #[test]
    fn two_endpoints_that_see_the_same_decide_whatever_a_third_says() {
        let done = included("a", "b", true, Effect::Done);
        let early = included("a", "b", false, Effect::Done);
        let failed = |code| included("a", "b", true, missing(code));
        let cases = [
            (vec![done.clone(), Observation::Pending, done.clone()], Some(done.clone())),
            (vec![included("a", "c", true, Effect::Done), done.clone()], None),
            (vec![included("a", "b", true, Effect::Unclear("u".into())), done.clone()], None),
            (vec![done.clone(), Observation::Pending], None),
            (vec![done.clone()], None),
            (vec![], None),
            (vec![done.clone(), early.clone()], Some(early.clone())),
            (vec![early.clone(), Observation::Pending, done.clone()], Some(early)),
            (
                vec![failed(SETTLEMENT_PENDING), failed(chains_core::reason::INVALID_PAYLOAD)],
                Some(failed(SETTLEMENT_PENDING)),
            ),
            (vec![Observation::Replaced, Observation::Pending, Observation::Replaced], Some(Observation::Replaced)),
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
