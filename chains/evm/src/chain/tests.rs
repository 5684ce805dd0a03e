//! Offers, quotes and signatures for the service.

use alloy::{
    consensus::{TxEnvelope, TypedTransaction},
    eips::eip2718::Decodable2718,
    primitives::{Address, B256, Bytes, TxKind, U256, hex},
};
use chains_core::{
    Amount,
    chain::{Execution, Profile, QuoteError, SignError},
    observation::Depth,
    transaction::{BroadcastResult, Fee, Plan, Purpose, SignedTransaction},
};

use super::{EvmChain, execution::about_the_payer};
use crate::{
    extension::sponsoring::{eip2612, erc20_approval::tests::Signed, steps::Step},
    fake_node::{self, FakeNode, NOW, Say},
    reason,
    tx::{
        fees::Terms,
        plan::{Method, Transfer, TransferPlan},
    },
};

async fn chain() -> EvmChain {
    let node = FakeNode::start(|method, _| match method {
        "eth_getBalance" => Say::Result(serde_json::json!("0xff")),
        "eth_getTransactionCount" => Say::Result(serde_json::json!("0x5")),
        _ => Say::Error(-32601, "no such method"),
    })
    .await;
    EvmChain::new(fake_node::context(&node))
}

fn transfer() -> TransferPlan {
    let token = Address::repeat_byte(0xaa);
    let effect = Transfer {
        token,
        from: Address::repeat_byte(1),
        to: Address::repeat_byte(2),
        value: U256::from(1),
        nonce: B256::ZERO,
        method: Method::Eip3009,
    };
    TransferPlan { to: token, data: Bytes::from_static(&[1, 2]), gas_limit: 120_000, effect }
}

fn plan() -> Plan {
    Plan::new(transfer().to_body())
}

fn fee(gas_limit: u64, value: u64) -> Fee {
    Terms { gas_limit, max_fee_per_gas: 100, max_priority_fee_per_gas: 3 }.fee(U256::from(value))
}

fn decoded(signed: &SignedTransaction) -> alloy::consensus::TxEip1559 {
    let envelope = TxEnvelope::decode_2718(&mut signed.raw.as_slice()).expect("decodes");
    let from = alloy::consensus::transaction::SignerRecoverable::recover_signer(&envelope).expect("a signer");
    assert_eq!(from.to_checksum(None), signed.gas_wallet);
    assert_eq!(hex::encode_prefixed(envelope.hash()), signed.hash);
    let TypedTransaction::Eip1559(transaction) = envelope.into_typed_transaction() else { panic!("EIP-1559") };
    transaction
}

#[tokio::test]
async fn the_same_arguments_give_the_same_bytes_signed_for_this_chain() {
    let chain = chain().await;
    let (wallet, plans, fee) = (chain.gas_wallets()[0].clone(), [plan()], fee(120_000, 0));
    let signed = chain.sign(&wallet, Some(7), Purpose::Steps(&plans), &fee).expect("signed");
    assert_eq!(chain.sign(&wallet, Some(7), Purpose::Steps(&plans), &fee).as_ref(), Ok(&signed));
    assert_eq!((signed.nonce, &signed.fee), (Some(7), &fee));
    let t = decoded(&signed);
    assert_eq!((t.chain_id, t.nonce, t.gas_limit, t.value), (84_532, 7, 120_000, U256::ZERO));
    assert_eq!((t.max_fee_per_gas, t.max_priority_fee_per_gas), (100, 3));
    assert_eq!((t.to, &t.input), (TxKind::Call(transfer().to), &transfer().data));
}

#[tokio::test]
async fn a_cancellation_sends_nothing_to_the_wallet_itself() {
    let chain = chain().await;
    let wallet = chain.gas_wallets()[0].clone();
    let signed = chain.sign(&wallet, Some(7), Purpose::Cancel, &fee(21_000, 0)).expect("signed");
    let t = decoded(&signed);
    let itself: Address = wallet.parse().expect("an address");
    assert_eq!((t.to, t.value, t.gas_limit, t.input.len()), (TxKind::Call(itself), U256::ZERO, 21_000, 0));
    assert_eq!(signed.fee.amount_max, Amount::from(2_100_000_u64));
    assert!(crate::observe::is_cancellation(&signed));
    let settled = chain.sign(&wallet, Some(7), Purpose::Steps(&[plan()]), &fee(120_000, 0)).expect("signed");
    assert!(!crate::observe::is_cancellation(&settled));
}

