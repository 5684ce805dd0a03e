//! `keygen evm`, `keygen svm`: a new gas wallet.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use chains_core::Secret;
use clap::{Args, Subcommand};

use crate::config::Environment;

/// Makes a new gas wallet.
#[derive(Debug, Args)]
pub(super) struct Keygen {
    #[command(subcommand)]
    family: Family,
}

#[derive(Debug, Subcommand)]
enum Family {
    /// For EVM networks.
    Evm {
        /// Write it there, encrypted with the password in
        /// `$FACILITATOR_KEYSTORE_PASSWORD`, instead of printing the key.
        #[arg(long, value_name = "FILE")]
        keystore: Option<PathBuf>,
    },
    /// For Solana: a fee payer.
    Svm {
        /// Write it there, in the form of `solana-keygen`, readable by this
        /// user alone, instead of printing the key.
        #[arg(long, value_name = "FILE")]
        keystore: Option<PathBuf>,
    },
}

impl Keygen {
    pub(super) fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        match self.family {
            Family::Evm { keystore } => evm(keystore, environment),
            Family::Svm { keystore } => svm(keystore),
        }
    }
}

fn evm(keystore: Option<PathBuf>, environment: &Environment) -> anyhow::Result<ExitCode> {
    if let Some(path) = keystore {
        let password = environment
            .get("FACILITATOR_KEYSTORE_PASSWORD")
            .context("set FACILITATOR_KEYSTORE_PASSWORD to the password that shall encrypt the key")?;
        let address = chains_evm::keygen::keystore(&path, &Secret::new(password.to_owned()))?;
        println!("address   {address}\nkeystore  {}", path.display());
        println!("configure gas_wallets = [\"keystore:{}\"]", path.display());
    } else {
        let (address, key) = chains_evm::keygen::key();
        println!("address   {address}\nkey       {}", key.expose());
        println!("Keep the key out of files that others can read; pass it as an environment variable.");
    }
    Ok(ExitCode::SUCCESS)
}

fn svm(keystore: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    if let Some(path) = keystore {
        let address = chains_svm::keygen::key_file(&path)?;
        println!("address   {address}\nkey file  {}", path.display());
        println!("configure fee_payers = [\"file:{}\"]", path.display());
    } else {
        let (address, key) = chains_svm::keygen::key();
        println!("address   {address}\nkey       {}", key.expose());
        println!("Keep the key out of files that others can read; pass it as an environment variable.");
    }
    Ok(ExitCode::SUCCESS)
}
