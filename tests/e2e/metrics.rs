//! The figures that an operator sees: every metric is documented, exists from the start, tells what happened, and
//! counts nothing that a stranger can make up.

use std::{collections::BTreeSet, fs, path::Path};

use chains_core::Amount;
use e2e::{
    anvil::{Anvil, GAS_WALLET, GAS_WALLET_KEY, NETWORK, PAYEE, USDC},
    eventually,
    payer::{Draft, now},
    prometheus::promtool,
    service::{Home, config::table},
};
use futures::{StreamExt as _, stream};
use serde_json::json;

/// The places of a v2 body that name network, scheme, asset and payee.
const PARTS: [&str; 2] = ["/paymentRequirements", "/paymentPayload/accepted"];

/// The inventions of a stranger besides the network.
const NAMES: [&str; 3] = ["scheme", "asset", "payTo"];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The names that a text of metrics declares.
fn declared(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    types.map(str::to_owned).collect()
}

/// The value of the series with all of these labels; `None` when there is none.
fn series(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<String> {
    let is_wanted = |line: &&str| {
        let has = |(label, value): &(&str, &str)| line.contains(&format!("{label}=\"{value}\""));
        line.split(['{', ' ']).next() == Some(name) && labels.iter().all(has)
    };
    text.lines().find(is_wanted).and_then(|line| line.rsplit(' ').next()).map(str::to_owned)
}

/// Every series with its labels, as Prometheus counts them.
fn names(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_names_exactly_the_metrics_of_a_fresh_process_and_promtool_finds_no_fault() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let text = home.metrics().await;
    let document = fs::read_to_string(root().join("facilitator/docs/metrics.md")).expect("the document");
    let first_cells = document.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let documented: BTreeSet<String> = first_cells
        .flat_map(|cell| cell.split(['`', ',', ' ']))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    assert_eq!(declared(&text), documented);
    let checked = promtool(root(), &["check", "metrics"], &text);
    let said = String::from_utf8_lossy(&checked.stdout).into_owned() + &String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.is_empty(), "{said}");
    let described = text.lines().filter(|line| line.starts_with("# HELP ")).count();
    assert_eq!(described, documented.len(), "each has a description");
    assert!(!text.contains("quantile="), "a summary cannot be added over instances");
    drop(service);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_series_that_an_alert_needs_is_there_at_zero_before_anything_happens() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let text = home.metrics().await;
    let host = chain.node.url.trim_start_matches("http://");
    let (network, scheme) = (("network", NETWORK), ("scheme", "exact"));
    let (wallet, node) = (("wallet", GAS_WALLET), ("node", host));
    let zeros: [(&str, &[(&str, &str)]); 22] = [
        ("panics_total", &[]),
        ("settle_answers_total", &[network, scheme, ("outcome", "success"), ("reason", "none")]),
        ("settle_answers_total", &[network, ("scheme", "upto"), ("outcome", "unavailable"), ("reason", "store")]),
        ("settle_answers_total", &[("network", "other"), ("outcome", "internal"), ("reason", "panic")]),
        ("settle_answers_total", &[network, scheme, ("outcome", "refused_by_policy"), ("reason", "gas_budget")]),
        ("verify_answers_total", &[network, scheme, ("outcome", "unavailable"), ("reason", "chain_unavailable")]),
        ("settlements_total", &[network, scheme, ("state", "failed")]),
        ("settlements_in_flight", &[network, ("state", "unresolved")]),
        ("settlements_lost_total", &[network]),
        ("failed_executed_total", &[network]),
        ("rpc_contradictions_total", &[network]),
        ("rpc_requests_total", &[network, node, ("outcome", "timeout")]),
        ("broadcasts_total", &[network, node, ("answer", "refused")]),
        ("gas_spent_coins_total", &[network, wallet, ("purpose", "failed")]),
        ("gas_wallet_refused", &[network, wallet]),
        ("store_commit_failures_total", &[]),
        ("redis_breaker_open", &[]),
        ("redis_commands_total", &[("command", "mark"), ("outcome", "timeout")]),
        ("rate_limited_total", &[("key", "other"), ("route", "settle"), ("limit", "rate")]),
        ("replay_marks_total", &[("answer", "delivered")]),
        ("http_requests_total", &[("route", "/settle"), ("code", "503")]),
        ("http_connections_refused_total", &[("listener", "public"), ("reason", "address")]),
    ];
    for (name, labels) in zeros {
        let value = series(&text, &format!("facilitator_{name}"), labels);
        assert_eq!(value.as_deref(), Some("0"), "{name} {labels:?}");
    }
    let ones: [(&str, &[(&str, &str)]); 4] = [
        ("network_open", &[network]),
        ("ready", &[("part", "store")]),
        ("gas_wallet_state", &[network, wallet, ("state", "open")]),
        ("build_info", &[("version", env!("CARGO_PKG_VERSION"))]),
    ];
    for (name, labels) in ones {
        let found = || async {
            (series(&home.metrics().await, &format!("facilitator_{name}"), labels).as_deref() == Some("1"))
                .then_some(())
        };
        eventually(&format!("{name} is 1"), found).await;
    }
    eventually("each node has been looked at", || async {
        let up = series(&home.metrics().await, "facilitator_rpc_node_up", &[network, node]);
        (up.as_deref() == Some("1")).then_some(())
    })
    .await;
    drop(service);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_counted_by_its_outcome_and_gas_to_the_last_wei() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let (good, expired) = (Draft::default(), Draft { valid_before: now() - 10, ..Draft::default() });
    let settled = service.post("/settle", &good.v2()).await;
    assert!(settled.is_good(), "{settled:?}");
    assert!(!service.post("/settle", &expired.v2()).await.is_good());
    assert!(service.post("/verify", &Draft::default().v2()).await.is_good());
    let mut elsewhere = Draft::default().v2();
    for part in PARTS {
        elsewhere.pointer_mut(part).expect("a part")["network"] = json!("eip155:1");
    }
    assert!(!service.post("/verify", &elsewhere).await.is_good());
    let text = home.metrics().await;
    let value = |name: &str, labels: &[(&str, &str)]| series(&text, &format!("facilitator_{name}"), labels);
    let (network, scheme) = (("network", NETWORK), ("scheme", "exact"));
    let expired = ("reason", "invalid_exact_evm_payload_authorization_valid_before");
    let once: [(&str, &[(&str, &str)]); 10] = [
        ("settle_answers_total", &[network, scheme, ("outcome", "success"), ("reason", "none")]),
        ("settle_answers_total", &[network, scheme, ("outcome", "rejected"), expired]),
        ("verify_answers_total", &[network, scheme, ("outcome", "valid"), ("reason", "none")]),
        ("verify_answers_total", &[("network", "other"), ("scheme", "other"), ("reason", "invalid_network")]),
        ("settlements_total", &[network, scheme, ("state", "settled")]),
        ("settle_duration_seconds_count", &[network, ("outcome", "success")]),
        ("settlement_stage_duration_seconds_count", &[network, ("stage", "queue")]),
        ("settlement_stage_duration_seconds_count", &[network, ("stage", "commit")]),
        ("settlement_stage_duration_seconds_count", &[network, ("stage", "include")]),
        ("settlement_stage_duration_seconds_count", &[network, ("stage", "confirm")]),
    ];
    for (name, labels) in once {
        assert_eq!(value(name, labels).as_deref(), Some("1"), "{name} {labels:?}");
    }
    let paid: Amount = service.settlement(settled.settlement_id()).await.text("feePaid").parse().expect("an amount");
    let coins = value("gas_spent_coins_total", &[network, ("purpose", "settle")]).expect("a value");
    assert_eq!(coins, paid.in_units(18), "as the receipt says");
    let accepted = value("broadcasts_total", &[network, ("answer", "accepted")]).expect("a value");
    assert_eq!(accepted, "1");
    eventually("the runway is finite", || async {
        let runway = series(&home.metrics().await, "facilitator_gas_wallet_runway_seconds", &[network])?;
        runway.parse::<f64>().ok()?.is_finite().then_some(())
    })
    .await;
    drop(service);
}

