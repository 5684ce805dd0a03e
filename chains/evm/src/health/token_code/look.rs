//! Reads what code a network's tokens run.

use alloy::{
    primitives::{Address, B256, Bytes, U256, b256, keccak256},
    sol_types::SolCall,
};
use futures::future::join_all;

use super::{Implementation, TokenCode};
use crate::{
    config::Asset,
    parse,
    rpc::{
        Rpc,
        error::CallError,
        method::{At, Call, quantity},
    },
};

/// The slots in which proxies keep their implementation: EIP-1967, and before it that of
/// `org.zeppelinos` (`keccak256("org.zeppelinos.proxy.implementation")`), as USDC does.
const IMPLEMENTATION_SLOTS: [B256; 2] = [
    b256!("0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc"),
    b256!("0x7050c9e0f4ca769c69bd3a8ef740bc37934f8e2c036e5a723fd8ee048ed3f8c3"),
];

/// The slot in which proxies keep the contract that names their implementation: EIP-1967.
const BEACON_SLOT: B256 = b256!("0xa3f0ad74e5423aebfd80d3ef4346578335a9a72aeaee59ff6cb3582b35133d50");

/// Calls for one token: its code and the three slots.
const CALLS: usize = 4;

mod generated {
    alloy::sol_types::sol! {
        #![sol(alloy_sol_types = alloy::sol_types)]

        interface Beacon {
            function implementation() external view returns (address);
        }
    }
}

use generated::Beacon;

/// A token as its own account shows it.
struct Shown {
    code: B256,
    beacon: Option<Address>,
    implementations: Vec<Address>,
}

/// Reads the code that each token runs at the newest block, in the assets' order; two batches
/// for all of them. Begins with another endpoint each `turn`.
pub(crate) async fn look(rpc: &Rpc, assets: &[Asset], turn: usize) -> Result<Vec<TokenCode>, CallError> {
    let calls: Vec<Call> = assets.iter().flat_map(|asset| questions(asset.address)).collect();
    let answers: Vec<String> = rpc.all_at(&calls, turn).await?;
    let shown = answers.chunks(CALLS).map(read).collect::<Option<Vec<Shown>>>().ok_or_else(CallError::unreadable)?;
    let shown = join_all(shown.into_iter().map(|shown| ask_beacon(rpc, shown, turn))).await;
    let shown = shown.into_iter().collect::<Result<Vec<Shown>, _>>()?;
    let calls: Vec<Call> = shown.iter().flat_map(|shown| &shown.implementations).map(|a| Call::code(*a)).collect();
    let answers: Vec<String> = rpc.all_at(&calls, turn).await?;
    let codes = answers.iter().map(|text| code_hash(text)).collect::<Option<Vec<B256>>>();
    let mut codes = codes.ok_or_else(CallError::unreadable)?.into_iter();
    let code_of = |Shown { code, beacon, implementations }| {
        let behind = implementations.into_iter().zip(codes.by_ref());
        TokenCode {
            code,
            beacon,
            implementations: behind.map(|(address, code)| Implementation { address, code }).collect(),
        }
    };
    Ok(shown.into_iter().map(code_of).collect())
}

fn questions(token: Address) -> [Call; CALLS] {
    let [eip1967, zeppelinos] = IMPLEMENTATION_SLOTS;
    let slot = |slot| Call::storage(token, slot);
    [Call::code(token), slot(eip1967), slot(BEACON_SLOT), slot(zeppelinos)]
}

fn read(answers: &[String]) -> Option<Shown> {
    let [code, eip1967, beacon, zeppelinos] = answers else { return None };
    let (eip1967, beacon, zeppelinos) = (quantity(eip1967)?, quantity(beacon)?, quantity(zeppelinos)?);
    let implementations = [eip1967, zeppelinos].into_iter().filter_map(account).collect();
    Some(Shown { code: code_hash(code)?, beacon: account(beacon), implementations })
}

