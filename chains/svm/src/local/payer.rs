//! Payers on the local chain, and what they sign.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chains_core::Secret;
use serde_json::{Map, Value, json};
use solana_message::AddressLookupTableAccount;
use solana_sdk::{
    hash::Hash,
    instruction::{AccountMeta, Instruction},
    message::{Message, VersionedMessage, v0},
    pubkey::Pubkey,
    signature::{Keypair, SIGNATURE_BYTES, Signature},
    signer::Signer,
    transaction::VersionedTransaction,
};

use super::{DECIMALS, LocalError, numbered, program_of, wire};
use crate::{exact::transaction::Transaction, programs, token::associated_account};

/// The compute budget that the official clients ask for.
const UNIT_LIMIT: u32 = 20_000;
const UNIT_PRICE: u64 = 1;

/// The order that a payer signs: one transfer, as the official clients lay it out.
#[derive(Clone, Debug)]
pub struct Order {
    /// The fee payer that `/supported` announces.
    pub fee_payer: Pubkey,
    /// The token account that pays; `None`: the payer's associated one.
    pub source: Option<Pubkey>,
    /// The token.
    pub mint: Pubkey,
    /// The token program that it belongs to; `None`: the local tokens' own.
    pub program: Option<Pubkey>,
    /// Its decimals.
    pub decimals: u8,
    /// The payee.
    pub pay_to: Pubkey,
    /// Atomic units.
    pub amount: u64,
    /// The memo; `None`: no memo instruction, as clients of protocol v1.
    pub memo: Option<String>,
    /// Compute units.
    pub unit_limit: u32,
    /// Millionths of a lamport for each.
    pub unit_price: u64,
    /// A message without a version, as old clients write it.
    pub legacy: bool,
}

impl Order {
    /// A payment of protocol v2; the memo makes it one of its kind.
    pub fn new(fee_payer: Pubkey, mint: Pubkey, pay_to: Pubkey, amount: u64, memo: String) -> Self {
        let (unit_limit, unit_price) = (UNIT_LIMIT, UNIT_PRICE);
        let (memo, decimals) = (Some(memo), DECIMALS);
        let (source, program, legacy) = (None, None, false);
        Self { fee_payer, source, mint, program, decimals, pay_to, amount, memo, unit_limit, unit_price, legacy }
    }

    /// The instructions in their order.
    pub fn instructions(&self, payer: &Pubkey) -> Vec<Instruction> {
        let budget = |data: Vec<u8>| Instruction { program_id: programs::COMPUTE_BUDGET, accounts: vec![], data };
        let memo = self.memo.as_ref().map(|memo| Instruction {
            program_id: programs::MEMO,
            accounts: vec![],
            data: memo.as_bytes().to_vec(),
        });
        let limit = budget([[2].as_slice(), &self.unit_limit.to_le_bytes()].concat());
        let price = budget([[3].as_slice(), &self.unit_price.to_le_bytes()].concat());
        [limit, price, self.transfer(payer)].into_iter().chain(memo).collect()
    }

    fn transfer(&self, payer: &Pubkey) -> Instruction {
        let program = self.program.unwrap_or_else(|| program_of(&self.mint));
        let account = |owner| associated_account(owner, &self.mint, &program);
        Instruction {
            program_id: program,
            accounts: vec![
                AccountMeta::new(self.source.unwrap_or_else(|| account(payer)), false),
                AccountMeta::new_readonly(self.mint, false),
                AccountMeta::new(account(&self.pay_to), false),
                AccountMeta::new_readonly(*payer, true),
            ],
            // TransferChecked
            data: [[12].as_slice(), &self.amount.to_le_bytes(), &[self.decimals]].concat(),
        }
    }
}

/// Somebody who pays with a key.
pub struct Payer(Keypair);

impl std::fmt::Debug for Payer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Payer").field(&self.address()).finish()
    }
}

impl Payer {
    /// The payer of a number: always the same one. Not secret at all.
    pub fn numbered(number: u64) -> Self {
        Self(numbered("payer", number))
    }

    /// The account.
    pub fn address(&self) -> Pubkey {
        self.0.pubkey()
    }

    /// The key, as the configuration takes it.
    pub fn secret(&self) -> Secret {
        Secret::new(self.0.to_base58_string())
    }

