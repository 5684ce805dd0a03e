//! Transactions that carry many settlements, through `SettlementBatch`: what is
//! carried so, the bytes, and what they say of each settlement once a block has
//! them. Pure.
//!
//! The contract belongs to the gas wallets of one operator: they are its
//! owners, and its address follows from them. Its source tells the layout.

use alloy::{
    consensus::{Transaction as _, TxEnvelope},
    eips::eip2718::Decodable2718,
    hex,
    primitives::{Address, B256, Bytes, U256, address, keccak256},
    sol_types::{SolCall, SolEvent, SolValue},
};

use super::{
    gas::call_gas,
    plan::{Method, Transfer, TransferPlan},
};
use crate::{
    abi::ByKey,
    extension::builder_code::Suffix,
    method::permit2::abi::{self, EXACT_PROXY},
};

/// Generated from Solidity; `contracts/SettlementBatch.sol` is the documentation.
mod generated {
    alloy::sol_types::sol! {
        #![sol(alloy_sol_types = alloy::sol_types)]

        interface SettlementBatch {
            event Carried(uint256 succeeded);

            function carry(bytes items) external returns (uint256 succeeded);
        }
    }
}

pub(crate) use generated::SettlementBatch;

/// Settlements in one transaction, at most: with more, each costs hardly less,
/// and all of them wait for the one.
pub const BATCH_MAX: usize = 25;

/// The deployer that is at this address on every chain and gives whatever it
/// deploys an address that follows from the code alone.
pub const DEPLOYER: Address = address!("0x4e59b44847b379578588920cA78FbF26c0B4956C");

/// The most gas that a transaction with many settlements may ask for: a quarter
/// of a block of 30 million, so that it finds room in the next one, and less
/// than half of what EIP-7825 allows.
const GAS_MAX: u64 = 7_500_000;

/// Gas of a batch besides its items: its loop's beginning, its event, and what
/// has to stay behind for the last call. Measured with the contract's tests.
const OVERHEAD_GAS: u64 = 15_000;

/// Gas of an item besides its call: the account that is called, the copy of its
/// calldata.
const ITEM_GAS: u64 = 3_500;

/// Bytes of an item before its calldata.
const HEADER_BYTES: usize = 26;

/// Gas of the creation of a contract, of each byte of its code, and of each
/// owner that it notes.
const CREATE_GAS: u64 = 100_000;
const CODE_BYTE_GAS: u64 = 200;
const OWNER_GAS: u64 = 25_000;

/// The contract of these gas wallets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    /// Its address.
    pub address: Address,
    owners: usize,
    creation: Bytes,
}

/// One settlement in a transaction with several.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    to: Address,
    gas: u32,
    data: Bytes,
}

/// A call of the batch contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BatchCall {
    pub data: Bytes,
    pub gas_limit: u64,
}

impl Contract {
    /// The contract that belongs to these gas wallets.
    pub fn of(owners: impl IntoIterator<Item = Address>) -> Self {
        let mut owners: Vec<Address> = owners.into_iter().collect();
        // Ascending order gives one set of owners one address.
        owners.sort_unstable();
        let code = bytes(include_str!("../../contracts/out/SettlementBatch.hex"));
        let creation = Bytes::from([&code[..], &owners.abi_encode()].concat());
        let address = DEPLOYER.create2(B256::ZERO, keccak256(&creation));
        Self { address, owners: owners.len(), creation }
    }

    /// The code that is at its address once it is deployed.
    pub fn code() -> Bytes {
        bytes(include_str!("../../contracts/out/SettlementBatch.runtime.hex"))
    }

    /// The calldata by which the deployer deploys it: whoever sends it.
    pub fn deployment(&self) -> Bytes {
        [&B256::ZERO[..], &self.creation].concat().into()
    }

    /// The gas that the deployment needs, at most.
    pub fn deployment_gas(&self) -> u64 {
        let code = CODE_BYTE_GAS.saturating_mul(size(&Self::code()));
        let owners = OWNER_GAS.saturating_mul(u64::try_from(self.owners).unwrap_or(u64::MAX));
        call_gas(CREATE_GAS.saturating_add(code).saturating_add(owners), &self.deployment())
    }
}

fn bytes(text: &str) -> Bytes {
    hex::decode(text.trim()).unwrap_or_else(|_| unreachable!("compiled code is hex")).into()
}

fn size(data: &[u8]) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}

