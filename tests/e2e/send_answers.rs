//! Whatever a node of any make says to a send, the payment settles once.

use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, USDC},
    payer::Draft,
    proxy::{Fault, Proxy, Times},
    service::Home,
    stranger::SEND,
};
use futures::{StreamExt as _, stream};

/// A node's error to a send: code and text.
type Said = (i64, &'static str);

/// The texts of nodes to a transaction that is already there, whose nonce is used, taken or too far ahead, that offers
/// too little, that cannot be paid for, or that finds no room.
const NODES: [(&str, &[Said]); 8] = [
    (
        "geth",
        &[
            (-32000, "already known"),
            (-32000, "nonce too low: next nonce 7, tx nonce 6"),
            (-32000, "nonce too high: tx nonce 9, gapped nonce 5"),
            (-32000, "replacement transaction underpriced"),
            (-32000, "transaction underpriced: tip needed 1, tip permitted 0"),
            (-32000, "insufficient funds for gas * price + value: balance 0, tx cost 1, overshot 1"),
            (-32000, "txpool is full"),
        ],
    ),
    (
        "reth",
        &[
            (-32000, "already known"),
            (-32000, "nonce too low: next nonce 7, tx nonce 6"),
            (-32000, "transaction priority fee below minimum required priority fee 1"),
            (-32003, "txpool is full"),
        ],
    ),
    (
        "Nethermind",
        &[
            (-32010, "AlreadyKnown"),
            (-32010, "OldNonce, Current nonce: 7, nonce of rejected tx: 6"),
            (-32010, "NonceGap, Future nonce. Expected nonce: 5"),
            (-32010, "OwnNonceAlreadyUsed"),
            (-32010, "FeeTooLowToCompete"),
            (-32010, "InsufficientFunds, Account balance: 0, cumulative cost: 1"),
        ],
    ),
    (
        "Erigon",
        &[
            (-32000, "existing txn with same hash"),
            (-32000, "nonce too low"),
            (-32000, "could not replace existing tx"),
            (-32000, "fee too low"),
            (-32000, "insufficient funds"),
            (-32000, "pending sub-pool is full"),
        ],
    ),
    (
        "Besu",
        &[
            (-32000, "Known transaction"),
            (-32001, "Nonce too low"),
            (-32000, "Transaction nonce is too distant from current sender nonce"),
            (-32000, "An invalid transaction with a lower nonce exists"),
            (-32000, "Replacement transaction underpriced"),
            (-32009, "Gas price below current base fee"),
            (-32004, "Upfront cost exceeds account balance"),
        ],
    ),
    (
        "Arbitrum",
        &[
            (-32000, "nonce too low: address 0x33, tx: 6 state: 7"),
            (-32000, "nonce too high: address 0x33, tx: 9 state: 7"),
            (-32000, "max fee per gas less than block base fee: address 0x33, maxFeePerGas: 1 baseFee: 2"),
            (-32000, "not enough funds for gas"),
            (-32000, "sequencer pending tx pool full, please try again"),
        ],
    ),
    (
        "ZKsync",
        &[
            (3, "known transaction. transaction with hash 0x60 is already in the system"),
            (3, "nonce too low. allowed nonce range: 7 - 27, actual: 6"),
            (3, "nonce too high. allowed nonce range: 5 - 25, actual: 30"),
            (3, "insertion of another transaction with the same nonce is in progress"),
            (3, "max fee per gas less than block base fee"),
            (3, "insufficient funds for gas + value. balance: 0, fee: 1, value: 0"),
            (3, "too many transactions"),
        ],
    ),
    (
        "anvil",
        &[
            (-32003, "transaction already imported"),
            (-32003, "nonce too low"),
            (-32003, "replacement transaction underpriced"),
            (-32003, "max fee per gas less than block base fee"),
            (-32003, "Insufficient funds for gas * price + value"),
        ],
    ),
];

/// Nodes that are tried at a time.
const TOGETHER: usize = 3;

async fn try_node((name, texts): (&'static str, &'static [Said])) {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    let home = Home::on(&chain).rpc(&[&proxy.url]);
    let service = home.serve().await;
    for (payments, (code, text)) in (1..).zip(texts) {
        proxy.fail(SEND, Fault::Refuse(*code, text), Times::Next(1));
        let settled = service.decided(&Draft::default().v2()).await;
        assert!(settled.is_good(), "{name}: {text}: {settled:?}\n{}", home.log());
        assert_eq!(chain.node.transactions_of(GAS_WALLET).await, payments, "{name}: {text}: one nonce each");
        assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000 * payments, "{name}: {text}");
    }
    home.assert_audit();
}

/// H04.
#[tokio::test(flavor = "multi_thread")]
async fn a_send_that_a_node_of_any_make_refuses_wrongly_settles_once() {
    stream::iter(NODES).map(try_node).buffer_unordered(TOGETHER).collect::<Vec<()>>().await;
}
