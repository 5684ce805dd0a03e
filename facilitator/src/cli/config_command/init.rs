//! `config init`: a configuration to begin with.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use chains_core::{Network, config::nearest, family::KnownNetwork};

use crate::{cli::EXIT_CONFIG, families::FAMILIES};

const HEAD: &str = "\
# The configuration of an x402 facilitator. Every key with its default and its
# meaning is in config.default.toml of the release; `facilitator config print`
# shows what is in force. A text \"${NAME}\" is read from the environment: keys do
# not belong in this file.

[server]
# The address that resource servers ask.
listen = \"127.0.0.1:8402\"

[admin]
# The address of the second listener, for you: metrics.
listen = \"127.0.0.1:8403\"

[store]
# The database, on a local disk: what it holds must not be lost.
url = \"sqlite://facilitator.db\"
";

/// Writes the file, or prints it.
pub(super) fn run(names: &[String], output: Option<&Path>) -> anyhow::Result<ExitCode> {
    let known: Vec<KnownNetwork> = FAMILIES.iter().flat_map(|family| family.known_networks()).collect();
    let mut text = HEAD.to_owned();
    let (mut variables, mut incomplete): (Vec<&str>, Vec<&str>) = (vec![], vec![]);
    for name in names {
        let Some(network) = find(&known, name) else {
            let names = known.iter().filter_map(|network| network.legacy_name);
            let meant = nearest(name, names).map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
            eprintln!("error: `{name}` is not a known network{meant}");
            eprintln!("  fix: name one by its CAIP-2 identifier, such as eip155:8453, or by its name in protocol v1");
            return Ok(ExitCode::from(EXIT_CONFIG));
        };
        text.push('\n');
        text.push_str(&table(network));
        if !variables.contains(&network.key_variable) {
            variables.push(network.key_variable);
        }
        incomplete.extend(network.asset.map(|_| network.name));
    }
    if !incomplete.is_empty() {
        eprintln!("next: write the address of the asset that can be paid with on {}", incomplete.join(" and "));
    }
    let Some(path) = output else {
        print!("{text}");
        return Ok(ExitCode::SUCCESS);
    };
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    match file {
        Ok(mut file) => file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{} is there already, and is left as it is: name another with --output", path.display())
        }
        Err(error) => bail!("cannot write {}: {error}", path.display()),
    }
    println!("{}", path.display());
    eprintln!("next: set {}, then `facilitator doctor --config {}`", variables.join(" and "), path.display());
    eprintln!("`facilitator keygen` makes a new gas wallet");
    Ok(ExitCode::SUCCESS)
}

/// A network by its identifier or one of its names.
fn find<'a>(known: &'a [KnownNetwork], name: &str) -> Option<&'a KnownNetwork> {
    let by_id = name.parse::<Network>().ok();
    known.iter().find(|network| {
        Some(&network.network) == by_id.as_ref()
            || network.legacy_name == Some(name)
            || network.name.eq_ignore_ascii_case(name)
    })
}

fn table(network: &KnownNetwork) -> String {
    let KnownNetwork { network: id, name, rpc, keys, key_variable, .. } = network;
    let about = match rpc.public {
        Some(_) => "a public one to begin with; for money that counts, take two of your own",
        None => "name yours; for money that counts, two of different providers",
    };
    let url = rpc.public.unwrap_or(rpc.local);
    let asset = network.asset.map_or_else(String::new, |lines| {
        format!(
            "# No asset of {name} is known here: this is one to begin with. `doctor` compares it with the chain.\n\
             [[networks.\"{id}\".assets]]\n{lines}"
        )
    });
    format!(
        "# {name}.\n[networks.\"{id}\"]\n# Nodes, the best first: {about}.\nrpc = [\"{url}\"]\n\
         # The key that pays {}, from the environment.\n{keys} = [\"${{{key_variable}}}\"]\n{asset}",
        if *keys == "fee_payers" { "fees" } else { "gas" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_found_by_each_of_its_names() {
        let known: Vec<KnownNetwork> = FAMILIES.iter().flat_map(|family| family.known_networks()).collect();
        for (name, expected) in [
            ("base", Some("eip155:8453")),
            ("eip155:8453", Some("eip155:8453")),
            ("Arbitrum One", Some("eip155:42161")),
            ("solana-devnet", Some("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1")),
            ("peaq", Some("eip155:3338")),
            ("bsae", None),
        ] {
            let found = find(&known, name).map(|network| network.network.to_string());
            assert_eq!(found.as_deref(), expected, "{name}");
        }
    }
}