/// Returns the number of settlements that may share a transaction with this
/// one, itself counted; 1 where it goes alone. By EIP-3009 and by Permit2 in
/// scheme `exact` anybody may settle; `upto` names the sender.
pub(crate) fn batch_max(plan: &TransferPlan, gas_extra: u64) -> usize {
    let Some(item) = Item::of(plan, gas_extra) else { return 1 };
    let each = u64::from(item.gas).saturating_add(ITEM_GAS).saturating_add(gas_extra);
    let each = each.saturating_add(call_gas(0, &item.data).saturating_sub(call_gas(0, &[])));
    // A 64th has to stay behind for the last call.
    let spare = call_gas(OVERHEAD_GAS, &[]).saturating_add(u64::from(item.gas) / 63);
    let count = GAS_MAX.saturating_sub(spare).checked_div(each).unwrap_or_default();
    usize::try_from(count).unwrap_or(BATCH_MAX).clamp(1, BATCH_MAX)
}

/// Returns the call that carries these settlements; `None` where one of them
/// cannot be carried so.
pub(crate) fn call<'a>(
    plans: impl IntoIterator<Item = &'a TransferPlan>,
    gas_extra: u64,
    suffix: &Suffix,
) -> Option<BatchCall> {
    let items: Vec<Item> = plans.into_iter().map(|plan| Item::of(plan, gas_extra)).collect::<Option<_>>()?;
    let mut packed = vec![];
    let (mut gas, mut dearest) = (OVERHEAD_GAS, 0);
    for item in &items {
        packed.extend_from_slice(item.to.as_slice());
        packed.extend_from_slice(&item.gas.to_be_bytes());
        packed.extend_from_slice(&u16::try_from(item.data.len()).ok()?.to_be_bytes());
        packed.extend_from_slice(&item.data);
        gas = gas.saturating_add(u64::from(item.gas)).saturating_add(ITEM_GAS).saturating_add(gas_extra);
        dearest = dearest.max(u64::from(item.gas));
    }
    let data = suffix.append(SettlementBatch::carryCall { items: packed.into() }.abi_encode().into());
    let gas_limit = call_gas(gas.saturating_add(dearest / 63), &data);
    Some(BatchCall { data, gas_limit })
}

impl Item {
    /// A settlement as an item; `None` where it cannot be one.
    fn of(plan: &TransferPlan, gas_extra: u64) -> Option<Self> {
        let by_anybody = match plan.effect.method {
            Method::Eip3009 => {
                plan.to == plan.effect.token && plan.data.starts_with(&ByKey::transferWithAuthorizationCall::SELECTOR)
            }
            Method::Permit2 => plan.to == EXACT_PROXY && abi::settled(plan.to, &plan.data).is_some(),
            Method::Upto => false,
        };
        if !by_anybody || u16::try_from(plan.data.len()).is_err() {
            return None;
        }
        let gas = plan.gas_limit.checked_sub(gas_extra)?.checked_sub(call_gas(0, &plan.data))?;
        Some(Self { to: plan.to, gas: u32::try_from(gas).ok()?, data: plan.data.clone() })
    }

    /// Reads the items of a call, as far as they are whole.
    fn read(mut packed: &[u8]) -> Vec<Self> {
        let mut items = vec![];
        while let Some((header, rest)) = packed.split_at_checked(HEADER_BYTES) {
            let (Some(gas), Some(size)) = (header[20..24].try_into().ok(), header[24..26].try_into().ok()) else {
                break;
            };
            let Some((data, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(size))) else { break };
            let to = Address::from_slice(&header[..20]);
            items.push(Self { to, gas: u32::from_be_bytes(gas), data: Bytes::copy_from_slice(data) });
            packed = rest;
        }
        items
    }

    /// The tokens that it moves: token, payer, payee, amount.
    fn moves(&self) -> Option<(Address, Address, Address, U256)> {
        if let Some(settled) = abi::settled(self.to, &self.data) {
            return Some((settled.token, settled.owner, settled.to, settled.amount));
        }
        let call = ByKey::transferWithAuthorizationCall::abi_decode(&self.data).ok()?;
        Some((self.to, call.from, call.to, call.value))
    }
}

/// One settlement's place in a transaction that carries several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The contract that was called.
    pub contract: Address,
    index: usize,
    /// The places of those that move the same tokens in the same way, itself among them.
    alike: Vec<usize>,
}

impl Place {
    /// Returns the place of a settlement in signed bytes; `None` where they
    /// carry no batch with it.
    pub fn of(raw: &[u8], plan: &TransferPlan) -> Option<Self> {
        let envelope = TxEnvelope::decode_2718(&mut &*raw).ok()?;
        let contract = envelope.to()?;
        let items = items(envelope.input())?;
        let index = items.iter().position(|item| item.to == plan.to && item.data == plan.data)?;
        let Transfer { token, from, to, value, .. } = plan.effect;
        let is_alike = |item: &Item| item.moves() == Some((token, from, to, value));
        let alike = items.iter().enumerate().filter(|(_, item)| is_alike(item)).map(|(index, _)| index).collect();
        Some(Self { contract, index, alike })
    }

