//! Checks that endpoints can say everything that ending a payment needs: a node
//! that takes payments and cannot tell what became of them is useless.

use chains_rpc::Endpoint as _;
use futures::{FutureExt, future::join_all};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use solana_client::rpc_request::RpcRequest;
use solana_sdk::{hash::Hash, signature::Signature};

use crate::{
    context::Context,
    programs,
    rpc::{endpoint::Endpoint, error::Failure},
};

/// The node keeps no transaction history.
const NO_HISTORY: i64 = -32_011;
/// The node does not serve the method.
const NO_METHOD: i64 = -32_601;

/// A question that an endpoint cannot answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inability {
    /// Its host.
    pub host: String,
    /// The method.
    pub method: String,
    /// Its words.
    pub said: String,
}

impl Inability {
    /// Its meaning for operators.
    pub const MEANING: &str = "Payments would be taken whose end it cannot tell";
    pub const FIX: &str = "Start the node with --enable-rpc-transaction-history, ask its provider for the method, or remove it from `rpc`";
}

/// Asks every usable endpoint once for each method.
pub(crate) async fn missing(context: &Context) -> Vec<Inability> {
    let endpoints = context.rpc.endpoints().iter().filter(|endpoint| endpoint.standing().is_proven());
    // Boxed: the compiler cannot see through the borrowed closures otherwise.
    let asked = endpoints.map(|endpoint| missing_of(context, endpoint).boxed());
    join_all(asked.collect::<Vec<_>>()).await.into_iter().flatten().collect()
}

async fn missing_of(context: &Context, endpoint: &Endpoint) -> Vec<Inability> {
    let mut found = vec![];
    for (request, params) in questions(context) {
        if let Some(said) = refuses(endpoint, request, params).await {
            found.push(Inability { host: endpoint.host().to_owned(), method: request.to_string(), said });
        }
    }
    found
}

/// Questions about nothing, which every able node answers.
fn questions(context: &Context) -> Vec<(RpcRequest, Value)> {
    let (signature, finalized) = (Signature::default().to_string(), json!({"commitment": "finalized"}));
    let mut questions = vec![
        (RpcRequest::GetSlot, json!([finalized])),
        (RpcRequest::GetEpochInfo, json!([finalized])),
        (RpcRequest::GetSignatureStatuses, json!([[signature], {"searchTransactionHistory": true}])),
        (RpcRequest::GetFirstAvailableBlock, Value::Null),
        (RpcRequest::IsBlockhashValid, json!([Hash::default().to_string(), finalized])),
    ];
    // What their status does not prove, the transaction itself has to.
    let has_extensions = context.mints.sound().iter().any(|mint| mint.program == programs::TOKEN_2022);
    if has_extensions || !context.config.smart_wallets.is_empty() {
        let config = json!({"commitment": "confirmed", "maxSupportedTransactionVersion": 0});
        questions.push((RpcRequest::GetTransaction, json!([signature, config])));
    }
    questions
}

/// The endpoint's words, when it says that it cannot. Everything else passes.
async fn refuses(endpoint: &Endpoint, request: RpcRequest, params: Value) -> Option<String> {
    match endpoint.client().send::<IgnoredAny>(request, params).await {
        Err(Failure::Node(error)) if matches!(error.code, NO_HISTORY | NO_METHOD) => Some(error.to_string()),
        Ok(_) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{
        fake_node::{self, FakeNode, Say},
        local::USDC,
        mint::SoundMint,
    };

    fn without(method: &'static str, code: i64) -> FakeNode {
        FakeNode::new(
            move |asked, _| {
                if asked == method { Say::Error(code, "not here") } else { Say::Result(Value::Null) }
            },
        )
    }

    #[tokio::test]
    async fn an_endpoint_that_cannot_tell_what_became_of_a_payment_is_named() {
        let cases = [
            ("getSlot", NO_METHOD, true),
            ("getEpochInfo", NO_METHOD, true),
            ("getSignatureStatuses", NO_HISTORY, true),
            ("getFirstAvailableBlock", NO_METHOD, true),
            ("isBlockhashValid", NO_METHOD, true),
            ("isBlockhashValid", -32_005, false),
            ("getTransaction", NO_HISTORY, false),
        ];
        for (method, code, is_missed) in cases {
            let (bad, good) = (without(method, code), without("nothing", NO_METHOD));
            let found = missing(&fake_node::context(&[&good, &bad])).await;
            let named: Vec<(&str, &str)> = found.iter().map(|m| (m.host.as_str(), m.method.as_str())).collect();
            let expected = if is_missed { vec![("node1", method)] } else { vec![] };
            assert_eq!(named, expected, "{method} {code}");
        }
    }

    #[tokio::test]
    async fn transactions_are_needed_where_a_status_proves_nothing() {
        let node = without("getTransaction", NO_HISTORY);
        let context = fake_node::context(&[&node]);
        assert_eq!(missing(&context).await, []);
        context.mints.note(
            &context.config.network,
            HashMap::from([(USDC, Ok(SoundMint { program: programs::TOKEN_2022, decimals: 6 }))]),
        );
        assert_eq!(missing(&context).await.len(), 1);
    }
}
