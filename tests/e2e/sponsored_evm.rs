//! Payers without allowance and without gas money pay, by an approval that is
//! sent for them, and nobody lives on the gas money.

use alloy::{
    consensus::TxEip1559,
    eips::eip2930::{AccessList, AccessListItem},
    primitives::{Address, Bytes, TxKind, U256},
};
use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, USDC},
    approval::{PERMIT2, Sponsored, approve_calldata, sign, sponsoring},
    eventually,
    node::parse_quantity,
    permit2::{Permit2Draft, allowance},
    service::{Answer, Home, Service},
};
use serde_json::{Value, json};

fn address(text: &str) -> Address {
    text.parse().expect("an address")
}

fn home(chain: &Anvil) -> Home {
    sponsoring(Home::on(chain))
}

async fn coin_of(chain: &Anvil, account: &str) -> u128 {
    chain.node.quantity("eth_getBalance", json!([account, "latest"])).await
}

async fn give_coin(chain: &Anvil, account: &str, wei: u128) {
    chain.node.call("anvil_setBalance", json!([account, format!("{wei:#x}")])).await;
}

async fn pending(chain: &Anvil, account: &str) -> u128 {
    chain.node.quantity("eth_getTransactionCount", json!([account, "pending"])).await
}

async fn send_raw(chain: &Anvil, raw: &[u8]) {
    chain.node.call("eth_sendRawTransaction", json!([format!("0x{}", hex::encode(raw))])).await;
}

/// Waits until an account has so many transactions in blocks and in the pool.
async fn wait_for_pending(chain: &Anvil, account: &str, count: u128) {
    eventually("the transaction is sent", || async { (pending(chain, account).await >= count).then_some(()) }).await;
}

fn assert_audit(home: &Home) {
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}\n{}", home.log());
}

