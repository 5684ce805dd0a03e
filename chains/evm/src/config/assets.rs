//! The assets of a network's table, read.

use alloy::primitives::Address;
use chains_core::{Amount, config::Section};

use super::{Asset, Domain};
use crate::known_networks::{Known, KnownAsset, KnownMethod};

/// Reads the list; without one the known network's. Mistakes go to the section.
pub(super) fn assets(section: &mut Section, known: &Known, chain_id: u64) -> Option<Vec<Asset>> {
    let Some(tables) = section.sections("assets") else {
        if known.assets.is_empty() {
            let path = section.path_of("assets");
            section.problem("assets", "is missing", format!("name what can be paid with: `[[{path}]]`"));
            return None;
        }
        return known.assets.iter().map(|asset| preset_asset(asset, chain_id)).collect();
    };
    let mut assets: Vec<Asset> = vec![];
    let mut complete = !tables.is_empty();
    if tables.is_empty() {
        section.problem("assets", "is empty", "name at least one asset, or leave the list out");
    }
    for mut table in tables {
        match asset(&mut table, chain_id) {
            Some(asset) if assets.iter().any(|known| known.address == asset.address) => {
                table.problem("address", format!("is {} once more", asset.address), "name every asset once");
                complete = false;
            }
            Some(asset) => assets.push(asset),
            None => complete = false,
        }
    }
    complete.then_some(assets)
}

fn preset_asset(asset: &KnownAsset, chain_id: u64) -> Option<Asset> {
    let address = crate::parse::address(asset.address)?;
    let (eip3009, eip2612) = match asset.method {
        KnownMethod::Eip3009 { name, version } => (Some(Domain::new(name, version, chain_id, address)), true),
        KnownMethod::Permit2 { eip2612 } => (None, eip2612),
    };
    let (symbol, amount_min) = (asset.symbol.to_owned(), thousandth(asset.decimals));
    let decimals = u8::try_from(asset.decimals).ok()?;
    Some(Asset { address, symbol, decimals, amount_min, eip3009, eip2612, implementation: None })
}

fn asset(table: &mut Section, chain_id: u64) -> Option<Asset> {
    let address = table.required::<String>("address").and_then(|text| account(table, "address", &text));
    let implementation = table.optional::<String>("implementation").map(|text| account(table, "implementation", &text));
    let symbol = table.required::<String>("symbol");
    let decimals = table.required::<u64>("decimals").and_then(|decimals| {
        if decimals > 36 {
            table.problem("decimals", format!("is {decimals}"), "write the token's decimals, 36 at most");
        }
        (decimals <= 36).then_some(decimals)
    });
    let amount_min = table.optional::<Amount>("amount_min");
    let method = method(table);
    let eip2612 = table.optional("eip2612").unwrap_or(true);
    // Every key is read before the first mistake ends the reading: what is left unread is taken for unknown.
    let domain = (!matches!(method, Some(AssetMethod::Permit2)) || table.has("eip712")).then(|| {
        let mut domain = table.section("eip712");
        (domain.required::<String>("name"), domain.required::<String>("version"))
    });
    let names = match (method?, domain) {
        (AssetMethod::Eip3009, Some((name, version))) => Some((name?, version?)),
        (AssetMethod::Permit2, _) | (AssetMethod::Eip3009, None) => None,
    };
    let implementation = match implementation {
        Some(read) => Some(read?),
        None => None,
    };
    let (address, decimals) = (address?, decimals?);
    let amount_min = amount_min.unwrap_or_else(|| thousandth(decimals));
    let decimals = u8::try_from(decimals).ok()?;
    let eip3009 = names.map(|(name, version)| Domain::new(&name, &version, chain_id, address));
    Some(Asset { address, symbol: symbol?, decimals, amount_min, eip3009, eip2612, implementation })
}

fn account(table: &mut Section, key: &str, text: &str) -> Option<Address> {
    let account = crate::parse::address(text);
    if account.is_none() {
        table.problem(key, crate::parse::address_fault(text), "write 0x and 40 hex digits");
    }
    account
}

/// Reads `method` of an asset: whether it knows EIP-3009.
enum AssetMethod {
    Eip3009,
    Permit2,
}

fn method(table: &mut Section) -> Option<AssetMethod> {
    let Some(text) = table.optional::<String>("method") else { return Some(AssetMethod::Eip3009) };
    match text.as_str() {
        "eip3009" => Some(AssetMethod::Eip3009),
        "permit2" => Some(AssetMethod::Permit2),
        _ => {
            table.problem("method", format!("is {text:?}"), "write \"eip3009\" or \"permit2\"");
            None
        }
    }
}

/// A thousandth of one token: the smallest payment worth its gas, for tokens worth a dollar.
fn thousandth(decimals: u64) -> Amount {
    let exponent = u32::try_from(decimals.saturating_sub(3)).unwrap_or_default();
    10_u128.checked_pow(exponent).map_or(Amount::from(1_u64), Amount::from)
}
