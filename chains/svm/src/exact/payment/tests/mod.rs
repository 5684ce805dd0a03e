//! Verification over nodes that say what a test wants.

mod plain;
mod recheck;
mod simulated;
mod wallets;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chains_core::{Amount, payment::Chosen, protocol::Version};
use chains_rpc::Fault;
use serde_json::{Map, json};
use solana_address_lookup_table_interface::state::{AddressLookupTable, LookupTableMeta};
use solana_sdk::{
    hash::Hash,
    instruction::{AccountMeta, Instruction},
    program_option::COption,
    program_pack::Pack,
    signature::Keypair,
    signer::Signer as _,
};
use spl_token_2022_interface::state::{Account as TokenAccount, AccountState};

use super::*;
use crate::{
    config::{self, tests::fee_payer},
    fake_node::{self, FakeNode, Say, at, epoch_info},
    local::{AddressLookupTableAccount, DECIMALS, NETWORK, Order, PYUSD, Payer, USDC},
    mint::SoundMint,
    plan::{Proof, TransferPlan},
    programs,
    token::associated_account,
};

const SLOT: u64 = 1000;
const HEIGHT: u64 = 900;

fn blockhash() -> Hash {
    Hash::new_from_array([5; 32])
}

/// A payment of the first payer that nothing is wrong with.
fn payment(change: impl Fn(&mut Order)) -> Payment {
    let mut order = Order::new(fee_payer().pubkey(), USDC, Payer::numbered(2).address(), 10_000, "memo".into());
    change(&mut order);
    let network: chains_core::Network = NETWORK.parse().expect("a network");
    let mut extra = Map::new();
    extra.insert("feePayer".into(), json!(fee_payer().pubkey().to_string()));
    Payment {
        scheme: NAME.into(),
        network: network.clone(),
        asset: order.mint.to_string(),
        pay_to: order.pay_to.to_string(),
        amount: Amount::from(order.amount),
        extra,
        chosen: Chosen { scheme: NAME.into(), network: Some(network) },
        payload: Payer::numbered(1).sign(&order, blockhash()).expect("signed"),
        extensions: Map::new(),
    }
}

/// The list of blockhashes with the payment's at this age.
fn blockhashes(age: usize) -> Value {
    let mut data = 150_u64.to_le_bytes().to_vec();
    for n in 0..150 {
        let hash = if n == age { blockhash() } else { Hash::new_from_array([200; 32]) };
        data.extend_from_slice(hash.as_ref());
        data.extend_from_slice(&[0; 8]);
    }
    account(&Pubkey::default(), &data)
}

fn account(owner: &Pubkey, data: &[u8]) -> Value {
    json!({"lamports": 1, "data": [BASE64_STANDARD.encode(data), "base64"], "owner": owner.to_string(),
        "executable": false, "rentEpoch": 0, "space": data.len()})
}

fn tokens(owner: Pubkey, amount: u64, change: impl Fn(&mut TokenAccount)) -> Value {
    let state = AccountState::Initialized;
    let mut unpacked = TokenAccount { mint: USDC, owner, amount, state, ..TokenAccount::default() };
    change(&mut unpacked);
    let mut data = vec![0; TokenAccount::LEN];
    TokenAccount::pack(unpacked, &mut data).expect("room");
    account(&programs::TOKEN, &data)
}

fn payer() -> Pubkey {
    Payer::numbered(1).address()
}

fn payee() -> Pubkey {
    Payer::numbered(2).address()
}

/// The answers of a node.
#[derive(Clone)]
struct Says {
    age: usize,
    height: u64,
    destination: Value,
    source: Value,
    simulated: Say,
    price: u64,
    /// True when a block has the transaction.
    executed: bool,
}

impl Default for Says {
    fn default() -> Self {
        let (destination, source) = (tokens(payee(), 0, |_| {}), tokens(payer(), 50_000, |_| {}));
        let simulated = simulated(&Value::Null, &Value::Null, None);
        Self { age: 7, height: HEIGHT, destination, source, simulated, price: 0, executed: false }
    }
}

