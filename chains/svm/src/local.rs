//! A local validator that poses as devnet, and payers on it. For the `demo`
//! command and for tests; nothing here is used for real payments.
//!
//! Expects `solana-test-validator --account-dir` with what [`Genesis::write`]
//! has written, and `allow_genesis_mismatch = true` in the network's table.

mod payer;

use std::{fs, io, path::Path, str::FromStr, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use solana_client::{
    client_error::ClientError, nonblocking::rpc_client::RpcClient, rpc_config::RpcSendTransactionConfig,
    rpc_request::RpcRequest,
};
use solana_commitment_config::CommitmentConfig;
pub use solana_message::AddressLookupTableAccount;
pub use solana_sdk::{
    hash::Hash,
    instruction::{AccountMeta, Instruction},
    pubkey::Pubkey,
};
use solana_sdk::{
    message::{Message, VersionedMessage},
    program_option::COption,
    program_pack::Pack,
    signature::{Keypair, Signature},
    signer::Signer,
    transaction::VersionedTransaction,
};
use spl_token_2022_interface::state::{Account, AccountState, Mint};
use tokio::time::{Instant, sleep};

pub use self::payer::{Order, Payer};
use crate::{compute_budget::LAMPORTS_PER_SIGNATURE, config::RENT_EXEMPT_MIN, programs, token::associated_account};

/// The network's CAIP-2 identifier: devnet's.
pub const NETWORK: &str = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";

/// The network's name in protocol v1.
pub const LEGACY_NAME: &str = "solana-devnet";

/// A token of SPL Token where devnet has USDC.
pub const USDC: Pubkey = Pubkey::from_str_const("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU");

/// A token of Token-2022 where devnet has PYUSD.
pub const PYUSD: Pubkey = Pubkey::from_str_const("CXk2AMBfi3TwaEL2468s6zP8xq9NxTXjp9gjMgzeUynM");

/// The decimals of both.
pub const DECIMALS: u8 = 6;

/// The lamports that a token account must hold to exist.
const TOKEN_ACCOUNT_LAMPORTS: u64 = 2_039_280;

/// The time that a transaction may take, and the pause between two looks.
const CONFIRMED_MAX: Duration = Duration::from_secs(30);
const CONFIRMED_PAUSE: Duration = Duration::from_millis(50);

/// The reason why the local chain did not do as told.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// It did not answer, or not as hoped.
    #[error("the local validator: {0}")]
    Client(#[from] ClientError),
    /// A text is not what it should be.
    #[error("{0} is not an address, a key, or a number")]
    Text(String),
    /// A transaction was not confirmed, or failed.
    #[error("transaction {0} was not confirmed, or failed")]
    NotConfirmed(Signature),
    /// A message could not be made of these instructions.
    #[error("the transaction cannot be built: {0}")]
    Build(String),
}

/// The program that a local token is one of.
pub fn program_of(mint: &Pubkey) -> Pubkey {
    if *mint == PYUSD { programs::TOKEN_2022 } else { programs::TOKEN }
}

/// The key that may mint and freeze the local tokens.
fn mint_authority() -> Keypair {
    numbered("mint authority", 0)
}

/// The key of a word and a number: always the same one. Not secret at all.
fn numbered(word: &str, number: u64) -> Keypair {
    let seed = Sha256::new().chain_update(word).chain_update(number.to_be_bytes()).finalize();
    Keypair::new_from_array(seed.into())
}

/// The accounts that the validator's ledger begins with.
#[derive(Debug)]
pub struct Genesis(Vec<Value>);

impl Default for Genesis {
    /// Both tokens, and nobody who has some; money for the authority's fees.
    fn default() -> Self {
        let authority = mint_authority().pubkey();
        let mut data = [0; Mint::LEN];
        let mint = Mint {
            mint_authority: COption::Some(authority),
            supply: 0,
            decimals: DECIMALS,
            is_initialized: true,
            freeze_authority: COption::Some(authority),
        };
        mint.pack_into_slice(&mut data);
        let mut genesis = Self(vec![]);
        for mint in [USDC, PYUSD] {
            genesis.account(&mint, TOKEN_ACCOUNT_LAMPORTS, &program_of(&mint), &data);
        }
        genesis.coins(&authority, 1_000_000_000_000);
        genesis
    }
}

impl Genesis {
    /// Gives an account coins, in lamports.
    pub fn coins(&mut self, account: &Pubkey, lamports: u64) {
        self.account(account, lamports, &Pubkey::default(), &[]);
    }

    /// Gives an account tokens: its associated token account holds them.
    pub fn tokens(&mut self, owner: &Pubkey, mint: &Pubkey, amount: u64) {
        let account = Account {
            mint: *mint,
            owner: *owner,
            amount,
            delegate: COption::None,
            state: AccountState::Initialized,
            is_native: COption::None,
            delegated_amount: 0,
            close_authority: COption::None,
        };
        let mut data = [0; Account::LEN];
        account.pack_into_slice(&mut data);
        let program = program_of(mint);
        self.account(&associated_account(owner, mint, &program), TOKEN_ACCOUNT_LAMPORTS, &program, &data);
    }

    /// An account of any program with any content; it has the lamports that the
    /// smallest account must have, at least.
    pub fn account(&mut self, address: &Pubkey, lamports: u64, owner: &Pubkey, data: &[u8]) {
        let lamports = lamports.max(RENT_EXEMPT_MIN);
        self.0.push(json!({
            "pubkey": address.to_string(),
            "account": {
                "lamports": lamports,
                "data": [BASE64_STANDARD.encode(data), "base64"],
                "owner": owner.to_string(),
                "executable": false,
                "rentEpoch": u64::MAX,
                "space": data.len(),
            },
        }));
    }

    /// Writes a file for each account, for `--account-dir`.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        for (number, account) in self.0.iter().enumerate() {
            fs::write(folder.join(format!("{number}.json")), account.to_string())?;
        }
        Ok(())
    }
}