/// Asks until the payment is decided.
async fn decided(service: &Service, body: &Value) -> Answer {
    eventually("the payment is decided", || async {
        let answer = service.post("/settle", body).await;
        (answer.status == 200 && answer.text("errorReason") != "settlement_pending").then_some(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_without_coin_is_given_what_its_approval_needs_and_pays() {
    let chain = Anvil::start().await;
    let home = home(&chain);
    let service = home.serve().await;
    let supported = service.get("/supported").await;
    for key in ["eip2612GasSponsoring", "erc20ApprovalGasSponsoring"] {
        assert!(
            supported.body["extensions"].as_array().is_some_and(|list| list.contains(&json!(key))),
            "{supported:?}"
        );
    }
    for draft in [Permit2Draft::default(), Permit2Draft::upto(10_000)] {
        let payer = Sponsored::by(&chain, draft).await;
        let (paid_before, sent_before) =
            (chain.node.token_balance(USDC, PAYEE).await, chain.node.transactions_of(GAS_WALLET).await);
        let verified = service.post("/verify", &payer.body()).await;
        assert!(verified.is_good(), "{verified:?}\n{}", home.log());
        assert_eq!(chain.node.transactions_of(GAS_WALLET).await, sent_before, "a verification gives nothing");
        let settled = decided(&service, &payer.body()).await;
        assert!(settled.is_good(), "{settled:?}\n{}", home.log());
        assert_eq!(chain.node.token_balance(USDC, PAYEE).await, paid_before + 10_000);
        assert_eq!(chain.node.transactions_of(GAS_WALLET).await, sent_before + 2, "gas money, and the payment");
        assert_eq!(chain.node.transactions_of(&payer.payer()).await, 1, "its approval");
        assert!(coin_of(&chain, &payer.payer()).await < payer.cost_max());
        let id = settled.body["extra"]["settlementId"].as_str().expect("an id");
        let status = service.get(&format!("/settlements/{id}")).await;
        assert_eq!(status.body["attempts"].as_array().map(Vec::len), Some(3), "{status:?}");
        let again = service.post("/settle", &payer.again().body()).await;
        assert!(again.is_good(), "allowed by now: {again:?}");
        assert_eq!(chain.node.transactions_of(GAS_WALLET).await, sent_before + 3);
    }
    assert_audit(&home);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_what_was_signed_is_charged_after_an_approval() {
    let chain = Anvil::start().await;
    let home = home(&chain);
    let service = home.serve().await;
    let payer = Sponsored::by(&chain, Permit2Draft::upto(10_000)).await;
    let charged = Sponsored { payment: payer.payment.charged(1234), ..payer.clone() };
    let settled = decided(&service, &charged.body()).await;
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 1234);
    let nothing = Sponsored::by(&chain, Permit2Draft::upto(10_000)).await;
    let nothing = Sponsored { payment: nothing.payment.charged(0), ..nothing };
    let settled = decided(&service, &nothing.body()).await;
    assert!(settled.is_good(), "{settled:?}");
    assert_eq!(coin_of(&chain, &nothing.payer()).await, 0, "no money for nothing");
    assert_audit(&home);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_with_coin_is_given_none() {
    let chain = Anvil::start().await;
    let home = home(&chain);
    let service = home.serve().await;
    let payer = Sponsored::new(&chain).await;
    give_coin(&chain, &payer.payer(), payer.cost_max()).await;
    let settled = decided(&service, &payer.body()).await;
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1);
    assert!(coin_of(&chain, &payer.payer()).await < payer.cost_max(), "it paid for its approval");
    let short = Sponsored::new(&chain).await;
    give_coin(&chain, &short.payer(), short.cost_max() - 1).await;
    assert!(decided(&service, &short.body()).await.is_good());
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 3, "one wei is lacking, and one wei is given");
    assert_audit(&home);
}

/// Wei that a settlement's first transaction moved.
async fn given(chain: &Anvil, service: &Service, settled: &Answer) -> u128 {
    let id = settled.body["extra"]["settlementId"].as_str().expect("an id");
    let status = service.get(&format!("/settlements/{id}")).await;
    let first = status.body["attempts"][0]["transaction"].clone();
    let transaction = chain.node.call("eth_getTransactionByHash", json!([first])).await;
    parse_quantity(&transaction["value"])
}

#[tokio::test(flavor = "multi_thread")]
async fn gas_money_is_exactly_what_is_lacking_the_rollups_fee_included() {
    let chain = Anvil::start().await;
    let home = home(&chain);
    let service = home.serve().await;
    let payer = Sponsored::new(&chain).await;
    give_coin(&chain, &payer.payer(), 7).await;
    let settled = decided(&service, &payer.body()).await;
    assert_eq!(given(&chain, &service, &settled).await, payer.cost_max() - 7, "{settled:?}\n{}", home.log());
    // Code that answers 1000 where rollups of the OP stack have their price oracle.
    let oracle = "0x420000000000000000000000000000000000000F";
    chain.node.call("anvil_setCode", json!([oracle, "0x6103e860005260206000f3"])).await;
    let payer = Sponsored::new(&chain).await;
    let settled = decided(&service, &payer.body()).await;
    assert_eq!(given(&chain, &service, &settled).await, payer.cost_max() + 1500, "{settled:?}\n{}", home.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_others_brought_is_as_good() {
    let chain = Anvil::start().await;
    let home = home(&chain);
    let service = home.serve().await;
    // By the time of the settle it is on chain.
    let early = Sponsored::new(&chain).await;
    give_coin(&chain, &early.payer(), early.cost_max()).await;
    assert!(service.post("/verify", &early.body()).await.is_good());
    send_raw(&chain, &early.signed().1).await;
    eventually("it is on chain", || async { (chain.node.transactions_of(&early.payer()).await == 1).then_some(()) })
        .await;
    assert!(decided(&service, &early.body()).await.is_good());
    // It is in the pool already.
    chain.node.stop_blocks().await;
    let known = Sponsored::new(&chain).await;
    give_coin(&chain, &known.payer(), known.cost_max()).await;
    send_raw(&chain, &known.signed().1).await;
    // The payer replaces it by another one, which allows just enough.
    let replaced = Sponsored::new(&chain).await;
    give_coin(&chain, &replaced.payer(), 10 * replaced.cost_max()).await;
    let mut other = replaced.approval.clone();
    (other.max_fee_per_gas, other.max_priority_fee_per_gas) = (4_000_000_000, 2_000_000_000);
    other.input = approve_calldata(PERMIT2, U256::from(10_000));
    let (known_body, replaced_body) = (known.body(), replaced.body());
    let (known_settled, replaced_settled, ()) =
        tokio::join!(service.post("/settle", &known_body), service.post("/settle", &replaced_body), async {
            wait_for_pending(&chain, &replaced.payer(), 1).await;
            send_raw(&chain, &sign(&replaced.key, other).1).await;
            chain.node.resume_blocks().await;
        });
    for settled in [known_settled, replaced_settled] {
        assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    }
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 3);
    assert_audit(&home);
}

/// D11.
#[tokio::test(flavor = "multi_thread")]
async fn a_payer_that_takes_the_gas_money_gets_no_more_and_the_payment_fails_with_proof() {
    let chain = Anvil::start().await;
    let home = home(&chain);
    let service = home.serve().await;
    let payer = Sponsored::new(&chain).await;
    let body = payer.body();
    chain.node.stop_blocks().await;
    let steal = TxEip1559 {
        to: TxKind::Call(address(PAYEE)),
        value: U256::from(1),
        gas_limit: 21_000,
        max_fee_per_gas: 5_000_000_000,
        max_priority_fee_per_gas: 3_000_000_000,
        input: Bytes::new(),
        ..payer.approval.clone()
    };
    let (answer, ()) = tokio::join!(service.post("/settle", &body), async {
        wait_for_pending(&chain, GAS_WALLET, 1).await;
        chain.node.mine().await;
        wait_for_pending(&chain, &payer.payer(), 1).await;
        send_raw(&chain, &sign(&payer.key, steal).1).await;
        chain.node.mine().await;
        chain.node.resume_blocks().await;
    });
    drop(answer);
    let failed = decided(&service, &body).await;
    assert_eq!(failed.text("errorReason"), "erc20_approval_broadcast_failed", "{failed:?}\n{}", home.log());
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1, "the gas money only");
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 0);
    let next = Sponsored { approval: TxEip1559 { nonce: 1, ..payer.approval.clone() }, ..payer.again() };
    for path in ["/verify", "/settle"] {
        let refused = service.post(path, &next.body()).await;
        let reason = refused.text("errorReason").to_owned() + refused.text("invalidReason");
        assert_eq!(reason, "erc20_approval_payer_refused", "{refused:?}");
    }
    assert_audit(&home);
    // What the payer does later changes nothing of it.
    give_coin(&chain, &payer.payer(), payer.cost_max()).await;
    send_raw(&chain, &sign(&payer.key, next.approval.clone()).1).await;
    eventually("it is allowed", || async { (!allowance(&chain, &payer.payer()).await.is_zero()).then_some(()) }).await;
    assert_audit(&home);
    assert!(decided(&service, &next.body()).await.is_good(), "who needs nothing is served");
    assert_audit(&home);
}

#[tokio::test(flavor = "multi_thread")]
async fn gas_money_is_capped_for_each_payment_and_each_hour() {
    let chain = Anvil::start().await;
    let payer = Sponsored::new(&chain).await;
    let home = sponsoring(Home::on(&chain))
        .network("sponsor_funding_max", payer.cost_max().to_string())
        .network("sponsor_funding_per_hour_max", (payer.cost_max() * 2 - 1).to_string());
    let service = home.serve().await;
    let mut greedy = Sponsored::new(&chain).await;
    greedy.approval.max_fee_per_gas += 1;
    let refused = service.post("/settle", &greedy.body()).await;
    assert_eq!(refused.text("errorReason"), "erc20_approval_funding_too_high", "{refused:?}");
    assert!(decided(&service, &payer.body()).await.is_good());
    let second = Sponsored::new(&chain).await;
    for (path, key) in [("/verify", "invalidReason"), ("/settle", "errorReason")] {
        let refused = service.post(path, &second.body()).await;
        assert_eq!(refused.text(key), "gas_budget_exhausted", "{refused:?}");
    }
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 2);
    // Who has coin is no burden, and 1 wei less is within the budget.
    give_coin(&chain, &second.payer(), 1).await;
    assert!(decided(&service, &second.body()).await.is_good(), "nothing of it was claimed");
    assert_audit(&home);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_payer_is_sponsored_once_at_a_time() {
    let chain = Anvil::start().await;
    let home = home(&chain);
    let service = home.serve().await;
    let first = Sponsored::new(&chain).await;
    let second = first.again();
    let bodies = [first.body(), second.body()];
    let (one, other) = tokio::join!(service.post("/settle", &bodies[0]), service.post("/settle", &bodies[1]));
    let (settled, refused, body) = if one.is_good() { (one, other, &bodies[1]) } else { (other, one, &bodies[0]) };
    assert!(settled.is_good() && refused.status == 503, "{settled:?} {refused:?}\n{}", home.log());
    assert!(decided(&service, body).await.is_good(), "the other one's turn, and nothing to sponsor");
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 3, "gas money once, two payments");
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 20_000);
    assert_audit(&home);
}

