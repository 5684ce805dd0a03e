//! The byte layout of `Permit2Lens`, written and read. Source: the contract.

use alloy::{
    hex,
    primitives::{Address, B256, Bytes, U256},
};

use super::{Batch, SignatureAnswer};
use crate::simulation::Simulation;

/// The lens's runtime code, bare hex.
const CODE: &str = include_str!("../../contracts/out/Permit2Lens.runtime.hex");

/// The most that the items of one call may be: some nodes bound a request's size.
const BODY_BYTES_MAX: usize = 96 * 1024;

/// The layout's version, first byte of every answer.
const VERSION: u8 = 1;

const HEADER_BYTES: usize = 2;
const ITEM_BYTES: usize = 185;
const RECORD_BYTES: usize = 73;

/// The question about one payment.
#[derive(Clone, Debug)]
pub struct Item {
    /// The token.
    pub token: Address,
    /// The payer.
    pub payer: Address,
    /// The payee.
    pub payee: Address,
    /// The contract that settles.
    pub proxy: Address,
    /// By how much the payee's balance must rise.
    pub value: U256,
    /// The nonce in Permit2.
    pub nonce: U256,
    /// The payer's signed message.
    pub hash: B256,
    /// The most gas that the simulated call, and the signature call, may use.
    pub gas_cap: u32,
    /// Calldata for the proxy.
    pub call: Bytes,
    /// The number of bytes at the calldata's end that are the signature, its length
    /// before it and padding behind it.
    pub signature_tail: usize,
}

/// The lens's record of one payment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are the lens's flags, and independent")]
pub struct Record {
    /// The token has code.
    pub token_has_code: bool,
    /// The payer has code: a contract's or an EIP-7702 delegation.
    pub payer_has_code: bool,
    /// The proxy is one, and its Permit2 is Permit2.
    pub proxy_works: bool,
    /// The answer of the payer's code about the signature.
    pub signature: SignatureAnswer,
    /// The payer's balance; `None` when the token did not tell.
    pub balance: Option<U256>,
    /// The allowance of Permit2; `None` when the token did not tell.
    pub allowance: Option<U256>,
    /// The nonce is used or cancelled; `None` when Permit2 did not tell.
    pub nonce_used: Option<bool>,
    /// The simulated settlement did not revert.
    pub succeeded: bool,
    /// The payee's balance did not rise by exactly the value.
    pub pays_wrong_amount: bool,
    /// Gas of the simulated call alone.
    pub gas_used: u64,
    /// The data that the proxy reverted with, cut to 132 bytes.
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
        let size = ITEM_BYTES + item.call.len();
        let tail = item.call.len().checked_sub(item.signature_tail).map(u16::try_from);
        let (Ok(call), Some(Ok(tail))) = (u16::try_from(item.call.len()), tail) else { return false };
        let gas_cap = u64::from(item.gas_cap);
        let gas = 450_000 + gas_cap * 9 / 4 + 16 * u64::try_from(size).unwrap_or(u64::MAX);
        let bytes = self.items.len() + size;
        let room = self.count < items_max && bytes <= BODY_BYTES_MAX && self.gas + gas <= gas_max;
        if !room && self.count > 0 {
            return false;
        }
        let items = &mut self.items;
        items.push(0);
        for account in [item.token, item.payer, item.payee, item.proxy] {
            items.extend_from_slice(account.as_slice());
        }
        items.extend_from_slice(&item.value.to_be_bytes::<32>());
        items.extend_from_slice(&item.nonce.to_be_bytes::<32>());
        items.extend_from_slice(item.hash.as_slice());
        items.extend_from_slice(&item.gas_cap.to_be_bytes());
        items.extend_from_slice(&call.to_be_bytes());
        items.extend_from_slice(&tail.to_be_bytes());
        items.extend_from_slice(&item.call);
        self.count += 1;
        self.gas += gas;
        true
    }

    fn count(&self) -> u8 {
        self.count
    }

    fn simulation(&self, sender: Address) -> Simulation {
        let data = format!("0x{:02x}{}", self.count, hex::encode(&self.items));
        // Enough that every item is asked.
        Simulation::with_code(sender, vec![sender], CODE, data, 200_000 + self.gas)
    }

    fn read(bytes: &[u8], count: u8) -> Option<Vec<Option<Record>>> {
        let (header, mut rest) = bytes.split_at_checked(HEADER_BYTES)?;
        if *header != [VERSION, count] {
            return None;
        }
        let mut records = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let (fixed, behind) = rest.split_first_chunk::<RECORD_BYTES>()?;
            let (revert, behind) = behind.split_at_checked(usize::from(fixed[8]))?;
            records.push(record(fixed, revert));
            rest = behind;
        }
        rest.is_empty().then_some(records)
    }
}

