//! Payments that are simulated.

use std::collections::HashMap;

use super::*;

#[tokio::test]
async fn what_is_not_plain_is_simulated_and_evaluated_like_a_block() {
    let asked = payment(|order| order.unit_limit = 5_000);
    let transaction = decoded(&asked);
    let paid = |amount| Some(balances(&transaction, &[], amount));
    let cases = [
        (simulated(&Value::Null, &Value::Null, paid(10_000)), "valid"),
        (simulated(&Value::Null, &Value::Null, paid(9_999)), "invalid_exact_svm_transaction_simulation_failed"),
        (simulated(&Value::Null, &Value::Null, None), "unavailable"),
        (
            simulated(&json!({"InstructionError": [2, {"Custom": 1}]}), &Value::Null, None),
            "invalid_exact_svm_transaction_simulation_failed: Simulation failed: the payer's token account does not hold",
        ),
        (
            simulated(&json!("AlreadyProcessed"), &Value::Null, None),
            "invalid_exact_svm_transaction_simulation_failed: Simulation failed: the transaction has been executed",
        ),
    ];
    for (simulated, expected) in cases {
        let node = Says { simulated, ..Says::default() }.node();
        let said = words(&verify(&scheme(&[&node]).await, &asked, Occasion::Settle).await);
        assert!(said.starts_with(expected), "{said}");
        assert_eq!(node.calls_of("simulateTransaction"), 1);
    }
}

#[tokio::test]
async fn a_simulation_tells_what_the_payer_may_spend_and_a_verify_asks_nothing_else() {
    let asked = payment(|order| order.unit_limit = 5_000);
    let delegated = |account: &mut TokenAccount| {
        (account.delegate, account.delegated_amount) = (COption::Some(payer()), 7);
    };
    let stranger = Payer::numbered(9).address();
    // (the source as the transaction leaves it, the tokens that may be spent, reads of accounts)
    let cases = [
        (tokens(payer(), 40_000, |_| {}), 50_000_u64, 0),
        (tokens(payer(), 40_000, delegated), 10_007, 0),
        (tokens(stranger, 40_000, delegated), 10_007, 0),
        (tokens(stranger, 40_000, |_| {}), 10_000, 0),
        (Value::Null, 50_000, 1),
    ];
    for (left, available, reads) in cases {
        let paid = balances(&decoded(&asked), &[], 10_000);
        let Say::Result(mut said) = simulated(&Value::Null, &Value::Null, Some(paid)) else { unreachable!("a result") };
        said["value"]["accounts"] = json!([left]);
        for (occasion, reads) in [(Occasion::Verify, reads), (Occasion::Settle, 1)] {
            let node = Says { simulated: Say::Result(said.clone()), ..Says::default() }.node();
            let found = valid(verify(&scheme(&[&node]).await, &asked, occasion).await);
            assert_eq!((node.calls_of("simulateTransaction"), node.calls_of("getMultipleAccounts")), (1, reads));
            let expected = if occasion == Occasion::Verify { available } else { 50_000 };
            assert_eq!(found.funds.expect("told").available, Amount::from(expected), "{left}");
        }
    }
}

/// A token that takes a fee of each transfer pays less than the amount.
#[tokio::test]
async fn a_token_of_token_2022_is_valid_only_when_the_payee_gets_the_amount() {
    let asked = payment(|order| order.mint = PYUSD);
    let transaction = decoded(&asked);
    let to = associated_account(&payee(), &PYUSD, &programs::TOKEN_2022);
    let index = transaction.accounts().iter().position(|account| *account == to).expect("there");
    let balance = |amount: u64| {
        json!([{"accountIndex": index, "mint": PYUSD.to_string(), "owner": payee().to_string(),
            "uiTokenAmount": {"uiAmount": null, "decimals": 6, "amount": amount.to_string(), "uiAmountString": "x"}}])
    };
    let of_2022 = |told: Value| {
        let data = BASE64_STANDARD.decode(told["data"][0].as_str().expect("a text")).expect("base64");
        let mut unpacked = TokenAccount::unpack(&data).expect("an account");
        unpacked.mint = PYUSD;
        let mut data = vec![0; TokenAccount::LEN];
        TokenAccount::pack(unpacked, &mut data).expect("room");
        account(&programs::TOKEN_2022, &data)
    };
    for (arrives, expected) in
        [(10_000, "valid"), (9_900, "invalid_exact_svm_transaction_simulation_failed: the payee")]
    {
        let simulated = simulated(&Value::Null, &Value::Null, Some([balance(0), balance(arrives)]));
        let (destination, source) = (of_2022(tokens(payee(), 0, |_| {})), of_2022(tokens(payer(), 50_000, |_| {})));
        let told = [(to.to_string(), destination)];
        let says = Says { source, simulated, ..Says::default() };
        let node = FakeNode::new(move |method, params| match (method, params[0].as_array()) {
            ("getMultipleAccounts", Some(asked)) => {
                let find = |address: &Value| told.iter().find(|(known, _)| *address == *known).map(|(_, told)| told);
                at(SLOT, &json!(asked.iter().map(|address| find(address).unwrap_or(&says.source)).collect::<Vec<_>>()))
            }
            _ => says.clone().node().say(method, params),
        });
        let context = fake_node::context(&[&node]);
        let pyusd = SoundMint { program: programs::TOKEN_2022, decimals: DECIMALS };
        context.mints.note(&context.config.network, HashMap::from([(PYUSD, Ok(pyusd))]));
        let verdict = verify(&scheme_over(context).await, &asked, Occasion::Settle).await;
        assert!(words(&verdict).starts_with(expected), "{}", words(&verdict));
        if let Verdict::Valid(payment) = verdict {
            assert_eq!(TransferPlan::of(&payment.plan).expect("a plan").body.proof, Proof::Balances);
        }
    }
}

