//! Payments that waited, looked at again.

use chains_core::{observation::Recheck, transaction::Plan};

use super::*;

async fn plan_of(asked: &Payment, says: &Says) -> Plan {
    let node = says.clone().node();
    valid(verify(&scheme(&[&node]).await, asked, Occasion::Settle).await).plan
}

/// In one word, what the nodes say of a plan later on.
async fn later(says: Says, plan: &Plan) -> (&'static str, usize) {
    let node = says.node();
    let scheme = scheme(&[&node]).await;
    let found = crate::recheck::recheck(&scheme.context, &[plan.clone(), plan.clone()]).await;
    assert_eq!((found.len(), &found[0]), (2, &found[1]), "one answer for each");
    let word = match &found[0] {
        Recheck::Good => "good",
        Recheck::Bad(_) => "bad",
        Recheck::Unknown(_) => "unknown",
    };
    (word, node.calls_of("simulateTransaction"))
}

#[tokio::test]
async fn a_plain_payment_that_waited_is_looked_at_by_its_accounts() {
    let good = Says::default();
    let plan = plan_of(&payment(|_| {}), &good).await;
    let cases = [
        (good.clone(), "good"),
        (Says { source: tokens(payer(), 9_999, |_| {}), ..good.clone() }, "bad"),
        (Says { destination: tokens(Payer::numbered(9).address(), 0, |_| {}), ..good.clone() }, "bad"),
        (Says { height: HEIGHT + 142, ..good.clone() }, "good"),
        (Says { height: HEIGHT + 143, ..good }, "bad"),
    ];
    for (says, expected) in cases {
        assert_eq!(later(says, &plan).await, (expected, 0));
    }
    let silent = FakeNode::new(|_, _| Say::Fault(Fault::Timeout));
    let context = fake_node::context(&[&silent]);
    let found = crate::recheck::recheck(&context, &[plan]).await;
    assert!(matches!(found[..], [Recheck::Unknown(_)]), "{found:?}");
}

#[tokio::test]
async fn any_other_payment_that_waited_is_simulated() {
    let to = associated_account(&payee(), &USDC, &programs::TOKEN);
    let asked = wallets::wallets_payment(&[to], &[]);
    let transaction = decoded(&asked);
    let says = |err: Value, amount: u64| {
        let balances = Some(balances(&transaction, &[], amount));
        Says { simulated: simulated(&err, &wallets::called(10_000), balances), ..Says::default() }
    };
    let node = says(Value::Null, 10_000).node();
    let scheme = scheme_over(fake_node::context_with(&[&node], &wallets::allowing(&Keypair::new()))).await;
    let plan = valid(verify(&scheme, &asked, Occasion::Settle).await).plan;
    let cases = [
        (says(Value::Null, 10_000), "good"),
        (says(Value::Null, 9_999), "bad"),
        (says(json!({"InstructionError": [2, {"Custom": 7}]}), 0), "bad"),
        (says(json!("AlreadyProcessed"), 0), "unknown"),
        (says(json!("BlockhashNotFound"), 0), "unknown"),
        (Says { simulated: simulated(&Value::Null, &Value::Null, None), ..Says::default() }, "unknown"),
    ];
    for (number, (says, expected)) in cases.into_iter().enumerate() {
        let (word, simulations) = later(says, &plan).await;
        assert_eq!((word, simulations >= 2), (expected, true), "case {number}");
    }
}

#[tokio::test]
async fn a_plan_of_another_build_is_unknown() {
    assert_eq!(later(Says::default(), &Plan::new("{}")).await, ("unknown", 0));
}
