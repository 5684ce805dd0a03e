//! `eth_sendRawTransactionSync` (EIP-7966): a send that is answered when a block
//! includes the transaction.

use std::time::Duration;

use chains_core::transaction::BroadcastResult;
use serde::Deserialize;
use tokio::time::timeout;

use super::{Rpc, error::CallError, method::Call, one, send_answers};
use crate::rpc::method::quantity;

/// The longest wait for a block: nodes wait between 2 and 30 s unless told
/// otherwise, and not all of them can be told.
const PATIENCE: Duration = Duration::from_secs(4);

/// The code of a node that has taken the transaction and waits no longer.
const TIMED_OUT: i64 = 4;

/// The meaning of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncAnswer {
    /// A block of this height is said to include the transaction.
    Included(u64),
    /// Nothing follows from it.
    Nothing,
    /// The node has not got the method, or does not answer as it should.
    Unfit,
}

/// A receipt, as far as it is read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    block_number: String,
}

impl Rpc {
    /// Sends a transaction to the first endpoint alone, and waits for the block that includes it.
    pub(crate) async fn send_sync(&self, raw: &[u8]) -> SyncAnswer {
        let Some(endpoint) = self.pool.usable().next() else { return SyncAnswer::Nothing };
        let calls = [Call::send_sync(raw)];
        timeout(PATIENCE, one::<Receipt>(endpoint, &calls)).await.map_or(SyncAnswer::Nothing, |answer| read(&answer))
    }
}

fn read(answer: &Result<Receipt, CallError>) -> SyncAnswer {
    match answer {
        Ok(receipt) => {
            let number = quantity(&receipt.block_number).and_then(|number| u64::try_from(number).ok());
            number.map_or(SyncAnswer::Unfit, SyncAnswer::Included)
        }
        Err(CallError::Node { error, .. }) if error.code == TIMED_OUT => SyncAnswer::Nothing,
        // What it says of the transaction is heard with the ordinary send.
        Err(CallError::Node { error, .. }) => match send_answers::read_error(error) {
            BroadcastResult::Unknown(_) => SyncAnswer::Unfit,
            BroadcastResult::Accepted
            | BroadcastResult::NonceTooLow
            | BroadcastResult::NonceGap
            | BroadcastResult::NonceTaken
            | BroadcastResult::Underpriced(_)
            | BroadcastResult::InsufficientFunds
            | BroadcastResult::PoolFull
            | BroadcastResult::Rejected(_) => SyncAnswer::Nothing,
        },
        Err(CallError::Transport { .. } | CallError::NoEndpoint | CallError::OneWitness { .. }) => SyncAnswer::Unfit,
    }
}

#[cfg(test)]
mod tests {
    use chains_rpc::Fault;

    use super::*;
    use crate::rpc::error::NodeError;

    #[test]
    fn only_a_receipt_tells_of_a_block_and_only_what_is_no_answer_to_a_send_is_unfit() {
        let receipt = |number: &str| Ok(Receipt { block_number: number.to_owned() });
        let error = |code, text| Err(CallError::Node { host: "h".into(), error: NodeError::new(code, text, None) });
        let fault = |fault| Err(CallError::Transport { host: "h".into(), fault });
        let cases = [
            (receipt("0x10"), SyncAnswer::Included(16)),
            (receipt("pending"), SyncAnswer::Unfit),
            (receipt("0x10000000000000000"), SyncAnswer::Unfit),
            (error(4, "the transaction was added to the mempool but was not processed in 2s"), SyncAnswer::Nothing),
            (error(-32000, "already known"), SyncAnswer::Nothing),
            (error(-32003, "nonce too low"), SyncAnswer::Nothing),
            (error(-32000, "insufficient funds for gas * price + value"), SyncAnswer::Nothing),
            (error(-32601, "the method eth_sendRawTransactionSync does not exist/is not available"), SyncAnswer::Unfit),
            (error(-32005, "rate limit"), SyncAnswer::Unfit),
            (fault(Fault::Status(403)), SyncAnswer::Unfit),
            (fault(Fault::Unreadable), SyncAnswer::Unfit),
            (fault(Fault::Broken), SyncAnswer::Unfit),
        ];
        for (answer, expected) in cases {
            assert_eq!(read(&answer), expected, "{answer:?}");
        }
    }
}
