//! The official TypeScript and Python packages, driven by the scripts in
//! `tests/sdk` and `tests/sdk-python`.

use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

use crate::anvil::{NETWORK, PAYEE, PAYER_KEY};

/// Lets the official server sell and the official client pay, over this
/// facilitator. The process's verdict (the resource was received) and what it printed.
///
/// # Panics
/// If node cannot be started; `tests/run` installs the packages.
pub async fn pay(protocol: &str, facilitator_url: &str, rpc_url: &str) -> (bool, Value) {
    let network = if protocol == "v1" { "base-sepolia" } else { NETWORK };
    let arguments = [
        ["--protocol", protocol],
        ["--facilitator-url", facilitator_url],
        ["--payer-key", PAYER_KEY],
        ["--pay-to", PAYEE],
        ["--rpc-url", rpc_url],
        ["--network", network],
    ];
    let (received, text) = run("pay.mjs", arguments.as_flattened()).await;
    (received, text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or(Value::from(text)))
}

/// Buys in each of these ways of `ways.mjs`, every one with its own payer and
/// payee. Whether everything was as it must be, and what was printed.
///
/// # Panics
/// If node cannot be started; `tests/run` installs the packages.
pub async fn buy(ways: &[&str], facilitator_url: &str, rpc_url: &str, more: &[&str]) -> (bool, String) {
    let place = ["--facilitator-url", facilitator_url, "--rpc-url", rpc_url];
    run("ways.mjs", &[&place, more, ways].concat()).await
}

/// Puts thousands of payments before the official facilitator and before this
/// one. Whether every difference has its reason, and what was printed.
///
/// # Panics
/// If node cannot be started; `tests/run` installs the packages.
pub async fn compare(facilitator_url: &str, rpc_url: &str, more: &[&str]) -> (bool, String) {
    let place = ["--facilitator-url", facilitator_url, "--rpc-url", rpc_url];
    run("differential/run.mjs", &[&place, more].concat()).await
}

/// Plays the golden table; `more` says which facilitator this is. Whether every answer was as it must be, and what was
/// printed.
///
/// # Panics
/// If node cannot be started; `tests/run` installs the packages.
pub async fn golden(facilitator_url: &str, rpc_url: &str, gas_wallet_key: &str, more: &[&str]) -> (bool, String) {
    let place = ["--facilitator-url", facilitator_url, "--rpc-url", rpc_url, "--gas-wallet-key", gas_wallet_key];
    run("golden.mjs", &[&place, more].concat()).await
}

/// Lets the official Python package sell and buy. Whether the resource was
/// received, and what was printed.
///
/// # Panics
/// If Python cannot be started; `tests/run` installs the package.
pub async fn pay_in_python(facilitator_url: &str, rpc_url: &str, more: &[&str]) -> (bool, String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk-python");
    let place = ["--facilitator-url", facilitator_url, "--rpc-url", rpc_url, "--network", NETWORK];
    let people = ["--payer-key", PAYER_KEY, "--pay-to", PAYEE];
    let mut command = Command::new(folder.join(".venv/bin/python"));
    printed(command.arg(folder.join("pay.py")).args(place).args(people).args(more)).await
}

/// The same with the ways of `ways-svm.mjs`; none named: all.
///
/// # Panics
/// If node cannot be started; `tests/run` installs the packages.
pub async fn buy_on_solana(ways: &[&str], facilitator_url: &str, rpc_url: &str) -> (bool, String) {
    let place = ["--facilitator-url", facilitator_url, "--rpc-url", rpc_url];
    run("ways-svm.mjs", &[&place, ways].concat()).await
}

async fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk");
    printed(Command::new("node").arg(program).args(arguments).current_dir(folder)).await
}

/// Returns true when a program ended well, and its output: its result, or why there is none.
async fn printed(command: &mut Command) -> (bool, String) {
    let output = command.output().await.expect("the program starts");
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}
