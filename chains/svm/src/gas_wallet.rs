//! The keys that pay fees: Solana's word for them is fee payers.

use std::{collections::HashMap, fmt, fs, path::Path};

use chains_core::{
    Secret,
    config::{Section, Source},
};
use solana_sdk::{
    pubkey::Pubkey,
    signature::{Keypair, Signature},
    signer::Signer,
};

/// The prefix of a key that is in a file.
const FILE: &str = "file:";

/// The largest key file that is read; one holds 64 numbers below 256.
const FILE_BYTES_MAX: u64 = 1024;

/// The fee payers of one network, in configuration order, those of old last.
pub struct GasWallets {
    keys: Vec<Keypair>,
    addresses: Vec<Pubkey>,
    names: Vec<String>,
    by_name: HashMap<String, usize>,
    /// The number of them that are announced to servers.
    announced: usize,
}

impl fmt::Debug for GasWallets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GasWallets").field(&self.names).finish()
    }
}

impl GasWallets {
    /// Reads `fee_payers` and `fee_payers_former`; mistakes go to the
    /// section. `None` when there was one.
    pub fn configure(section: &mut Section, testnet: bool) -> Option<Self> {
        if !section.has("fee_payers") {
            section.problem("fee_payers", "is missing", "write a list such as [\"${SOLANA_KEYPAIR}\"]");
            return None;
        }
        let mut keys = vec![];
        let current = read_list(section, "fee_payers", testnet, &mut keys);
        let announced = keys.len();
        let former = read_list(section, "fee_payers_former", testnet, &mut keys);
        let addresses = |keys: &[Keypair]| keys.iter().map(|key| key.pubkey().to_string()).collect::<Vec<_>>();
        let (of_now, of_old) = keys.split_at(announced);
        section.describe("fee_payers", addresses(of_now), "addresses");
        section.describe("fee_payers_former", addresses(of_old), "addresses");
        if current && announced == 0 {
            section.problem("fee_payers", "holds no key", "name at least one key: it pays the fees of settlements");
        }
        (current && former && announced > 0).then(|| Self::new(keys, announced))
    }

    /// Wallets of these keys, of which the first `announced` are announced.
    pub fn new(keys: Vec<Keypair>, announced: usize) -> Self {
        let addresses: Vec<Pubkey> = keys.iter().map(Keypair::pubkey).collect();
        let names: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let by_name = names.iter().cloned().zip(0..).collect();
        Self { keys, addresses, names, by_name, announced }
    }

    /// All their addresses in base58. Never empty.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// All their addresses.
    pub fn addresses(&self) -> &[Pubkey] {
        &self.addresses
    }

    /// The address that servers are told when it is this wallet's turn:
    /// a wallet of old only finishes what was begun with it.
    pub fn announced<'a>(&'a self, name: &'a str) -> &'a str {
        let current = self.names.get(..self.announced).unwrap_or_default();
        if current.iter().any(|known| known == name) { name } else { current.first().map_or(name, String::as_str) }
    }

    /// The address by its name; `None` when it has no key here.
    pub fn address(&self, name: &str) -> Option<Pubkey> {
        self.by_name.get(name).and_then(|index| self.addresses.get(*index)).copied()
    }

    /// Signs a message; `None` when the name has no key here. The same message
    /// always has the same signature (RFC 8032).
    pub fn sign(&self, name: &str, message: &[u8]) -> Option<Signature> {
        self.by_name.get(name).and_then(|index| self.keys.get(*index)).map(|key| key.sign_message(message))
    }
}

/// Adds the keys of one list; whether all of it was good.
fn read_list(section: &mut Section, key: &str, testnet: bool, keys: &mut Vec<Keypair>) -> bool {
    let mut complete = true;
    for (i, (secret, source)) in section.secrets(key).iter().enumerate() {
        match read(secret, source, testnet) {
            Ok(new) if keys.iter().any(|known| known.pubkey() == new.pubkey()) => {
                section.problem_at(key, i, format!("is {} once more", new.pubkey()), "name every fee payer once");
                complete = false;
            }
            Ok(new) => keys.push(new),
            Err(Bad { seen, fix }) => {
                section.problem_at(key, i, seen, fix);
                complete = false;
            }
        }
    }
    complete
}

struct Bad {
    seen: String,
    fix: String,
}

fn bad(seen: impl Into<String>, fix: impl Into<String>) -> Bad {
    Bad { seen: seen.into(), fix: fix.into() }
}

fn read(secret: &Secret, source: &Source, testnet: bool) -> Result<Keypair, Bad> {
    let text = secret.expose().trim();
    if let Some(path) = text.strip_prefix(FILE) {
        return key_file(Path::new(path));
    }
    if matches!(source, Source::File) && !testnet {
        return Err(bad(
            "is a literal key in the configuration file of a network that is not a testnet",
            "take it from the environment, \"${SOLANA_KEYPAIR}\", or from a file, \"file:/path/keypair.json\"",
        ));
    }
    let key = Keypair::try_from_base58_string(text).ok().or_else(|| of_json(text));
    key.ok_or_else(|| bad("is not a key pair", "write the base58 of its 64 bytes, or \"file:/path/keypair.json\""))
}