/// Adds nine networks, with two nodes each that serve none of them.
fn with_ten_networks(mut home: Home, chain: &Anvil) -> Home {
    let ids = [1, 137, 8453, 42_161, 43_113, 43_114, 80_002, 421_614, 11_155_111];
    let nodes = vec![chain.node.url.clone(), "http://127.0.0.1:9".to_owned()];
    for id in ids {
        let keys = [
            ("rpc", nodes.clone().into()),
            ("gas_wallets", vec![GAS_WALLET_KEY].into()),
            // A key in plain text is for test networks only.
            ("testnet", true.into()),
        ];
        home = home.more(&format!("eip155:{id}"), table(keys));
    }
    home
}

/// A16: labels come from closed sets, so that strangers make no series.
#[tokio::test(flavor = "multi_thread")]
async fn ten_networks_have_fewer_than_3000_series_and_a_hundred_thousand_random_values_add_none() {
    const REQUESTS: usize = 10_000;
    const KINDS: usize = 8;
    /// Random values of each request, in its path, its body and its headers.
    const VALUES: usize = 10;
    let chain = Anvil::start().await;
    let home = with_ten_networks(Home::on(&chain), &chain);
    let service = home.spawn();
    eventually("the first network is open", || async {
        let open = series(&home.try_metrics().await?, "facilitator_network_open", &[("network", NETWORK)]);
        (open.as_deref() == Some("1")).then_some(())
    })
    .await;
    let client = e2e::http_client();
    let honest = Draft::default().v2();
    let ask = |number: usize| {
        let (client, url, mut body) = (client.clone(), home.url.clone(), honest.clone());
        async move {
            let random = || format!("{:032x}", rand::random::<u128>());
            // A network that is served, with random names in it, or a random network.
            let names = if number.is_multiple_of(2) { &["network", "scheme", "asset", "payTo"][..] } else { &NAMES };
            for (part, name) in PARTS.into_iter().flat_map(|part| names.iter().map(move |name| (part, *name))) {
                body.pointer_mut(part).expect("a part")[name] = json!(random());
            }
            body["paymentPayload"]["payload"]["authorization"]["nonce"] = json!(format!("0x{}{}", random(), random()));
            let request = match number % KINDS {
                0..=1 => client.post(format!("{url}/verify?{}={}", random(), random())),
                2..=3 => client.post(format!("{url}/settle?{}={}", random(), random())),
                4..=5 => client.post(format!("{url}/{}/{}", random(), random())),
                _ => client.get(format!("{url}/settlements/{}?a={}", random(), random())),
            };
            let request = request.header("user-agent", random()).header("x-request-id", random());
            let answer = request.header("referer", random()).json(&body).send().await.expect("an answer");
            (number % KINDS, answer.status().as_u16())
        }
    };
    // Each kind of request once: from here on nothing new may come.
    for number in 0..KINDS {
        ask(number).await;
    }
    let before = names(&home.metrics().await);
    let mut answers = stream::iter((0..REQUESTS).map(ask)).buffer_unordered(16);
    let mut answered = 0;
    while let Some((kind, status)) = answers.next().await {
        assert_eq!(status, if kind < 4 { 200 } else { 404 }, "kind {kind}");
        answered += 1;
    }
    assert!(answered * VALUES >= 100_000);
    let after = names(&home.metrics().await);
    // The networks that nobody serves ask their nodes meanwhile, by more and more methods.
    let new: Vec<&String> = after.difference(&before).filter(|name| !name.contains("_rpc_")).collect();
    assert!(new.is_empty(), "{new:?}");
    assert!((1_000..3_000).contains(&after.len()), "{} series", after.len());
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 0, "nothing was paid");
    drop(service);
}
