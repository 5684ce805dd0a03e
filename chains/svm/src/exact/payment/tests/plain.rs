//! Payments that two token accounts decide about.

use tokio::sync::Semaphore;

use super::*;

#[tokio::test]
async fn a_plain_payment_costs_a_share_of_a_read_and_no_simulation() {
    let node = Says::default().node();
    let scheme = scheme(&[&node]).await;
    let asked = payment(|_| {});
    let first = valid(verify(&scheme, &asked, Occasion::Verify).await);
    assert_eq!((node.calls_of("getAccountInfo"), node.calls_of("getMultipleAccounts")), (1, 1));
    let second = valid(verify(&scheme, &asked, Occasion::Settle).await);
    assert_eq!(first.plan, second.plan);
    assert_eq!(node.calls_of("getMultipleAccounts"), 2, "its accounts are looked at again when it is settled");
    assert_eq!((node.calls_of("getAccountInfo"), node.calls_of("simulateTransaction")), (1, 0));
    assert_eq!(first.plan.gas_wallet, Some(fee_payer().pubkey().to_string()));
    assert_eq!((first.payer, first.payer_code), (payer().to_string(), None));
    assert_eq!(first.funds.expect("told").available, Amount::from(50_000_u64));
    let plan = TransferPlan::of(&first.plan).expect("a plan");
    assert_eq!((plan.body.last_valid_block_height, plan.body.known_height), (HEIGHT + 143, HEIGHT));
    assert_eq!((plan.body.effect.amount, plan.body.fee), (Amount::from(10_000_u64), 10_001));
    assert_eq!(plan.body.proof, Proof::Status);
}

#[tokio::test]
async fn many_payments_at_a_time_share_their_requests() {
    let node = Says::default().node();
    let scheme = scheme(&[&node]).await;
    let payments: Vec<Payment> = (0..64).map(|n| payment(|order| order.memo = Some(n.to_string()))).collect();
    let verdicts =
        futures::future::join_all(payments.iter().map(|asked| verify(&scheme, asked, Occasion::Verify))).await;
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Valid(_))));
    assert_eq!(node.calls_of("getAccountInfo"), 1);
    assert!(node.calls_of("getMultipleAccounts") <= 8, "{}", node.calls_of("getMultipleAccounts"));
}

/// The findings of a moment ago are not believed when money is spent.
#[tokio::test]
async fn an_account_that_is_emptied_after_verify_is_seen_by_settle() {
    let full = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_full = Arc::clone(&full);
    let good = Says::default();
    let node = FakeNode::new(move |method, params| {
        let source = if is_full.load(std::sync::atomic::Ordering::Relaxed) { 50_000 } else { 0 };
        Says { source: tokens(payer(), source, |_| {}), ..good.clone() }.node().say(method, params)
    });
    let scheme = scheme(&[&node]).await;
    let asked = payment(|_| {});
    assert!(matches!(verify(&scheme, &asked, Occasion::Verify).await, Verdict::Valid(_)));
    full.store(false, std::sync::atomic::Ordering::Relaxed);
    let said = words(&verify(&scheme, &asked, Occasion::Settle).await);
    assert!(said.contains("holds too little"), "{said}");
}

#[tokio::test]
async fn what_is_wrong_with_the_accounts_is_told_in_words_that_help() {
    let with = |destination, source| Says { destination, source, ..Says::default() };
    let (good_to, good_from) = (tokens(payee(), 0, |_| {}), tokens(payer(), 50_000, |_| {}));
    let stranger = Payer::numbered(9).address();
    let failed = "invalid_exact_svm_transaction_simulation_failed";
    let cases = [
        (
            with(Value::Null, good_from.clone()),
            "invalid_exact_svm_destination_account_missing: the payee has no token account",
        ),
        // The associated account was given to somebody else.
        (with(tokens(stranger, 0, |_| {}), good_from.clone()), "belongs to somebody else"),
        (with(tokens(payee(), 0, |a| a.state = AccountState::Frozen), good_from), "payee's token account is frozen"),
        (with(good_to.clone(), Value::Null), "payer's token account does not exist"),
        (with(good_to.clone(), tokens(payer(), 9_999, |_| {})), "payer's token account holds too little"),
        (with(good_to.clone(), tokens(stranger, 50_000, |_| {})), "payer's token account belongs to somebody else"),
        (with(good_to, tokens(payer(), 50_000, |a| a.state = AccountState::Frozen)), "payer's token account is frozen"),
    ];
    for (says, expected) in cases {
        let node = says.node();
        let said = verified(&[&node], Occasion::Settle).await;
        assert!(said.contains(expected) && (said.starts_with(failed) || said.starts_with(expected)), "{said}");
        assert_eq!(node.calls_of("simulateTransaction"), 0);
    }
    let delegated = tokens(stranger, 50_000, |account| {
        (account.delegate, account.delegated_amount) = (COption::Some(payer()), 20_000);
    });
    let node = Says { source: delegated, ..Says::default() }.node();
    let paid = valid(verify(&scheme(&[&node]).await, &payment(|_| {}), Occasion::Settle).await);
    assert_eq!(paid.funds.expect("told").available, Amount::from(20_000_u64));
}