/// The account that a slot names, if it names one.
fn account(word: U256) -> Option<Address> {
    let is_account = !word.is_zero() && word.bit_len() <= 160;
    is_account.then(|| Address::from_word(B256::from(word)))
}

fn code_hash(text: &str) -> Option<B256> {
    text.strip_prefix("0x").and_then(parse::hex).map(keccak256)
}

/// Adds the implementation that the beacon names. One that names none is
/// itself all that there is to see.
async fn ask_beacon(rpc: &Rpc, mut shown: Shown, turn: usize) -> Result<Shown, CallError> {
    let Some(beacon) = shown.beacon else { return Ok(shown) };
    let question = Beacon::implementationCall {}.abi_encode();
    let named = match rpc.call_at::<Bytes>(Call::view(beacon, &question, At::Latest), turn).await {
        Ok(answer) => Beacon::implementationCall::abi_decode_returns(&answer).ok(),
        Err(CallError::Node { error, .. }) if error.is_revert() => None,
        Err(error) => return Err(error),
    };
    shown.implementations.push(named.unwrap_or(beacon));
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use alloy::primitives::address;
    use serde_json::json;

    use super::*;
    use crate::{
        fake_node::{self, FakeNode, Say},
        scheme::requirements::tests as requirements,
    };

    const EIP1967: Address = address!("0x00000000000000000000000000000000000000a1");
    const ZEPPELINOS: Address = address!("0x00000000000000000000000000000000000000a2");
    const BEACON: Address = address!("0x00000000000000000000000000000000000000a3");
    const NAMED: Address = address!("0x00000000000000000000000000000000000000a4");

    /// A node where each account's code is its own address.
    async fn node(slots: [U256; 3], named: Say) -> FakeNode {
        FakeNode::start(move |method, params| match method {
            "eth_getCode" => Say::Result(params[0].clone()),
            "eth_call" => named.clone(),
            _ => {
                let [eip1967, zeppelinos] = IMPLEMENTATION_SLOTS;
                let places = [eip1967, BEACON_SLOT, zeppelinos].map(|slot| json!(slot));
                let place = places.iter().position(|slot| *slot == params[1]).expect("a known slot");
                Say::Result(json!(format!("{:#066x}", slots[place])))
            }
        })
        .await
    }

    #[tokio::test]
    async fn what_any_known_proxy_delegates_to_is_found() {
        let word = |account: Address| U256::from_be_slice(account.as_slice());
        let (zero, no_account) = (U256::ZERO, U256::from(1) << 160);
        let said = Say::Result(json!(B256::from(word(NAMED))));
        let reverts = Say::Revert("0x".to_owned());
        let cases = [
            ([zero, zero, zero], said.clone(), None, vec![]),
            ([word(EIP1967), zero, zero], said.clone(), None, vec![EIP1967]),
            ([zero, zero, word(ZEPPELINOS)], said.clone(), None, vec![ZEPPELINOS]),
            ([word(EIP1967), zero, word(ZEPPELINOS)], said.clone(), None, vec![EIP1967, ZEPPELINOS]),
            ([zero, word(BEACON), zero], said.clone(), Some(BEACON), vec![NAMED]),
            ([zero, word(BEACON), zero], reverts, Some(BEACON), vec![BEACON]),
            ([no_account, zero, U256::MAX], said, None, vec![]),
        ];
        for (slots, named, beacon, expected) in cases {
            let node = node(slots, named).await;
            let assets = [requirements::asset(), requirements::asset()];
            let seen = look(&fake_node::rpc(&[&node]), &assets, 0).await.expect("answers");
            let implementations =
                expected.into_iter().map(|address| Implementation { address, code: keccak256(address) }).collect();
            let one = TokenCode { code: keccak256(requirements::asset().address), beacon, implementations };
            assert_eq!(seen, [one.clone(), one], "{slots:?}");
            // Two batches, and one question to each beacon.
            let requests = 1 + usize::from(!seen[0].implementations.is_empty()) + 2 * usize::from(beacon.is_some());
            assert_eq!(node.requests(), requests, "{slots:?}");
        }
    }
}
