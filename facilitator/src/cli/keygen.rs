//! `keygen evm`: a new gas wallet.

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
}

impl Keygen {
    pub(super) fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let Family::Evm { keystore } = self.family;
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
}
