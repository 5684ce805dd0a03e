//! A run: three instances and everything around them, their callers, and the judgement at the end.

use std::{fs, path::Path, sync::Arc, time::Duration};

use alloy::signers::local::PrivateKeySigner;
use rand::SeedableRng as _;
use serde_json::json;
use tokio::{sync::Mutex, time::Instant};

use super::{
    callers::{CALLERS, Desk},
    chain,
    checker::check,
    cluster::{Instance, Surroundings, Ways},
    faults::World,
    history::{Answer, History},
    link::Target,
    recorder::Recorder,
    replica,
    schedule::{Lane, has_reorgs},
    solana::{self, Solana},
    store::Observer,
};
use crate::{
    PATIENCE,
    anvil::{Anvil, GAS_WALLET, GAS_WALLET_KEY, PAYER_KEY, free_port},
    balancer::Balancer,
    eventually,
    postgres::Postgres,
    proxy::Proxy,
    redis::Redis,
    service::{Home, Stored},
};

/// The gas wallets, others of anvil's well-known accounts.
const WALLETS: [(&str, &str); 4] = [
    (GAS_WALLET, GAS_WALLET_KEY),
    (
        "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc",
        "0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
    ),
    (
        "0x976EA74026E726554dB657fA54763abd0C3a0aa9",
        "0x92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
    ),
    (
        "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65",
        "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    ),
];

/// Words of mistakes of the service's own, which nothing from outside brings about.
const NEVER_LOGGED: [&str; 3] = ["panicked", "a mistake in the program", "deadlock detected"];

/// The longest that anything is unfinished after the last fault.
const FINISH_MAX: Duration = PATIENCE;

/// A run: what may be hit, and those who call.
pub struct Run {
    seed: u64,
    /// Everything that a fault may hit.
    pub world: Arc<World>,
    desk: Arc<Desk>,
    solana: Option<Arc<Solana>>,
    _balancer: Balancer,
}

impl Run {
    /// Starts everything, beside a second network where there is one.
    ///
    /// # Panics
    /// If something does not start.
    pub async fn start(seed: u64, solana: Option<Arc<Solana>>) -> Self {
        let chain = Arc::new(Anvil::start_with(&["--block-time", "1", "--slots-in-an-epoch", "2"]).await);
        let payers = payers(&chain, seed).await;
        let (recorder, redis) = (Recorder::default(), Redis::start().await);
        let first = Home::on(&*chain)
            .stored_in(Stored::Postgres)
            .wallets(&wallets(seed))
            .server("settle_wait", "5s")
            .server("drain_delay", "1s")
            .network("fee_per_gas_max", "500000000000")
            .network("bump_after_blocks", 2);
        let postgres = first.shared_postgres();
        let observer = Arc::new(Observer::of(postgres.url("postgres")));
        let homes = [first.beside("two"), first.beside("three"), first];
        let mut instances = vec![];
        for (number, home) in homes.into_iter().enumerate() {
            let node = Proxy::before(&chain.node.url).await;
            chain::witness(&node, &recorder, &observer);
            let (database, redis) = (Target::of_database(&postgres.url("postgres")), Target::Socket(redis.socket()));
            let (home, second) = match &solana {
                Some(solana) => {
                    let (home, proxy) = solana.serve_too(home).await;
                    (home, Some(proxy))
                }
                None => (home, None),
            };
            let (ways, home) = Ways::open(Surroundings { database, redis, node, solana: second }, home).await;
            let instance = Instance::start(number, home, ways, &recorder);
            is_ready(&instance).await;
            instances.push(instance);
        }
        let balancer = balancer(&instances).await;
        let urls = instances.iter().map(|one| one.home.url.clone()).collect();
        let desk =
            Desk::new(urls, balancer.url.clone(), Arc::clone(&chain), payers, recorder.clone(), has_reorgs(seed));
        let (redis, told) = (Mutex::new(redis), std::sync::Mutex::default());
        let world = Arc::new(World { instances, redis, postgres, observer, chain, recorder, told });
        Self { seed, world, desk: Arc::new(desk), solana, _balancer: balancer }
    }

    /// Calls, and faults of these lanes beside each other, for so long, while something else happens as well. Then
    /// everything is well, and comes to rest.
    ///
    /// # Panics
    /// If a property does not hold.
    pub async fn suffer(&self, lanes: &[Lane], time: Duration, meanwhile: impl Future<Output = ()>) {
        let (seed, until) = (self.seed, Instant::now() + time);
        let callers = (0..CALLERS).map(|one| tokio::spawn(Arc::clone(&self.desk).call(seed * 100 + one, until)));
        let mut callers: Vec<_> = callers.collect();
        for number in 0..solana::CALLERS {
            if let Some(solana) = &self.solana {
                let calls = Arc::clone(solana).call(self.desk.instances.clone(), seed * 100 + CALLERS + number, until);
                callers.push(tokio::spawn(calls));
            }
        }
        // Here, not in tasks: servers die with the thread that starts them.
        let trouble = lanes.iter().map(|lane| self.world.trouble(seed, *lane, until));
        tokio::join!(futures::future::join_all(trouble), meanwhile);
        for caller in callers {
            caller.await.expect("no panic");
        }
        self.comes_to_rest().await;
        let undecided = self.desk.ask_again(seed, Instant::now() + PATIENCE).await;
        self.comes_to_rest().await;
        self.judge(&undecided).await;
    }

    /// Has a replica take the server's place: each instance ends by itself, and starts again.
    ///
    /// # Panics
    /// If the replica takes no writes.
    pub async fn fail_over(&self, replica: &Postgres) {
        let world = &self.world;
        world.postgres.stop();
        replica::promote(replica);
        let url = replica.url("postgres");
        world.observer.move_to(url.clone()).await;
        for instance in &world.instances {
            instance.ways.database.lead_to(Target::of_database(&url));
        }
        for instance in &world.instances {
            let ended = || std::future::ready((!instance.exits().is_empty()).then_some(()));
            eventually("it ends by itself, as it has seen another history", ended).await;
            is_ready(instance).await;
        }
    }

    /// Judges everything that has happened.
    async fn judge(&self, undecided: &[String]) {
        let (seed, history) = (self.seed, self.history().await);
        let (violations, facts) = (check(&history), summary(&history));
        let told = violations.iter().map(|violation| format!("{violation}\n{}\n", about(&history, &violation.facts)));
        assert!(violations.is_empty(), "seed {seed}: {}\n{facts}\n{}", told.collect::<String>(), self.log());
        assert!(undecided.is_empty(), "seed {seed}: {undecided:?}\n{facts}\n{}", self.log());
        assert!(history.transfers().count() > 20, "seed {seed}: {facts}\n{}", self.log());
        for words in NEVER_LOGGED {
            assert!(!self.log().contains(words), "seed {seed}: {words}: {}", self.log());
        }
        if let Some(solana) = &self.solana {
            solana.judge(&self.world.observer).await;
        }
        let first = self.world.instances.first().expect("an instance");
        first.home.assert_audit();
    }

    /// Waits until nothing is unfinished, and nothing can be taken back. The checker says so where something stays.
    async fn comes_to_rest(&self) {
        let until = Instant::now() + FINISH_MAX;
        while Instant::now() < until {
            let (open, due) = (self.world.observer.unfinished().await, self.world.observer.unfinalized().await);
            if open == Some(0) && due == Some(0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn history(&self) -> History {
        let world = &self.world;
        world.instances.iter().for_each(|one| one.close());
        let mut history = world.recorder.history();
        history.blocks = chain::blocks(&world.chain.node, &WALLETS.map(|(address, _)| address)).await;
        history.tables = eventually("the tables are read", || world.observer.tables()).await;
        history
    }

    /// The story of the faults, and the instances' logs.
    fn log(&self) -> String {
        let told = self.world.told.lock().expect("no panic").join("\n");
        let logs = self.world.instances.iter().map(|one| format!("\n--- {}\n{}", one.home.url, one.home.log()));
        format!("{told}{}", logs.collect::<String>())
    }
}

/// The keys of the gas wallets of a run: with less than one for each instance, payments are handed over.
fn wallets(seed: u64) -> Vec<&'static str> {
    let most = [2, 4, 3][usize::try_from(seed % 3).unwrap_or_default()];
    WALLETS.into_iter().map(|(_, key)| key).take(most).collect()
}

/// Waits until an instance takes payments.
async fn is_ready(instance: &Instance) {
    let ready = format!("{}/ready", instance.home.url);
    eventually("it takes payments", || async {
        let answer = reqwest::get(&ready).await.ok()?;
        (answer.status() == 200 && instance.is_back()).then_some(())
    })
    .await;
}

/// Payers with money.
async fn payers(chain: &Anvil, seed: u64) -> Vec<PrivateKeySigner> {
    let mut draw = rand::rngs::StdRng::seed_from_u64(seed);
    let mut payers = vec![PAYER_KEY.parse().expect("a key")];
    for _ in 0..3 {
        let key: [u8; 32] = rand::Rng::random(&mut draw);
        let payer = PrivateKeySigner::from_slice(&key).expect("a key");
        chain.mint(&payer.address().to_checksum(None), 1_000_000_000_000).await;
        payers.push(payer);
    }
    for (wallet, _) in WALLETS {
        chain.node.call("anvil_setBalance", json!([wallet, "0x3635c9adc5dea00000"])).await;
    }
    // No block of theirs is taken back.
    chain.node.call("anvil_mine", json!([8])).await;
    payers
}

/// HAProxy as it is delivered, with a third instance.
async fn balancer(instances: &[Arc<Instance>]) -> Balancer {
    let port = free_port();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../facilitator/deploy/haproxy/haproxy.cfg");
    let text = fs::read_to_string(file).expect("the file").replace("bind :8402", &format!("bind 127.0.0.1:{port}"));
    let with_third = text.lines().flat_map(|line| {
        let third = line.starts_with("  server facilitator-2").then(|| line.replace("facilitator-2", "facilitator-3"));
        [Some(line.to_owned()), third].into_iter().flatten()
    });
    let text = with_third.map(|line| line + "\n").collect::<String>();
    let text = (1..).zip(instances).fold(text, |text, (number, one)| {
        text.replace(&format!("facilitator-{number}:8402"), one.home.url.trim_start_matches("http://"))
    });
    Balancer::configured(port, &text).await
}

/// The requests and events of the settlements that are named in some facts, for people.
fn about(history: &History, facts: &str) -> String {
    let named = history.tables.settlements.iter().filter(|one| facts.contains(&one.id) || facts.contains(&one.payment));
    let lines = named.flat_map(|one| {
        let requests = history.requests.iter().filter(|request| request.payment == one.payment);
        let events = history.tables.events.iter().filter(|event| event.settlement == one.id);
        let requests = requests.map(|request| format!("  {request}\n"));
        requests.chain(events.map(|event| format!("  {} {} {}\n", event.number, event.kind, event.detail)))
    });
    lines.collect()
}

/// The numbers of a run, for people.
fn summary(history: &History) -> String {
    let count = |is: fn(&Answer) -> bool| history.requests.iter().filter(|request| is(&request.answer)).count();
    format!(
        "{} requests: {} successes, {} duplicates, {} failed, {} invalid, {} pending, {} refused, {} not awaited, {} \
         without an answer; {} settlements, {} transfers, {} sends, {} of them seen in the store before",
        history.requests.len(),
        count(|answer| matches!(answer, Answer::Success(_))),
        count(|answer| matches!(answer, Answer::Duplicate(_))),
        count(|answer| matches!(answer, Answer::Failed(_))),
        count(|answer| matches!(answer, Answer::Invalid(_))),
        count(|answer| matches!(answer, Answer::Pending)),
        count(|answer| matches!(answer, Answer::Refused)),
        count(|answer| matches!(answer, Answer::NotAwaited)),
        count(|answer| matches!(answer, Answer::Nothing(_))),
        history.tables.settlements.len(),
        history.transfers().count(),
        history.sends.len(),
        history.sends.iter().filter(|sent| sent.stored == Some(true)).count(),
    )
}
