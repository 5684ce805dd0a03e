//! The byte layout of `Eip3009Lens`, written and read. Source:
//! `contracts/README.md`.

use alloy::{
    hex,
    primitives::{Address, Bytes, U256},
};

use super::{Batch, SignatureAnswer};
use crate::simulation::Simulation;

/// The lens's creation code, bare hex.
const CODE: &str = include_str!("../../contracts/out/Eip3009Lens.hex");

/// The most that `data` of a call may be, by EIP-3860.
const DATA_BYTES_MAX: usize = 49_152;

/// The layout's version, first byte of every answer.
const VERSION: u8 = 1;

const HEADER_BYTES: usize = 34;
const RECORD_BYTES: usize = 40;

/// The question about one payment.
#[derive(Clone, Debug)]
pub struct Item {
    /// The token.
    pub token: Address,
    /// The most gas that the simulated call, and the signature call, may use.
    pub gas_cap: u32,
    /// Calldata of `transferWithAuthorization`, either form.
    pub transfer: Bytes,
    /// Calldata of `isValidSignature`, or nothing.
    pub signature: Bytes,
}

/// The lens's record of one payment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are the lens's flags, and independent")]
pub struct Record {
    /// The token has code.
    pub token_has_code: bool,
    /// The payer has code: a contract's or an EIP-7702 delegation.
    pub payer_has_code: bool,
    /// The answer of the payer's code about the signature.
    pub signature: SignatureAnswer,
    /// The payer's balance; `None` when the token did not tell.
    pub balance: Option<U256>,
    /// The nonce is used or cancelled; `None` when the token did not tell.
    pub nonce_used: Option<bool>,
    /// The simulated transfer did not revert.
    pub succeeded: bool,
    /// The payee's balance did not rise by exactly the value.
    pub pays_wrong_amount: bool,
    /// Gas of the simulated call alone.
    pub gas_used: u64,
    /// The data that the token reverted with, cut to 132 bytes.
    pub revert: Vec<u8>,
}

/// The body of one call, being filled.
#[derive(Debug, Default)]
pub struct Body {
    items: Vec<u8>,
    count: u8,
    gas: u64,
}

impl Batch for Body {
    type Item = Item;
    type Record = Record;

    fn push(&mut self, item: &Item, items_max: u8, gas_max: u64) -> bool {
        let size = 28 + item.transfer.len() + item.signature.len();
        let gas = 500_000 + 3 * u64::from(item.gas_cap);
        let bytes = CODE.len() / 2 + 1 + self.items.len() + size + 2;
        let room = self.count < items_max && bytes <= DATA_BYTES_MAX && self.gas + gas <= gas_max;
        let (Ok(transfer), Ok(signature)) = (u16::try_from(item.transfer.len()), u16::try_from(item.signature.len()))
        else {
            return false;
        };
        if !room && self.count > 0 {
            return false;
        }
        self.items.extend_from_slice(item.token.as_slice());
        self.items.extend_from_slice(&item.gas_cap.to_be_bytes());
        self.items.extend_from_slice(&transfer.to_be_bytes());
        self.items.extend_from_slice(&signature.to_be_bytes());
        self.items.extend_from_slice(&item.transfer);
        self.items.extend_from_slice(&item.signature);
        self.count += 1;
        self.gas += gas;
        true
    }

    fn count(&self) -> u8 {
        self.count
    }

    fn simulation(&self, sender: Address) -> Simulation {
        // Enough that every item is asked.
        Simulation::of_creation(sender, self.data(), 200_000 + self.gas)
    }

    fn read(bytes: &[u8], count: u8) -> Option<Vec<Option<Record>>> {
        let (header, mut rest) = bytes.split_at_checked(HEADER_BYTES)?;
        if header.first() != Some(&VERSION) || header.get(1) != Some(&count) {
            return None;
        }
        let mut records = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let (fixed, behind) = rest.split_first_chunk::<RECORD_BYTES>()?;
            let (revert, behind) = behind.split_at_checked(usize::from(fixed[7]))?;
            records.push(record(fixed, revert));
            rest = behind;
        }
        rest.is_empty().then_some(records)
    }
}

