//! Wallets that are not deployed yet (ERC-6492): what a factory may be called
//! with, and who pays when the call is not what it says.

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    sol,
    sol_types::{SolCall, SolValue},
};
use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYEE, USDC},
    payer::Draft,
    service::{Home, Service},
};
use serde_json::{Value, json};

sol! {
    function deploy(address owner, bytes32 salt) external returns (address wallet);
    function addressOf(address owner, bytes32 salt) external view returns (address wallet);
    function transfer(address to, uint256 value) external returns (bool);
}

/// The factory that is allowed.
const FACTORY: &str = "0xfac7000000000000000000000000000000006492";

/// A contract that burns all its gas, allowed by mistake.
const BURNER: &str = "0xfac7000000000000000000000000000000000bad";

/// A wrapper's end.
const SUFFIX: [u8; 2] = [0x64, 0x92];

async fn start() -> (Anvil, Home, Service) {
    let chain = Anvil::start().await;
    let code = include_str!("../contracts/out/OwnerWalletFactory.runtime.hex").trim_end();
    chain.node.call("anvil_setCode", json!([FACTORY, format!("0x{code}")])).await;
    chain.node.call("anvil_setCode", json!([BURNER, "0xfe"])).await;
    let home = Home::on(&chain).network("erc6492_factories", vec![FACTORY, BURNER]);
    let service = home.serve().await;
    (chain, home, service)
}

fn address(text: &str) -> Address {
    text.parse().expect("an address")
}

/// A payment from the wallet that the factory would deploy for the usual key.
async fn draft(chain: &Anvil, salt: u8) -> (Draft, Bytes) {
    let (owner, salt) = (Draft::default().key.address(), B256::repeat_byte(salt));
    let question = format!("0x{}", hex::encode(addressOfCall { owner, salt }.abi_encode()));
    let answer = chain.node.call("eth_call", json!([{"to": FACTORY, "data": question}, "latest"])).await;
    let word = hex::decode(answer.as_str().expect("hex").trim_start_matches("0x")).expect("hex");
    let from = Address::from_slice(&word[12..]);
    chain.mint(&from.to_checksum(None), 1_000_000).await;
    (Draft { from, ..Draft::default() }, deployCall { owner, salt }.abi_encode().into())
}

/// The body with the signature wrapped.
fn wrapped(draft: &Draft, factory: &str, calldata: Bytes) -> Value {
    let wrapper = (address(factory), calldata, Bytes::from(draft.signature())).abi_encode_params();
    let bytes = [wrapper, SUFFIX.repeat(16)].concat();
    let mut body = draft.v2();
    body["paymentPayload"]["payload"]["signature"] = json!(format!("0x{}", hex::encode(bytes)));
    body
}

/// C05: whatever the wrapper says, nothing is called that deploys no wallet of the payer's.
#[tokio::test(flavor = "multi_thread")]
async fn only_an_allowed_factory_that_makes_the_payer_s_wallet_is_called() {
    let (chain, _home, service) = start().await;
    let (payment, deploy) = draft(&chain, 1).await;
    let other_salt = deployCall { owner: payment.key.address(), salt: B256::repeat_byte(2) }.abi_encode();
    let other_owner = deployCall { owner: address(PAYEE), salt: B256::repeat_byte(1) }.abi_encode();
    let theft = transferCall { to: address(PAYEE), value: U256::from(1) }.abi_encode();
    let forged = Draft { value: U256::from(20_000), ..payment.clone() };
    let mut forged = (forged.v2(), wrapped(&payment, FACTORY, deploy.clone()));
    forged.0["paymentPayload"]["payload"]["signature"] = forged.1["paymentPayload"]["payload"]["signature"].take();
    let (not_allowed, signature) = ("eip6492_factory_not_allowed", "invalid_exact_evm_signature");
    let cases = [
        ("the token as a factory", wrapped(&payment, USDC, theft.into()), not_allowed),
        ("a stranger's contract", wrapped(&payment, PAYEE, deploy.clone()), not_allowed),
        ("another wallet is deployed", wrapped(&payment, FACTORY, other_salt.into()), signature),
        ("a wallet of somebody else", wrapped(&payment, FACTORY, other_owner.into()), signature),
        ("no call that the factory knows", wrapped(&payment, FACTORY, vec![1, 2, 3, 4].into()), signature),
        ("signed for another amount", forged.0, signature),
        ("all gas is burnt", wrapped(&payment, BURNER, deploy), "invalid_exact_evm_transaction_simulation_failed"),
    ];
    for (name, body, expected) in cases {
        for (path, key) in [("/verify", "invalidReason"), ("/settle", "errorReason")] {
            let answer = service.post(path, &body).await;
            let reason = answer.text(key);
            // What is left of the gas after a burner decides which of the two is seen.
            let burnt = name == "all gas is burnt" && reason == signature;
            assert!(reason == expected || burnt, "{name} {path}: {answer:?}");
        }
    }
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 0, "nothing is spent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_somebody_deploys_meanwhile_pays_all_the_same() {
    let (chain, home, service) = start().await;
    let (payment, deploy) = draft(&chain, 3).await;
    let body = wrapped(&payment, FACTORY, deploy.clone());
    assert!(service.post("/verify", &body).await.is_good());
    let code = json!([payment.from.to_checksum(None), "latest"]);
    assert_eq!(chain.node.call("eth_getCode", code.clone()).await, "0x", "a verification deploys nothing");
    chain.send_and_mine(PAYEE, FACTORY, &format!("0x{}", hex::encode(&deploy))).await;
    assert_ne!(chain.node.call("eth_getCode", code).await, "0x");
    assert!(service.post("/settle", &body).await.is_good());
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000);
    let again = service.post("/settle", &body).await;
    assert_eq!(again.text("errorReason"), "duplicate_settlement", "{again:?}");
    let second = Draft { nonce: B256::repeat_byte(9), ..payment };
    assert!(service.post("/settle", &wrapped(&second, FACTORY, deploy)).await.is_good(), "a wrapper stays welcome");
    let (code, text) = home.audit();
    assert_eq!(code, 0, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deployment_and_payment_are_one_capped_transaction() {
    let (chain, home, service) = start().await;
    let (payment, deploy) = draft(&chain, 4).await;
    let settled = service.post("/settle", &wrapped(&payment, FACTORY, deploy)).await;
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    assert_eq!(chain.node.transactions_of(GAS_WALLET).await, 1);
    let transaction = chain.node.call("eth_getTransactionByHash", json!([settled.text("transaction")])).await;
    assert_eq!(transaction["gas"], format!("{:#x}", 600_000), "{transaction}");
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000);
}
