//! The keys that pay gas.

use std::{collections::HashMap, fmt, fs, path::Path};

use alloy::{
    primitives::{Address, B256, Signature},
    signers::SignerSync,
};
use alloy_signer_local::Secp256k1Signer;
use chains_core::{
    Secret,
    config::{Section, Source},
};

/// The prefix of a key that is in an encrypted file.
const KEYSTORE: &str = "keystore:";

/// Hex digits of a private key.
const KEY_DIGITS: usize = 64;

/// The largest keystore file that is read.
const KEYSTORE_BYTES_MAX: u64 = 64 * 1024;

/// The gas wallets of one network, in configuration order.
pub struct GasWallets {
    signers: Vec<Secp256k1Signer>,
    names: Vec<String>,
    by_name: HashMap<String, usize>,
    /// Those whose keystore's password is quickly guessed, and the cost of a guess.
    weak: Vec<(String, String)>,
}

impl fmt::Debug for GasWallets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GasWallets").field(&self.names).finish()
    }
}

impl GasWallets {
    /// Reads `gas_wallets` and `keystore_password`; mistakes go to the
    /// section. `None` when there was one.
    pub fn configure(section: &mut Section, testnet: bool) -> Option<Self> {
        let password: Option<Secret> = section.optional("keystore_password");
        if !section.has("gas_wallets") {
            section.problem("gas_wallets", "is missing", "write a list such as [\"${GAS_WALLET_KEY}\"]");
            return None;
        }
        let keys = section.secrets("gas_wallets");
        if keys.is_empty() {
            section.problem("gas_wallets", "holds no key", "name at least one key: it pays the gas of settlements");
            return None;
        }
        let mut signers: Vec<Secp256k1Signer> = vec![];
        let (mut complete, mut weak) = (true, vec![]);
        for (i, (secret, source)) in keys.iter().enumerate() {
            match read(secret, source, testnet, password.as_ref()) {
                Ok(signer) if signers.iter().any(|known| known.address() == signer.address()) => {
                    let seen = format!("is {} once more", signer.address());
                    section.problem_at(
                        "gas_wallets",
                        i,
                        seen,
                        "name every gas wallet once: two senders would use the same nonces",
                    );
                    complete = false;
                }
                Ok(signer) => {
                    let address = signer.address().to_checksum(None);
                    weak.extend(weakness(secret).map(|cost| (address, cost)));
                    signers.push(signer);
                }
                Err(Bad { seen, fix }) => {
                    section.problem_at("gas_wallets", i, seen, fix);
                    complete = false;
                }
            }
        }
        let wallets = Self { weak, ..Self::new(signers) };
        section.describe("gas_wallets", wallets.names.clone(), "addresses");
        complete.then_some(wallets)
    }

    fn new(signers: Vec<Secp256k1Signer>) -> Self {
        let names: Vec<String> = signers.iter().map(|signer| signer.address().to_checksum(None)).collect();
        let by_name = names.iter().cloned().zip(0..).collect();
        Self { signers, names, by_name, weak: vec![] }
    }

    /// Those whose keystore's password is quickly guessed, and the cost of a guess.
    pub fn weak(&self) -> &[(String, String)] {
        &self.weak
    }

    /// Their addresses, in configuration order, EIP-55 spelling. Never empty.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The address of the first, for calls that need a sender.
    pub fn first(&self) -> Address {
        self.signers.first().map_or(Address::ZERO, Secp256k1Signer::address)
    }

    /// Their addresses, in configuration order.
    pub fn addresses(&self) -> impl Iterator<Item = Address> {
        self.signers.iter().map(Secp256k1Signer::address)
    }

    /// Returns whether the address is one of them.
    pub fn contains(&self, address: Address) -> bool {
        self.signers.iter().any(|signer| signer.address() == address)
    }

    /// The address by its name; `None` when it has no key here.
    pub fn address(&self, name: &str) -> Option<Address> {
        self.signer(name).map(Secp256k1Signer::address)
    }

    /// Signs a hash; `None` when the name has no key here. The same hash
    /// always has the same signature (RFC 6979).
    pub fn sign(&self, name: &str, hash: B256) -> Option<Signature> {
        self.signer(name).and_then(|signer| signer.sign_hash_sync(&hash).ok())
    }

    fn signer(&self, name: &str) -> Option<&Secp256k1Signer> {
        self.by_name.get(name).and_then(|index| self.signers.get(*index))
    }
}

struct Bad {
    seen: String,
    fix: String,
}

fn bad(seen: impl Into<String>, fix: impl Into<String>) -> Bad {
    Bad { seen: seen.into(), fix: fix.into() }
}

