//! `keygen`: a new gas wallet, or the address of one.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use chains_core::Secret;
use clap::{ArgGroup, Args, Subcommand};

use crate::config::{Environment, KEYSTORE_PASSWORD};

/// Makes a new gas wallet, or tells the address of one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  facilitator keygen evm --keystore gas.json    # encrypted with $FACILITATOR_KEYSTORE_PASSWORD
  facilitator keygen svm --keystore fee-payer.json
  facilitator keygen address gas.json

Exit codes: 0 done, 1 not done (the file is there already, or has no password), 64 wrong arguments.")]
pub(super) struct Keygen {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Makes a key for EVM networks.
    #[command(after_help = "\
Example:
  facilitator keygen evm --keystore gas.json    # encrypted with $FACILITATOR_KEYSTORE_PASSWORD

Exit codes: 0 made, 1 not made, 64 wrong arguments.")]
    Evm {
        #[command(flatten)]
        to: Destination,
    },
    /// Makes a fee payer for Solana.
    #[command(after_help = "\
Example:
  facilitator keygen svm --keystore fee-payer.json

Exit codes: 0 made, 1 not made, 64 wrong arguments.")]
    Svm {
        #[command(flatten)]
        to: Destination,
    },
    /// Tells the address of an existing key file, of either family.
    #[command(after_help = "\
Example:
  facilitator keygen address gas.json

Exit codes: 0 told, 1 not a key file, or it needs a password, 64 wrong arguments.")]
    Address {
        /// A keystore, or a key file as solana-keygen writes it.
        file: PathBuf,
    },
}

/// The place of a new key: a file, or the terminal for those who ask for it.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("destination").required(true).args(["keystore", "show"])))]
struct Destination {
    /// Writes the key there, readable by this user alone; never over a file that is there.
    /// For EVM it is encrypted with the password in `$FACILITATOR_KEYSTORE_PASSWORD`.
    #[arg(long, value_name = "FILE")]
    keystore: Option<PathBuf>,
    /// Prints the private key. Whoever sees the terminal, the log or the pipe has it.
    #[arg(long)]
    show: bool,
}

impl Keygen {
    pub(super) fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        match self.what {
            What::Evm { to } => evm(to, environment)?,
            What::Svm { to } => svm(to)?,
            What::Address { file } => println!("{}", address(&file, environment)?),
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn evm(to: Destination, environment: &Environment) -> anyhow::Result<()> {
    let Some(path) = to.keystore else {
        let (address, key) = chains_evm::keygen::key();
        show(&address, &key);
        return Ok(());
    };
    let password = environment
        .get(KEYSTORE_PASSWORD)
        .with_context(|| format!("set {KEYSTORE_PASSWORD} to the password that shall encrypt the key"))?;
    let address = chains_evm::keygen::keystore(&path, &Secret::new(password.to_owned()))?;
    println!("address   {address}\nkeystore  {}", path.display());
    println!("configure gas_wallets = [\"keystore:{}\"]", path.display());
    println!("          keystore_password = \"${{{KEYSTORE_PASSWORD}}}\"");
    Ok(())
}

fn svm(to: Destination) -> anyhow::Result<()> {
    let Some(path) = to.keystore else {
        let (address, key) = chains_svm::keygen::key();
        show(&address, &key);
        return Ok(());
    };
    let address = chains_svm::keygen::key_file(&path)?;
    println!("address   {address}\nkey file  {}", path.display());
    println!("configure fee_payers = [\"file:{}\"]", path.display());
    Ok(())
}

fn show(address: &str, key: &Secret) {
    println!("address   {address}\nkey       {}", key.expose());
    eprintln!("Keep the key out of files that others can read; pass it as an environment variable.");
}

/// The address of the key in a file, by the form of the file.
fn address(file: &std::path::Path, environment: &Environment) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let told = chains_svm::keygen::address_in(&text).or_else(|| chains_evm::keygen::address_in(&text));
    if let Some(address) = told {
        return Ok(address);
    }
    let is_keystore = serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|json| json.get("crypto").is_some());
    if !is_keystore {
        bail!("{} is neither a keystore nor a key file as solana-keygen writes it", file.display());
    }
    let password = environment.get(KEYSTORE_PASSWORD).with_context(|| {
        format!("{} does not tell its address: set {KEYSTORE_PASSWORD} to the password that opens it", file.display())
    })?;
    Ok(chains_evm::keygen::address_of(file, &Secret::new(password.to_owned()))?)
}
