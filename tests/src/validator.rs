//! A validator that looks like devnet: two tokens, one of each token program,
//! at the addresses that devnet's USDC and PYUSD have.

use std::{
    net::{TcpListener, UdpSocket},
    process::{Child, Command, Stdio},
};

use chains_svm::local::{Genesis, LocalChain, PYUSD, Payer, USDC};
use tempfile::TempDir;

use crate::{eventually, guard, wallet};

/// The first balance of every payer and fee payer, in lamports.
pub const COINS: u64 = 10_000_000_000;
/// The first balance of every payer in each token, in atomic units.
pub const TOKENS: u64 = 1_000_000_000_000;
/// Payers that have tokens, and wallets that have as many; their numbers are those below.
pub const PAYERS: u64 = 16;
/// The number of the fee payer.
const FEE_PAYER: u64 = 1000;
/// The number of the payee, who has empty token accounts.
const PAYEE: u64 = 2000;
/// The value of clusters: slots of 400 ms.
pub const TICKS_PER_SLOT: u32 = 64;
/// Slots of 200 ms, so that a test waits half as long.
const TICKS_PER_SLOT_IN_TESTS: u32 = 32;
/// Milliseconds in 4 ticks.
const MS_PER_4_TICKS: u32 = 25;
/// Ports that a validator may use, in a row.
const PORTS: u16 = 40;

/// A running validator; ends when dropped.
pub struct Validator {
    process: Child,
    /// The chain.
    pub chain: LocalChain,
    /// The address of its notifications.
    pub websocket: String,
    ticks_per_slot: u32,
    folder: TempDir,
}

impl Drop for Validator {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Returns the account that pays the fees.
pub fn fee_payer() -> Payer {
    Payer::numbered(FEE_PAYER)
}

/// Returns the account that is paid.
pub fn payee() -> Payer {
    Payer::numbered(PAYEE)
}

/// The first of so many ports in a row that nobody listens on.
fn free_ports(count: u16) -> u16 {
    for _ in 0..100 {
        let first = rand::random_range(20_000..30_000);
        let is_free =
            |port| TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok();
        if (first..first + count).all(is_free) {
            return first;
        }
    }
    panic!("no {count} ports in a row are free");
}

impl Validator {
    /// Starts a validator with short slots and waits until it executes transactions.
    pub async fn start() -> Self {
        Self::start_with(TICKS_PER_SLOT_IN_TESTS).await
    }

    /// Starts a validator with slots of so many ticks and waits until it executes transactions.
    pub async fn start_with(ticks_per_slot: u32) -> Self {
        Self::start_among(ticks_per_slot, |_| {}).await
    }

    /// The same with further accounts in its ledger from the start.
    ///
    /// # Panics
    /// If it cannot be started; `tests/run` provides it.
    pub async fn start_among(ticks_per_slot: u32, add: impl FnOnce(&mut Genesis)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let accounts = folder.path().join("accounts");
        std::fs::create_dir(&accounts).expect("a folder");
        let mut genesis = genesis();
        add(&mut genesis);
        genesis.write(&accounts).expect("written");
        let program = folder.path().join("wallet.so");
        wallet::write_program(&program);
        let lighthouse = folder.path().join("lighthouse.so");
        guard::write_program(&lighthouse);
        let mut command = Command::new("solana-test-validator");
        command
            .args(["--quiet", "--reset", "--ticks-per-slot", &ticks_per_slot.to_string()])
            // Until the first root, 32 slots later, the genesis block is the root, and v0 transactions are
            // resolved against it: it has no slot hashes and they are dropped. A root at slot 1 has them.
            // Of its history nothing is thrown away: the audit looks at all of it.
            .args(["--warp-slot", "1", "--limit-ledger-size", "100000000", "--ledger"])
            .arg(folder.path().join("ledger"))
            .arg("--account-dir")
            .arg(&accounts)
            .args(["--bpf-program", &wallet::PROGRAM.to_string()])
            .arg(&program)
            .args(["--bpf-program", &guard::PROGRAM.to_string()])
            .arg(&lighthouse);
        Self::of(command, ticks_per_slot, folder).await
    }

    /// Starts one by a command that lacks its ports alone, and has its ledger in this folder.
    ///
    /// # Panics
    /// As [`start_among`](Self::start_among).
    pub async fn of(mut command: Command, ticks_per_slot: u32, folder: TempDir) -> Self {
        let port = free_ports(PORTS);
        let process = command
            .args(["--rpc-port", &port.to_string(), "--faucet-port", &(port + 2).to_string()])
            .args(["--gossip-port", &(port + 3).to_string()])
            .args(["--dynamic-port-range", &format!("{}-{}", port + 4, port + PORTS)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`solana-test-validator` is on PATH; `tests/run` provides it and sets PATH");
        let chain = LocalChain::at(format!("http://127.0.0.1:{port}"));
        let validator =
            Self { process, chain, websocket: format!("ws://127.0.0.1:{}", port + 1), ticks_per_slot, folder };
        eventually("the validator makes blocks", || async { validator.chain.is_up().await.then_some(()) }).await;
        validator
    }

    /// Returns the time of a slot in milliseconds.
    pub const fn slot_ms(&self) -> u32 {
        self.ticks_per_slot * MS_PER_4_TICKS / 4
    }

    /// The folder with its ledger and log.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

fn genesis() -> Genesis {
    let mut genesis = Genesis::default();
    genesis.coins(&fee_payer().address(), COINS);
    for mint in [USDC, PYUSD] {
        genesis.tokens(&payee().address(), &mint, 0);
        for payer in (0..PAYERS).map(|number| Payer::numbered(number).address()) {
            genesis.tokens(&payer, &mint, TOKENS);
            genesis.tokens(&wallet::vault(&payer).0, &mint, TOKENS);
        }
    }
    for number in 0..PAYERS {
        genesis.coins(&Payer::numbered(number).address(), COINS);
    }
    genesis
}