/// The form of key files: 64 numbers.
fn of_json(text: &str) -> Option<Keypair> {
    let bytes: Vec<u8> = serde_json::from_str(text).ok()?;
    Keypair::try_from(bytes.as_slice()).ok()
}

fn key_file(path: &Path) -> Result<Keypair, Bad> {
    let shown = path.display();
    let meta = fs::metadata(path).map_err(|error| bad(format!("names {shown}: {error}"), "name a readable file"))?;
    if meta.len() > FILE_BYTES_MAX || !meta.is_file() {
        return Err(bad(format!("names {shown}, which is not a key file"), "name a file as `solana-keygen` writes it"));
    }
    if is_open_to_others(&meta) {
        return Err(bad(format!("names {shown}, which others can read"), format!("run: chmod 600 {shown}")));
    }
    let text = fs::read_to_string(path).map(Secret::new);
    let text = text.map_err(|error| bad(format!("names {shown}: {error}"), "name a readable file"))?;
    of_json(text.expose().trim()).ok_or_else(|| {
        bad(format!("names {shown}, which holds no key pair"), "name a file as `solana-keygen` writes it")
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

    fn key(byte: u8) -> Keypair {
        Keypair::new_from_array([byte; 32])
    }

    fn base58(byte: u8) -> String {
        key(byte).to_base58_string()
    }

    fn configure(text: &str, testnet: bool, source: Source) -> (Option<GasWallets>, Report) {
        let report = Report::new(BTreeMap::from([("n.fee_payers[0]".to_owned(), source)]));
        let mut section = Section::new("n", text.parse().expect("TOML"), report.clone());
        (GasWallets::configure(&mut section, testnet), report)
    }

    #[test]
    fn keys_are_read_and_never_shown() {
        let json = serde_json::to_string(&key(1).to_bytes().to_vec()).expect("JSON");
        for text in [base58(1), json] {
            let (wallets, _) = configure(&format!("fee_payers = [\"{text}\"]"), true, Source::File);
            let wallets = wallets.expect("one wallet");
            assert_eq!(wallets.names(), [key(1).pubkey().to_string()]);
            assert!(!format!("{wallets:?}").contains(&text));
            assert!(wallets.sign("nobody", b"x").is_none());
            let signature = wallets.sign(&wallets.names()[0], b"x").expect("signed");
            assert!(signature.verify(key(1).pubkey().as_ref(), b"x"));
        }
    }

    #[test]
    fn a_former_fee_payer_signs_and_is_not_announced() {
        let text = format!("fee_payers = [\"{}\"]\nfee_payers_former = [\"{}\"]", base58(1), base58(2));
        let wallets = configure(&text, true, Source::File).0.expect("two wallets");
        let [current, former] = [key(1), key(2)].map(|key| key.pubkey().to_string());
        assert_eq!(wallets.names(), [current.clone(), former.clone()]);
        assert!(wallets.sign(&former, b"x").is_some());
        assert_eq!((wallets.announced(&former), wallets.announced(&current)), (&*current, &*current));
    }

    #[test]
    fn a_literal_key_in_the_file_is_for_testnets_only() {
        let text = format!("fee_payers = [\"{}\"]", base58(1));
        let cases =
            [(true, Source::File, true), (false, Source::File, false), (false, Source::Environment("K".into()), true)];
        for (testnet, source, accepted) in cases {
            assert_eq!(configure(&text, testnet, source.clone()).0.is_some(), accepted, "{testnet} {source:?}");
        }
    }

    #[test]
    fn bad_lists_name_the_key_and_show_nothing_of_it() {
        let (one, other) = (base58(1), base58(2));
        let cases = [
            String::new(),
            "fee_payers = []".to_owned(),
            "fee_payers = [\"canary\"]".to_owned(),
            format!("fee_payers = [\"{}\"]", &one[..one.len() - 3]),
            format!("fee_payers = [\"{one}\", \"{one}\"]"),
            format!("fee_payers = [\"{one}\"]\nfee_payers_former = [\"{one}\"]"),
            format!("fee_payers = []\nfee_payers_former = [\"{other}\"]"),
            "fee_payers = [\"file:/nowhere\"]".to_owned(),
        ];
        for text in cases {
            let (wallets, report) = configure(&text, true, Source::File);
            assert!(wallets.is_none(), "{text}");
            let problems = format!("{:?}", report.problems());
            assert!(problems.contains("fee_payers") && !problems.contains("canary") && !problems.contains(&one[..40]));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_is_read_unless_others_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = std::env::temp_dir().join(format!("fee-payer-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a directory");
        let path = dir.join("key.json");
        let address = crate::keygen::key_file(&path).expect("written");
        let text = format!("fee_payers = [\"file:{}\"]", path.display());
        for (mode, opens) in [(0o600, true), (0o640, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
            let wallets = configure(&text, false, Source::File).0;
            assert_eq!(
                wallets.map(|wallets| wallets.names().to_vec()),
                opens.then(|| vec![address.clone()]),
                "{mode:o}"
            );
        }
        fs::remove_dir_all(&dir).expect("removed");
    }
}
