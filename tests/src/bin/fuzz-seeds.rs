//! Writes the transactions that the corpus of the fuzz target `svm_transaction` begins with:
//!
//!   cargo run -p e2e --bin fuzz-seeds

use std::{error::Error, fs, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chains_svm::{
    local::{AccountMeta, AddressLookupTableAccount, Hash, Instruction, LocalError, Order, PYUSD, Payer, Pubkey, USDC},
    programs,
};
use e2e::{svm::Draft, wallet::Call};
use serde_json::{Map, Value};

type Payload = Map<String, Value>;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/svm_transaction");
    fs::create_dir_all(&folder)?;
    for (name, payload) in [transfers()?, wallets()?].concat() {
        let text = payload.get("transaction").and_then(Value::as_str).unwrap_or_default();
        fs::write(folder.join(name), BASE64_STANDARD.decode(text)?)?;
    }
    Ok(())
}

/// The same bytes each time.
fn order() -> Order {
    Order::new(key(1), USDC, Payer::numbered(2).address(), 10_000, "memo".to_owned())
}

fn blockhash() -> Hash {
    Hash::new_from_array([5; 32])
}

fn key(byte: u8) -> Pubkey {
    Pubkey::new_from_array([byte; 32])
}

fn transfers() -> Result<Vec<(&'static str, Payload)>, LocalError> {
    let payer = Payer::numbered(1);
    let sign = |order: Order| payer.sign(&order, blockhash());
    let with = |instructions: &[Instruction]| payer.sign_instructions(&key(1), instructions, blockhash(), false);
    let usual = order().instructions(&payer.address());
    let accounts = vec![AccountMeta::new_readonly(key(3), false)];
    let assertion = Instruction { program_id: programs::LIGHTHOUSE, accounts, data: vec![4, 0, 0] };
    Ok(vec![
        ("version0", sign(order())?),
        ("legacy", sign(Order { legacy: true, memo: None, ..order() })?),
        ("token_2022", sign(Order { mint: PYUSD, ..order() })?),
        ("lone", with(&usual[2..3])?),
        ("assertion", with(&[usual.as_slice(), &[assertion]].concat())?),
    ])
}

fn wallets() -> Result<Vec<(&'static str, Payload)>, LocalError> {
    let call = Call::honest(Draft { payer: Payer::numbered(1), order: order() });
    let instructions = call.instructions();
    let given: Vec<_> = instructions[2].accounts[1..].iter().map(|meta| meta.pubkey).collect();
    let table = |own: u8, held: &[Pubkey]| AddressLookupTableAccount { key: key(own), addresses: held.to_vec() };
    let tables = [table(20, &given[..3]), table(21, &given[3..])];
    let sign = |tables: &[_]| call.draft.payer.sign_with_tables(&key(1), &instructions, tables, blockhash());
    Ok(vec![("wallet", sign(&[])?), ("wallet_with_tables", sign(&tables)?)])
}
