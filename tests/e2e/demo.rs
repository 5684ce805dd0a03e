//! The first five minutes work: on both families, with an effect on the chain.

use e2e::service::binary;
use tokio::process::Command;

async fn demonstrated(arguments: &[&str]) {
    let output = Command::new(binary()).arg("demo").args(arguments).output().await.expect("the binary starts");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{printed}\n{said}");
    assert!(printed.contains("payee's balance 0 → 10000") && printed.contains("sunny"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_shown_on_a_local_evm_chain() {
    demonstrated(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_shown_on_a_local_solana_validator() {
    demonstrated(&["--solana"]).await;
}
