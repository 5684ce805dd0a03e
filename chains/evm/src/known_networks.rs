//! The networks and assets that are known without configuration, as data.
//!
//! Source: `docs/protocol-notes.md`, "Known networks and assets". Fee figures are
//! ours: a tip that the network's producers take, and a ceiling well above its
//! usual price.

use std::time::Duration;

/// A known network.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its EIP-155 chain id.
    pub chain_id: u64,
    /// For people.
    pub name: &'static str,
    /// Its name in protocol v1.
    pub legacy_name: Option<&'static str>,
    /// The coin that pays for gas, for people.
    pub coin: &'static str,
    /// True when its coin has no value.
    pub testnet: bool,
    /// Milliseconds between blocks.
    pub block_time_ms: u64,
    /// Blocks, the including one counted, until a transfer counts as settled.
    pub confirmations: u64,
    /// The tip, in wei.
    pub tip_per_gas: u64,
    /// The most that a unit of gas may cost, in wei.
    pub fee_per_gas_max: u64,
    /// Gas on top of every limit where the limit also has to pay for data on another chain.
    pub gas_extra: u64,
    /// Its assets.
    pub assets: &'static [KnownAsset],
}

/// A known asset.
#[derive(Clone, Copy, Debug)]
pub struct KnownAsset {
    /// Its address.
    pub address: &'static str,
    /// Its symbol.
    pub symbol: &'static str,
    /// Its decimals.
    pub decimals: u64,
    /// The way in which it is paid with.
    pub method: KnownMethod,
}

/// The way in which an asset is paid with, besides by Permit2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownMethod {
    /// By EIP-3009 as well.
    Eip3009 {
        /// Its EIP-712 domain's name.
        name: &'static str,
        /// Its EIP-712 domain's version.
        version: &'static str,
    },
    /// By Permit2 only.
    Permit2 {
        /// True when it knows EIP-2612.
        eip2612: bool,
    },
}

/// The network with this chain id, when it is known.
pub fn known(chain_id: u64) -> Option<&'static Known> {
    NETWORKS.iter().find(|network| network.chain_id == chain_id)
}

/// All of them.
pub fn all() -> &'static [Known] {
    &NETWORKS
}

impl Known {
    /// The usual time between blocks.
    pub const fn block_time(&self) -> Duration {
        Duration::from_millis(self.block_time_ms)
    }
}

const GWEI: u64 = 1_000_000_000;

/// Next to nothing: for chains whose producers take any tip.
const TIP_MIN: u64 = 1_000_000;

/// The most usual sort: a rollup or sidechain with cheap gas.
const fn network(chain_id: u64, name: &'static str, block_time_ms: u64, assets: &'static [KnownAsset]) -> Known {
    Known {
        chain_id,
        name,
        legacy_name: None,
        coin: "ETH",
        testnet: false,
        block_time_ms,
        confirmations: 1,
        tip_per_gas: TIP_MIN,
        fee_per_gas_max: 5 * GWEI,
        gas_extra: 0,
        assets,
    }
}

impl Known {
    const fn named(self, legacy_name: &'static str) -> Self {
        Self { legacy_name: Some(legacy_name), ..self }
    }

    const fn coin(self, coin: &'static str) -> Self {
        Self { coin, ..self }
    }

    const fn test(self) -> Self {
        Self { testnet: true, ..self }
    }

    const fn fees(self, tip_per_gas: u64, fee_per_gas_max: u64) -> Self {
        Self { tip_per_gas, fee_per_gas_max, ..self }
    }

    const fn confirmed(self, confirmations: u64) -> Self {
        Self { confirmations, ..self }
    }

    /// The limit also pays for posting the transaction to Ethereum.
    const fn data_in_gas(self, gas_extra: u64) -> Self {
        Self { gas_extra, ..self }
    }
}

const fn asset(symbol: &'static str, name: &'static str, version: &'static str, address: &'static str) -> KnownAsset {
    KnownAsset { address, symbol, decimals: 6, method: KnownMethod::Eip3009 { name, version } }
}

const fn permit2(symbol: &'static str, decimals: u64, eip2612: bool, address: &'static str) -> KnownAsset {
    KnownAsset { address, symbol, decimals, method: KnownMethod::Permit2 { eip2612 } }
}

const fn usdc(name: &'static str, address: &'static str) -> KnownAsset {
    asset("USDC", name, "2", address)
}

