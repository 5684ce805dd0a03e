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
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk");
    let network = if protocol == "v1" { "base-sepolia" } else { NETWORK };
    let output = Command::new("node")
        .arg("pay.mjs")
        .args(["--protocol", protocol, "--facilitator-url", facilitator_url, "--payer-key", PAYER_KEY])
        .args(["--pay-to", PAYEE, "--rpc-url", rpc_url, "--network", network])
        .current_dir(folder)
        .output()
        .await
        .expect("node runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let printed = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    let printed = printed.unwrap_or_else(|| Value::from(String::from_utf8_lossy(&output.stderr).into_owned()));
    (output.status.success(), printed)
}