#[tokio::test]
async fn a_bad_payment_is_not_looked_at_again_within_a_slot_or_two() {
    let node = Says { destination: Value::Null, ..Says::default() }.node();
    let scheme = scheme(&[&node]).await;
    let asked = payment(|_| {});
    let said = words(&verify(&scheme, &asked, Occasion::Verify).await);
    let calls = node.calls();
    assert_eq!(words(&verify(&scheme, &asked, Occasion::Settle).await), said);
    assert_eq!(node.calls(), calls);
    let lasts = scheme.context.config.block_time * 3;
    let later = std::time::Instant::now() + lasts;
    assert!(scheme.context.refused.get(decoded(&asked).message_hash(), later).is_none());
}

/// A token program that is no longer as it is known here.
#[tokio::test]
async fn a_simulation_that_contradicts_the_accounts_has_every_payment_simulated() {
    let poor = json!({"InstructionError": [2, {"Custom": 1}]});
    let node = Says { simulated: simulated(&poor, &Value::Null, None), ..Says::default() }.node();
    let scheme = scheme(&[&node]).await;
    let (mut valid, mut simulations) = (0, vec![]);
    for number in 0..300 {
        let asked = payment(|order| order.memo = Some(number.to_string()));
        let verdict = verify(&scheme, &asked, Occasion::Verify).await;
        valid += u32::from(matches!(verdict, Verdict::Valid(_)));
        simulations.push(node.calls_of("simulateTransaction"));
    }
    assert_eq!((valid, simulations[254], simulations[299]), (255, 0, 46), "the first one twice");
    let chain = crate::chain::SvmChain::new(Arc::into_inner(scheme.context).expect("nobody else has it"));
    assert!(chains_core::chain::Health::warnings(&chain)[0].contains("contradicted"));
}

/// It lies, or lags behind the other.
#[tokio::test]
async fn one_node_s_simulation_alone_contradicts_nothing() {
    let poor = json!({"InstructionError": [2, {"Custom": 1}]});
    let bad = Says { simulated: simulated(&poor, &Value::Null, None), ..Says::default() }.node();
    let memo = |number: u32| payment(|order| order.memo = Some(number.to_string()));
    let paid = balances(&decoded(&memo(0)), &[], 10_000);
    let good = Says { simulated: simulated(&Value::Null, &Value::Null, Some(paid)), ..Says::default() }.node();
    let scheme = scheme(&[&bad, &good]).await;
    for number in 0..300 {
        let verdict = verify(&scheme, &memo(number), Occasion::Verify).await;
        assert!(matches!(verdict, Verdict::Valid(_)), "{number}: {}", words(&verdict));
    }
    assert_eq!((bad.calls_of("simulateTransaction"), good.calls_of("simulateTransaction")), (1, 1));
    assert!(!scheme.context.sample.is_doubted(std::time::Instant::now()));
}

/// Whoever else has the key of the fee payer: a payment is good once.
#[tokio::test]
async fn f25_a_message_that_somebody_else_has_settled_is_refused() {
    for occasion in [Occasion::Verify, Occasion::Settle] {
        let node = Says { executed: true, ..Says::default() }.node();
        let said = verified(&[&node], occasion).await;
        assert!(said.contains("has been executed already"), "{said}");
        assert_eq!(node.calls_of("simulateTransaction"), 0);
    }
}

#[tokio::test]
async fn a_price_far_above_the_networks_is_refused() {
    // (the network's price, the payment's, verdict)
    let dear = "invalid_exact_svm_payload_transaction_instructions_compute_price_instruction_too_high";
    let cases = [
        (0, 1, "valid"),
        (0, 100_000, "valid"),
        (0, 100_001, dear),
        (50_000, 200_000, "valid"),
        (50_000, 200_001, dear),
    ];
    for (network, price, expected) in cases {
        let node = Says { price: network, ..Says::default() }.node();
        let asked = payment(|order| order.unit_price = price);
        let said = words(&verify(&scheme(&[&node]).await, &asked, Occasion::Settle).await);
        assert!(said.starts_with(expected), "{network} {price}: {said}");
    }
}

#[tokio::test]
async fn a_fee_beyond_the_share_of_the_amount_is_refused() {
    let dear = "invalid_exact_svm_payload_transaction_instructions_compute_price_instruction_too_high";
    // 600 lamports for this amount, which are 30,000 micro-lamports for each of 20,000 units.
    let cases = [(60_000, 100_000, "valid"), (60_000, 130_000, "valid"), (60_000, 130_001, dear), (0, 100_001, dear)];
    for (per_token, price, expected) in cases {
        let node = Says { price: 1_000_000, ..Says::default() }.node();
        let defaults = format!("{}fee_max_lamports_per_token = {per_token}\n", config::tests::DEFAULTS);
        let scheme = scheme_over(fake_node::context_with(&[&node], &defaults)).await;
        let asked = payment(|order| order.unit_price = price);
        let said = words(&verify(&scheme, &asked, Occasion::Settle).await);
        assert!(said.starts_with(expected), "{per_token} {price}: {said}");
    }
}

