//! The values that are in force although nobody wrote them: those of a known
//! network, and those that follow from other keys.

use chains_core::{
    Amount,
    config::{Section, Source},
};

use super::Config;
use crate::known_networks::{Known, KnownAsset, KnownMethod};

/// Notes them, for `config print`; what was read stays as it was read.
pub(super) fn note(section: &Section, known: &Known, config: &Config, testnet: bool) {
    section.assume("testnet", testnet, Source::Network);
    if let Some(name) = &config.legacy_name {
        section.assume("legacy_name", name.as_str(), Source::Network);
    }
    section.assume("confirmations", config.confirmations, Source::Network);
    section.assume("block_time", config.block_time, Source::Network);
    section.assume("tip_per_gas", Amount::from(config.tip_per_gas), Source::Network);
    section.assume("fee_per_gas_max", Amount::from(config.fee_per_gas_max), Source::Network);
    section.assume("gas_extra", config.gas_extra, Source::Network);
    section.assume("resend_after_blocks", config.resend_after_blocks, Source::Derived);
    section.assume("bump_after_blocks", config.bump_after_blocks, Source::Derived);
    section.assume("gas_balance_min", config.gas_balance_min, Source::Derived);
    section.assume("gas_lost_per_hour_max", config.loss_budget.network, Source::Derived);
    section.assume("gas_lost_per_hour_key_max", config.loss_budget.key, Source::Derived);
    section.assume("gas_lost_per_hour_code_max", config.loss_budget.code, Source::Derived);
    section.assume("batch", "off", Source::Default);
    for (i, asset) in config.assets.iter().enumerate() {
        note_asset(section, &format!("assets[{i}]"), known.assets.get(i), asset.amount_min);
    }
}

/// The known network's asset, or the smallest payment in one that is written.
fn note_asset(section: &Section, path: &str, known: Option<&KnownAsset>, amount_min: Amount) {
    let is_written = section.is_read(&format!("{path}.address"));
    if let Some(known) = known.filter(|_| !is_written) {
        section.assume(&format!("{path}.address"), known.address, Source::Network);
        section.assume(&format!("{path}.symbol"), known.symbol, Source::Network);
        section.assume(&format!("{path}.decimals"), known.decimals, Source::Network);
        let method = match known.method {
            KnownMethod::Eip3009 { .. } => "eip3009",
            KnownMethod::Permit2 { .. } => "permit2",
        };
        section.assume(&format!("{path}.method"), method, Source::Network);
    }
    section.assume(&format!("{path}.amount_min"), amount_min, Source::Derived);
    match known.filter(|_| !is_written).map(|known| known.method) {
        Some(KnownMethod::Permit2 { eip2612 }) => {
            section.assume(&format!("{path}.eip2612"), eip2612, Source::Network);
        }
        Some(KnownMethod::Eip3009 { name, version }) => {
            section.assume(&format!("{path}.eip712.name"), name, Source::Network);
            section.assume(&format!("{path}.eip712.version"), version, Source::Network);
        }
        None => {}
    }
}
