//! The byte layout of `ApprovalLens`, written and read. Source: the contract.

use alloy::{
    hex,
    primitives::{Address, Bytes},
};

use super::permit2::{Item, Record};
use crate::{extension::sponsoring::erc20_approval::ApprovalTransaction, simulation::Simulation, tx::gas};

/// The lens's runtime code, bare hex.
const CODE: &str = include_str!("../../contracts/out/ApprovalLens.runtime.hex");

/// The layout's version, first byte of every answer.
const VERSION: u8 = 1;

/// The gas of an account and some storage when they are touched for the first
/// time, which the approval does here before the settlement.
const COLD_GAS: u64 = 15_000;

/// The outcome of a settlement with its approval before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The approval would fail, with these bytes, cut to 132.
    NotApproved(Vec<u8>),
    /// The settlement would be made, or fail, like this.
    Settled(Settled),
}

/// The outcome of the settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    succeeded: bool,
    /// `None` when the token did not tell.
    pays_exactly: Option<bool>,
    gas_used: u64,
    revert: Vec<u8>,
}

impl Settled {
    /// The record of a settlement that goes before any approval, with what
    /// changes when it comes after one.
    pub fn after(self, before: &Record) -> Record {
        Record {
            succeeded: self.succeeded,
            pays_wrong_amount: self.pays_exactly == Some(false),
            gas_used: self.gas_used.saturating_add(COLD_GAS),
            revert: self.revert,
            // No longer what stands there now.
            allowance: None,
            ..before.clone()
        }
    }
}

/// The call, in the name of a gas wallet.
pub(crate) fn simulation(sender: Address, item: &Item, approval: &ApprovalTransaction) -> Simulation {
    let approve_gas = approval.gas_limit.saturating_sub(gas::call_gas(0, &approval.data));
    let approve_gas = u32::try_from(approve_gas).unwrap_or(u32::MAX);
    let mut data = vec![2];
    for account in [item.token, item.payer, item.payee, item.proxy] {
        data.extend_from_slice(account.as_slice());
    }
    data.extend_from_slice(&item.value.to_be_bytes::<32>());
    data.extend_from_slice(&approve_gas.to_be_bytes());
    data.extend_from_slice(&item.gas_cap.to_be_bytes());
    data.extend_from_slice(&approval.data);
    data.extend_from_slice(&item.call);
    let caps = u64::from(approve_gas) + u64::from(item.gas_cap);
    let size = u64::try_from(data.len()).unwrap_or(u64::MAX);
    let gas = 400_000 + caps * 5 / 4 + size.saturating_mul(40);
    Simulation::with_code(sender, vec![sender, item.payer], CODE, hex::encode_prefixed(data), gas)
}

/// Reads an answer; `None` when these are not the lens's bytes.
pub(crate) fn read(answer: &Bytes) -> Option<Answer> {
    let ([version, flags, gas @ ..], revert) = answer.split_first_chunk::<6>()?;
    if *version != VERSION {
        return None;
    }
    if flags & 0x01 == 0 {
        return Some(Answer::NotApproved(revert.to_vec()));
    }
    Some(Answer::Settled(Settled {
        succeeded: flags & 0x02 != 0,
        pays_exactly: (flags & 0x04 != 0).then_some(flags & 0x08 != 0),
        gas_used: u64::from(u32::from_be_bytes(*gas)),
        revert: revert.to_vec(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let settled = |succeeded, pays_exactly, revert: &[u8]| {
            let (gas_used, revert) = (0x0001_0000, revert.to_vec());
            Some(Answer::Settled(Settled { succeeded, pays_exactly, gas_used, revert }))
        };
        let cases: [(&[u8], Option<Answer>); 8] = [
            (&[1, 0, 0, 0, 0, 0, 9, 9], Some(Answer::NotApproved(vec![9, 9]))),
            (&[1, 1, 0, 1, 0, 0, 7], settled(false, None, &[7])),
            (&[1, 3, 0, 1, 0, 0], settled(true, None, &[])),
            (&[1, 7, 0, 1, 0, 0], settled(true, Some(false), &[])),
            (&[1, 15, 0, 1, 0, 0], settled(true, Some(true), &[])),
            (&[2, 15, 0, 1, 0, 0], None),
            (&[1, 15, 0, 1, 0], None),
            (&[], None),
        ];
        for (bytes, expected) in cases {
            assert_eq!(read(&Bytes::copy_from_slice(bytes)), expected, "{bytes:?}");
        }
    }
}
