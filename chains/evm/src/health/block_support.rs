//! Finds out whether simulations can be made in the block to come.
//!
//! Code can see the block that it runs in. A wallet that accepts a signature
//! in the newest block, where `eth_call` runs by itself, and in no later one
//! would pass every simulation and fail every transaction.

use alloy::primitives::{Bytes, U256};
use chains_core::chain::ChainUnavailable;

use crate::{
    context::Context,
    rpc::error::CallError,
    simulation::{BlockPlace, Simulation},
};

/// Creation code whose "deployed code" is `block.number` and `block.timestamp`.
const SAYS_PLACE: &str = "0x436000524260205260406000f3";

/// Blocks, and seconds, after the newest block that the probe names: more than
/// can pass meanwhile.
const AHEAD: u64 = 1000;

/// Gas of the call.
const GAS: u64 = 100_000;

/// The finding about a node that does not: what was seen, what it means, what to do.
pub(crate) const SEEN: &str = "a node simulates in its newest block, whatever block an eth_call names";
pub(crate) const MEANING: &str =
    "Wallets with code could behave otherwise on chain, at the gas wallets' cost: payments of theirs are refused";
pub(crate) const FIX: &str = "Use nodes that heed block overrides in eth_call (geth, reth, Nethermind, Erigon do), or \
                              accept the risk by `contract_wallets_unsimulated = true`";

/// Looks, at every endpoint: simulations go to any of them.
pub(crate) async fn probe(context: &Context) -> Result<bool, ChainUnavailable> {
    let Some(newest) = context.blocks.newest() else { return Ok(false) };
    let number = newest.header.number.saturating_add(AHEAD);
    let place = BlockPlace { number, timestamp: newest.header.timestamp.saturating_add(AHEAD) };
    let simulation = Simulation::of_creation(context.wallets.first(), SAYS_PLACE.to_owned(), GAS);
    let call = simulation.call(None, Some(place));
    let (mut heeded, mut ignored, mut failure) = (false, false, CallError::NoEndpoint);
    for answer in context.rpc.everywhere::<Bytes>(call).await {
        match answer {
            Ok(answer) if is_heeded(&answer, place) => heeded = true,
            Ok(_) | Err(CallError::Node { .. }) => ignored = true,
            Err(error) => failure = error,
        }
    }
    if heeded || ignored { Ok(heeded && !ignored) } else { Err(context.rpc.unavailable(failure)) }
}

/// Pure: whether code saw the block that was named.
fn is_heeded(answer: &[u8], place: BlockPlace) -> bool {
    let word = |value: u64| U256::from(value).to_be_bytes::<32>();
    *answer == [word(place.number), word(place.timestamp)].concat()[..]
}

#[cfg(test)]
mod tests {
    use alloy::hex;
    use chains_core::observation::Urgency;
    use serde_json::json;

    use super::*;
    use crate::fake_node::{self, FakeNode, Say};

    fn newest(method: &str) -> Say {
        Say::Result(if method == "eth_blockNumber" {
            json!("0x64")
        } else {
            json!({ "number": "0x64", "hash": "0xb", "parentHash": "0xa", "timestamp": format!("{:#x}", fake_node::NOW) })
        })
    }

    async fn probed(context: &Context) -> Result<bool, ChainUnavailable> {
        context.blocks.next(&context.rpc, None, Urgency::Closely).await.expect("a block");
        probe(context).await
    }

    async fn node(heeds: bool) -> FakeNode {
        FakeNode::start(move |method, params| {
            if method != "eth_call" {
                return newest(method);
            }
            let number = |key: &str| {
                let named = params[3][key].as_str().and_then(crate::rpc::method::quantity);
                named.filter(|_| heeds).unwrap_or(U256::from(7)).to_be_bytes::<32>()
            };
            Say::Result(json!(hex::encode_prefixed([number("number"), number("time")].concat())))
        })
        .await
    }

    #[tokio::test]
    async fn all_endpoints_must_heed_the_block_that_a_simulation_names() {
        for (heed, expected) in [(vec![true], true), (vec![true, true], true), (vec![true, false], false)] {
            let mut nodes = vec![];
            for heeds in &heed {
                nodes.push(node(*heeds).await);
            }
            let mut context = fake_node::context(&nodes[0]);
            context.rpc = fake_node::rpc(&nodes.iter().collect::<Vec<_>>());
            assert_eq!(probed(&context).await, Ok(expected), "{heed:?}");
        }
        let refuses = FakeNode::start(|method, _| match method {
            "eth_call" => Say::Error(-32602, "too many arguments, want at most 3"),
            _ => newest(method),
        })
        .await;
        assert_eq!(probed(&fake_node::context(&refuses)).await, Ok(false));
    }
}
