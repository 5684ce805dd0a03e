//! `batch-contract`: the contract by which one transaction carries many settlements.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use chains_core::{
    Network,
    chain::{BatchContract as Contract, Chain},
    clock::{Clock as _, SystemClock},
    observation::{Block, Depth, Inclusion, Observation, TransactionView, Urgency},
    transaction::{Purpose, SignedTransaction},
};
use clap::{Args, Subcommand};
use tokio::time::Instant;

use super::ConfigFile;
use crate::{
    config::{Config, Environment},
    settlement::{Attempt, AttemptKind, Transaction, TransactionId, TransactionState},
    store::{
        Change, Store,
        connect::{Access, connect},
        schema::Migrations,
    },
    submitter::{
        decide::{NextNonce, next_nonce},
        ownership::{Ownership, StoreLockOwnership},
    },
};

/// The time until a deployment is given up that no block takes: its bytes are
/// stored, and the service sends them again.
const WAIT_MAX: Duration = Duration::from_mins(3);

/// The contract by which one transaction carries many settlements, with the
/// gas wallets of its network as its owners.
#[derive(Debug, Args)]
pub(super) struct BatchContract {
    #[command(flatten)]
    config: ConfigFile,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Puts it on chain, paid for by the network's first gas wallet, while the
    /// service does not run.
    Deploy(Target),
    /// Says where it belongs; exit code 1 if it is not there.
    Check(Target),
}

/// The networks that are meant.
#[derive(Debug, Args)]
struct Target {
    /// Only this network, such as eip155:8453.
    #[arg(long, value_name = "NETWORK")]
    network: Option<Network>,
}

impl BatchContract {
    pub(super) async fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let config = self.config.load(environment)?;
        match self.action {
            Action::Deploy(target) => deploy(&config, &target).await,
            Action::Check(target) => check(&config, &target).await,
        }
    }
}

/// The networks whose transactions may carry many settlements, each with its contract.
async fn contracts(config: &Config, target: &Target) -> anyhow::Result<Vec<(Arc<dyn Chain>, Contract)>> {
    let mut found = vec![];
    let is_meant = |chain: &&Arc<dyn Chain>| target.network.as_ref().is_none_or(|network| network == chain.network());
    for chain in config.chains.iter().filter(is_meant) {
        chain.prove().await?;
        found.extend(chain.batch_contract().await?.map(|contract| (Arc::clone(chain), contract)));
    }
    if found.is_empty() {
        bail!("no such network has `batch = \"auto\"`: nothing uses the contract");
    }
    Ok(found)
}

async fn check(config: &Config, target: &Target) -> anyhow::Result<ExitCode> {
    let mut missing = false;
    for (chain, contract) in contracts(config, target).await? {
        let there = if contract.deployed { "it is there" } else { "it is not there" };
        println!("{}: {} {there}", chain.network(), contract.address);
        missing |= !contract.deployed;
    }
    Ok(if missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn deploy(config: &Config, target: &Target) -> anyhow::Result<ExitCode> {
    let contracts = contracts(config, target).await?;
    let migrations = if config.store.auto_migrate { Migrations::Apply } else { Migrations::Require };
    // The service owns the store while it runs, and with it the gas wallets' nonces.
    let store = connect(&config.store.location, Access::Own(migrations)).await?;
    for (chain, contract) in contracts {
        let network = chain.network();
        if contract.deployed {
            println!("{network}: {} it is there already", contract.address);
            continue;
        }
        let inclusion = deploy_one(&*chain, &store).await.with_context(|| format!("{network}: not deployed"))?;
        let after = chain.batch_contract().await?.is_some_and(|contract| contract.deployed);
        if !after {
            bail!(
                "{network}: {} is in block {}, and its contract is not there",
                inclusion.hash,
                inclusion.block.number
            );
        }
        let (hash, gas) = (inclusion.hash, inclusion.gas_used);
        println!("{network}: {} deployed by {hash}, for {gas} of gas, {} paid", contract.address, inclusion.fee_paid);
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

/// Signs, stores, sends, and waits for a confirmed block.
async fn deploy_one(chain: &dyn Chain, store: &Arc<dyn Store>) -> anyhow::Result<Inclusion> {
    let wallet = chain.gas_wallets().first().context("there is no gas wallet")?;
    let block = chain.next_block(None, Urgency::Closely).await?;
    let nonce = free_nonce(chain, &**store, wallet).await?;
    let fence = StoreLockOwnership::new(Arc::clone(store)).acquire(chain.network(), wallet).await?.fence();
    let fee = chain.quote(Purpose::DeployBatchContract)?;
    let balance = chain.balance(wallet).await?;
    if balance < fee.amount_max {
        bail!("gas wallet {wallet} has {balance}, and it may cost {} (in the coin's atomic units)", fee.amount_max);
    }
    let signed = chain.sign(wallet, Some(nonce), Purpose::DeployBatchContract, &fee)?;
    let (id, now) = (TransactionId::fresh(), SystemClock.now());
    let attempt = Attempt { signed: signed.clone(), kind: AttemptKind::First, created_at: now, inclusion: None };
    let transaction = Transaction {
        id,
        gas_wallet: wallet.clone(),
        nonce: Some(nonce),
        epoch: fence.epoch,
        items: vec![],
        attempts: vec![attempt],
        state: TransactionState::Open,
        created_at: now,
    };
    let take = Change::UseNonce { network: chain.network().clone(), transaction };
    store.apply_under(Some(&fence), vec![take], now).await?;
    let inclusion = included(chain, &signed, block).await?;
    let include = Change::Include { transaction: id, inclusion: inclusion.clone() };
    store.apply_under(Some(&fence), vec![include], SystemClock.now()).await?;
    store.release_lease(&fence.network, &fence.gas_wallet, &fence.owner).await?;
    Ok(inclusion)
}

/// The wallet's next nonce, when nothing of it is under way.
async fn free_nonce(chain: &dyn Chain, store: &dyn Store, wallet: &str) -> anyhow::Result<u64> {
    let stored = store.highest_nonce(chain.network(), wallet).await?;
    let used = chain.nonce(wallet, Depth::Latest).await?;
    match next_nonce(used, stored) {
        NextNonce::From(next) if used == Some(next) => Ok(next),
        NextNonce::From(_) => {
            bail!("gas wallet {wallet} has transactions that no block has yet: let the service end them first")
        }
        NextNonce::Foreign { .. } => {
            bail!("gas wallet {wallet} has sent transactions that the store does not know: run `facilitator audit`")
        }
        NextNonce::None => bail!("this chain has no nonces"),
    }
}

/// Sends the bytes with every block until a confirmed one has them.
async fn included(chain: &dyn Chain, signed: &SignedTransaction, mut block: Block) -> anyhow::Result<Inclusion> {
    let began = Instant::now();
    let attempts = std::slice::from_ref(signed);
    while began.elapsed() < WAIT_MAX {
        for answer in chain.broadcast(attempts).await {
            println!("{}: {} sent: {}", chain.network(), signed.hash, answer.word());
        }
        block = chain.next_block(Some(&block), Urgency::Closely).await?;
        let observations = chain.observe(&[TransactionView { attempts, items: &[] }]).await?;
        if let Some(Observation::Included(inclusion, _)) = observations.into_iter().next()
            && inclusion.confirmed
        {
            return Ok(inclusion);
        }
    }
    bail!("no block has {} yet; its bytes are stored, and the service sends them again", signed.hash)
}
