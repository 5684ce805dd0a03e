//! The chain's own figures, without a facilitator.

use std::time::{Duration, Instant};

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718,
    primitives::{Address, Bytes, TxKind, U256},
    signers::{SignerSync, local::PrivateKeySigner},
    sol,
    sol_types::SolCall,
};
use e2e::{
    anvil::{Anvil, PAYEE, USDC},
    payer::Draft,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::report::Row;

sol! {
    function transferWithAuthorization(
        address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce,
        uint8 v, bytes32 r, bytes32 s
    ) external;
}

fn calldata(draft: &Draft) -> Bytes {
    let signature = draft.signature();
    let call = transferWithAuthorizationCall {
        from: draft.from,
        to: draft.to,
        value: draft.value,
        validAfter: U256::from(draft.valid_after),
        validBefore: U256::from(draft.valid_before),
        nonce: draft.nonce,
        v: signature[64],
        r: alloy::primitives::B256::from_slice(&signature[..32]),
        s: alloy::primitives::B256::from_slice(&signature[32..64]),
    };
    call.abi_encode().into()
}

/// One `eth_call` of the transfer for each payment, 64 at a time.
pub(crate) async fn calls(chain: &Anvil, time: Duration) -> Row {
    let request = json!([{"to": USDC, "data": calldata(&Draft::default())}, "latest"]);
    let end = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let (node, request) = (chain.node.clone(), request.clone());
        tasks.spawn(async move {
            let mut done = 0_u64;
            while Instant::now() < end {
                node.call("eth_call", request.clone()).await;
                done += 1;
            }
            done
        });
    }
    let done = tasks.join_all().await.into_iter().sum();
    Row::rate("the chain: one eth_call a payment, 64 callers", done, time)
}

/// Pre-signed settlements thrown at the node as fast as it takes them.
pub(crate) async fn transactions(chain: &Anvil, time: Duration) -> Row {
    const COUNT: u64 = 4000;
    let wallet = PrivateKeySigner::random();
    chain.node.call("anvil_setBalance", json!([wallet.address(), "0x56bc75e2d63100000"])).await;
    let raws: Vec<Value> = (0..COUNT).map(|nonce| Value::from(raw(&wallet, nonce))).collect();
    let before = chain.node.token_balance(USDC, PAYEE).await;
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    let lanes = raws.chunks(usize::try_from(COUNT / 16).expect("small"));
    for lane in lanes.map(<[Value]>::to_vec) {
        let node = chain.node.clone();
        tasks.spawn(async move {
            for raw in lane {
                node.call("eth_sendRawTransaction", json!([raw])).await;
            }
        });
    }
    tasks.join_all().await;
    let all = before + u128::from(COUNT) * 10_000;
    let limit = start + time.max(Duration::from_mins(1));
    while chain.node.token_balance(USDC, PAYEE).await < all && Instant::now() < limit {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Row::rate("the chain: pre-signed settlements", COUNT, start.elapsed())
}

fn raw(wallet: &PrivateKeySigner, nonce: u64) -> String {
    let transaction = TxEip1559 {
        chain_id: 84532,
        nonce,
        gas_limit: 120_000,
        max_fee_per_gas: 20_000_000_000,
        max_priority_fee_per_gas: 1_000_000,
        to: TxKind::Call(USDC.parse::<Address>().expect("an address")),
        input: calldata(&Draft::default()),
        ..TxEip1559::default()
    };
    let signature = wallet.sign_hash_sync(&transaction.signature_hash()).expect("signed");
    alloy::hex::encode_prefixed(TxEnvelope::from(transaction.into_signed(signature)).encoded_2718())
}
