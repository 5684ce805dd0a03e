//! The lives of blockhashes, asked once in a slot for all payments.
//!
//! A blockhash is accepted for 150 blocks. The chain lists those that are in
//! an account; the height of the last block that accepts one never changes, so
//! it is remembered.

use std::collections::HashMap;

use parking_lot::RwLock;
use serde_json::json;
use solana_account_decoder_client_types::UiAccountEncoding;
use solana_client::{
    rpc_config::{RpcAccountInfoConfig, RpcContextConfig},
    rpc_request::RpcRequest,
    rpc_response::Response,
};
use solana_commitment_config::CommitmentConfig;
use solana_sdk::{hash::Hash, pubkey::Pubkey};

use crate::{
    config::BLOCKHASH_BLOCKS,
    pace::Newest,
    rpc::{ClientResult, Rpc, RpcClient, error::CallError},
};

/// The account that lists the blockhashes that are accepted, newest first.
const RECENT_BLOCKHASHES: Pubkey = Pubkey::from_str_const("SysvarRecentB1ockHashes11111111111111111111");

/// The time of a blockhash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The height of the last block that accepts it, at most.
    pub last_height: u64,
    /// The height by which it was known, at most.
    pub known_height: u64,
    /// True when `last_height` is exact. Some nodes do not list blockhashes.
    pub is_exact: bool,
    /// The blocks that know it.
    pub commitment: CommitmentConfig,
}

/// The blockhashes of one network.
#[derive(Debug, Default)]
pub struct Blockhashes {
    listed: RwLock<Listed>,
    /// Held while they are asked for.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Listed {
    /// The slot of the newest block whose list was asked for.
    slot: u64,
    /// The height of the block that listed them, at most.
    height: u64,
    /// For each, the height of the last block that accepts it. Empty where
    /// nodes do not keep the list.
    last_heights: HashMap<Hash, u64>,
}

impl Blockhashes {
    /// The time of a blockhash; `None` when it is not accepted.
    ///
    /// # Errors
    /// No endpoint answered.
    pub async fn life(&self, rpc: &Rpc, newest: Newest, hash: Hash) -> Result<Option<Life>, CallError> {
        if let Some(life) = self.listed(hash) {
            return Ok(Some(life));
        }
        let is_listing = self.refresh(rpc, newest).await?;
        if let Some(life) = self.listed(hash) {
            return Ok(Some(life));
        }
        if !is_listing {
            let confirmed = CommitmentConfig::confirmed();
            let answer = rpc.read(|client| is_valid(client, hash, confirmed)).await?;
            if answer.value {
                return unlisted(newest, answer.context.slot, confirmed).map(Some);
            }
        }
        // It may be newer than the newest confirmed block of this node.
        let processed = CommitmentConfig::processed();
        let answer = rpc.read_elsewhere(|client| is_valid(client, hash, processed)).await?;
        answer.value.then(|| unlisted(newest, answer.context.slot, processed)).transpose()
    }

    fn listed(&self, hash: Hash) -> Option<Life> {
        let listed = self.listed.read();
        let last_height = *listed.last_heights.get(&hash)?;
        let (known_height, commitment) = (listed.height, CommitmentConfig::confirmed());
        Some(Life { last_height, known_height, is_exact: true, commitment })
    }

    /// Asks for the list, once in a slot; whether nodes keep one.
    async fn refresh(&self, rpc: &Rpc, newest: Newest) -> Result<bool, CallError> {
        let _asking = self.asking.lock().await;
        let is_new = |listed: &Listed| listed.slot >= newest.slot;
        if let Some(is_listing) = Some(self.listed.read()).filter(|l| is_new(l)).map(|l| !l.last_heights.is_empty()) {
            return Ok(is_listing);
        }
        let (slot, data) = rpc.read(list).await?;
        let height = newest.height_max_at(slot).ok_or_else(CallError::unreadable)?;
        let last_heights = data.as_deref().map(|data| read(data, height)).unwrap_or_default();
        let is_listing = !last_heights.is_empty();
        *self.listed.write() = Listed { slot: newest.slot, height, last_heights };
        Ok(is_listing)
    }
}

/// The time of a blockhash that a node accepts at a slot and does not list.
///
/// # Errors
/// The slot is too far ahead to be believed.
fn unlisted(newest: Newest, slot: u64, commitment: CommitmentConfig) -> Result<Life, CallError> {
    let known_height = newest.height_max_at(slot).ok_or_else(CallError::unreadable)?;
    let last_height = known_height.saturating_add(BLOCKHASH_BLOCKS);
    Ok(Life { last_height, known_height, is_exact: false, commitment })
}

async fn list(client: &RpcClient) -> ClientResult<(u64, Option<Vec<u8>>)> {
    let config = RpcAccountInfoConfig {
        encoding: Some(UiAccountEncoding::Base64),
        commitment: Some(CommitmentConfig::confirmed()),
        ..RpcAccountInfoConfig::default()
    };
    let answer = client.get_ui_account_with_config(&RECENT_BLOCKHASHES, config).await?;
    Ok((answer.context.slot, answer.value.and_then(|account| account.data.decode())))
}