    /// Returns true when its call succeeded, by the word of the contract's event.
    pub fn succeeded(&self, succeeded: U256) -> bool {
        succeeded.bit(self.index)
    }

    /// The number of settlements in it whose calls succeeded and that move the
    /// same tokens in the same way: so many transfers must be there, or one of
    /// them has none of its own.
    pub fn alike(&self, succeeded: U256) -> usize {
        self.alike.iter().filter(|index| succeeded.bit(**index)).count()
    }
}

fn items(input: &[u8]) -> Option<Vec<Item>> {
    // What stands behind the argument is ignored, as the contract does.
    let call = SettlementBatch::carryCall::abi_decode(input).ok()?;
    Some(Item::read(&call.items))
}

/// The place of a settlement by Permit2 in a call of the batch contract.
pub(crate) fn index(input: &[u8], settled: &abi::Settled) -> Option<usize> {
    items(input)?.iter().position(|item| abi::settled(item.to, &item.data).as_ref() == Some(settled))
}

/// The word of the contract's event, where the log is one.
pub(crate) fn carried(log: &alloy::primitives::Log) -> Option<U256> {
    SettlementBatch::Carried::decode_log(log).ok().map(|event| event.succeeded)
}

#[cfg(test)]
mod tests {
    use alloy::{
        consensus::{SignableTransaction, TxEip1559},
        eips::eip2718::Encodable2718,
        primitives::{Signature, TxKind},
    };

    use super::*;
    use crate::{
        abi::{self as token_abi, TransferWithAuthorization},
        extension::builder_code::Suffix,
        method::permit2::{
            abi::{Settle, UPTO_PROXY},
            permit::{Permit, Witness},
        },
    };

    const TOKEN: Address = Address::repeat_byte(0xaa);

    /// A payment by EIP-3009 of this payer's with this nonce.
    fn eip3009(payer: u8, nonce: u8) -> TransferPlan {
        let (from, to, value) = (Address::repeat_byte(payer), Address::repeat_byte(0xcc), U256::from(10_000));
        let nonce = B256::repeat_byte(nonce);
        let transfer =
            TransferWithAuthorization { from, to, value, validAfter: U256::ZERO, validBefore: U256::from(99), nonce };
        let data = token_abi::transfer_by_key(&transfer, 27, B256::repeat_byte(1), B256::repeat_byte(2));
        let effect = Transfer { token: TOKEN, from, to, value, nonce, method: Method::Eip3009 };
        TransferPlan { to: TOKEN, data, gas_limit: 120_000, effect }
    }

    /// A payment by Permit2 of the same amount to the same payee.
    fn permit2(payer: u8, nonce: u8, method: Method) -> TransferPlan {
        let effect = Transfer { method, ..eip3009(payer, nonce).effect };
        let Transfer { from, to, value, .. } = effect;
        let (spender, witness) = match method {
            Method::Upto => {
                (UPTO_PROXY, Witness::Upto { to, facilitator: Address::repeat_byte(9), valid_after: U256::ZERO })
            }
            Method::Permit2 | Method::Eip3009 => (EXACT_PROXY, Witness::Exact { to, valid_after: U256::ZERO }),
        };
        let nonce = U256::from_be_bytes(effect.nonce.0);
        let permit = Permit { from, token: TOKEN, amount: value, spender, nonce, deadline: U256::from(99), witness };
        let signature = Bytes::from(vec![0xee; 65]);
        let data = Settle { permit: &permit, amount: value, permit2612: None, signature: &signature }.calldata();
        TransferPlan { to: spender, data, gas_limit: 140_000, effect }
    }

    fn signed(to: Address, input: Bytes) -> Vec<u8> {
        let transaction = TxEip1559 { to: TxKind::Call(to), input, ..TxEip1559::default() };
        transaction.into_signed(Signature::test_signature()).encoded_2718()
    }

    #[test]
    fn the_contract_follows_from_the_owners_in_whatever_order() {
        let (a, b) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let contract = Contract::of([a, b]);
        assert_eq!(contract, Contract::of([b, a]));
        assert_ne!(contract.address, Contract::of([a]).address);
        let deployment = contract.deployment();
        assert!(deployment.starts_with(&[0; 32]), "no salt");
        assert!(deployment.ends_with(&[a.into_word(), b.into_word()].concat()), "the owners, in ascending order");
        let gas = |owners: u8| Contract::of((0..owners).map(|byte| Address::repeat_byte(byte + 1))).deployment_gas();
        assert!(gas(2) >= gas(1) + OWNER_GAS, "each owner takes a slot");
    }