fn record(fixed: &[u8; RECORD_BYTES], revert: &[u8]) -> Option<Record> {
    let (first, second) = (|bit: u8| fixed[0] & bit != 0, |bit: u8| fixed[1] & bit != 0);
    if !first(0x01) {
        return None;
    }
    let (balance, allowance) = fixed[9..].split_at(32);
    Some(Record {
        token_has_code: first(0x02),
        payer_has_code: first(0x04),
        proxy_works: second(0x02),
        signature: SignatureAnswer::read(fixed[2]),
        balance: first(0x10).then(|| U256::from_be_slice(balance)),
        allowance: second(0x01).then(|| U256::from_be_slice(allowance)),
        nonce_used: first(0x20).then(|| first(0x40)),
        succeeded: first(0x80),
        pays_wrong_amount: fixed[3] == 2,
        gas_used: u64::from(u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]])),
        revert: revert.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(call: usize) -> Item {
        Item {
            token: Address::repeat_byte(0xaa),
            payer: Address::repeat_byte(0xbb),
            payee: Address::repeat_byte(0xcc),
            proxy: Address::repeat_byte(0xdd),
            value: U256::from(1),
            nonce: U256::from(2),
            hash: B256::repeat_byte(0xee),
            gas_cap: 140_000,
            call: vec![9; call].into(),
            signature_tail: 128,
        }
    }

    #[test]
    fn a_call_is_the_wallets_own_with_the_lenss_code() {
        let mut body = Body::default();
        assert!(body.push(&item(388), 32, u64::MAX));
        let wallet = Address::repeat_byte(0x11);
        let params: serde_json::Value =
            serde_json::from_str(&body.simulation(wallet).call(None, None).params).expect("JSON");
        let (word, wallet) = (|byte: &str| byte.repeat(20), format!("{wallet:#x}"));
        let data = format!(
            "0x0100{}{}{}{}{:064x}{:064x}{}{:08x}{:04x}{:04x}{}",
            word("aa"),
            word("bb"),
            word("cc"),
            word("dd"),
            1,
            2,
            "ee".repeat(32),
            140_000,
            388,
            388 - 128,
            "09".repeat(388),
        );
        assert_eq!((&params[0]["from"], &params[0]["to"]), (&wallet.clone().into(), &wallet.clone().into()));
        assert_eq!(params[0]["data"], data);
        assert_eq!(params[0]["gas"], format!("{:#x}", 200_000 + 450_000 + 315_000 + 16 * 573));
        assert_eq!(params[1], "latest");
        assert_eq!(params[2][&wallet]["code"], format!("0x{}", CODE.trim_end()));
    }

    #[test]
    fn a_call_stays_within_its_limits() {
        let fill = |call, items_max, gas_max| {
            let mut body = Body::default();
            while body.push(&item(call), items_max, gas_max) {}
            (body.count(), body.items.len())
        };
        assert_eq!(fill(388, 32, u64::MAX).0, 32);
        assert_eq!(fill(388, 32, 2_000_000).0, 2);
        assert_eq!(fill(388, 32, 1).0, 1, "an item alone is always asked");
        let (count, bytes) = fill(4500, 100, u64::MAX);
        assert!(count > 16 && bytes <= BODY_BYTES_MAX, "{count} {bytes}");
        assert!(!Body::default().push(&item(70_000), 32, u64::MAX));
        assert!(!Body::default().push(&item(100), 32, u64::MAX), "shorter than its signature");
    }

    #[test]
    fn answers_are_read_to_the_last_byte() {
        let mut bytes = vec![1, 2];
        bytes.extend([0x01 | 0x02 | 0x10 | 0x20 | 0x40, 0x01 | 0x02, 0, 0, 0, 1, 0, 0, 4]);
        bytes.extend(U256::from(77).to_be_bytes::<32>());
        bytes.extend(U256::from(78).to_be_bytes::<32>());
        bytes.extend([9; 4]);
        bytes.extend([0; 73]);
        let records = Body::read(&bytes, 2).expect("read");
        let expected = Record {
            token_has_code: true,
            payer_has_code: false,
            proxy_works: true,
            signature: SignatureAnswer::NotAsked,
            balance: Some(U256::from(77)),
            allowance: Some(U256::from(78)),
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
