//! A chain, a disk, payers, and payments to make.

use std::{sync::Arc, time::Duration};

use chains_core::{
    Amount, Identity, Network, Payment,
    chain::{Chain, Parameters},
    clock::{ManualClock, Millis},
    payment::Chosen,
    protocol::{Request, Version},
};
use chains_fake::{FakeChain, Transfer, World, parameters};
use rand::{Rng as _, rngs::StdRng};
use serde_json::{Map, json};

use crate::store::memory::Disk;

/// Payers. The last one is rich enough for every payment.
pub(super) const PAYERS: u64 = 5;

/// The amount of each payment.
pub(super) const AMOUNT: u64 = 1_000;

/// The gas wallets.
pub(super) const WALLETS: [&str; 2] = ["gas-0", "gas-1"];

/// Nodes of a network, at most. One alone has no fault: nobody could tell.
pub(super) const NODES_MAX: usize = 3;

/// The account that is paid.
pub(super) const PAYEE: &str = "payee";

/// Everything that outlives a process.
pub(super) struct Scene {
    pub world: Arc<World>,
    pub disk: Disk,
    pub clock: Arc<ManualClock>,
    pub parameters: Parameters,
    network: Network,
    drawn: u64,
}

/// A payment that somebody signed.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub payer: String,
    pub nonce: String,
    pub valid_before: u64,
    pub approve_first: bool,
    pub gas_wallet: Option<&'static str>,
}

impl Scene {
    pub fn new(random: &mut StdRng) -> Self {
        let world = Arc::new(World::default());
        for payer in 0..PAYERS {
            let payments = if payer + 1 == PAYERS { 1_000_000 } else { random.random_range(1..6) };
            world.fund(&payer_name(payer), payments * AMOUNT);
        }
        for wallet in WALLETS {
            world.fund(wallet, 1_000_000_000_000);
        }
        world.set_batch_max(if random.random() { 3 } else { 1 });
        let nodes = random.random_range(1..=NODES_MAX);
        world.set_nodes(if mistake!(OneNodeDecides) { 1 } else { nodes });
        let parameters = Parameters {
            in_flight_max: random.random_range(1..5),
            confirmations: random.random_range(1..3),
            block_time: Duration::from_millis(100),
            ..parameters()
        };
        let network = "fake:local".parse().unwrap_or_else(|_| unreachable!("it is CAIP-2"));
        // The chain's clock begins at nothing, too.
        let clock = Arc::new(ManualClock::at(Millis(0)));
        Self { world, disk: Disk::default(), clock, parameters, network, drawn: 0 }
    }

    /// The chain as a process sees it.
    pub fn chain(&self) -> Arc<dyn Chain> {
        let wallets = WALLETS.map(str::to_owned).to_vec();
        Arc::new(FakeChain::new(self.network.clone(), wallets, self.parameters, Arc::clone(&self.world)))
    }

    /// The chain time of the newest block.
    pub fn time(&self) -> u64 {
        self.world.block(self.world.height()).map_or(0, |block| block.timestamp)
    }

    /// A payment that nobody has seen.
    pub fn draw(&mut self, random: &mut StdRng) -> Draft {
        let payer = payer_name(random.random_range(0..PAYERS));
        let valid_before = self.time() + random.random_range(3..60);
        let approve_first = random.random_ratio(1, 8);
        let gas_wallet = random.random_ratio(1, 8).then_some(WALLETS[1]);
        self.drawn += 1;
        Draft { payer, nonce: self.drawn.to_string(), valid_before, approve_first, gas_wallet }
    }

    /// A plain payment of the rich payer, good for long.
    pub fn draw_good(&mut self) -> Draft {
        self.drawn += 1;
        let (payer, nonce) = (payer_name(PAYERS - 1), self.drawn.to_string());
        Draft { payer, nonce, valid_before: self.time() + 100_000, approve_first: false, gas_wallet: None }
    }

    /// The request that asks to settle a payment.
    pub fn request(&self, draft: &Draft) -> Request {
        let Draft { payer, nonce, valid_before, approve_first, gas_wallet } = draft;
        let mut payload = json!({
            "from": payer, "nonce": nonce, "signature": format!("signed by {payer}"),
            "validBefore": valid_before, "approveFirst": approve_first,
        });
        if let Some(wallet) = gas_wallet {
            payload["gasWallet"] = json!(wallet);
        }
        let network = self.network.clone();
        let payment = Payment {
            scheme: "exact".into(),
            network: network.clone(),
            asset: "coin".into(),
            pay_to: PAYEE.into(),
            amount: Amount::from(AMOUNT),
            extra: Map::new(),
            chosen: Chosen { scheme: "exact".into(), network: Some(network.clone()) },
            payload: payload.as_object().cloned().unwrap_or_default(),
            extensions: Map::new(),
        };
        Request { version: Version::V2, network: network.to_string(), payment: Ok(payment) }
    }

    /// The one name of a payment.
    pub fn identity(&self, draft: &Draft) -> Identity {
        let network = self.chain().network().as_str().to_owned();
        Identity::of("fake", &[network.as_bytes(), draft.payer.as_bytes(), draft.nonce.as_bytes()])
    }
}

impl Draft {
    /// The transfer that the payer signed.
    pub fn transfer(&self) -> Transfer {
        Transfer {
            from: self.payer.clone(),
            to: PAYEE.into(),
            value: AMOUNT,
            nonce: self.nonce.clone(),
            valid_before: Some(self.valid_before),
        }
    }
}

fn payer_name(number: u64) -> String {
    format!("payer-{number}")
}
