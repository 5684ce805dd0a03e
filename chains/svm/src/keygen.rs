//! New fee payers, for the command `keygen svm`.

use std::{io::Write, path::Path};

use chains_core::Secret;
use solana_sdk::{signature::Keypair, signer::Signer};

/// The reason why no key file was written.
#[derive(Debug, thiserror::Error)]
pub enum KeygenError {
    /// There is something at the path already, and it is not overwritten.
    #[error("{0} exists already")]
    Exists(String),
    /// It could not be written.
    #[error("the key file could not be written: {0}")]
    Write(#[source] std::io::Error),
}

/// A new key: its address and the base58 of its 64 bytes.
pub fn key() -> (String, Secret) {
    let key = Keypair::new();
    (key.pubkey().to_string(), Secret::new(key.to_base58_string()))
}

/// Writes a new key to a file that only its owner can read, in the form that
/// `solana-keygen` writes, and gives its address. Never overwrites.
///
/// # Errors
/// The file exists, or cannot be written.
pub fn key_file(path: &Path) -> Result<String, KeygenError> {
    let key = Keypair::new();
    let text = serde_json::to_string(&key.to_bytes().to_vec()).map(Secret::new);
    let text = text.map_err(|error| KeygenError::Write(error.into()))?;
    let written = private_file(path).and_then(|mut file| file.write_all(text.expose().as_bytes()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => KeygenError::Exists(path.display().to_string()),
        _ => KeygenError::Write(error),
    })?;
    Ok(key.pubkey().to_string())
}

/// The address of the key in the text of a key file; `None` for another text.
pub fn address_in(text: &str) -> Option<String> {
    let bytes: Vec<u8> = serde_json::from_str(text).ok()?;
    Keypair::try_from(bytes.as_slice()).ok().map(|key| key.pubkey().to_string())
}

fn private_file(path: &Path) -> std::io::Result<std::fs::File> {
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
        let read = Keypair::try_from_base58_string(secret.expose()).expect("a key pair");
        assert_eq!(read.pubkey().to_string(), first);
    }

    #[test]
    fn an_existing_file_is_left_alone() {
        let path = std::env::temp_dir().join(format!("keygen-svm-{}", std::process::id()));
        std::fs::write(&path, "precious").expect("written");
        assert!(matches!(key_file(&path), Err(KeygenError::Exists(_))));
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "precious");
        std::fs::remove_file(&path).expect("removed");
    }
}
