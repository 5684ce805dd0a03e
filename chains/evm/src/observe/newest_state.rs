//! The newest state of one endpoint, as that of one block.
//!
//! Behind one URL there may be several nodes, and the chain may take a block
//! back between two questions. So the state is asked for by the hash of a block
//! (EIP-1898), and what was read counts only while that block, and the block
//! that it is read for, are both part of the chain.

use chains_core::observation::BlockRef;

use super::authorization_use::is_used;
use crate::{
    blocks::{self, Header},
    rpc::{Rpc, error::CallError, method::At},
    tx::plan::Transfer,
};

/// The newest block of one endpoint, whose state is read.
pub(super) struct NewestState<'a> {
    rpc: &'a Rpc,
    header: Header,
}

impl<'a> NewestState<'a> {
    /// Asks for the newest block.
    ///
    /// # Errors
    /// The endpoint gave no answer.
    pub async fn read(rpc: &'a Rpc) -> Result<Self, CallError> {
        Ok(Self { rpc, header: blocks::latest(rpc).await? })
    }

    /// The block's height.
    pub const fn number(&self) -> u64 {
        self.header.number
    }

    /// Returns whether an authorization is used or cancelled in it. A node that takes no hash is asked for its
    /// newest state.
    ///
    /// # Errors
    /// The endpoint gave no answer.
    pub async fn is_used(&self, transfer: &Transfer) -> Result<bool, CallError> {
        if let Ok(hash) = self.header.hash.parse()
            && let Ok(used) = is_used(self.rpc, transfer, At::Hash(hash)).await
        {
            return Ok(used);
        }
        is_used(self.rpc, transfer, At::Latest).await
    }

    /// Returns whether the chain still has both its block and another one, at or below it.
    ///
    /// # Errors
    /// The endpoint gave no answer.
    pub async fn still_follows(&self, block: &BlockRef) -> Result<bool, CallError> {
        if self.header.number < block.number {
            return Ok(false);
        }
        let now = blocks::headers(self.rpc, &[block.number, self.header.number].into()).await?;
        let is_there =
            |number, hash: &str| now.get(&number).is_some_and(|header| header.hash.eq_ignore_ascii_case(hash));
        Ok(is_there(block.number, &block.hash) && is_there(self.header.number, &self.header.hash))
    }
}
