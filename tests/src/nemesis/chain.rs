//! The chain at the end of a run, and the sends that reach it.

use std::{collections::HashSet, sync::Arc};

use alloy::primitives::keccak256;
use serde_json::{Value, json};

use super::{
    history::{Block, OnChain, Sent, Transfer},
    recorder::Recorder,
    store::Observer,
};
use crate::{
    anvil::{NETWORK, USDC},
    node::{Node, parse_quantity},
    proxy::Proxy,
    stranger::SEND,
};

/// The event that names a payment, before the transfer that makes it.
const AUTHORIZATION_USED: &str = "AuthorizationUsed(address,bytes32)";
const TRANSFER: &str = "Transfer(address,address,uint256)";

/// Has a node's proxy note each send before the node gets it, and the store's knowledge of it then.
pub fn witness(proxy: &Proxy, recorder: &Recorder, observer: &Arc<Observer>) {
    let (recorder, observer) = (recorder.clone(), Arc::clone(observer));
    proxy.before_each(SEND, move |params| {
        let (recorder, observer) = (recorder.clone(), Arc::clone(&observer));
        Box::pin(async move {
            let raw = params[0].as_str().and_then(|raw| hex::decode(raw.trim_start_matches("0x")).ok());
            let Some(raw) = raw else { return };
            let hash = keccak256(raw).to_string();
            if recorder.is_new(&hash) {
                let (at, stored) = (recorder.now(), observer.has_attempt(&hash).await);
                recorder.sent(Sent { hash, at, stored });
            }
        })
    });
}

/// Returns every block: the transactions of these gas wallets, and the payments that were made.
///
/// # Panics
/// If the node does not answer.
pub async fn blocks(node: &Node, wallets: &[&str]) -> Vec<Block> {
    let wallets: Vec<String> = wallets.iter().map(|wallet| wallet.to_lowercase()).collect();
    let head = node.quantity("eth_blockNumber", json!([])).await;
    let mut blocks = vec![];
    for number in 0..=head {
        let block = node.call("eth_getBlockByNumber", json!([format!("{number:#x}"), true])).await;
        let transactions = block["transactions"].as_array().cloned().unwrap_or_default();
        let transactions = transactions.iter().filter_map(|transaction| of_wallet(transaction, &wallets)).collect();
        let filter = json!([{"address": USDC, "blockHash": block["hash"]}]);
        let logs = node.call("eth_getLogs", filter).await;
        let transfers = transfers(logs.as_array().map_or(&[], Vec::as_slice));
        blocks.push(Block { number: u64::try_from(number).expect("a height"), transactions, transfers });
    }
    count_once(&mut blocks);
    blocks
}

/// Leaves a transaction in the last of its blocks. anvil, told to take blocks back while it makes one, can put a
/// transaction into two; no chain does, as its nonce is used.
fn count_once(blocks: &mut [Block]) {
    let mut later = HashSet::new();
    for Block { transactions, transfers, .. } in blocks.iter_mut().rev() {
        transactions.retain(|transaction| !later.contains(&transaction.hash));
        transfers.retain(|transfer| !later.contains(&transfer.transaction));
        later.extend(transactions.iter().map(|transaction| transaction.hash.clone()));
        later.extend(transfers.iter().map(|transfer| transfer.transaction.clone()));
    }
}

fn of_wallet(transaction: &Value, wallets: &[String]) -> Option<OnChain> {
    let from = text(&transaction["from"]).to_lowercase();
    let nonce = u64::try_from(parse_quantity(&transaction["nonce"])).expect("a nonce");
    let hash = text(&transaction["hash"]);
    wallets.contains(&from).then(|| OnChain { hash, wallet: format!("{NETWORK} {from}"), nonce: Some(nonce) })
}

/// The payments among the logs of a block: an authorization that is used, and the next transfer.
fn transfers(logs: &[Value]) -> Vec<Transfer> {
    let (used, moved) = (keccak256(AUTHORIZATION_USED).to_string(), keccak256(TRANSFER).to_string());
    let mut transfers = vec![];
    for (place, log) in logs.iter().enumerate().filter(|(_, log)| log["topics"][0] == used.as_str()) {
        let mut after = logs.iter().skip(place + 1);
        let transfer =
            after.find(|log| log["topics"][0] == moved.as_str()).expect("a transfer after its authorization");
        let payer = format!("0x{}", text(&log["topics"][1]).chars().skip(26).collect::<String>());
        let payment = format!("{payer}/{}", text(&log["topics"][2])).to_lowercase();
        let (amount, transaction) = (parse_quantity(&transfer["data"]), text(&log["transactionHash"]));
        transfers.push(Transfer { payment, amount, transaction });
    }
    transfers
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_a_node_shows_in_two_blocks_counts_in_the_later_one() {
        let paid = |payment: &str| Transfer { payment: payment.into(), amount: 1, transaction: "0xa".into() };
        let carried = OnChain { hash: "0xa".into(), wallet: "w".into(), nonce: Some(1) };
        let block =
            |number| Block { number, transactions: vec![carried.clone()], transfers: vec![paid("p"), paid("q")] };
        let mut blocks = [block(1), block(2)];
        count_once(&mut blocks);
        assert_eq!(blocks, [Block { number: 1, ..Block::default() }, block(2)]);
    }
}
