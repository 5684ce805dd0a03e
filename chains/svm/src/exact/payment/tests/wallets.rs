//! Payments that a wallet's program makes.

use super::*;

/// A payment by a program's transfer, as nodes tell it.
pub(super) fn called(amount: u64) -> Value {
    let account = |owner| crate::token::associated_account(owner, &USDC, &crate::programs::TOKEN).to_string();
    let wallet = Payer::numbered(5).address();
    json!([{"index": 2, "instructions": [
        {"program": "system", "programId": Pubkey::default().to_string(), "parsed": {"type": "transfer", "info": {}},
            "stackHeight": 2},
        {"program": "spl-token", "programId": crate::programs::TOKEN.to_string(), "stackHeight": 2,
            "parsed": {"type": "transferChecked", "info": {
                "source": account(&wallet), "mint": USDC.to_string(), "destination": account(&Payer::numbered(2).address()),
                "authority": wallet.to_string(),
                "tokenAmount": {"amount": amount.to_string(), "decimals": 6, "uiAmount": 0.01, "uiAmountString": "0.01"},
            }}},
    ]}])
}

/// A payment of which a wallet's program makes the transfer; what the program
/// is given stands in these tables, if they have it.
pub(super) fn wallets_payment(given: &[Pubkey], tables: &[AddressLookupTableAccount]) -> Payment {
    let (payer, fee_payer) = (Payer::numbered(1), fee_payer().pubkey());
    let given = given.iter().map(|account| AccountMeta::new(*account, false));
    let wallet = Instruction {
        program_id: crate::programs::SMART_WALLETS[0],
        accounts: std::iter::once(AccountMeta::new_readonly(payer.address(), true)).chain(given).collect(),
        data: vec![1, 2, 3],
    };
    let order = Order::new(fee_payer, USDC, Payer::numbered(2).address(), 10_000, "memo".into());
    let budget = order.instructions(&payer.address()).into_iter().take(2);
    let instructions: Vec<_> = budget.chain([wallet]).collect();
    let signed = payer.sign_with_tables(&fee_payer, &instructions, tables, blockhash());
    Payment { payload: signed.expect("signed"), ..payment(|_| {}) }
}

/// The defaults with wallets allowed, and with a fee payer of old.
pub(super) fn allowing(former: &Keypair) -> String {
    let defaults = config::tests::DEFAULTS.replace("smart_wallets = false", "smart_wallets = true");
    format!("{defaults}fee_payers_former = [\"{}\"]\n", former.to_base58_string())
}

/// A node that says this of a wallet's payment, and this of its tables.
fn wallets_node(simulated: Say, table: Value) -> FakeNode {
    let says = Says { simulated, ..Says::default() };
    FakeNode::new(move |method, params| match (method, params[0].as_array().map(Vec::len)) {
        ("getMultipleAccounts", Some(1)) => at(SLOT, &json!([table])),
        _ => says.clone().node().say(method, params),
    })
}

#[tokio::test]
async fn a_wallet_program_pays_where_the_operator_allows_it() {
    let to = associated_account(&payee(), &USDC, &programs::TOKEN);
    let asked = wallets_payment(&[to], &[]);
    let transaction = decoded(&asked);
    let paid = |amount: u64| Some(balances(&transaction, &[], amount));
    let cases = [
        (called(10_000), paid(10_000), "valid"),
        (called(10_001), paid(10_001), "valid"),
        (called(10_000), paid(9_999), "invalid_exact_svm_transaction_simulation_failed"),
        (called(9_999), paid(9_999), "invalid_exact_svm_smart_wallet_transfer_mismatch"),
        (json!([]), paid(0), "invalid_exact_svm_smart_wallet_no_transfer_in_simulation"),
        (Value::Null, paid(0), "invalid_exact_svm_smart_wallet_no_transfer_in_simulation"),
    ];
    for (inner, balances, expected) in cases {
        let node = wallets_node(simulated(&Value::Null, &inner, balances), Value::Null);
        let scheme = scheme_over(fake_node::context_with(&[&node], &allowing(&Keypair::new()))).await;
        let verdict = verify(&scheme, &asked, Occasion::Settle).await;
        assert!(words(&verdict).starts_with(expected), "{inner}: {}", words(&verdict));
        if let Verdict::Valid(payment) = verdict {
            assert_eq!(payment.amount, Amount::from(10_000_u64));
            // The owner of the tokens, and the program that decides.
            assert_eq!(payment.payer, Payer::numbered(5).address().to_string());
            assert_eq!(payment.payer_code, Some(programs::SMART_WALLETS[0].to_string()));
        }
    }
    let node = Says::default().node();
    let said = words(&verify(&scheme(&[&node]).await, &asked, Occasion::Settle).await);
    assert!(said.starts_with("invalid_exact_svm_payload_no_transfer_instruction"), "off by default: {said}");
}

