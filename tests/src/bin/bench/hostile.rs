//! Honest callers beside strangers: `bench hostile [seconds]`.
//!
//! For a node that answers in 1 ms and one that takes 150 ms: a quiet run of
//! honest callers, then the same rate beside strangers that ask nine times as
//! much and hold connections, from the moment at which these come and once they
//! are there; then each kind of request by itself, for what one costs in
//! processor time beside a good verify.

use std::{process, sync::Arc, time::Duration};

use e2e::{
    anvil::{Anvil, GAS_WALLET, PAYER},
    hostile::{
        self, Honest, Load, Strangers,
        kinds::{JUDGED, KINDS, Stock},
        wire::{from, request, say_from},
    },
    payer::Draft,
    proxy::{Fault, Proxy, Times},
    service::{Home, Service},
};
use hdrhistogram::Histogram;

/// Honest requests a second, and those of strangers.
const RATES: (u32, u32) = (40, 360);

/// The time that strangers have to take hold of their connections. Every honest request is to be served meanwhile.
const ONSET: Duration = Duration::from_secs(3);

/// Connections that strangers hold.
const HELD: usize = 2000;

/// Requests of one kind whose cost is measured.
const OF_A_KIND: usize = 300;

/// The methods that a slow node is slow in.
const METHODS: [&str; 5] =
    ["eth_call", "eth_sendRawTransaction", "eth_getTransactionReceipt", "eth_getLogs", "eth_getBlockByNumber"];

/// The measurements that do not hold.
#[derive(Debug, Default)]
struct Shortfalls(Vec<String>);

impl Shortfalls {
    fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(what());
        }
    }
}

/// Runs the load test and prints it; exit code 1 when a bound does not hold.
pub(crate) async fn run(time: Duration) {
    let mut shortfalls = Shortfalls::default();
    for delay in [1, 150] {
        beside(Duration::from_millis(delay), time, &mut shortfalls).await;
    }
    judged_by_the_chain(time, &mut shortfalls).await;
    for shortfall in &shortfalls.0 {
        println!("NOT MET: {shortfall}");
    }
    if !shortfalls.0.is_empty() {
        process::exit(1);
    }
}

async fn beside(delay: Duration, time: Duration, shortfalls: &mut Shortfalls) {
    let chain = Anvil::start().await;
    let proxy = Proxy::before(&chain.node.url).await;
    for method in METHODS {
        proxy.fail(method, Fault::Delay(delay), Times::Always);
    }
    let home = Home::on(&chain).rpc(&[&proxy.url]).network("in_flight_max", 256);
    let service = home.serve().await;
    let settled = Draft::default().v2();
    assert!(service.post("/settle", &settled).await.is_good(), "the first payment");
    let stock = Arc::new(Stock::new(settled.to_string()));
    let load = Load { honest_per_second: RATES.0, hostile_per_second: RATES.1, held: HELD, time };

    println!("\na node of {delay:?}");
    let before = Seen::of(&home, &service, &proxy);
    let quiet = hostile::honest(&service.url, load).await;
    let after_quiet = Seen::of(&home, &service, &proxy);
    let strangers = Strangers::start(&service.url, load, &KINDS, &stock);
    // They take hold of their connections all at once, which keeps the driver of this test busy as well.
    let onset = hostile::honest(&service.url, Load { time: ONSET, ..load }).await;
    let honest = hostile::honest(&service.url, load).await;
    let descriptors = service.footprint().descriptors;
    let asked = strangers.stop().await;
    let after = Seen::of(&home, &service, &proxy);

    print_side("quiet", &quiet);
    print_side("onset", &onset);
    print_side("beside", &honest);
    let own = after_quiet.since(&before);
    let all = after.since(&after_quiet);
    let per = |value: u64, own: u64| value.saturating_sub(own) * 1000 / u64::try_from(asked).unwrap_or(u64::MAX).max(1);
    println!(
        "strangers: {asked} requests; a thousand of them: {} ms CPU, {} RPC requests, {} bytes of log",
        per(all.cpu_micros, own.cpu_micros) / 1000,
        per(all.rpc, own.rpc),
        per(all.log, own.log),
    );
    let (peak, _) = service.memory_kib();
    println!("memory {peak} KiB at its peak, {descriptors} open files");
    let gas = chain.node.transactions_of(GAS_WALLET).await;
    let paid = u128::from(1 + quiet.settled + onset.settled + honest.settled);
    println!("transactions {gas}, settled {paid}");

    let place = format!("node of {delay:?}");
    for side in [&onset, &honest] {
        shortfalls.expect(side.good * 1000 >= side.asked * 999, || {
            format!("{place}: {} of {} honest requests, first bad {:?}", side.good, side.asked, side.first_bad)
        });
    }
    let (was, is) = (quantile(&quiet.verify, 99), quantile(&honest.verify, 99));
    shortfalls.expect(is <= was * 3 && is <= was + 100_000, || format!("{place}: verify p99 {is} us, quiet {was} us"));
    shortfalls.expect(peak < 128 * 1024, || format!("{place}: {peak} KiB"));
    shortfalls.expect(gas == paid, || format!("{place}: {gas} transactions for {paid} payments"));
    if delay < Duration::from_millis(100) {
        by_kind(&service, &stock, shortfalls).await;
    }
    drop(service);
    // The proxy delays the calls of a batch one after another; the audit asks large ones.
    proxy.heal();
    let (code, text) = home.audit();
    assert_eq!(code, 0, "the audit after the load: {text}");
}

/// The budget of gas lost in an hour that a known network has, in wei.
const LOST_PER_HOUR_MAX: u128 = 20_000_000_000_000_000;