impl Says {
    fn node(self) -> FakeNode {
        FakeNode::new(move |method, params| match method {
            "getEpochInfo" => epoch_info(SLOT, self.height),
            "getAccountInfo" => at(SLOT, &blockhashes(self.age)),
            "isBlockhashValid" => at(SLOT, &json!(false)),
            "getMultipleAccounts" => {
                let asked = params[0].as_array().cloned().unwrap_or_default();
                let to = associated_account(&payee(), &USDC, &programs::TOKEN).to_string();
                let told = |address: &Value| if *address == to { &self.destination } else { &self.source };
                at(SLOT, &json!(asked.iter().map(told).collect::<Vec<_>>()))
            }
            "getSignatureStatuses" => {
                let status = json!({"slot": SLOT, "confirmations": 1, "status": {"Ok": null}, "err": null,
                    "confirmationStatus": "processed"});
                let status = if self.executed { status } else { Value::Null };
                at(SLOT, &json!(vec![status; params[0].as_array().map_or(0, Vec::len)]))
            }
            "getRecentPrioritizationFees" => Say::Result(json!([{"slot": 1, "prioritizationFee": self.price}])),
            "simulateTransaction" => self.simulated.clone(),
            _ => Say::Error(-32601, "no such method"),
        })
    }
}

/// The token balances after a payment of the first payer's, which paid the payee this much.
fn balances(transaction: &Transaction, loaded: &[Pubkey], paid: u64) -> [Value; 2] {
    let to = associated_account(&payee(), &USDC, &programs::TOKEN);
    let accounts = [transaction.accounts(), loaded].concat();
    let index = accounts.iter().position(|account| *account == to).expect("there");
    let balance = |amount: u64| {
        json!([{"accountIndex": index, "mint": USDC.to_string(), "owner": payee().to_string(),
            "uiTokenAmount": {"uiAmount": null, "decimals": 6, "amount": amount.to_string(), "uiAmountString": "x"}}])
    };
    [balance(5), balance(5 + paid)]
}

/// The answer to a simulation.
fn simulated(err: &Value, inner: &Value, balances: Option<[Value; 2]>) -> Say {
    let [pre, post] = balances.unwrap_or_default();
    at(
        SLOT + 3,
        &json!({"err": err, "logs": [], "accounts": null, "unitsConsumed": 1, "returnData": null,
            "innerInstructions": inner, "preBalances": [1_000_000_000_u64], "postBalances": [1_000_000_000_u64],
            "preTokenBalances": pre, "postTokenBalances": post}),
    )
}

fn decoded(payment: &Payment) -> Transaction {
    Transaction::decode(payment.payload["transaction"].as_str().expect("a text")).expect("sound")
}

/// The scheme over these nodes, with the newest block known.
async fn scheme(nodes: &[&FakeNode]) -> Exact {
    scheme_over(fake_node::context(nodes)).await
}

async fn scheme_over(context: Context) -> Exact {
    let Context { blocks, rpc, logs, clock, .. } = &context;
    blocks.next(rpc, logs, &**clock, None, chains_core::observation::Urgency::Closely).await.expect("a block");
    Exact::new(Arc::new(context))
}

/// The verdict in a few words.
fn words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Valid(_) => "valid".to_owned(),
        Verdict::Invalid(rejection) => format!("{}: {}", rejection.code.spelling(Version::V2), rejection.message),
        Verdict::Unavailable(error) => format!("unavailable: {}", error.detail),
    }
}

async fn verify(scheme: &Exact, payment: &Payment, occasion: Occasion) -> Verdict {
    scheme.read(payment).expect("read").verify(occasion).await
}

async fn verified(nodes: &[&FakeNode], occasion: Occasion) -> String {
    words(&verify(&scheme(nodes).await, &payment(|_| {}), occasion).await)
}

fn valid(verdict: Verdict) -> VerifiedPayment {
    match verdict {
        Verdict::Valid(payment) => payment,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_verification_under_way_takes_little_memory() {
    let node = FakeNode::new(|_, _| Say::Error(-32_000, "busy"));
    let read = Exact::new(Arc::new(fake_node::context(&[&node]))).read(&payment(|_| {})).expect("read");
    let size = size_of_val(&*read.verify(Occasion::Settle));
    assert!(size <= 4_200, "{size} bytes");
}