/// A lookup table as nodes tell it.
fn table(deactivation_slot: u64, addresses: &[Pubkey]) -> Value {
    let meta = LookupTableMeta { deactivation_slot, ..LookupTableMeta::default() };
    let data =
        AddressLookupTable { meta, addresses: addresses.to_vec().into() }.serialize_for_tests().expect("a table");
    json!({"lamports": 1, "data": [BASE64_STANDARD.encode(&data), "base64"], "executable": false, "rentEpoch": 0,
        "owner": crate::programs::ADDRESS_LOOKUP_TABLE.to_string(), "space": data.len()})
}

#[tokio::test]
async fn f16_what_lookup_tables_hold_is_looked_at_with_every_simulation() {
    let former = Keypair::new();
    let to = associated_account(&payee(), &USDC, &programs::TOKEN);
    let mut given = [to, Pubkey::new_unique()];
    // Messages take accounts from tables in this order.
    given.sort_unstable();
    let good = table(u64::MAX, &given);
    let known = AddressLookupTableAccount { key: Pubkey::new_unique(), addresses: given.to_vec() };
    let asked = wallets_payment(&given, &[known]);
    let paid = balances(&decoded(&asked), &given, 10_000);
    let told = |table: &Value| {
        let Say::Result(mut said) = simulated(&Value::Null, &called(10_000), Some(paid.clone())) else {
            unreachable!("a result")
        };
        said["value"]["accounts"] = json!([table]);
        Say::Result(said)
    };
    let failed = "invalid_exact_svm_smart_wallet_alt_resolution_failed";
    let unreadable = Say::Error(-32602, "invalid transaction: Transaction loads an address table account");
    // (what the simulation says, what the node tells of the table by itself, verdict)
    let cases: [(&str, Say, Value, &str); 9] = [
        ("good", told(&good), Value::Null, "valid"),
        ("not told", told(&Value::Null), Value::Null, failed),
        ("deactivated", told(&table(SLOT, &given)), Value::Null, failed),
        ("too short", told(&table(u64::MAX, &given[..1])), Value::Null, failed),
        (
            "a key of ours",
            told(&table(u64::MAX, &[given[0], former.pubkey()])),
            Value::Null,
            "invalid_exact_svm_smart_wallet_fee_payer_not_isolated",
        ),
        ("not found", simulated(&json!("AddressLookupTableNotFound"), &Value::Null, None), Value::Null, failed),
        ("the node cannot read it", unreadable.clone(), Value::Null, failed),
        ("the node cannot read what is good", unreadable, good, "unavailable"),
        ("the node is behind", Say::Error(-32005, "Node is behind"), Value::Null, "unavailable"),
    ];
    for (name, simulation, table, expected) in cases {
        let node = wallets_node(simulation, table);
        let scheme = scheme_over(fake_node::context_with(&[&node], &allowing(&former))).await;
        for occasion in [Occasion::Verify, Occasion::Settle] {
            let said = words(&verify(&scheme, &asked, occasion).await);
            assert!(said.starts_with(expected), "{name}: {said}");
        }
        if expected == "valid" {
            assert_eq!(node.calls_of("simulateTransaction"), 2, "what /verify found does not count for /settle");
        }
    }
}