fn read(secret: &Secret, source: &Source, testnet: bool, password: Option<&Secret>) -> Result<Secp256k1Signer, Bad> {
    if let Some(path) = secret.expose().strip_prefix(KEYSTORE) {
        return keystore(Path::new(path), password);
    }
    if matches!(source, Source::File) && !testnet {
        return Err(bad(
            "is a literal key in the configuration file of a network that is not a testnet",
            "take it from the environment, \"${GAS_WALLET_KEY}\", or from an encrypted file, \"keystore:/path\"",
        ));
    }
    let digits = secret.expose().trim();
    let word = crate::parse::word(digits).or_else(|| crate::parse::word(&format!("0x{digits}")));
    let not_a_key = || {
        let bare = digits.strip_prefix("0x").unwrap_or(digits);
        let seen = if !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_hexdigit()) && bare.len() != KEY_DIGITS {
            format!("has {} hex digits, {KEY_DIGITS} are needed", bare.len())
        } else {
            "is not a private key".to_owned()
        };
        bad(seen, "write 0x and 64 hex digits, or \"keystore:/path\"")
    };
    Secp256k1Signer::from_bytes(&word.ok_or_else(not_a_key)?).map_err(|_| not_a_key())
}

/// The cost of a guess at the password of a key's file, where it is low.
fn weakness(secret: &Secret) -> Option<String> {
    let path = secret.expose().strip_prefix(KEYSTORE)?;
    super::keystore::weakness(&fs::read_to_string(path).ok()?)
}

fn keystore(path: &Path, password: Option<&Secret>) -> Result<Secp256k1Signer, Bad> {
    let shown = path.display();
    let meta = fs::metadata(path).map_err(|error| bad(format!("names {shown}: {error}"), "name a readable file"))?;
    if meta.len() > KEYSTORE_BYTES_MAX || !meta.is_file() {
        return Err(bad(
            format!("names {shown}, which is not a keystore file"),
            "name a JSON keystore (Web3 Secret Storage)",
        ));
    }
    if is_open_to_others(&meta) {
        return Err(bad(format!("names {shown}, which others can read"), format!("run: chmod 600 {shown}")));
    }
    let Some(password) = password else {
        return Err(bad("is a keystore, and no password is given", "set `keystore_password = \"${NAME}\"` beside it"));
    };
    Secp256k1Signer::decrypt_keystore(path, password.expose()).map_err(|_| {
        bad(format!("names {shown}, which does not open with `keystore_password`"), "check the file and the password")
    })
}

#[cfg(unix)]
fn is_open_to_others(meta: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    meta.permissions().mode() & 0o077 != 0
}

/// Other systems have access lists, which say nothing in a mode.
#[cfg(not(unix))]
fn is_open_to_others(_: &fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chains_core::config::Report;

    use super::*;

    const KEY: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

    fn configure(text: &str, testnet: bool, source: Source) -> (Option<GasWallets>, Report) {
        let report = Report::new(BTreeMap::from([("n.gas_wallets[0]".to_owned(), source)]));
        let mut section = Section::new("n", text.parse().expect("TOML"), report.clone());
        (GasWallets::configure(&mut section, testnet), report)
    }

    #[test]
    fn keys_are_read_and_never_shown() {
        let (wallets, _) = configure(&format!("gas_wallets = [\"{KEY}\"]"), true, Source::File);
        let wallets = wallets.expect("one wallet");
        assert_eq!(wallets.names(), ["0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"]);
        assert!(!format!("{wallets:?}").contains("ac0974"));
        assert!(wallets.sign("0x00", B256::ZERO).is_none());
        let sign = || wallets.sign(&wallets.names()[0], B256::ZERO);
        assert!(sign().is_some() && sign() == sign());
    }

    #[test]
    fn a_literal_key_in_the_file_is_for_testnets_only() {
        let text = format!("gas_wallets = [\"{KEY}\"]");
        for (testnet, source, accepted) in
            [(true, Source::File, true), (false, Source::File, false), (false, Source::Environment("KEY".into()), true)]
        {
            assert_eq!(configure(&text, testnet, source.clone()).0.is_some(), accepted, "{testnet} {source:?}");
        }
    }

    #[test]
    fn bad_lists_name_the_key_and_show_nothing_of_it() {
        let cases = [
            String::new(),
            "gas_wallets = []".to_owned(),
            "gas_wallets = [\"canary\"]".to_owned(),
            format!("gas_wallets = [\"0x{}\"]", "00".repeat(32)),
            format!("gas_wallets = [\"{KEY}\", \"{}\"]", &KEY[2..]),
            "gas_wallets = [\"keystore:/nowhere\"]".to_owned(),
        ];
        for text in cases {
            let (wallets, report) = configure(&text, true, Source::File);
            assert!(wallets.is_none(), "{text}");
            let problems = format!("{:?}", report.problems());
            assert!(problems.contains("gas_wallets") && !problems.contains("canary") && !problems.contains("ac0974"));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_keystore_is_opened_unless_others_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = std::env::temp_dir().join(format!("gas-wallet-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let path = dir.join("key");
        let address = crate::keygen::keystore(&path, &Secret::new("password".to_owned())).expect("written");
        assert!(path.is_file() && address.starts_with("0x"));
        let text =
            |password| format!("gas_wallets = [\"keystore:{}\"]\nkeystore_password = \"{password}\"", path.display());
        for (mode, password, opens) in [(0o600, "password", true), (0o600, "wrong", false), (0o640, "password", false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
            assert_eq!(configure(&text(password), false, Source::File).0.is_some(), opens, "{mode:o} {password}");
        }
        fs::remove_dir_all(&dir).expect("removed");
    }
}