/// Contract wallets of each sort.
const WALLETS: usize = 40;

/// Strangers whose payments are signed, and whose fate only the chain or time decides.
async fn judged_by_the_chain(time: Duration, shortfalls: &mut Shortfalls) {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).network("in_flight_max", 256);
    let (mut wallets, mut burners) = (vec![], vec![]);
    for number in 0..WALLETS {
        // Its answer is a matter of the block's time.
        let coin = include_str!("../../../contracts/out/CoinWallet.hex").trim_end();
        let wallet = chain.deploy(&format!("{coin}{:0>64}{:064x}{number:064x}", &PAYER[2..], 0)).await;
        chain.mint(&wallet, 1_000_000_000).await;
        wallets.push(wallet.parse().expect("an address"));
        let burner = chain.deploy(include_str!("../../../contracts/out/GasBurnerWallet.hex").trim_end()).await;
        chain.mint(&burner, 1_000_000_000).await;
        burners.push(burner.parse().expect("an address"));
    }
    let service = home.serve().await;
    let settled = Draft::default().v2();
    assert!(service.post("/settle", &settled).await.is_good(), "the first payment");
    let stock = Arc::new(Stock::new(settled.to_string()).with_wallets(wallets, burners));
    let load = Load { honest_per_second: RATES.0, hostile_per_second: RATES.1, held: 0, time };

    println!("\npayments that only the chain can judge");
    let quiet = hostile::honest(&service.url, load).await;
    let strangers = Strangers::start(&service.url, load, &JUDGED, &stock);
    let honest = hostile::honest(&service.url, load).await;
    let asked = strangers.stop().await;
    print_side("quiet", &quiet);
    print_side("beside", &honest);
    let (lost, transactions) = (chain.gas_lost(&[GAS_WALLET]).await, chain.node.transactions_of(GAS_WALLET).await);
    println!("strangers: {asked} requests; {transactions} transactions, {lost} wei lost to those that failed");
    shortfalls.expect(lost <= LOST_PER_HOUR_MAX, || format!("judged by the chain: {lost} wei lost"));
    shortfalls.expect(honest.good * 100 >= honest.asked * 99, || {
        format!("judged by the chain: {} of {} honest, first bad {:?}", honest.good, honest.asked, honest.first_bad)
    });
    for (name, was, is) in [("verify", &quiet.verify, &honest.verify), ("settle", &quiet.settle, &honest.settle)] {
        let (was, is) = (quantile(was, 99), quantile(is, 99));
        shortfalls.expect(is <= was * 2, || format!("judged by the chain: {name} p99 {is} us, quiet {was} us"));
    }
    drop(service);
    let (code, text) = home.audit();
    assert_eq!(code, 0, "the audit after the load: {text}");
}

/// The resources that a service has used so far.
struct Seen {
    cpu_micros: u64,
    rpc: u64,
    log: u64,
}

impl Seen {
    fn of(home: &Home, service: &Service, proxy: &Proxy) -> Self {
        let cpu_micros = u64::try_from(hostile::cpu(service.id()).as_micros()).unwrap_or(u64::MAX);
        Self { cpu_micros, rpc: proxy.requests(), log: u64::try_from(home.log().len()).unwrap_or(u64::MAX) }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            cpu_micros: self.cpu_micros.saturating_sub(before.cpu_micros),
            rpc: self.rpc - before.rpc,
            log: self.log - before.log,
        }
    }
}

fn quantile(histogram: &Histogram<u64>, percent: u8) -> u64 {
    histogram.value_at_percentile(f64::from(percent))
}

fn print_side(name: &str, side: &Honest) {
    let Honest { asked, good, verify, settle, .. } = side;
    let ms = |histogram: &Histogram<u64>, percent| quantile(histogram, percent) / 1000;
    println!(
        "{name}: {good} of {asked} honest; verify p50 {} ms, p99 {} ms; settle p50 {} ms, p99 {} ms",
        ms(verify, 50),
        ms(verify, 99),
        ms(settle, 50),
        ms(settle, 99)
    );
    let slowest = side.slowest.iter().map(|(at, took)| format!("{} ms at {} ms", took.as_millis(), at.as_millis()));
    println!("  the slowest verifies took {}", slowest.collect::<Vec<_>>().join(", "));
}

/// Measures the processor time of a request of each kind, beside a good verify.
async fn by_kind(service: &Service, stock: &Stock, shortfalls: &mut Shortfalls) {
    let cost = |used: Duration| used.as_micros() / u128::try_from(OF_A_KIND).unwrap_or(1);
    let bodies: Vec<_> = (0..OF_A_KIND).map(|_| Draft::default().v2().to_string()).collect();
    let before = hostile::cpu(service.id());
    for body in &bodies {
        let fields = ["host: 127.0.0.1", "content-type: application/json", "connection: close"];
        let bytes = request("POST /verify", &fields, body);
        drop(say_from(&service.url, from(1), bytes.as_bytes()).await);
    }
    let good = cost(hostile::cpu(service.id()).saturating_sub(before));
    println!("processor time of a good verify on a connection of its own: {good} us");
    for kind in &KINDS {
        let before = hostile::cpu(service.id());
        for n in 0..OF_A_KIND {
            hostile::ask(&service.url, kind, stock, 1_000_000 + n).await;
        }
        let used = cost(hostile::cpu(service.id()).saturating_sub(before));
        println!("  {:<28} {used:>6} us", kind.name);
        shortfalls
            .expect(kind.served || used <= good * 2, || format!("{}: {used} us, a good verify {good} us", kind.name));
    }
}
