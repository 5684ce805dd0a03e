//! A local chain that looks like Base Sepolia: chain id 84532, a USDC look-alike
//! at USDC's address, Permit2 and x402's proxies at theirs, blocks each second.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use serde_json::json;

use crate::{
    eventually,
    node::{Node, parse_quantity},
};

/// USDC on Base Sepolia.
pub const USDC: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
/// The network's CAIP-2 identifier.
pub const NETWORK: &str = "eip155:84532";
/// anvil's accounts have these well-known keys; the first one is the gas wallet.
pub const GAS_WALLET_KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
/// The gas wallet's address.
pub const GAS_WALLET: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
/// The usual payer.
pub const PAYER_KEY: &str = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
/// The usual payer's address.
pub const PAYER: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
/// The usual payee.
pub const PAYEE: &str = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";

/// A token with neither EIP-3009 nor EIP-2612.
pub const PLAIN_ERC20: &str = "0x00000000000000000000000000000000000e4c20";
/// A token with EIP-2612 and without EIP-3009; its domain is ("Permit", "1").
pub const PERMIT_ERC20: &str = "0x000000000000000000000000000000000e4c2612";
/// Deploys smart wallets (ERC-6492).
pub const WALLET_FACTORY: &str = "0x000000000000000000000000000000000fac6492";

/// The contracts that are on the chain from the start: the tokens, Permit2, the
/// two proxies of x402, Multicall3 and the factory.
const CODES: [(&str, &str); 8] = [
    (PLAIN_ERC20, include_str!("../contracts/out/PlainErc20.runtime.hex")),
    (PERMIT_ERC20, include_str!("../contracts/out/PermitErc20.runtime.hex")),
    (WALLET_FACTORY, include_str!("../contracts/out/OwnerWalletFactory.runtime.hex")),
    (USDC, include_str!("../../chains/evm/contracts/out/DemoUsdc.runtime.hex")),
    ("0x000000000022D473030F116dDEE9F6B43aC78BA3", include_str!("../contracts/out/Permit2.runtime.hex")),
    ("0x402085c248EeA27D92E8b30b2C58ed07f9E20001", include_str!("../contracts/out/x402ExactPermit2Proxy.runtime.hex")),
    ("0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002", include_str!("../contracts/out/x402UptoPermit2Proxy.runtime.hex")),
    ("0xcA11bde05977b3631167028862bE2a173976CA11", include_str!("../contracts/out/Multicall3.runtime.hex")),
];

/// A running anvil; ends when dropped.
pub struct Anvil {
    process: Child,
    /// The node.
    pub node: Node,
    /// Its port.
    pub port: u16,
}

impl Drop for Anvil {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A port that nobody listens on.
///
/// # Panics
/// If the machine has none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

impl Anvil {
    /// Starts a chain with blocks each second and funds the usual payer.
    pub async fn start() -> Self {
        Self::start_with(&["--block-time", "1"]).await
    }

    /// Starts a chain with other arguments, for example none: a block for each transaction.
    pub async fn start_with(arguments: &[&str]) -> Self {
        Self::start_as("84532", arguments).await
    }

    /// Starts a chain of another id.
    ///
    /// # Panics
    /// If anvil cannot be started; `tests/run` installs it.
    pub async fn start_as(id: &str, arguments: &[&str]) -> Self {
        let port = free_port();
        // Blocks are final two epochs later.
        let has_epoch = arguments.contains(&"--slots-in-an-epoch");
        let finality: &[&str] = if has_epoch { &[] } else { &["--slots-in-an-epoch", "1"] };
        let process = Command::new("anvil")
            .args(["--chain-id", id, "--hardfork", "prague", "--silent", "--port"])
            .arg(port.to_string())
            .args(finality.iter().chain(arguments))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`anvil` is on PATH; `tests/run` installs it and sets PATH");
        let node = Node::at(format!("http://127.0.0.1:{port}"));
        let chain = Self { process, node, port };
        eventually("anvil answers", || async { chain.node.try_call("eth_chainId", json!([])).await }).await;
        for (address, code) in CODES {
            chain.node.call("anvil_setCode", json!([address, format!("0x{code}")])).await;
        }
        chain.mint(PAYER, 1_000_000_000_000).await;
        chain
    }

    /// Gives somebody test money.
    ///
    /// # Panics
    /// If the chain refuses.
    pub async fn mint(&self, to: &str, amount: u128) {
        let data = format!("0x40c10f19{:0>64}{amount:064x}", to.trim_start_matches("0x"));
        self.send_and_mine("0x14dC79964da2C08b23698B3D3cc7Ca32193d9955", USDC, &data).await;
    }

    /// Returns the fees of these gas wallets' reverted transactions in all blocks, in wei.
    ///
    /// # Panics
    /// If the chain does not answer.
    pub async fn gas_lost(&self, wallets: &[&str]) -> u128 {
        let mut lost = 0;
        for number in 0..=self.node.quantity("eth_blockNumber", json!([])).await {
            let receipts = self.node.call("eth_getBlockReceipts", json!([format!("{number:#x}")])).await;
            for receipt in receipts.as_array().into_iter().flatten() {
                let is_ours = wallets.iter().any(|wallet| receipt["from"] == wallet.to_lowercase());
                if is_ours && receipt["status"] == "0x0" {
                    lost += parse_quantity(&receipt["gasUsed"]) * parse_quantity(&receipt["effectiveGasPrice"]);
                }
            }
        }
        lost
    }

    /// Puts a contract on the chain; its address.
    ///
    /// # Panics
    /// If the chain refuses.
    pub async fn deploy(&self, code: &str) -> String {
        let transaction = json!([{
            "from": "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955", "data": format!("0x{code}"), "gas": "0x400000",
        }]);
        let hash = self.node.call("eth_sendTransaction", transaction).await;
        self.node.mine().await;
        eventually("the contract is on the chain", || async {
            let receipt = self.node.try_call("eth_getTransactionReceipt", json!([hash])).await?;
            receipt["contractAddress"].as_str().map(str::to_owned)
        })
        .await
    }

    /// Sends a transaction from one of anvil's unlocked accounts and waits for it.
    pub async fn send_and_mine(&self, from: &str, to: &str, data: &str) -> serde_json::Value {
        let transaction = json!([{"from": from, "to": to, "data": data, "gas": "0x200000"}]);
        let hash = self.node.call("eth_sendTransaction", transaction).await;
        self.node.mine().await;
        eventually("the transaction is in a block", || async {
            let receipt = self.node.try_call("eth_getTransactionReceipt", json!([hash])).await?;
            receipt.is_object().then_some(receipt)
        })
        .await
    }
}
