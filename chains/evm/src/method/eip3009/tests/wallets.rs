//! Payers with code, and what their token and their network make of them.

use super::*;

/// The answer to a payment of a wallet with code, by a token that says this to
/// an authorization that is over.
async fn message(lens: Lens, token: Say, block_overrides: bool) -> String {
    let node = FakeNode::start(move |method, params| match method {
        "eth_getCode" => Say::Result(json!("0x6001")),
        _ if params[0].get("to").is_some() => token.clone(),
        _ => say(lens, params),
    })
    .await;
    let context = fake_node::context(&node);
    context.capabilities.found_block_overrides(block_overrides);
    let read = Exact::new(Arc::new(context)).read(&good()).expect("read");
    match read.verify(Occasion::Verify).await {
        Verdict::Valid(_) => "valid".to_owned(),
        Verdict::Invalid(rejection) => rejection.message.into_owned(),
        Verdict::Unavailable(error) => error.detail,
    }
}

#[tokio::test]
async fn a_token_that_knows_keys_only_is_told_from_one_that_refuses() {
    let reverts = |data: &str| Say::Revert(data.to_owned());
    for (token, expected) in [
        (reverts("0x"), "this token takes signatures of keys only"),
        (Say::Error(3, "execution reverted"), "this token takes signatures of keys only"),
        (reverts("0x08c379a0"), "the transfer would fail"),
        (Say::Error(-32000, "busy"), "the transfer would fail"),
    ] {
        let message = message(Lens::MuteWallet, token.clone(), true).await;
        assert!(message.starts_with(expected), "{token:?}: {message}");
    }
}

#[tokio::test]
async fn wallets_with_code_pay_only_where_the_block_to_come_can_be_simulated() {
    let token = || Say::Error(-32000, "busy");
    assert_eq!(message(Lens::Wallet, token(), true).await, "valid");
    let refused = message(Lens::Wallet, token(), false).await;
    assert!(refused.contains("cannot simulate in the block to come"), "{refused}");
    assert_eq!(message(Lens::Good, token(), false).await, "valid", "a payer with a key alone");
}