static NETWORKS: [Known; 38] = [
    network(8453, "Base", 2000, &[usdc("USD Coin", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913")]).named("base"),
    network(84532, "Base Sepolia", 2000, &[usdc("USDC", "0x036CbD53842c5426634e7929541eC2318f3dCF7e")])
        .named("base-sepolia")
        .test()
        .fees(TIP_MIN, 20 * GWEI),
    network(1, "Ethereum", 12_000, &[usdc("USD Coin", "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48")])
        .named("ethereum")
        .confirmed(2)
        .fees(GWEI / 10, 60 * GWEI),
    network(11_155_111, "Sepolia", 12_000, &[usdc("USDC", "0x1c7D4B196Cb0C7B01d743Fbc6116a902379C7238")])
        .named("sepolia")
        .test()
        .fees(GWEI / 10, 100 * GWEI),
    network(43_114, "Avalanche", 1500, &[usdc("USD Coin", "0xB97EF9Ef8734C71904D8002F8b6Bc66Dd9c48a6E")])
        .named("avalanche")
        .fees(TIP_MIN, 100 * GWEI)
        .coin("AVAX"),
    network(43_113, "Avalanche Fuji", 1500, &[usdc("USD Coin", "0x5425890298aed601595a70AB815c96711a31Bc65")])
        .named("avalanche-fuji")
        .test()
        .fees(TIP_MIN, 200 * GWEI)
        .coin("AVAX"),
    network(137, "Polygon", 2000, &[usdc("USD Coin", "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359")])
        .named("polygon")
        .confirmed(2)
        .fees(30 * GWEI, 1000 * GWEI)
        .coin("POL"),
    network(80_002, "Polygon Amoy", 2000, &[usdc("USDC", "0x41E94Eb019C0762f9Bfcf9Fb1E58725BfB0e7582")])
        .named("polygon-amoy")
        .test()
        .fees(30 * GWEI, 1000 * GWEI)
        .coin("POL"),
    network(42_161, "Arbitrum One", 250, &[usdc("USD Coin", "0xaf88d065e77c8cC2239327C5EDb3A432268e5831")])
        .data_in_gas(600_000),
    network(421_614, "Arbitrum Sepolia", 250, &[usdc("USD Coin", "0x75faf114eafb1BDbe2F0316DF893fd58CE46AA4d")])
        .test()
        .data_in_gas(600_000),
    network(2741, "Abstract", 1000, &[]).named("abstract").data_in_gas(600_000),
    network(11_124, "Abstract Testnet", 1000, &[]).named("abstract-testnet").test().data_in_gas(600_000),
    network(4689, "IoTeX", 2500, &[]).named("iotex").fees(TIP_MIN, 5000 * GWEI).coin("IOTX"),
    network(1329, "Sei", 400, &[usdc("USDC", "0xe15fC38F6D8c56aF07bbCBe3BAf5708A2Bf42392")])
        .named("sei")
        .fees(GWEI, 200 * GWEI)
        .coin("SEI"),
    network(1328, "Sei Testnet", 400, &[usdc("USDC", "0x4fCF1784B31630811181f670Aea7A7bEF803eaED")])
        .named("sei-testnet")
        .test()
        .fees(GWEI, 200 * GWEI)
        .coin("SEI"),
    network(3338, "peaq", 6000, &[]).named("peaq").fees(TIP_MIN, 500 * GWEI).coin("PEAQ"),
    network(1514, "Story", 2300, &[]).named("story").fees(TIP_MIN, 50 * GWEI).coin("IP"),
    network(41_923, "EDU Chain", 250, &[]).named("educhain").data_in_gas(600_000).coin("EDU"),
    network(324_705_682, "SKALE Base Sepolia", 1000, &[]).named("skale-base-sepolia").test().coin("coins"),
    network(4326, "MegaETH", 1000, &[permit2("MegaUSD", 18, true, "0xFAfDdbb3FC7688494971a79cc65DCa3EF82079E7")])
        .named("megaeth"),
    network(143, "Monad", 400, &[usdc("USDC", "0x754704Bc059F8C67012fEd69BC8A327a5aafb603")])
        .named("monad")
        .fees(2 * GWEI, 500 * GWEI)
        .coin("MON"),
    network(988, "Stable", 700, &[asset("USDT0", "USDT0", "1", "0x779Ded0c9e1022225f8E0630b35a9b54bE713736")])
        .named("stable")
        .fees(TIP_MIN, 50 * GWEI)
        .coin("USDT0"),
    network(2201, "Stable Testnet", 700, &[asset("USDT0", "USDT0", "1", "0x78Cf24370174180738C5B8E352B6D14c83a6c9A9")])
        .named("stable-testnet")
        .test()
        .fees(TIP_MIN, 50 * GWEI)
        .coin("USDT0"),
    network(31_612, "Mezo", 3500, &[permit2("mUSD", 18, true, "0xdD468A1DDc392dcdbEf6db6e34E89AA338F9F186")])
        .coin("BTC"),
    network(31_611, "Mezo Testnet", 3500, &[permit2("mUSD", 18, true, "0x118917a40FAF1CD7a13dB0Ef56C86De7973Ac503")])
        .test()
        .coin("BTC"),
    network(723_487, "Radius", 1000, &[permit2("SBC", 6, true, "0x33ad9e4BD16B69B5BFdED37D8B5D9fF9aba014Fb")])
        .coin("coins"),
    network(72_344, "Radius Testnet", 1000, &[permit2("SBC", 6, true, "0x33ad9e4BD16B69B5BFdED37D8B5D9fF9aba014Fb")])
        .test()
        .coin("coins"),
    network(36_900, "ADI", 1000, &[asset("USDC.e", "USDC.e", "2", "0x9cb8142aEBBcdc60AF7c97Af897A67A8f3CA71C2")])
        .coin("ADI"),
    network(190_415, "HPP", 250, &[asset("USDC.e", "Bridged USDC", "2", "0x401eCb1D350407f13ba348573E5630B83638E30D")])
        .data_in_gas(600_000)
        .coin("coins"),
    network(
        181_228,
        "HPP Sepolia",
        250,
        &[asset("USDC.e", "Bridged USDC", "2", "0x401eCb1D350407f13ba348573E5630B83638E30D")],
    )
    .test()
    .data_in_gas(600_000)
    .coin("coins"),
    network(50, "XDC", 2000, &[usdc("USDC", "0xfA2958CB79b0491CC627c1557F441eF849Ca8eb1")])
        .fees(GWEI / 4, 100 * GWEI)
        .coin("XDC"),
    network(51, "XDC Apothem", 2000, &[usdc("USDC", "0xb5AB69F7bBada22B28e79C8FFAECe55eF1c771D4")])
        .test()
        .fees(GWEI / 4, 100 * GWEI)
        .coin("XDC"),
    network(38_833, "Igra", 1000, &[permit2("USDC", 6, false, "0xA5b8BF902b2844dA17d4506cc827F7F1681735E7")])
        .coin("coins"),
    network(14, "Flare", 1800, &[asset("USDT0", "USD\u{20AE}0", "1", "0xe7cd86e13AC4309349F30B3435a9d337750fC82D")])
        .named("flare")
        .fees(GWEI, 500 * GWEI)
        .coin("FLR"),
    network(
        42_220,
        "Celo",
        1000,
        &[
            usdc("USDC", "0xcebA9300f2b948710d2653dD7B07f33A8B32118C"),
            asset("USDT", "Tether USD", "1", "0x48065fbBE25f71C9282ddf5e1cD6D6A887483D5e"),
            asset("USAT", "Tether America USD", "1", "0xD2ab3C9A02DBBAB236BfEC45D1d755DF4267F771"),
        ],
    )
    .named("celo")
    .fees(GWEI, 500 * GWEI)
    .coin("CELO"),
    network(11_142_220, "Celo Sepolia", 1000, &[usdc("USDC", "0x01C5C0122039549AD1493B8220cABEdD739BC44E")])
        .test()
        .fees(GWEI, 500 * GWEI)
        .coin("CELO"),
    network(10, "OP Mainnet", 2000, &[usdc("USD Coin", "0x0b2C639c533813f4Aa9D7837CAf62653d097Ff85")]),
    network(11_155_420, "OP Sepolia", 2000, &[usdc("USDC", "0x5fd84259d66Cd46123540766Be93DFE6D43130D7")]).test(),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_network_stands_once_and_has_usable_data() {
        let mut ids = HashSet::new();
        let mut names = HashSet::new();
        for network in &NETWORKS {
            assert!(ids.insert(network.chain_id), "{}", network.name);
            assert!(network.legacy_name.is_none_or(|name| names.insert(name)), "{}", network.name);
            assert!(network.tip_per_gas < network.fee_per_gas_max, "{}", network.name);
            assert!(network.confirmations > 0 && network.block_time_ms > 0, "{}", network.name);
            for asset in network.assets {
                assert!(crate::parse::address(asset.address).is_some(), "{}", asset.address);
                let address: alloy::primitives::Address = asset.address.parse().expect("an address");
                assert_eq!(address.to_checksum(None), asset.address, "a digit is wrong");
            }
        }
    }

    #[test]
    fn the_specifications_networks_are_there() {
        let cases = [(8453, Some("base"), false), (84532, Some("base-sepolia"), true), (42_161, None, false)];
        for (chain_id, legacy_name, testnet) in cases {
            let network = known(chain_id).expect("known");
            assert_eq!((network.legacy_name, network.testnet), (legacy_name, testnet));
        }
        assert!(known(31_337).is_none());
    }
}
