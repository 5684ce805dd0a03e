//! A stranger who reads a payment's calldata in the pool and executes it before our transaction.

use alloy::{
    primitives::{Address, Bytes, hex},
    sol,
    sol_types::SolCall,
};
use serde_json::{Value, json};

use crate::{
    anvil::{Anvil, GAS_WALLET},
    eventually,
    proxy::{Fault, Proxy, Times},
    service::Service,
};

/// One of anvil's unlocked accounts, which is none of the service's.
pub const STRANGER: &str = "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955";

/// The method that sends a signed transaction.
pub const SEND: &str = "eth_sendRawTransaction";

const MULTICALL3: &str = "0xcA11bde05977b3631167028862bE2a173976CA11";

sol! {
    struct Call3 { address target; bool allowFailure; bytes callData; }
    function aggregate3(Call3[] calls) external payable returns (bytes[] results);
}

/// A payment that the stranger has executed; our own transaction has reverted.
#[derive(Clone, Debug)]
pub struct Overtaken {
    /// The settlement.
    pub id: String,
    /// Our transaction.
    pub ours: String,
    /// The stranger's.
    pub foreign: String,
}

/// The way in which the stranger executes a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As we do: the call is the transaction.
    Directly,
    /// Inside a call of a contract, where only a trace shows it.
    ThroughContract,
}

/// Sends a transaction of an unlocked account with a high tip; returns its hash.
pub async fn send_first(chain: &Anvil, from: &str, to: &str, input: &Value) -> String {
    let transaction = json!([{
        "from": from, "to": to, "data": input, "gas": "0x7a120",
        "maxFeePerGas": "0x12a05f200", "maxPriorityFeePerGas": "0x3b9aca00",
    }]);
    text(&chain.node.call("eth_sendTransaction", transaction).await)
}

/// Settles a payment while there are no blocks: it is pending, and its transaction is in the pool.
///
/// # Panics
/// If it is not pending.
pub async fn settle_without_blocks(chain: &Anvil, service: &Service, body: &Value) -> (String, Value) {
    chain.node.stop_blocks().await;
    let pending = service.post("/settle", body).await;
    assert_eq!(pending.text("errorReason"), "settlement_pending", "{pending:?}");
    let hash = pending.text("transaction");
    let transaction = eventually("the transaction is in the pool", || async {
        let found = chain.node.try_call("eth_getTransactionByHash", json!([hash])).await?;
        found.is_object().then_some(found)
    })
    .await;
    (pending.settlement_id().to_owned(), transaction)
}

/// Lets the stranger execute a payment after it was claimed, in the block of our own transaction.
///
/// # Panics
/// If our transaction does not revert.
pub async fn overtake(chain: &Anvil, service: &Service, body: &Value, way: Way) -> Overtaken {
    let (id, transaction) = settle_without_blocks(chain, service, body).await;
    let foreign = execute(chain, &transaction, way).await;
    let ours = text(&transaction["hash"]);
    chain.node.mine().await;
    assert_reverted(chain, &ours).await;
    chain.node.resume_blocks().await;
    Overtaken { id, ours, foreign }
}

/// The same, so many blocks after the claim; the proxy keeps our transaction from the chain until then.
pub async fn overtake_late(chain: &Anvil, proxy: &Proxy, service: &Service, body: &Value, blocks: u32) -> Overtaken {
    let (id, transaction) = settle_without_blocks(chain, service, body).await;
    proxy.fail(SEND, Fault::LoseRequest, Times::Always);
    let ours = text(&transaction["hash"]);
    chain.node.call("anvil_dropTransaction", json!([ours])).await;
    chain.node.mine_blocks(blocks).await;
    let foreign = execute(chain, &transaction, Way::Directly).await;
    chain.node.mine().await;
    chain.node.resume_blocks().await;
    Overtaken { id, ours, foreign }
}

async fn execute(chain: &Anvil, transaction: &Value, way: Way) -> String {
    let (to, input) = (text(&transaction["to"]), &transaction["input"]);
    match way {
        Way::Directly => send_first(chain, STRANGER, &to, input).await,
        Way::ThroughContract => {
            let target: Address = to.parse().expect("an address");
            let call_data: Bytes = text(input).parse().expect("hex");
            let call = aggregate3Call { calls: vec![Call3 { target, allowFailure: false, callData: call_data }] };
            let input = format!("0x{}", hex::encode(call.abi_encode()));
            send_first(chain, STRANGER, MULTICALL3, &json!(input)).await
        }
    }
}

async fn assert_reverted(chain: &Anvil, hash: &str) {
    let receipt = chain.node.call("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], "0x0", "the stranger comes first: {receipt}");
}

/// Uses the nonce of a waiting transaction of the gas wallet for a transfer by hand; returns the hash.
pub async fn sweep(chain: &Anvil, transaction: &Value) -> String {
    let by_hand = json!([{
        "from": GAS_WALLET, "to": STRANGER, "value": "0x1", "gas": "0x5208", "nonce": transaction["nonce"],
        "maxFeePerGas": "0x174876e800", "maxPriorityFeePerGas": "0x174876e800",
    }]);
    text(&chain.node.call("eth_sendTransaction", by_hand).await)
}

/// The same, and lets the stranger execute the payment within a contract's call; returns the stranger's hash.
pub async fn sweep_and_execute(chain: &Anvil, transaction: &Value) -> String {
    sweep(chain, transaction).await;
    execute(chain, transaction, Way::ThroughContract).await
}

/// Spends a little of the usual payer's money in the next block, before every payment in it.
pub async fn spend_first(chain: &Anvil, token: &str, payer: &str) {
    let data = format!("0xa9059cbb{:0>64}{:064x}", &STRANGER[2..], 1);
    send_first(chain, payer, token, &json!(data)).await;
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
