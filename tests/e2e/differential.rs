//! Thousands of payments, most of them wrong in one way or several, before
//! the official facilitator and before this one: same verdict, same code, or a
//! row in the table of known differences (`tests/sdk/differential/differences.mjs`).

use e2e::{
    anvil::{Anvil, GAS_WALLET_KEY, USDC},
    sdk,
    service::{Home, config::asset},
};
use serde_json::{Map, Value, json};

/// The tokens with a vice that the operator of this test has let in.
const HOSTILE: [(&str, &str); 8] = [
    ("FeeOnTransferUsdc", include_str!("../contracts/out/FeeOnTransferUsdc.runtime.hex")),
    ("IdleUsdc", include_str!("../contracts/out/IdleUsdc.runtime.hex")),
    ("FakeEventUsdc", include_str!("../contracts/out/FakeEventUsdc.runtime.hex")),
    ("ShortUsdc", include_str!("../contracts/out/ShortUsdc.runtime.hex")),
    ("GasBurnerUsdc", include_str!("../contracts/out/GasBurnerUsdc.runtime.hex")),
    ("ReentrantUsdc", include_str!("../contracts/out/ReentrantUsdc.runtime.hex")),
    ("ReturnBombUsdc", include_str!("../contracts/out/ReturnBombUsdc.runtime.hex")),
    ("GarbageBalanceUsdc", include_str!("../contracts/out/GarbageBalanceUsdc.runtime.hex")),
];

#[tokio::test(flavor = "multi_thread")]
async fn eight_thousand_payments_get_the_reference_s_verdict_or_a_reasoned_one() {
    let chain = Anvil::start_with(&[]).await;
    let mut home = Home::on(&chain).asset(asset(USDC));
    let mut tokens = Map::new();
    for (number, (name, code)) in HOSTILE.iter().enumerate() {
        let address = format!("0x{:040x}", 0xa55e_7000 + number);
        chain.node.call("anvil_setCode", json!([address, format!("0x{code}")])).await;
        home = home.asset(asset(&address));
        tokens.insert((*name).to_owned(), Value::from(address));
    }
    let service = home.serve().await;
    let tokens = Value::from(tokens).to_string();
    let (good, printed) =
        sdk::compare(&service.url, &chain.node.url, &["--gas-wallet-key", GAS_WALLET_KEY, "--tokens", &tokens]).await;
    assert!(good, "{printed}\n{}", home.log());
}
