//! The payer's transaction as it stands in the payload: decoded, sound, and
//! not yet believed.

use std::collections::HashSet;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use chains_core::{Identity, Network, Rejection};
use sha2::{Digest, Sha256};
use solana_message::{VersionedMessage, v0::MessageAddressTableLookup};
use solana_sdk::{hash::Hash, pubkey::Pubkey};
use solana_signature::{SIGNATURE_BYTES, Signature};
use solana_transaction::versioned::VersionedTransaction;

use crate::{programs, reason};

/// The most bytes of a transaction: what fits into one packet of the network.
pub const WIRE_MAX: usize = 1232;
/// As many characters has the base64 text of [`WIRE_MAX`] bytes.
const TEXT_MAX: usize = WIRE_MAX.div_ceil(3) * 4;

/// Padding or not is all the same; the alphabet is not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A transaction, legacy or v0, whose every index is within bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    wire: Vec<u8>,
    inner: VersionedTransaction,
    message_at: usize,
    message_hash: [u8; 32],
}

/// The reason why a text is not a [`Transaction`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than any transaction can be.
    #[error("a transaction has at most {WIRE_MAX} bytes")]
    TooLong,
    /// No base64.
    #[error("the transaction must be base64")]
    Base64,
    /// No transaction of the versions `legacy` and 0, or bytes after it.
    #[error("the bytes are not a transaction of version legacy or 0")]
    Wire,
    /// An index out of bounds, or not one signature for each signer.
    #[error("the transaction's header, signatures and indices do not fit together")]
    Unsound,
    /// An account stands twice: no node loads it.
    #[error("the transaction names an account twice")]
    AccountTwice,
}

impl From<DecodeError> for Rejection {
    fn from(error: DecodeError) -> Self {
        Self::new(reason::COULD_NOT_BE_DECODED, error.to_string())
    }
}

impl Transaction {
    /// Reads `payload.transaction`.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        if text.len() > TEXT_MAX {
            return Err(DecodeError::TooLong);
        }
        Self::from_wire(BASE64.decode(text).map_err(|_| DecodeError::Base64)?)
    }

    /// Reads the bytes as they go to a node.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn from_wire(wire: Vec<u8>) -> Result<Self, DecodeError> {
        if wire.len() > WIRE_MAX {
            return Err(DecodeError::TooLong);
        }
        let inner: VersionedTransaction = wincode::deserialize_exact(&wire).map_err(|_| DecodeError::Wire)?;
        let known = matches!(inner.message, VersionedMessage::Legacy(_) | VersionedMessage::V0(_));
        // One message, one spelling: what was signed is what these bytes are.
        if !known || wincode::serialize(&inner).ok().as_ref() != Some(&wire) {
            return Err(DecodeError::Wire);
        }
        inner.sanitize().map_err(|_| DecodeError::Unsound)?;
        let mut seen = HashSet::new();
        if !inner.message.static_account_keys().iter().all(|key| seen.insert(key)) {
            return Err(DecodeError::AccountTwice);
        }
        // Fewer than 128 signatures fit, so their count is one byte.
        let message_at = 1 + inner.signatures.len() * SIGNATURE_BYTES;
        let message_hash = Sha256::digest(wire.get(message_at..).ok_or(DecodeError::Wire)?).into();
        Ok(Self { wire, inner, message_at, message_hash })
    }

    /// The bytes that were decoded.
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// The bytes that every signer signs.
    pub fn message(&self) -> &[u8] {
        self.wire.get(self.message_at..).unwrap_or_default()
    }

    /// SHA-256 of [`message`](Self::message): what stays the same however the
    /// signatures and the text around it are spelt.
    pub const fn message_hash(&self) -> &[u8; 32] {
        &self.message_hash
    }

    /// The payment's one name: a cluster executes a message once.
    pub fn identity(&self, network: &Network) -> Identity {
        Identity::of("svm", &[network.to_string().as_bytes(), &self.message_hash])
    }

    /// The blockhash that ends the transaction's life.
    pub fn blockhash(&self) -> Hash {
        *self.inner.message.recent_blockhash()
    }

    /// Returns whether a durable nonce stands for the blockhash: such a transaction
    /// never expires, so there would be no proof that it can no longer land.
    pub fn uses_durable_nonce(&self) -> bool {
        self.inner.uses_durable_nonce()
    }

    /// The accounts that the message itself names.
    pub fn accounts(&self) -> &[Pubkey] {
        self.inner.message.static_account_keys()
    }

    /// The accounts whose signatures it needs, the fee payer first.
    pub fn signers(&self) -> &[Pubkey] {
        self.accounts().get(..self.inner.signatures.len()).unwrap_or_default()
    }

    /// The fee payer: the first account.
    pub fn fee_payer(&self) -> Option<&Pubkey> {
        self.accounts().first()
    }

    /// Returns whether the message lets programs change an account that it names.
    pub fn is_writable(&self, account: &Pubkey) -> bool {
        let header = self.inner.message.header();
        let (signers, readonly_signers) = (self.signers().len(), usize::from(header.num_readonly_signed_accounts));
        let unsigned_end = self.accounts().len().saturating_sub(usize::from(header.num_readonly_unsigned_accounts));
        let position = self.accounts().iter().position(|named| named == account);
        position.is_some_and(|at| if at < signers { at + readonly_signers < signers } else { at < unsigned_end })
    }

    /// The lookup tables that it takes further accounts from.
    pub fn lookups(&self) -> &[MessageAddressTableLookup] {
        self.inner.message.address_table_lookups().unwrap_or_default()
    }

    /// Its instructions. `loaded` are the accounts of its lookup tables in the
    /// runtime's order: the writable ones of all tables, then the others.
    pub fn instructions<'a>(&'a self, loaded: &'a [Pubkey]) -> impl ExactSizeIterator<Item = Instruction<'a>> {
        let named = self.accounts();
        self.inner.message.instructions().iter().map(move |compiled| Instruction {
            program: named.get(usize::from(compiled.program_id_index)).unwrap_or(&NOBODY),
            named,
            loaded,
            indices: &compiled.accounts,
            data: &compiled.data,
        })
    }

    /// The payer, as the first instruction to a token program says; not yet believed.
    pub fn payer(&self) -> Option<&Pubkey> {
        let mut instructions = self.instructions(&[]);
        let first = instructions.find(|found| programs::is_token(found.program) && found.account_count() >= 4)?;
        first.account(3)
    }

    /// Returns whether everybody but the fee payer has signed: strictly, so that no
    /// signature passes here and fails on a node.
    pub fn clients_signed(&self) -> bool {
        let mut pairs = self.inner.signatures.iter().zip(self.accounts()).skip(1);
        pairs.all(|(signature, key)| signature.verify(key.as_ref(), self.message()))
    }

    /// The bytes to send: with the fee payer's signature in its place.
    pub fn cosigned(&self, signature: &Signature) -> Vec<u8> {
        let mut wire = self.wire.clone();
        if let Some(slot) = wire.get_mut(1..1 + SIGNATURE_BYTES) {
            slot.copy_from_slice(signature.as_ref());
        }
        wire
    }
}

