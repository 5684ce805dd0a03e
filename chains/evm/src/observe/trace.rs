//! The calls within a transaction, as nodes trace them.

use alloy::primitives::{Address, Bytes};
use serde::Deserialize;

use crate::{
    method::permit2::abi::{self, Settled},
    rpc::{Rpc, error::CallError, method::Call},
};

/// A call as `debug_traceTransaction` shows it.
#[derive(Debug, Deserialize)]
struct Frame {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    to: Option<Address>,
    #[serde(default)]
    input: Bytes,
    /// Present when the call, and with it all that it called, was undone.
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    calls: Vec<Frame>,
}

/// A call as `trace_transaction` shows it, in a flat list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Flat {
    action: Action,
    #[serde(default)]
    error: Option<String>,
    trace_address: Vec<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Action {
    #[serde(default)]
    call_type: Option<String>,
    #[serde(default)]
    to: Option<Address>,
    #[serde(default)]
    input: Bytes,
}

/// Returns whether a settlement was made within a transaction, and not undone. Asked
/// by either of the two methods that nodes have for it.
///
/// # Errors
/// The endpoint has neither.
pub(super) async fn made(rpc: &Rpc, hash: &str, settlement: &Settled) -> Result<bool, CallError> {
    if let Ok(frame) = rpc.call::<Frame>(Call::trace(hash)).await {
        return Ok(frame.made(settlement));
    }
    let flat: Vec<Flat> = rpc.call(Call::flat_trace(hash)).await?;
    // Every transaction has one call at least: an empty list is no trace.
    if flat.is_empty() {
        return Err(CallError::unreadable());
    }
    Ok(flat.iter().any(|call| call.made(settlement) && !is_undone(call, &flat)))
}

fn is_this(to: Option<Address>, input: &[u8], settlement: &Settled) -> bool {
    to.and_then(|to| abi::settled(to, input)).as_ref() == Some(settlement)
}

impl Frame {
    fn made(&self, settlement: &Settled) -> bool {
        let here = || self.kind == "CALL" && is_this(self.to, &self.input, settlement);
        self.error.is_none() && (here() || self.calls.iter().any(|call| call.made(settlement)))
    }
}

impl Flat {
    fn made(&self, settlement: &Settled) -> bool {
        self.action.call_type.as_deref() == Some("call") && is_this(self.action.to, &self.action.input, settlement)
    }
}

/// Returns whether a call, or one that it was made in, was undone.
fn is_undone(call: &Flat, all: &[Flat]) -> bool {
    all.iter().any(|other| other.error.is_some() && call.trace_address.starts_with(&other.trace_address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(address: &[usize], error: Option<&str>) -> Flat {
        let action = Action { call_type: Some("call".into()), to: None, input: Bytes::new() };
        Flat { action, error: error.map(str::to_owned), trace_address: address.to_vec() }
    }

    #[test]
    fn a_call_is_undone_with_any_call_that_it_was_made_in() {
        let tree = |outer| vec![flat(&[], None), flat(&[0], outer), flat(&[0, 1], None), flat(&[1], Some("Reverted"))];
        for (outer, expected) in [(None, false), (Some("Reverted"), true)] {
            let tree = tree(outer);
            assert_eq!(is_undone(&tree[2], &tree), expected, "{outer:?}");
        }
    }
}