async fn is_valid(client: &RpcClient, hash: Hash, commitment: CommitmentConfig) -> ClientResult<Response<bool>> {
    let config = RpcContextConfig { commitment: Some(commitment), min_context_slot: None };
    client.send(RpcRequest::IsBlockhashValid, json!([hash.to_string(), config])).await
}

/// The bytes of their count.
const COUNT: usize = 8;
/// A blockhash, and what a signature cost then, as eight bytes.
const ENTRY: usize = 32 + 8;

/// The list in a block of this height: the newest is accepted by 150 more.
fn read(data: &[u8], height: u64) -> HashMap<Hash, u64> {
    let entries = data.get(COUNT..).unwrap_or_default().chunks_exact(ENTRY);
    let hashes = entries.filter_map(|entry| entry.first_chunk::<32>().copied().map(Hash::new_from_array));
    let last = height.saturating_add(BLOCKHASH_BLOCKS);
    hashes.zip((height.saturating_add(1)..=last).rev()).collect()
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use serde_json::Value;

    use super::*;
    use crate::fake_node::{self, FakeNode, Say, at};

    fn hash(n: u8) -> Hash {
        Hash::new_from_array([n; 32])
    }

    fn listing() -> Vec<u8> {
        let mut data = 150_u64.to_le_bytes().to_vec();
        for n in 0..150 {
            data.extend_from_slice(hash(n).as_ref());
            data.extend_from_slice(&5000_u64.to_le_bytes());
        }
        data
    }

    #[test]
    fn the_newest_blockhash_lives_for_150_blocks_and_the_oldest_for_one() {
        let listed = read(&listing(), 1000);
        for (n, last) in [(0, Some(1150)), (119, Some(1031)), (149, Some(1001)), (150, None)] {
            assert_eq!(listed.get(&hash(n)).copied(), last, "{n}");
        }
        assert!(read(&[], 1000).is_empty() && read(&[0; 8], 1000).is_empty());
    }

    const NEWEST: Newest = Newest { slot: 2000, height: 1000 };

    fn node(account: Value, valid_at: &'static str) -> FakeNode {
        FakeNode::new(move |method, params| match method {
            "getAccountInfo" => at(2000, &account),
            "isBlockhashValid" => at(2002, &json!(params[1]["commitment"] == valid_at)),
            _ => Say::Error(-32601, "no such method"),
        })
    }

    fn account() -> Value {
        let data = [BASE64_STANDARD.encode(listing()), "base64".to_owned()];
        json!({"lamports": 1, "data": data, "owner": Pubkey::default().to_string(), "executable": false,
            "rentEpoch": 0, "space": 6008})
    }

    #[tokio::test]
    async fn one_question_a_slot_tells_of_all_blockhashes() {
        let node = node(account(), "never");
        let (rpc, blockhashes) = (fake_node::rpc(&[&node]), Blockhashes::default());
        for (n, last_height) in [(0, 1150), (7, 1143), (149, 1001)] {
            let life = blockhashes.life(&rpc, NEWEST, hash(n)).await.expect("asked").expect("accepted");
            assert_eq!((life.last_height, life.known_height, life.is_exact), (last_height, 1000, true));
        }
        assert_eq!(node.calls(), 1);
        assert_eq!(blockhashes.life(&rpc, NEWEST, hash(200)).await, Ok(None));
        assert_eq!((node.calls_of("getAccountInfo"), node.calls_of("isBlockhashValid")), (1, 1));
        let later = Newest { slot: 2001, height: 1001 };
        assert_eq!(blockhashes.life(&rpc, later, hash(200)).await, Ok(None));
        assert_eq!(node.calls_of("getAccountInfo"), 2, "a new slot may know it");
    }

    #[tokio::test]
    async fn a_blockhash_that_only_the_newest_block_knows_and_one_that_no_list_has_are_bounded() {
        for (account, valid_at) in [(account(), "processed"), (Value::Null, "confirmed")] {
            let node = node(account, valid_at);
            let (rpc, blockhashes) = (fake_node::rpc(&[&node]), Blockhashes::default());
            let life = blockhashes.life(&rpc, NEWEST, hash(200)).await.expect("asked").expect("accepted");
            let expected = CommitmentConfig { commitment: valid_at.parse().expect("a commitment") };
            assert_eq!(life, Life { last_height: 1152, known_height: 1002, is_exact: false, commitment: expected });
        }
    }

    /// Its heights would be far above the chain's, and nothing would ever expire.
    #[tokio::test]
    async fn a_slot_that_is_too_far_ahead_tells_of_nothing() {
        let listed = account();
        let node = FakeNode::new(move |method, _| match method {
            "getAccountInfo" => at(1_000_000, &listed),
            _ => at(1_000_000, &json!(true)),
        });
        let (rpc, blockhashes) = (fake_node::rpc(&[&node]), Blockhashes::default());
        assert!(blockhashes.life(&rpc, NEWEST, hash(7)).await.is_err());
    }
}