/// Stands for a program index out of bounds, which decoding has ruled out.
static NOBODY: Pubkey = Pubkey::new_from_array([0; 32]);

/// One instruction of a [`Transaction`].
#[derive(Clone, Copy, Debug)]
pub struct Instruction<'a> {
    /// The program that it calls.
    pub program: &'a Pubkey,
    /// The bytes that it gives to the program.
    pub data: &'a [u8],
    named: &'a [Pubkey],
    loaded: &'a [Pubkey],
    indices: &'a [u8],
}

impl<'a> Instruction<'a> {
    /// The number of accounts that it passes to the program.
    pub fn account_count(&self) -> usize {
        self.indices.len()
    }

    /// One of its accounts; `None` past the end, and where the account comes
    /// from a lookup table that was not given.
    pub fn account(&self, position: usize) -> Option<&'a Pubkey> {
        let index = usize::from(*self.indices.get(position)?);
        self.named.get(index).or_else(|| self.loaded.get(index.checked_sub(self.named.len())?))
    }

    /// Returns whether it calls or mentions an account.
    pub fn mentions(&self, account: &Pubkey) -> bool {
        self.program == account || (0..self.account_count()).any(|position| self.account(position) == Some(account))
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
    use proptest::prelude::*;
    use solana_message::{Message, MessageHeader, compiled_instruction::CompiledInstruction, v0};
    use solana_sdk::signature::{Keypair, Signer};

    use super::*;

    fn network() -> Network {
        "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1".parse().expect("CAIP-2")
    }

    fn key(byte: u8) -> Pubkey {
        Pubkey::new_from_array([byte; 32])
    }

    fn payer() -> Keypair {
        Keypair::new_from_array([7; 32])
    }

    /// Fee payer 1, the payer's key, program 9, which gets both.
    fn message() -> Message {
        Message {
            header: MessageHeader {
                num_required_signatures: 2,
                num_readonly_signed_accounts: 1,
                num_readonly_unsigned_accounts: 1,
            },
            account_keys: vec![key(1), payer().pubkey(), key(9)],
            recent_blockhash: Hash::new_from_array([5; 32]),
            instructions: vec![CompiledInstruction { program_id_index: 2, accounts: vec![0, 1], data: vec![1, 2, 3] }],
        }
    }

    fn v0_message() -> v0::Message {
        let Message { header, account_keys, recent_blockhash, instructions } = message();
        v0::Message { header, account_keys, recent_blockhash, instructions, address_table_lookups: vec![] }
    }

    fn signed(message: VersionedMessage) -> VersionedTransaction {
        let signature = payer().sign_message(&message.serialize());
        VersionedTransaction { signatures: vec![Signature::default(), signature], message }
    }

    fn wire(transaction: &VersionedTransaction) -> Vec<u8> {
        wincode::serialize(transaction).expect("a transaction has bytes")
    }

    fn decode(transaction: &VersionedTransaction) -> Result<Transaction, DecodeError> {
        Transaction::from_wire(wire(transaction))
    }

    #[test]
    fn legacy_and_version_0_are_read_to_the_byte() {
        for message in [VersionedMessage::Legacy(message()), VersionedMessage::V0(v0_message())] {
            let transaction = signed(message);
            let read = Transaction::decode(&BASE64_STANDARD.encode(wire(&transaction))).expect("sound");
            assert_eq!(read.wire(), wire(&transaction));
            assert_eq!(read.message(), transaction.message.serialize());
            assert_eq!(read.message_hash(), &<[u8; 32]>::from(Sha256::digest(transaction.message.serialize())));
            assert_eq!(read.blockhash(), Hash::new_from_array([5; 32]));
            assert_eq!(read.fee_payer(), Some(&key(1)));
            assert_eq!(read.signers(), [key(1), payer().pubkey()]);
            assert!(read.clients_signed());
            let instruction = read.instructions(&[]).next().expect("one");
            assert_eq!((instruction.program, instruction.data), (&key(9), [1, 2, 3].as_slice()));
            assert_eq!(
                [0, 1, 2].map(|at| instruction.account(at).copied()),
                [Some(key(1)), Some(payer().pubkey()), None]
            );
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused_before_anything_is_indexed() {
        type Change = fn(&mut Message);
        let cases: [(Change, DecodeError); 9] = [
            (|m| m.instructions[0].program_id_index = 3, DecodeError::Unsound),
            (|m| m.instructions[0].program_id_index = 255, DecodeError::Unsound),
            (|m| m.instructions[0].program_id_index = 0, DecodeError::Unsound),
            (|m| m.instructions[0].accounts = vec![3], DecodeError::Unsound),
            (|m| m.header.num_required_signatures = 1, DecodeError::Unsound),
            (|m| m.header.num_required_signatures = 4, DecodeError::Unsound),
            (|m| m.header.num_readonly_signed_accounts = 2, DecodeError::Unsound),
            (|m| m.header.num_readonly_unsigned_accounts = 2, DecodeError::Unsound),
            (|m| m.account_keys[2] = key(1), DecodeError::AccountTwice),
        ];
        for (i, (change, expected)) in cases.into_iter().enumerate() {
            let mut message = message();
            change(&mut message);
            let v0 = v0::Message {
                header: message.header,
                account_keys: message.account_keys.clone(),
                instructions: message.instructions.clone(),
                ..v0_message()
            };
            for message in [VersionedMessage::Legacy(message), VersionedMessage::V0(v0)] {
                assert_eq!(decode(&signed(message)), Err(expected.clone()), "case {i}");
            }
        }
    }

    #[test]
    fn texts_and_bytes_that_are_no_transaction_are_refused() {
        let good = wire(&signed(VersionedMessage::Legacy(message())));
        let text = BASE64_STANDARD.encode(&good);
        let with = |change: fn(&mut Vec<u8>)| {
            let mut wire = good.clone();
            change(&mut wire);
            Transaction::from_wire(wire)
        };
        assert_eq!(with(|_| {}).map(|_| ()), Ok(()));
        assert_eq!(with(|w| w.push(0)), Err(DecodeError::Wire), "bytes after it");
        assert_eq!(with(|w| w.truncate(w.len() - 1)), Err(DecodeError::Wire), "cut off");
        assert_eq!(with(Vec::clear), Err(DecodeError::Wire));
        assert_eq!(with(|w| w[0] = 0x81), Err(DecodeError::Wire), "version 1 begins with its version");
        assert_eq!(with(|w| w.insert(129, 0x81)), Err(DecodeError::Wire), "a message of version 1");
        assert_eq!(with(|w| w.resize(WIRE_MAX + 1, 0)), Err(DecodeError::TooLong));
        assert_eq!(Transaction::decode(&"A".repeat(TEXT_MAX + 1)), Err(DecodeError::TooLong));
        assert_eq!(Transaction::decode(&format!("{text} ")), Err(DecodeError::Base64));
        assert_eq!(Transaction::decode(&text.replacen('A', "_", 1)), Err(DecodeError::Base64));
        // The count of accounts in two bytes instead of one.
        let longer = |wire: &mut Vec<u8>| wire.splice(129 + 3..=129 + 3, [0x83, 0]).for_each(drop);
        assert_eq!(with(longer), Err(DecodeError::Wire), "a longer spelling of the same message");
    }

    #[test]
    fn one_message_has_one_identity_however_it_is_spelt() {
        let transaction = signed(VersionedMessage::V0(v0_message()));
        let identity = decode(&transaction).expect("sound").identity(&network());
        let mut resigned = transaction.clone();
        resigned.signatures = vec![Signature::from([3; 64]), Signature::from([4; 64])];
        let unpadded = BASE64_STANDARD_NO_PAD.encode(wire(&transaction));
        for again in [decode(&resigned), Transaction::decode(&unpadded)] {
            assert_eq!(again.expect("sound").identity(&network()), identity);
        }
        let mut other = v0_message();
        other.recent_blockhash = Hash::new_from_array([6; 32]);
        let other = decode(&signed(VersionedMessage::V0(other))).expect("sound");
        assert_ne!(other.identity(&network()), identity, "another message is another payment");
        let mainnet = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp".parse().expect("CAIP-2");
        assert_ne!(decode(&transaction).expect("sound").identity(&mainnet), identity, "so is another cluster");
    }

    #[test]
    fn every_signature_but_the_fee_payers_must_be_there_and_right() {
        let good = signed(VersionedMessage::Legacy(message()));
        let clients_signed = |signatures: [Signature; 2]| {
            let transaction = VersionedTransaction { signatures: signatures.into(), ..good.clone() };
            decode(&transaction).expect("sound").clients_signed()
        };
        let [none, right] = [Signature::default(), good.signatures[1]];
        let mut off_by_a_bit = <[u8; 64]>::from(right);
        off_by_a_bit[0] ^= 1;
        assert!(clients_signed([none, right]));
        assert!(clients_signed([Signature::from([9; 64]), right]), "ours is replaced anyway");
        assert!(!clients_signed([right, none]), "not there");
        assert!(!clients_signed([none, off_by_a_bit.into()]));
        assert!(!clients_signed([none, Signature::from([9; 64])]));
        let other = payer().sign_message(b"another message");
        assert!(!clients_signed([none, other]));
    }

    #[test]
    fn our_signature_goes_into_the_first_place_and_nowhere_else() {
        let transaction = signed(VersionedMessage::Legacy(message()));
        let ours = Signature::from([8; 64]);
        let sent = decode(&transaction).expect("sound").cosigned(&ours);
        let expected = VersionedTransaction { signatures: vec![ours, transaction.signatures[1]], ..transaction };
        assert_eq!(sent, wire(&expected));
    }

    #[test]
    fn accounts_of_lookup_tables_follow_those_of_the_message() {
        let mut message = v0_message();
        message.instructions[0].accounts = vec![1, 3, 4];
        message.address_table_lookups = vec![MessageAddressTableLookup {
            account_key: key(20),
            writable_indexes: vec![0],
            readonly_indexes: vec![1],
        }];
        let read = decode(&signed(VersionedMessage::V0(message))).expect("sound");
        assert_eq!(read.lookups().len(), 1);
        let accounts = |loaded: &[Pubkey]| {
            let instruction = read.instructions(loaded).next().expect("one");
            [0, 1, 2, 3].map(|at| instruction.account(at).copied())
        };
        assert_eq!(accounts(&[]), [Some(payer().pubkey()), None, None, None]);
        assert_eq!(accounts(&[key(30), key(31)]), [Some(payer().pubkey()), Some(key(30)), Some(key(31)), None]);
    }

    proptest! {
        #[test]
        fn no_text_and_no_bytes_panic(wire in prop::collection::vec(any::<u8>(), 0..1300), text in ".{0,200}") {
            let _ = Transaction::decode(&text);
            let _ = Transaction::decode(&BASE64_STANDARD.encode(&wire));
        }

        #[test]
        fn a_damaged_transaction_is_refused_or_read_to_the_byte(
            changes in prop::collection::vec((0_usize..300, any::<u8>()), 1..6)
        ) {
            let mut damaged = wire(&signed(VersionedMessage::V0(v0_message())));
            let length = damaged.len();
            for (at, byte) in changes {
                damaged[at % length] = byte;
            }
            if let Ok(read) = Transaction::from_wire(damaged.clone()) {
                prop_assert_eq!(read.wire(), damaged);
                prop_assert!(!read.signers().is_empty() && read.signers().len() <= read.accounts().len());
                prop_assert!(read.instructions(&[]).all(|i| read.accounts().contains(i.program)));
            }
        }
    }
}