/// D11.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_plain_approval_costs_nothing() {
    type Change = fn(&mut Sponsored);
    let chain = Anvil::start().await;
    let home = home(&chain);
    let service = home.serve().await;
    let good = Sponsored::new(&chain).await;
    let cases: [(Change, &str); 15] = [
        (|s| s.approval.value = U256::from(1), "erc20_approval_tx_wrong_value"),
        (|s| s.approval.gas_limit = 100_001, "erc20_approval_tx_gas_limit"),
        (|s| s.approval.gas_limit = 22_000, "permit2_simulation_failed"),
        (|s| s.approval.max_fee_per_gas = u128::MAX, "erc20_approval_funding_too_high"),
        (
            |s| (s.approval.max_fee_per_gas, s.approval.max_priority_fee_per_gas) = (1, 1),
            "erc20_approval_tx_underpriced",
        ),
        (|s| s.approval.chain_id = 1, "erc20_approval_tx_wrong_chain"),
        (|s| s.approval.nonce = 1, "erc20_approval_tx_wrong_nonce"),
        (|s| s.approval.to = TxKind::Call(address(PAYEE)), "erc20_approval_tx_wrong_target"),
        (|s| s.approval.to = TxKind::Create, "erc20_approval_tx_wrong_target"),
        (|s| s.approval.input = approve_calldata(PAYEE, U256::MAX), "erc20_approval_tx_wrong_spender"),
        (|s| s.approval.input = approve_calldata(PERMIT2, U256::from(9_999)), "erc20_approval_tx_wrong_amount"),
        (|s| s.approval.input = vec![0xa9, 0x05, 0x9c, 0xbb].into(), "erc20_approval_tx_wrong_selector"),
        (|s| s.approval.input = [&s.approval.input[..], &[0]].concat().into(), "erc20_approval_tx_invalid_calldata"),
        (
            |s| {
                let item = AccessListItem { address: address(PAYEE), storage_keys: vec![] };
                s.approval.access_list = AccessList(vec![item]);
            },
            "erc20_approval_tx_access_list",
        ),
        (|s| s.key = e2e::payer::Draft::default().key, "erc20_approval_from_mismatch"),
    ];
    for (change, expected) in cases {
        let mut draft = good.clone();
        change(&mut draft);
        for (path, key) in [("/verify", "invalidReason"), ("/settle", "errorReason")] {
            let refused = service.post(path, &draft.body()).await;
            assert_eq!(refused.text(key), expected, "{path} {refused:?}");
        }
    }
    let mut forged = good.body();
    let other = Sponsored { key: e2e::payer::Draft::default().key, ..good.clone() };
    let raw = format!("0x{}", hex::encode(other.signed().1));
    forged["paymentPayload"]["extensions"]["erc20ApprovalGasSponsoring"]["info"]["signedTransaction"] = raw.into();
    let refused = service.post("/settle", &forged).await;
    assert_eq!(refused.text("errorReason"), "erc20_approval_tx_signer_mismatch", "{refused:?}");
    // A delegated account (EIP-7702) could spend its gas money without its nonce.
    let delegated = Sponsored::new(&chain).await;
    let code = format!("0xef0100{}", USDC.trim_start_matches("0x"));
    chain.node.call("anvil_setCode", json!([delegated.payer(), code])).await;
    let refused = service.post("/settle", &delegated.body()).await;
    assert!(!refused.is_good(), "{refused:?}");
    let poor = Sponsored { payment: good.payment.clone(), ..Sponsored::new(&chain).await };
    assert!(!service.post("/settle", &poor.body()).await.is_good(), "somebody else's approval");
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 0);
    assert_eq!(coin_of(&chain, &good.payer()).await, 0);
    let off = Home::on(&chain);
    let service = off.serve().await;
    let refused = service.post("/settle", &good.body()).await;
    assert_eq!(refused.text("errorReason"), "permit2_allowance_required", "off: ignored");
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 0);
}