/// A payment with an instruction to Lighthouse before its transfer.
fn guarded(account: Pubkey, data: &[u8]) -> Payment {
    let (payer, fee_payer) = (Payer::numbered(1), fee_payer().pubkey());
    let order = Order::new(fee_payer, USDC, payee(), 10_000, "memo".into());
    let mut instructions = order.instructions(&payer.address());
    let accounts = vec![AccountMeta::new_readonly(account, false)];
    instructions.insert(2, Instruction { program_id: programs::LIGHTHOUSE, accounts, data: data.to_vec() });
    let signed = payer.sign_instructions(&fee_payer, &instructions, blockhash(), false);
    Payment { payload: signed.expect("signed"), ..payment(|_| {}) }
}

#[tokio::test]
async fn a_guard_makes_a_payer_one_with_code_and_leaves_room_for_what_is_under_way() {
    let floor =
        |lamports: u64| guarded(fee_payer().pubkey(), &[[5, 0, 0].as_slice(), &lamports.to_le_bytes(), &[4]].concat());
    // Each of 200 may cost the ceiling.
    let room = 200 * 200_000;
    let cases = [
        (guarded(payer(), &[6, 4, 1, 3, 0, 0]), "valid"),
        (floor(1_000_000_000 - room), "valid"),
        (floor(1_000_000_000 - room + 1), "invalid_exact_svm_transaction_simulation_failed"),
    ];
    for (asked, expected) in cases {
        let paid = balances(&decoded(&asked), &[], 10_000);
        let node = Says { simulated: simulated(&Value::Null, &Value::Null, Some(paid)), ..Says::default() }.node();
        let verdict = verify(&scheme(&[&node]).await, &asked, Occasion::Settle).await;
        assert!(words(&verdict).starts_with(expected), "{}", words(&verdict));
        assert_eq!(node.calls_of("simulateTransaction"), 1);
        if let Verdict::Valid(payment) = verdict {
            assert_eq!(payment.payer_code.as_deref(), Some("lighthouse"));
        }
    }
}

#[tokio::test]
async fn f19_nothing_is_signed_before_a_payment_is_settled() {
    let seen: Arc<parking_lot::Mutex<Vec<Value>>> = Arc::default();
    let told = Arc::clone(&seen);
    let asked = payment(|order| order.unit_limit = 5_000);
    let simulated = simulated(&Value::Null, &Value::Null, Some(balances(&decoded(&asked), &[], 10_000)));
    let says = Says { simulated, ..Says::default() };
    let node = FakeNode::new(move |method, params| {
        if method == "simulateTransaction" {
            told.lock().push(params[0].clone());
        }
        says.clone().node().say(method, params)
    });
    let scheme = scheme(&[&node]).await;
    for occasion in [Occasion::Verify, Occasion::Settle, Occasion::Settle] {
        let found = valid(verify(&scheme, &asked, occasion).await);
        let plan = TransferPlan::of(&found.plan).expect("a plan");
        assert_eq!(json!(plan.body.transaction), asked.payload["transaction"], "as the payer sent it");
    }
    assert_eq!(*seen.lock(), vec![asked.payload["transaction"].clone(); 2], "so do nodes see it");
}

/// Those who failed once are simulated again when they settle, whatever was found a moment ago.
#[tokio::test]
async fn a_payer_whose_transaction_failed_on_chain_is_asked_about_anew() {
    let asked = payment(|order| order.unit_limit = 5_000);
    let simulated = simulated(&Value::Null, &Value::Null, Some(balances(&decoded(&asked), &[], 10_000)));
    for (has_failed, simulations) in [(false, 1), (true, 2)] {
        let node = Says { simulated: simulated.clone(), ..Says::default() }.node();
        let scheme = scheme(&[&node]).await;
        if has_failed {
            scheme.context.failed.keep(payer(), (), Instant::now());
        }
        for occasion in [Occasion::Verify, Occasion::Settle] {
            valid(verify(&scheme, &asked, occasion).await);
        }
        assert_eq!(node.calls_of("simulateTransaction"), simulations, "{has_failed}");
    }
}

#[tokio::test]
async fn what_is_not_the_payments_fault_is_no_verdict() {
    let asked = payment(|order| order.unit_limit = 5_000);
    // A blockhash that another node knows is too new for the one that simulates.
    let faults =
        ["InsufficientFundsForFee", "AccountNotFound", "AccountInUse", "ClusterMaintenance", "BlockhashNotFound"];
    for passing in faults {
        let node = Says { simulated: simulated(&json!(passing), &Value::Null, None), ..Says::default() }.node();
        let said = words(&verify(&scheme(&[&node]).await, &asked, Occasion::Settle).await);
        assert!(said.starts_with("unavailable"), "{passing}: {said}");
    }
    let silent = FakeNode::new(|method, _| match method {
        "getEpochInfo" => epoch_info(SLOT, HEIGHT),
        _ => Say::Fault(Fault::Timeout),
    });
    assert!(verified(&[&silent], Occasion::Settle).await.starts_with("unavailable"));
}
