//! New gas wallets, for the command `keygen evm`.

use std::{fs::File, io::Write as _, path::Path};

use alloy::signers::k256::elliptic_curve::rand_core::{OsRng, RngCore as _};
use alloy_signer_local::Secp256k1Signer;
use chains_core::Secret;

use crate::wallet::keystore::{self, Drawn, PASSWORD_MIN};

/// The reason why no key file was written.
#[derive(Debug, thiserror::Error)]
pub enum KeygenError {
    /// There is something at the path already, and it is not overwritten.
    #[error("{0} exists already")]
    Exists(String),
    /// The path has no file name or no folder.
    #[error("{0} is not a path of a new file")]
    Path(String),
    /// It could not be written.
    #[error("the key file could not be written: {0}")]
    Write(#[source] std::io::Error),
    /// It does not open.
    #[error("the key file does not open with this password: {0}")]
    Decrypt(#[source] alloy_signer_local::LocalSignerError),
    /// It could not be encrypted.
    #[error("the key file could not be encrypted")]
    Encrypt,
    /// The password protects nothing.
    #[error(
        "the password has fewer than {PASSWORD_MIN} characters: whoever gets a copy of the file guesses it. Choose a longer one"
    )]
    Password,
}

/// A new key: its address and, as `0x` and 64 hex digits, the key itself.
pub fn key() -> (String, Secret) {
    let signer = Secp256k1Signer::random_with(&mut OsRng);
    (signer.address().to_checksum(None), Secret::new(signer.to_bytes().to_string()))
}

/// Writes a new key to an encrypted file (Web3 Secret Storage) that only its
/// owner can read, and gives its address. Never overwrites.
///
/// # Errors
/// The file exists, or cannot be written; the password is too short.
pub fn keystore(path: &Path, password: &Secret) -> Result<String, KeygenError> {
    if path.exists() {
        return Err(KeygenError::Exists(path.display().to_string()));
    }
    if password.expose().chars().count() < PASSWORD_MIN {
        return Err(KeygenError::Password);
    }
    path.file_name().ok_or_else(|| KeygenError::Path(path.display().to_string()))?;
    // Made private while still empty, so that nobody reads it half written.
    let mut file = private_file(path).map_err(KeygenError::Write)?;
    let signer = Secp256k1Signer::random_with(&mut OsRng);
    let mut drawn = Drawn { salt: [0; 32], iv: [0; 16], id: [0; 16] };
    for bytes in [&mut drawn.salt[..], &mut drawn.iv, &mut drawn.id] {
        OsRng.fill_bytes(bytes);
    }
    let text = keystore::encrypt(&signer.to_bytes(), signer.address(), password, &drawn).ok_or(KeygenError::Encrypt)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(KeygenError::Write)?;
    Ok(signer.address().to_checksum(None))
}

/// The address that a keystore tells without its password; `None` where it tells none.
pub fn address_in(text: &str) -> Option<String> {
    let keystore: serde_json::Value = serde_json::from_str(text).ok()?;
    let digits = keystore.get("address")?.as_str()?;
    let address = crate::parse::address(&format!("0x{}", digits.strip_prefix("0x").unwrap_or(digits)))?;
    Some(address.to_checksum(None))
}

/// The address of the key in a keystore.
///
/// # Errors
/// It does not open with this password.
pub fn address_of(path: &Path, password: &Secret) -> Result<String, KeygenError> {
    let signer = Secp256k1Signer::decrypt_keystore(path, password.expose()).map_err(KeygenError::Decrypt)?;
    Ok(signer.address().to_checksum(None))
}

fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_new_and_hidden() {
        let ((first, secret), (second, _)) = (key(), key());
        assert_ne!(first, second);
        assert_eq!(format!("{secret:?}"), "***");
        assert!(crate::parse::word(secret.expose()).is_some());
    }

    #[test]
    fn an_existing_file_is_left_alone() {
        let path = std::env::temp_dir().join(format!("keygen-{}", std::process::id()));
        std::fs::write(&path, "precious").expect("written");
        assert!(matches!(keystore(&path, &Secret::new("x".to_owned())), Err(KeygenError::Exists(_))));
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "precious");
        std::fs::remove_file(&path).expect("removed");
        assert!(matches!(keystore(&path, &Secret::new("x".to_owned())), Err(KeygenError::Password)));
        assert!(!path.exists(), "nothing is left behind");
    }
}