    #[test]
    fn what_anybody_may_settle_goes_together_and_everything_else_alone() {
        let plan = eip3009(1, 1);
        let by_bytes = token_abi::transfer_by_bytes(
            &TransferWithAuthorization {
                from: plan.effect.from,
                to: plan.effect.to,
                value: plan.effect.value,
                validAfter: U256::ZERO,
                validBefore: U256::from(99),
                nonce: plan.effect.nonce,
            },
            Bytes::from(vec![1; 65]),
        );
        let cases = [
            ("EIP-3009 by a key", plan.clone(), 0, BATCH_MAX),
            ("Permit2 in scheme exact", permit2(1, 1, Method::Permit2), 0, BATCH_MAX),
            ("upto, which names the sender", permit2(1, 1, Method::Upto), 0, 1),
            ("a signature that a contract checks", TransferPlan { data: by_bytes, ..plan.clone() }, 0, 1),
            ("through another contract", TransferPlan { to: Address::repeat_byte(7), ..plan.clone() }, 0, 1),
            ("data is gas", TransferPlan { gas_limit: 520_000, ..plan.clone() }, 400_000, 14),
            ("much gas", TransferPlan { gas_limit: 1_524_000, ..plan.clone() }, 0, 4),
            ("more gas than there is", TransferPlan { gas_limit: 9_000_000, ..plan.clone() }, 0, 1),
            ("less gas than its data takes", TransferPlan { gas_limit: 21_000, ..plan }, 0, 1),
        ];
        for (name, plan, gas_extra, expected) in cases {
            assert_eq!(batch_max(&plan, gas_extra), expected, "{name}");
        }
    }

    #[test]
    fn a_full_batch_asks_for_no_more_gas_than_it_may() {
        for gas_limit in [120_000, 200_000, 400_000, 1_000_000, 3_000_000] {
            let plan = |nonce| TransferPlan { gas_limit, ..eip3009(1, nonce) };
            let count = u8::try_from(batch_max(&plan(1), 0)).expect("few");
            let plans: Vec<_> = (0..count).map(plan).collect();
            let call = call(&plans, 0, &Suffix::default()).expect("a call");
            assert!(call.gas_limit <= GAS_MAX, "{count} of {gas_limit}: {}", call.gas_limit);
        }
    }

    #[test]
    fn the_call_holds_every_item_with_its_own_gas_and_its_place_is_found_again() {
        let plans = [eip3009(1, 1), permit2(1, 2, Method::Permit2), eip3009(2, 3), eip3009(1, 4)];
        let call = call(&plans, 0, &Suffix::default()).expect("a call");
        let read = items(&call.data).expect("items");
        assert_eq!(
            read.iter().map(|item| (item.to, &item.data)).collect::<Vec<_>>(),
            plans.iter().map(|p| (p.to, &p.data)).collect::<Vec<_>>()
        );
        for (item, plan) in read.iter().zip(&plans) {
            assert_eq!(u64::from(item.gas), plan.gas_limit - call_gas(0, &plan.data));
        }
        let caps: u64 = read.iter().map(|item| u64::from(item.gas)).sum();
        assert_eq!(
            call.gas_limit,
            call_gas(caps + 4 * ITEM_GAS + OVERHEAD_GAS + u64::from(read[1].gas) / 63, &call.data)
        );
        let raw = signed(Address::repeat_byte(0xba), call.data);
        let bits = U256::from(0b0111);
        let seen = plans.each_ref().map(|plan| {
            let place = Place::of(&raw, plan).expect("its place");
            assert_eq!(place.contract, Address::repeat_byte(0xba));
            (place.succeeded(bits), place.alike(bits))
        });
        // The first, the second and the last move the same tokens: two of these succeeded.
        assert_eq!(seen, [(true, 2), (true, 2), (true, 1), (false, 2)]);
        assert_eq!(Place::of(&raw, &eip3009(9, 9)), None, "it is not in it");
        let alone = signed(plans[0].to, plans[0].data.clone());
        assert_eq!(Place::of(&alone, &plans[0]), None, "a transaction of its own");
        assert_eq!(Place::of(&[1, 2, 3], &plans[0]), None);
    }

    #[test]
    fn a_settlement_by_permit2_is_found_by_what_it_moves() {
        let plans = [eip3009(1, 1), permit2(1, 2, Method::Permit2)];
        let call = call(&plans, 0, &Suffix::default()).expect("a call");
        let settled = abi::settled(EXACT_PROXY, &plans[1].data).expect("a settlement");
        assert_eq!(index(&call.data, &settled), Some(1));
        assert_eq!(index(&call.data, &abi::Settled { nonce: U256::ZERO, ..settled.clone() }), None);
        assert_eq!(index(&plans[1].data, &settled), None, "no batch");
    }

    #[test]
    fn one_that_cannot_go_along_is_refused_for_all() {
        assert_eq!(call(&[eip3009(1, 1), permit2(1, 2, Method::Upto)], 0, &Suffix::default()), None);
    }
}
