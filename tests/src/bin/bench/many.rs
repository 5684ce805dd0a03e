//! Many gas wallets and many callers on a chain with large blocks: what the engine makes of its places, with many
//! settlements in a transaction and with one, by one instance and by several.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alloy::{primitives::Address, signers::local::PrivateKeySigner};
use e2e::{
    anvil::Anvil,
    node::parse_quantity,
    payer::Draft,
    service::{Home, Service, Stored},
};
use serde_json::json;

use crate::{
    Counters,
    hot_path::on_disk,
    load::{self, Run},
    report::{Memory, Report, Row},
};

/// Payers, and payees, that payments are made by and to.
const PAYERS: usize = 100;
const PAYEES: usize = 25;

/// The instances, their wallets, and the load.
#[derive(Clone, Copy)]
struct Scene {
    name: &'static str,
    instances: usize,
    wallets: usize,
    callers: usize,
    payments: usize,
    batch: &'static str,
    stored: Stored,
}

/// One instance with eight wallets of 16 places each.
const EIGHT: Scene = Scene {
    name: "many: 8 wallets, 2,000 callers, batch = auto",
    instances: 1,
    wallets: 8,
    callers: 2_000,
    payments: 20_000,
    batch: "auto",
    stored: Stored::Sqlite,
};

/// Instances on one database whose wallets are the limit.
const LIMITED: Scene = Scene {
    name: "instances: 1 with 4 wallets, batch = off",
    wallets: 4,
    callers: 500,
    payments: 1_500,
    batch: "off",
    stored: Stored::Postgres,
    ..EIGHT
};

const SCENES: [Scene; 6] = [
    Scene { name: "many: 1 wallet, 500 callers, batch = auto", wallets: 1, callers: 500, payments: 6_000, ..EIGHT },
    EIGHT,
    Scene { name: "many: the same on PostgreSQL", stored: Stored::Postgres, ..EIGHT },
    Scene { name: "many: 8 wallets, 2,000 callers, batch = off", batch: "off", ..EIGHT },
    LIMITED,
    Scene {
        name: "instances: 2 with 4 wallets each, batch = off",
        instances: 2,
        wallets: 8,
        callers: 1_000,
        payments: 3_000,
        ..LIMITED
    },
];

/// The line of the memory that a service holds after each part of many payments.
const MEMORY: &str = "memory: 5 times 20,000 payments";
const PARTS: usize = 5;

/// Measures what is wanted.
pub(crate) async fn run(report: &mut Report, wanted: impl Fn(&str) -> bool) {
    for scene in SCENES.into_iter().filter(|scene| wanted(scene.name)) {
        measure(report, scene).await;
    }
    if wanted(MEMORY) {
        memory(report).await;
    }
}

/// A chain with large blocks, and the instances of a scene on it.
struct Stage {
    chain: Anvil,
    homes: Vec<Home>,
    services: Vec<Service>,
}

impl Stage {
    async fn of(scene: Scene) -> Self {
        let chain = Anvil::start_with(&["--block-time", "1", "--gas-limit", "400000000"]).await;
        let keys: Vec<_> = (0..scene.wallets).map(|_| PrivateKeySigner::random()).collect();
        for key in &keys {
            chain.node.call("anvil_setBalance", json!([key.address(), "0x3635c9adc5dea00000"])).await;
        }
        let secrets: Vec<_> = keys.iter().map(|key| format!("0x{}", hex::encode(key.to_bytes()))).collect();
        let home = on_disk(Home::on(&chain), scene.stored)
            .wallets(&secrets.iter().map(String::as_str).collect::<Vec<_>>())
            .server("settle_wait", "1m")
            .server("connections_per_ip_max", 4096)
            .network("batch", scene.batch);
        let home = if scene.batch == "auto" { home.with_batch_contract() } else { home };
        let others: Vec<_> = (1..scene.instances).map(|number| home.beside(&format!("number-{number}"))).collect();
        let homes: Vec<_> = [home].into_iter().chain(others).collect();
        let mut services = Vec::new();
        for home in &homes {
            services.push(home.serve().await);
        }
        let share = format!("gas wallets here: {}", scene.wallets / scene.instances);
        for service in services.iter().filter(|_| scene.instances > 1) {
            drop(service.ready_says(&[&share]).await);
        }
        Self { chain, homes, services }
    }

    /// Signed payments, made before the time counts.
    async fn bodies(&self, count: usize) -> Vec<String> {
        let payers: Vec<_> = (0..PAYERS).map(|_| PrivateKeySigner::random()).collect();
        for payer in &payers {
            self.chain.mint(&payer.address().to_checksum(None), 1_000_000_000).await;
        }
        let shops: Vec<_> = (0..PAYEES).map(|_| Address::from(rand::random::<[u8; 20]>())).collect();
        let body = |i: usize| {
            let draft = Draft { to: shops[i % PAYEES], ..Draft::of(payers[i % PAYERS].clone()) };
            draft.v2().to_string()
        };
        (0..count).map(body).collect()
    }

    async fn settle(&self, callers: usize, bodies: Vec<String>) -> (Run, Duration) {
        let (count, bodies) = (bodies.len(), Arc::new(bodies));
        let urls: Vec<_> = self.services.iter().map(|service| service.url.as_str()).collect();
        let began = Instant::now();
        let run = load::counted(&urls, "/settle", callers, count, move |i| bodies[i].clone()).await;
        (run, began.elapsed())
    }

    /// Ends the services, and holds the store against the chain.
    fn end(self) {
        drop(self.services);
        let (code, text) = self.homes[0].audit();
        assert_eq!(code, 0, "the audit after the benchmark: {text}");
    }
}

async fn measure(report: &mut Report, scene: Scene) {
    let stage = Stage::of(scene).await;
    let bodies = stage.bodies(scene.payments).await;
    let mut before = Vec::new();
    for (home, service) in stage.homes.iter().zip(&stage.services) {
        before.push(Counters::read(home, service).await);
    }
    let first = height(&stage.chain).await;
    let (run, time) = stage.settle(scene.callers, bodies).await;
    let mut rows = Vec::new();
    for ((home, service), before) in stage.homes.iter().zip(&stage.services).zip(&before) {
        rows.push(before.since(home, service, scene.name, &run, time).await);
    }
    report.add(Row::sum(rows));
    let mut gas = 0;
    for number in first + 1..=height(&stage.chain).await {
        let block = stage.chain.node.call("eth_getBlockByNumber", json!([format!("{number:#x}"), false])).await;
        gas += parse_quantity(&block["gasUsed"]);
    }
    report.gas.insert(scene.name.to_owned(), gas / u128::from(run.good.max(1)));
    stage.end();
}

/// The memory that is resident after each part.
async fn memory(report: &mut Report) {
    let stage = Stage::of(EIGHT).await;
    for part in 1..=PARTS {
        let bodies = stage.bodies(EIGHT.payments).await;
        let (run, time) = stage.settle(EIGHT.callers, bodies).await;
        report.add(Row::of(&format!("{MEMORY}, number {part}"), &run, time));
        let name = format!("after {} payments", part * EIGHT.payments);
        report.memory.push(Memory::now(&name, &stage.services[0]));
    }
    stage.end();
}

async fn height(chain: &Anvil) -> u128 {
    chain.node.quantity("eth_blockNumber", json!([])).await
}
