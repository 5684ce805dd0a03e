//! Encrypted files of keys: Web3 Secret Storage, version 3.
//!
//! A stolen file is protected by the time that each guess of its password takes.
//! `alloy-signer-local` opens files of any cost, and makes cheap ones.

use aes::Aes128;
use alloy::{
    hex,
    primitives::{Address, B256, keccak256},
};
use chains_core::Secret;
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit, StreamCipher},
};
use serde::Deserialize;
use serde_json::json;

/// The binary logarithm of scrypt's `n` in files that are made here: geth's standard.
const LOG_N: u8 = 18;

/// The least `n` that is not cheap.
const N_MIN: u64 = 1 << 17;

/// The fewest rounds of PBKDF2 that are not cheap.
const ROUNDS_MIN: u64 = 262_144;

/// The fewest characters of a password.
pub(crate) const PASSWORD_MIN: usize = 8;

/// Scrypt's block size and parallelism.
const R: u32 = 8;
const P: u32 = 1;

/// The numbers of a file that must be random.
pub(crate) struct Drawn {
    pub salt: [u8; 32],
    pub iv: [u8; 16],
    pub id: [u8; 16],
}

/// The text of an encrypted file; `None` where scrypt refuses its own parameters.
pub(crate) fn encrypt(key: &B256, address: Address, password: &Secret, drawn: &Drawn) -> Option<String> {
    let parameters = scrypt::Params::new(LOG_N, R, P).ok()?;
    let mut derived = [0; 32];
    scrypt::scrypt(password.expose().as_bytes(), &drawn.salt, &parameters, &mut derived).ok()?;
    let (cipher_key, mac_key) = derived.split_at(16);
    let mut sealed = key.0;
    Ctr128BE::<Aes128>::new_from_slices(cipher_key, &drawn.iv).ok()?.apply_keystream(&mut sealed);
    let mac = keccak256([mac_key, &sealed].concat());
    let text = json!({
        "address": hex::encode(address),
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": {"iv": hex::encode(drawn.iv)},
            "ciphertext": hex::encode(sealed),
            "kdf": "scrypt",
            "kdfparams": {"dklen": 32, "n": 1_u64 << LOG_N, "p": P, "r": R, "salt": hex::encode(drawn.salt)},
            "mac": hex::encode(mac),
        },
        "id": uuid_text(drawn.id),
        "version": 3,
    });
    Some(text.to_string())
}

/// A UUID of version 4, as RFC 9562 writes it.
fn uuid_text(mut id: [u8; 16]) -> String {
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[8] & 0x3f) | 0x80;
    let digits = hex::encode(id);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[derive(Deserialize)]
struct File {
    #[serde(alias = "Crypto")]
    crypto: Crypto,
}

#[derive(Deserialize)]
struct Crypto {
    kdfparams: Cost,
}

#[derive(Deserialize)]
struct Cost {
    n: Option<u64>,
    c: Option<u64>,
}

/// The cost of a guess at a file's password, where it is low; `None` where it is not, or cannot be read.
pub(crate) fn weakness(text: &str) -> Option<String> {
    let Cost { n, c } = serde_json::from_str::<File>(text).ok()?.crypto.kdfparams;
    match (n, c) {
        (Some(n), _) if n < N_MIN => Some(format!("scrypt with n = {n}")),
        (None, Some(rounds)) if rounds < ROUNDS_MIN => Some(format!("PBKDF2 with {rounds} rounds")),
        (Some(_) | None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use alloy_signer_local::Secp256k1Signer;

    use super::*;

    #[test]
    fn a_file_opens_with_its_password_alone_and_costs_what_is_usual() {
        let key = B256::repeat_byte(7);
        let signer = Secp256k1Signer::from_bytes(&key).expect("a key");
        let drawn = Drawn { salt: [1; 32], iv: [2; 16], id: [0xff; 16] };
        let text = encrypt(&key, signer.address(), &Secret::new("password".to_owned()), &drawn).expect("encrypted");
        assert_eq!(weakness(&text), None);
        assert!(text.contains("ffffffff-ffff-4fff-bfff-ffffffffffff"), "{text}");
        let path = std::env::temp_dir().join(format!("keystore-{}", std::process::id()));
        std::fs::write(&path, &text).expect("written");
        let opened = Secp256k1Signer::decrypt_keystore(&path, "password").expect("opened");
        assert_eq!(opened.address(), signer.address());
        assert!(Secp256k1Signer::decrypt_keystore(&path, "passwort").is_err());
        std::fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn a_file_whose_password_is_quickly_guessed_is_told_by_its_cost() {
        let file = |kdf: &str| format!("{{\"crypto\": {{\"kdfparams\": {kdf}}}}}");
        let cases = [
            (file("{\"n\": 8192, \"r\": 8}"), Some("scrypt with n = 8192")),
            (file("{\"n\": 131072}"), None),
            (file("{\"c\": 10240}"), Some("PBKDF2 with 10240 rounds")),
            (file("{\"c\": 262144}"), None),
            (file("{}").replace("crypto", "Crypto"), None),
            ("nonsense".to_owned(), None),
        ];
        for (text, expected) in cases {
            assert_eq!(weakness(&text).as_deref(), expected, "{text}");
        }
    }
}