/// A local validator.
pub struct LocalChain {
    client: RpcClient,
    url: String,
}

impl std::fmt::Debug for LocalChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LocalChain").field(&self.url).finish()
    }
}

impl LocalChain {
    /// The validator at this URL.
    pub fn at(url: impl Into<String>) -> Self {
        let url = url.into();
        let client = RpcClient::new_with_commitment(url.clone(), CommitmentConfig::confirmed());
        Self { client, url }
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The node's methods.
    pub const fn client(&self) -> &RpcClient {
        &self.client
    }

    /// Returns whether it takes transactions: before the first block is final, some
    /// 32 slots after its start, it drops most of them.
    pub async fn is_up(&self) -> bool {
        let finalized = self.client.get_block_height_with_commitment(CommitmentConfig::finalized());
        finalized.await.is_ok_and(|height| height > 0)
    }

    /// The newest blockhash.
    ///
    /// # Errors
    /// No answer.
    pub async fn blockhash(&self) -> Result<Hash, LocalError> {
        Ok(self.client.get_latest_blockhash().await?)
    }

    /// The tokens that an account has; none without a token account.
    ///
    /// # Errors
    /// No answer.
    pub async fn token_balance(&self, owner: &Pubkey, mint: &Pubkey) -> Result<u64, LocalError> {
        let address = associated_account(owner, mint, &program_of(mint));
        let found = self.client.get_account_with_commitment(&address, CommitmentConfig::confirmed()).await?;
        let Some(found) = found.value else { return Ok(0) };
        let account = Account::unpack_from_slice(found.data.get(..Account::LEN).unwrap_or_default());
        account.map(|account| account.amount).map_err(|error| LocalError::Text(error.to_string()))
    }

    /// The lamports that an account has.
    ///
    /// # Errors
    /// No answer.
    pub async fn coin_balance(&self, account: &Pubkey) -> Result<u64, LocalError> {
        Ok(self.client.get_balance(account).await?)
    }

    /// Gives an account tokens, and a token account for them.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub async fn mint(&self, owner: &Pubkey, mint: &Pubkey, amount: u64) -> Result<(), LocalError> {
        let (authority, program) = (mint_authority(), program_of(mint));
        let account = associated_account(owner, mint, &program);
        let create = Instruction {
            program_id: programs::ASSOCIATED_TOKEN,
            accounts: vec![
                AccountMeta::new(authority.pubkey(), true),
                AccountMeta::new(account, false),
                AccountMeta::new_readonly(*owner, false),
                AccountMeta::new_readonly(*mint, false),
                AccountMeta::new_readonly(Pubkey::default(), false),
                AccountMeta::new_readonly(program, false),
            ],
            // CreateIdempotent
            data: vec![1],
        };
        let mint_to = Instruction {
            program_id: program,
            accounts: vec![
                AccountMeta::new(*mint, false),
                AccountMeta::new(account, false),
                AccountMeta::new_readonly(authority.pubkey(), true),
            ],
            data: [[7].as_slice(), &amount.to_le_bytes()].concat(),
        };
        self.send(&authority, &[create, mint_to]).await
    }