impl Body {
    /// The call's data as hex.
    fn data(&self) -> String {
        let size = u16::try_from(self.items.len() + 1).unwrap_or(u16::MAX);
        let mut data = String::with_capacity(2 + CODE.len() + 2 * (self.items.len() + 3));
        data.push_str("0x");
        data.push_str(CODE.trim_end());
        data.push_str(&hex::encode([self.count]));
        data.push_str(&hex::encode(&self.items));
        data.push_str(&hex::encode(size.to_be_bytes()));
        data
    }
}

fn record(fixed: &[u8; RECORD_BYTES], revert: &[u8]) -> Option<Record> {
    let flag = |bit: u8| fixed[0] & bit != 0;
    if !flag(0x01) {
        return None;
    }
    Some(Record {
        token_has_code: flag(0x02),
        payer_has_code: flag(0x04),
        signature: SignatureAnswer::read(fixed[1]),
        balance: flag(0x10).then(|| U256::from_be_slice(&fixed[8..])),
        nonce_used: flag(0x20).then(|| flag(0x40)),
        succeeded: flag(0x80),
        pays_wrong_amount: fixed[2] == 2,
        gas_used: u64::from(u32::from_be_bytes([fixed[3], fixed[4], fixed[5], fixed[6]])),
        revert: revert.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(transfer: usize) -> Item {
        Item {
            token: Address::repeat_byte(0xaa),
            gas_cap: 120_000,
            transfer: vec![1; transfer].into(),
            signature: Bytes::from_static(&[2, 3]),
        }
    }

    #[test]
    fn a_call_is_code_then_items_then_size() {
        let mut batch = Body::default();
        assert!(batch.push(&item(196), 32, u64::MAX));
        let data = batch.data();
        let body = data.strip_prefix("0x").and_then(|d| d.strip_prefix(CODE.trim_end())).expect("code first");
        let expected = format!("01{}0001d4c000c40002{}0203{}", "aa".repeat(20), "01".repeat(196), "00e3");
        assert_eq!(body, expected, "1 + 28 + 196 + 2 = 227 bytes");
        assert_eq!(batch.simulation(Address::ZERO).gas, 200_000 + 500_000 + 360_000);
    }

    #[test]
    fn a_call_stays_within_its_limits() {
        let fill = |transfer, items_max, gas_max| {
            let mut batch = Body::default();
            while batch.push(&item(transfer), items_max, gas_max) {}
            (batch.count(), (batch.data().len() - 2) / 2)
        };
        assert_eq!(fill(292, 32, u64::MAX).0, 32);
        let (count, bytes) = fill(4000, 100, u64::MAX);
        assert!(count > 8 && bytes <= DATA_BYTES_MAX, "{count} {bytes}");
        assert_eq!(fill(292, 32, 2_000_000).0, 2);
        assert_eq!(fill(292, 32, 1).0, 1, "an item alone is always asked");
        assert!(!Body::default().push(&item(70_000), 32, u64::MAX));
    }

    #[test]
    fn answers_are_read_to_the_last_byte() {
        let mut bytes = vec![1, 2];
        bytes.extend([0; 32]);
        bytes.extend([0x01 | 0x02 | 0x10 | 0x20 | 0x40, 0, 0, 0, 1, 0, 0, 4]);
        bytes.extend(U256::from(77).to_be_bytes::<32>());
        bytes.extend([9; 4]);
        bytes.extend([0; 40]);
        let records = Body::read(&bytes, 2).expect("read");
        let expected = Record {
            token_has_code: true,
            payer_has_code: false,
            signature: SignatureAnswer::NotAsked,
            balance: Some(U256::from(77)),
            nonce_used: Some(true),
            succeeded: false,
            pays_wrong_amount: false,
            gas_used: 65_536,
            revert: vec![9; 4],
        };
        assert_eq!(records, [Some(expected), None]);
        assert_eq!(Body::read(&bytes, 1), None, "another count");
        assert_eq!(Body::read(&bytes[..bytes.len() - 1], 2), None, "cut off");
        assert_eq!(Body::read(&[bytes.as_slice(), &[0]].concat(), 2), None, "something behind");
        assert_eq!(Body::read(&[], 0), None);
    }
}