    /// The key, to sign anything.
    pub const fn key(&self) -> &Keypair {
        &self.0
    }

    /// Signs: the `payload` of an x402 payment.
    ///
    /// # Errors
    /// The order does not fit into a transaction.
    pub fn sign(&self, order: &Order, blockhash: Hash) -> Result<Map<String, Value>, LocalError> {
        let instructions = order.instructions(&self.address());
        self.sign_instructions(&order.fee_payer, &instructions, blockhash, order.legacy)
    }

    /// A payment's bytes with this account's signature as its fee payer: what a node takes.
    ///
    /// # Errors
    /// The payload holds no transaction.
    pub fn cosign(&self, payload: &Map<String, Value>) -> Result<Vec<u8>, LocalError> {
        let text = payload.get("transaction").and_then(Value::as_str).unwrap_or_default();
        let transaction = Transaction::decode(text).map_err(|error| LocalError::Build(error.to_string()))?;
        Ok(transaction.cosigned(&self.0.sign_message(transaction.message())))
    }

    /// Adds this key's signature to a payload whose message asks for it.
    ///
    /// # Errors
    /// The payload holds no transaction, or this key need not sign it.
    pub fn sign_too(&self, payload: &Map<String, Value>) -> Result<Map<String, Value>, LocalError> {
        let text = payload.get("transaction").and_then(Value::as_str).unwrap_or_default();
        let transaction = Transaction::decode(text).map_err(|error| LocalError::Build(error.to_string()))?;
        let unneeded = || LocalError::Build("this key need not sign".to_owned());
        let place = transaction.signers().iter().position(|key| *key == self.address()).ok_or_else(unneeded)?;
        let mut wire = transaction.wire().to_vec();
        // One byte counts the signatures: there are few.
        let from = 1 + place * SIGNATURE_BYTES;
        let slot = wire.get_mut(from..from + SIGNATURE_BYTES).ok_or_else(unneeded)?;
        slot.copy_from_slice(self.0.sign_message(transaction.message()).as_ref());
        let mut signed = payload.clone();
        signed.insert("transaction".to_owned(), json!(BASE64_STANDARD.encode(wire)));
        Ok(signed)
    }

    /// Signs any instructions in the same way, the fee payer's signature left out.
    ///
    /// # Errors
    /// They do not fit into a transaction.
    pub fn sign_instructions(
        &self,
        fee_payer: &Pubkey,
        instructions: &[Instruction],
        blockhash: Hash,
        legacy: bool,
    ) -> Result<Map<String, Value>, LocalError> {
        if !legacy {
            return self.sign_with_tables(fee_payer, instructions, &[], blockhash);
        }
        self.sign_message(VersionedMessage::Legacy(Message::new_with_blockhash(
            instructions,
            Some(fee_payer),
            &blockhash,
        )))
    }

    /// Signs a message of version 0 that takes what accounts it can from lookup tables.
    ///
    /// # Errors
    /// The instructions do not fit into a transaction.
    pub fn sign_with_tables(
        &self,
        fee_payer: &Pubkey,
        instructions: &[Instruction],
        tables: &[AddressLookupTableAccount],
        blockhash: Hash,
    ) -> Result<Map<String, Value>, LocalError> {
        let compiled = v0::Message::try_compile(fee_payer, instructions, tables, blockhash);
        self.sign_message(VersionedMessage::V0(compiled.map_err(|error| LocalError::Build(error.to_string()))?))
    }

    fn sign_message(&self, message: VersionedMessage) -> Result<Map<String, Value>, LocalError> {
        let signatures = usize::from(message.header().num_required_signatures);
        let mut transaction = VersionedTransaction { signatures: vec![Signature::default(); signatures], message };
        let place = transaction.message.static_account_keys().iter().position(|key| *key == self.address());
        let bytes = transaction.message.serialize();
        let slot = place.and_then(|place| transaction.signatures.get_mut(place));
        let unneeded = || LocalError::Build("the payer need not sign".to_owned());
        *slot.ok_or_else(unneeded)? = self.0.sign_message(&bytes);
        let mut payload = Map::new();
        payload.insert("transaction".to_owned(), json!(BASE64_STANDARD.encode(wire(&transaction)?)));
        Ok(payload)
    }
}