    /// Freezes or thaws an owner's token account.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub async fn set_frozen(&self, owner: &Pubkey, mint: &Pubkey, frozen: bool) -> Result<(), LocalError> {
        let (authority, program) = (mint_authority(), program_of(mint));
        let instruction = Instruction {
            program_id: program,
            accounts: vec![
                AccountMeta::new(associated_account(owner, mint, &program), false),
                AccountMeta::new_readonly(*mint, false),
                AccountMeta::new_readonly(authority.pubkey(), true),
            ],
            data: vec![if frozen { 10 } else { 11 }],
        };
        self.send(&authority, &[instruction]).await
    }

    /// Gives an account coins, in lamports.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub async fn fund(&self, account: &Pubkey, lamports: u64) -> Result<(), LocalError> {
        let authority = mint_authority();
        self.send(&authority, &[transfer(authority.pubkey(), *account, lamports)]).await
    }

    /// Takes all coins away from an account.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub async fn empty(&self, key: &Keypair) -> Result<(), LocalError> {
        let lamports = self.coin_balance(&key.pubkey()).await?.saturating_sub(LAMPORTS_PER_SIGNATURE);
        self.send(key, &[transfer(key.pubkey(), mint_authority().pubkey(), lamports)]).await
    }

    /// Has instructions executed that this key signs and pays for.
    ///
    /// # Errors
    /// No answer, or the transaction failed.
    pub async fn send(&self, key: &Keypair, instructions: &[Instruction]) -> Result<(), LocalError> {
        let blockhash = self.blockhash().await?;
        let message =
            VersionedMessage::Legacy(Message::new_with_blockhash(instructions, Some(&key.pubkey()), &blockhash));
        let transaction =
            VersionedTransaction::try_new(message, &[key]).map_err(|error| LocalError::Build(error.to_string()))?;
        self.submit(&wire(&transaction)?).await.map(drop)
    }

    /// Has a whole transaction executed, whoever made it.
    ///
    /// # Errors
    /// No answer, or it failed.
    pub async fn submit(&self, wire: &[u8]) -> Result<Signature, LocalError> {
        let config = RpcSendTransactionConfig {
            encoding: Some(solana_transaction_status_client_types::UiTransactionEncoding::Base64),
            preflight_commitment: Some(CommitmentConfig::confirmed().commitment),
            ..RpcSendTransactionConfig::default()
        };
        let params = json!([BASE64_STANDARD.encode(wire), config]);
        let text: String = self.client.send(RpcRequest::SendTransaction, params).await?;
        let signature = Signature::from_str(&text).map_err(|_| LocalError::Text(text))?;
        let deadline = Instant::now() + CONFIRMED_MAX;
        while Instant::now() < deadline {
            let statuses = self.client.get_signature_statuses(&[signature]).await?.value;
            match statuses.into_iter().flatten().next() {
                Some(status) if status.err.is_some() => break,
                Some(status) if status.satisfies_commitment(CommitmentConfig::confirmed()) => return Ok(signature),
                Some(_) | None => sleep(CONFIRMED_PAUSE).await,
            }
        }
        Err(LocalError::NotConfirmed(signature))
    }
}

/// Moves coins: the system program's `Transfer`.
fn transfer(from: Pubkey, to: Pubkey, lamports: u64) -> Instruction {
    Instruction {
        program_id: Pubkey::default(),
        accounts: vec![AccountMeta::new(from, true), AccountMeta::new(to, false)],
        data: [2_u32.to_le_bytes().as_slice(), &lamports.to_le_bytes()].concat(),
    }
}

fn wire(transaction: &VersionedTransaction) -> Result<Vec<u8>, LocalError> {
    wincode::serialize(transaction).map_err(|error| LocalError::Build(error.to_string()))
}
