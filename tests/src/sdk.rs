//! The official TypeScript packages, driven by the scripts in `tests/sdk`.

use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

use crate::anvil::{NETWORK, PAYEE, PAYER_KEY};

/// Lets the official server sell and the official client pay, over this
/// facilitator. The process's verdict (the resource was received) and what it printed.
///
/// # Panics
/// When node cannot be started; `tests/run` installs the packages.
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
/// When node cannot be started; `tests/run` installs the packages.
pub async fn buy(ways: &[&str], facilitator_url: &str, rpc_url: &str, more: &[&str]) -> (bool, String) {
    let place = ["--facilitator-url", facilitator_url, "--rpc-url", rpc_url];
    run("ways.mjs", &[&place, more, ways].concat()).await
}

/// Puts thousands of payments before the official facilitator and before this
/// one. Whether every difference has its reason, and what was printed.
///
/// # Panics
/// When node cannot be started; `tests/run` installs the packages.
pub async fn compare(facilitator_url: &str, rpc_url: &str, more: &[&str]) -> (bool, String) {
    let place = ["--facilitator-url", facilitator_url, "--rpc-url", rpc_url];
    run("differential/run.mjs", &[&place, more].concat()).await
}

async fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk");
    let output = Command::new("node").arg(program).args(arguments).current_dir(folder).output().await;
    let output = output.expect("node runs");
    let printed = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
}