#[tokio::test]
async fn what_cannot_be_signed_says_why() {
    let chain = chain().await;
    let (wallet, fee) = (chain.gas_wallets()[0].clone(), fee(120_000, 0));
    let sign = |wallet: &str, nonce, plans: &[Plan]| chain.sign(wallet, nonce, Purpose::Steps(plans), &fee);
    assert!(matches!(sign("0x00", Some(1), &[plan()]), Err(SignError::NoKey(_))));
    assert!(matches!(sign(&wallet, None, &[plan()]), Err(SignError::Plan(_))));
    assert!(matches!(sign(&wallet, Some(1), &[Plan::new("{}")]), Err(SignError::Plan(_))));
    for plans in [vec![], vec![plan(), plan()]] {
        let Err(SignError::Plan(text)) = sign(&wallet, Some(1), &plans) else { panic!("one step a transaction") };
        assert!(text.contains("one step"), "{text}");
    }
    let foreign = Fee { terms: "{}".into(), ..fee.clone() };
    let plans = [plan()];
    assert!(matches!(chain.sign(&wallet, Some(1), Purpose::Steps(&plans), &foreign), Err(SignError::Plan(_))));
    assert_eq!(chain.quote(Purpose::Steps(&plans)), Err(QuoteError::NoBlock));
}

#[tokio::test]
async fn what_would_be_void_before_its_block_is_not_signed() {
    let chain = chain().await;
    let (wallet, fee) = (chain.gas_wallets()[0].clone(), fee(120_000, 0));
    // Blocks come every 2 s: one is waited for, and one more.
    for (valid_before, signed) in [(NOW, false), (NOW + 2, false), (NOW + 3, true)] {
        let plans = [plan().valid_before(Some(valid_before))];
        let result = chain.sign(&wallet, Some(1), Purpose::Steps(&plans), &fee);
        match result {
            Ok(_) => assert!(signed, "{valid_before}"),
            Err(SignError::Void(why)) => assert!(!signed && why.code == reason::VALID_BEFORE, "{valid_before}"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_payers_own_bytes_say_nothing_of_the_gas_wallet() {
    let chain = chain().await;
    let wallet = chain.gas_wallets()[0].clone();
    let payer = transfer().effect.from;
    let first =
        |funding| Plan::new(Step::first(&Signed::default().transaction(), U256::from(funding), 0, transfer(), 0));
    let (fund, approve) = (first(7), first(0));
    for step in [&fund, &approve] {
        assert_eq!(chain.exclusive(step), Some(format!("eip155:84532/{payer}")), "one at a time of each payer");
    }
    assert_eq!(chain.exclusive(&plan()), None);
    let signed = chain.sign(&wallet, Some(7), Purpose::Steps(&[fund]), &fee(21_000, 7)).expect("signed");
    let t = decoded(&signed);
    assert_eq!((t.to, t.value, t.gas_limit, t.input.len()), (TxKind::Call(payer), U256::from(7), 21_000, 0));
    assert_eq!(signed.fee.amount_max, Amount::from(2_100_007_u64));
    let steps = [approve];
    let free = chain.quote(Purpose::Steps(&steps)).expect("a quote");
    assert_eq!(free.amount_max, Amount::ZERO, "the payer pays for it");
    let approval = chain.sign(&wallet, Some(8), Purpose::Steps(&steps), &free).expect("signed");
    assert_eq!((approval.nonce, signed.nonce), (None, Some(7)));
    assert_eq!(approval.fee, free);
    let unknown = |answer| matches!(answer, BroadcastResult::Unknown(_));
    let answers =
        || [BroadcastResult::InsufficientFunds, BroadcastResult::NonceTaken, BroadcastResult::Rejected("no".into())];
    for answer in answers() {
        assert!(unknown(about_the_payer(&approval, answer.clone())), "{answer:?}");
        assert_eq!(about_the_payer(&signed, answer.clone()), answer);
    }
    let consumed = BroadcastResult::NonceTooLow;
    assert_eq!(about_the_payer(&approval, consumed.clone()), consumed, "its block is looked for");
}

#[tokio::test]
async fn wallets_are_read_and_offers_are_made_for_both_versions() {
    let chain = chain().await;
    let wallet = chain.gas_wallets()[0].clone();
    for depth in [Depth::Latest, Depth::Confirmed] {
        assert_eq!(chain.nonce(&wallet, depth).await, Ok(Some(5)));
    }
    assert_eq!(chain.balance(&wallet).await, Ok(Amount::from(255_u64)));
    assert!(chain.balance("0x00").await.is_err());
    let offers: Vec<_> =
        chain.offers(&wallet).into_iter().map(|offer| (offer.scheme, offer.extra, offer.since_v1)).collect();
    assert_eq!(offers, [("exact", None, true)]);
    assert!(!chain.extensions().contains(&eip2612::KEY));
}

#[tokio::test]
async fn what_the_network_can_do_is_announced_with_the_wallet_of_the_moment() {
    let chain = chain().await;
    chain.context.capabilities.found(true, true);
    let upto = chain.offers("0xabc").into_iter().find(|offer| offer.scheme == "upto").expect("announced");
    assert_eq!(upto.extra, Some(serde_json::json!({ "facilitatorAddress": "0xabc" })));
    assert!(!upto.since_v1, "v1 knows exact only");
    assert!(chain.extensions().contains(&"eip2612GasSponsoring"));
    chain.context.capabilities.found(false, false);
    assert_eq!(chain.offers("0xabc").len(), 2, "a busy node takes nothing back");
}