/// The moment at which the process is killed.
#[derive(Clone, Copy, Debug)]
enum Killed {
    /// The gas money is in the pool.
    Funding,
    /// The approval is.
    Approving,
    /// The payment is.
    Settling,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sponsored_payment_survives_a_kill_between_any_two_steps() {
    let chain = Anvil::start().await;
    let home = home(&chain);
    let mut payments = 0;
    for killed in [Killed::Funding, Killed::Approving, Killed::Settling] {
        for lands_meanwhile in [false, true] {
            let service = home.serve().await;
            let payer = Sponsored::new(&chain).await;
            let body = payer.body();
            chain.node.stop_blocks().await;
            let before = chain.node.transactions_of(GAS_WALLET).await;
            let client = e2e::http_client();
            let asked = client.post(format!("{}/settle", service.url)).json(&body).send();
            let watch = async {
                wait_for_pending(&chain, GAS_WALLET, before + 1).await;
                if matches!(killed, Killed::Approving | Killed::Settling) {
                    chain.node.mine().await;
                    wait_for_pending(&chain, &payer.payer(), 1).await;
                }
                if matches!(killed, Killed::Settling) {
                    chain.node.mine().await;
                    wait_for_pending(&chain, GAS_WALLET, before + 2).await;
                }
                service.kill();
            };
            let (asked, ()) = tokio::join!(asked, watch);
            assert!(asked.is_err(), "the process was gone");
            if lands_meanwhile {
                chain.node.mine().await;
            }
            chain.node.resume_blocks().await;
            let service = home.serve().await;
            let settled = decided(&service, &body).await;
            assert!(settled.is_good(), "{killed:?} {lands_meanwhile}: {settled:?}\n{}", home.log());
            payments += 1;
            drop(service);
            assert_audit(&home);
            assert_eq!(chain.node.token_balance(USDC, PAYEE).await, payments * 10_000, "{killed:?}");
            assert_eq!(chain.node.transactions_of(GAS_WALLET).await, before + 2, "{killed:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_sponsored_payment_is_lost_or_made_twice_when_the_process_is_killed_at_any_moment() {
    let chain = Anvil::start().await;
    let home = home(&chain);
    let mut payments = 0;
    for run in 0..crate::crash::runs().div_ceil(2) {
        let service = home.serve().await;
        let mut bodies = vec![];
        for _ in 0..4 {
            bodies.push(Sponsored::new(&chain).await.body());
        }
        let client = e2e::http_client();
        let url = format!("{}/settle", service.url);
        let asked = bodies.iter().map(|body| client.post(&url).json(body).send());
        let killed = async {
            // The moment is drawn anew each time: anywhere within the four blocks that it takes.
            tokio::time::sleep(std::time::Duration::from_millis(rand::random_range(0..4000))).await;
            service.kill();
        };
        tokio::join!(futures::future::join_all(asked), killed);
        let service = home.serve().await;
        for body in &bodies {
            let settled = decided(&service, body).await;
            assert!(
                settled.is_good() || settled.text("errorReason") == "duplicate_settlement",
                "run {run}: {settled:?}\n{}",
                home.log()
            );
            payments += 1;
        }
        drop(service);
        assert_audit(&home);
        assert_eq!(chain.node.token_balance(USDC, PAYEE).await, payments * 10_000, "run {run}");
        assert_eq!(chain.node.transactions_of(GAS_WALLET).await, payments * 2, "run {run}");
    }
}
