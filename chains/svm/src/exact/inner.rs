//! The instructions that programs called in a simulation, as nodes tell them:
//! those of programs that a node knows come parsed, and are put back together.

use std::str::FromStr;

use chains_core::Amount;
use serde_json::Value;
use solana_sdk::{bs58, pubkey::Pubkey};
use solana_transaction_status_client_types::{
    ParsedInstruction, UiInnerInstructions, UiInstruction, UiParsedInstruction,
};

use super::{smart_wallet::InnerInstruction, transaction::Transaction};

/// All that can be read; an instruction that cannot is none that pays.
/// `loaded` are the accounts of the transaction's lookup tables.
pub(super) fn read(
    inner: &[UiInnerInstructions],
    transaction: &Transaction,
    loaded: &[Pubkey],
) -> Vec<InnerInstruction> {
    let accounts = [transaction.accounts(), loaded].concat();
    let called = inner.iter().flat_map(|inner| &inner.instructions);
    called.filter_map(|instruction| one(instruction, &accounts)).collect()
}

fn one(instruction: &UiInstruction, accounts: &[Pubkey]) -> Option<InnerInstruction> {
    match instruction {
        UiInstruction::Compiled(compiled) => {
            let account = |index: &u8| accounts.get(usize::from(*index)).copied();
            Some(InnerInstruction {
                program: account(&compiled.program_id_index)?,
                accounts: compiled.accounts.iter().map(account).collect::<Option<_>>()?,
                data: bs58::decode(&compiled.data).into_vec().ok()?,
            })
        }
        UiInstruction::Parsed(UiParsedInstruction::PartiallyDecoded(decoded)) => Some(InnerInstruction {
            program: Pubkey::from_str(&decoded.program_id).ok()?,
            accounts: decoded.accounts.iter().map(|account| Pubkey::from_str(account).ok()).collect::<Option<_>>()?,
            data: bs58::decode(&decoded.data).into_vec().ok()?,
        }),
        UiInstruction::Parsed(UiParsedInstruction::Parsed(parsed)) => transfer(parsed),
    }
}

/// A `transferChecked`, the only one of them that matters.
fn transfer(parsed: &ParsedInstruction) -> Option<InnerInstruction> {
    if parsed.parsed.get("type").and_then(Value::as_str) != Some("transferChecked") {
        return None;
    }
    let info = parsed.parsed.get("info")?;
    let account = |key: &str| Pubkey::from_str(info.get(key)?.as_str()?).ok();
    let authority = account("authority").or_else(|| account("multisigAuthority"))?;
    let accounts = vec![account("source")?, account("mint")?, account("destination")?, authority];
    let money = info.get("tokenAmount")?;
    let amount: Amount = money.get("amount")?.as_str()?.parse().ok()?;
    let amount = u64::try_from(amount.to_u256()).ok()?;
    let decimals = u8::try_from(money.get("decimals")?.as_u64()?).ok()?;
    let data = [[12].as_slice(), &amount.to_le_bytes(), &[decimals]].concat();
    Some(InnerInstruction { program: Pubkey::from_str(&parsed.program_id).ok()?, accounts, data })
}