#[tokio::test]
async fn what_is_bad_in_itself_costs_no_request() {
    let node = Says::default().node();
    let scheme = scheme(&[&node]).await;
    let before = node.calls();
    let changes: [fn(&mut Payment); 5] = [
        |p| p.amount = Amount::from(10_001_u64),
        |p| p.pay_to = Payer::numbered(3).address().to_string(),
        |p| p.asset = PYUSD.to_string(),
        |p| p.extra.clear(),
        |p| drop(p.payload.insert("transaction".into(), json!("AAAA"))),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut payment = payment(|_| {});
        change(&mut payment);
        if let Ok(read) = scheme.read(&payment) {
            let verdict = read.verify(Occasion::Settle).await;
            assert!(matches!(verdict, Verdict::Invalid(_)), "case {number}: {verdict:?}");
        }
    }
    assert_eq!(node.calls(), before);
}

#[tokio::test]
async fn a_blockhash_must_live_long_enough_to_send_again() {
    // (age in blocks, verdict); it lives for 150.
    let unknown = "its blockhash is too old";
    for (age, expected) in [(0, "valid"), (120, "valid"), (121, "expiring"), (149, "expiring"), (150, unknown)] {
        let said = verified(&[&Says { age, ..Says::default() }.node()], Occasion::Settle).await;
        assert!(said.contains(expected), "{age}: {said}");
    }
}

/// A node that is asked later than the payer's own.
#[tokio::test]
async fn a_blockhash_that_a_node_does_not_know_yet_is_waited_for() {
    let says = Says { age: 200, ..Says::default() };
    // (the questions after which the node knows it, its health, verdict)
    let healthy = Say::Result(json!("ok"));
    let late = Say::Error(-32005, "Node is behind by 60 slots");
    let no_method = Say::Error(-32601, "no such method");
    let unknown = "invalid_exact_svm_transaction_simulation_failed: the transaction would fail: its blockhash";
    let cases = [
        (3, healthy.clone(), "valid"),
        (usize::MAX, healthy, unknown),
        (usize::MAX, no_method, unknown),
        (usize::MAX, late, "unavailable"),
    ];
    for (known_after, health, expected) in cases {
        let says = says.clone();
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let paid = balances(&decoded(&payment(|_| {})), &[], 10_000);
        let node = FakeNode::new(move |method, params| match method {
            "isBlockhashValid" => {
                let before = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                at(SLOT, &json!(before >= known_after))
            }
            "getHealth" => health.clone(),
            "simulateTransaction" => simulated(&Value::Null, &Value::Null, Some(paid.clone())),
            _ => says.clone().node().say(method, params),
        });
        for occasion in [Occasion::Verify, Occasion::Settle] {
            let said = verified(&[&node], occasion).await;
            assert!(said.starts_with(expected), "{occasion:?}: {said}");
        }
    }
}

/// A stranger can invent blockhashes.
#[tokio::test]
async fn payments_beyond_a_number_do_not_wait_for_their_blockhash() {
    for (places, waits) in [(0, false), (1, true)] {
        let node = Says { age: 200, ..Says::default() }.node();
        let context = Context { blockhash_waits: Semaphore::new(places), ..fake_node::context(&[&node]) };
        let said = words(&verify(&scheme_over(context).await, &payment(|_| {}), Occasion::Verify).await);
        assert!(said.contains("its blockhash is too old"), "{said}");
        assert_eq!(node.calls_of("isBlockhashValid") > 2, waits, "{places} places");
    }
}

#[tokio::test]
async fn one_message_is_one_payment_however_it_is_spelt() {
    let node = Says::default().node();
    let scheme = scheme(&[&node]).await;
    let read = |payment: &Payment| scheme.read(payment).expect("read");
    let first = payment(|_| {});
    let mut wire = BASE64_STANDARD.decode(first.payload["transaction"].as_str().expect("a text")).expect("base64");
    wire[1..65].fill(9);
    let mut respelt = first.clone();
    respelt.payload.insert("transaction".into(), json!(BASE64_STANDARD.encode(&wire)));
    assert_eq!(read(&first).identity(), read(&respelt).identity());
    assert_eq!(read(&first).fingerprint(), read(&respelt).fingerprint(), "what stands for our signature means nothing");
    let other = payment(|order| order.memo = Some("other".into()));
    assert_ne!(read(&first).identity(), read(&other).identity());
    let mut dearer = first.clone();
    dearer.amount = Amount::from(10_001_u64);
    assert_eq!(read(&first).identity(), read(&dearer).identity());
    assert_ne!(read(&first).fingerprint(), read(&dearer).fingerprint());
}
