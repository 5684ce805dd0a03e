//! The doctor names each limit of an endpoint, and the fix that fits it.

use chains_svm::local::Payer;
use e2e::{
    anvil::{Anvil, GAS_WALLET},
    eventually,
    liar_svm::SvmLie,
    node::Node,
    proxy::{Fault, Proxy, Times},
    service::Home,
    stranger::SEND,
    validator::{self, Validator},
};
use serde_json::{Value, json};

/// Everything that the doctor finds, as JSON, and its exit code.
fn findings(home: &Home) -> (Option<i32>, Vec<Value>) {
    let output = home.run(&["doctor", "--json"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (output.status.code(), body["findings"].as_array().cloned().unwrap_or_default())
}

/// A limit, the way to have it, the check that names it, and words of what was seen and of the fix.
type Case = (&'static str, fn(&Proxy), &'static str, &'static str, &'static str);

const CASES: [Case; 12] = [
    ("no batches", |proxy| proxy.batch_max(0), "node_batches", "takes no batches", "Raise the limit"),
    ("small batches", |proxy| proxy.batch_max(4), "node_batches", "4 calls at a time", "Raise the limit"),
    (
        "a short range of logs",
        |proxy| proxy.log_range_max(100, "query returned more than 10000 results"),
        "node_log_range",
        "blocks at a time",
        "eth_getLogs",
    ),
    ("pruned state", |proxy| proxy.keep_state_of(1), "node_state", "pruned", "archive"),
    (
        "no traces",
        |proxy| proxy.without(&["debug_traceTransaction", "trace_transaction"]),
        "node_trace",
        "debug_traceTransaction",
        "`debug`",
    ),
    (
        "no state overrides",
        |proxy| {
            proxy.refuse_when("eth_call", |params| {
                params.get(2).map(|_| (-32602, "too many arguments, want at most 2".to_owned()))
            });
        },
        "node_overrides",
        "state overrides",
        "geth",
    ),
    (
        "no final block",
        |proxy| {
            proxy.refuse_when("eth_getBlockByNumber", |params| {
                (params[0] == "finalized").then(|| (-32602, "invalid block tag".to_owned()))
            });
        },
        "node_finalized",
        "`finalized`",
        "block tag",
    ),
    (
        "a rate limit",
        |proxy| proxy.fail("eth_getLogs", Fault::Status(429), Times::Always),
        "node_rate",
        "429",
        "rate limit",
    ),
    (
        "a floor of the tip",
        |proxy| {
            let text = "transaction underpriced: gas tip cap 1000000, minimum needed 2000000000";
            proxy.fail(SEND, Fault::Refuse(-32000, text), Times::Always);
        },
        "node_tip",
        "minimum needed 2000000000",
        "`tip_per_gas = \"2000000000\"`",
    ),
    (
        "a floor of the tip that it does not name",
        |proxy| {
            proxy.fail(SEND, Fault::Refuse(-32000, "transaction underpriced"), Times::Always);
            proxy.lie("eth_maxPriorityFeePerGas", |_, _| json!("0x77359400"));
        },
        "node_tip",
        "refuses a tip of",
        "`tip_per_gas = \"2000000000\"`",
    ),
    (
        "another chain",
        |proxy| proxy.lie("eth_chainId", |_, _| json!("0x1")),
        "node_chain",
        "serves chain 1, not 84532",
        "Correct `rpc`",
    ),
    ("a lag", |proxy| proxy.lag(40), "node_lag", "40 blocks behind", "Put it last"),
];

/// The same on Solana.
const SVM_CASES: [Case; 5] = [
    (
        "no history of transactions",
        |proxy| proxy.tell_svm(SvmLie::NoHistory),
        "node_history",
        "getFirstAvailableBlock",
        "--enable-rpc-transaction-history",
    ),
    (
        "a method that is not served",
        |proxy| proxy.without(&["isBlockhashValid"]),
        "node_history",
        "isBlockhashValid",
        "ask its provider for the method",
    ),
    (
        "a rate limit",
        |proxy| proxy.fail("getEpochInfo", Fault::Status(429), Times::Always),
        "node_rate",
        "429",
        "rate limit",
    ),
    (
        "a lag",
        |proxy| {
            proxy.lie("getEpochInfo", |_, mut honest| {
                honest["absoluteSlot"] = json!(1);
                honest
            });
        },
        "node_lag",
        "slots behind the best node",
        "Put it last",
    ),
    ("no answers", |proxy| proxy.fail("getGenesisHash", Fault::LoseAnswer, Times::Always), "node_answers", "", ""),
];

/// The findings about nodes that are not good. That a test's cluster has a genesis of its own is configured.
fn of_nodes(findings: &[Value]) -> Vec<Value> {
    let is_wrong = |finding: &&Value| {
        let is_about = |key: &str, words: &str| finding[key].as_str().is_some_and(|text| text.contains(words));
        let is_configured = is_about("meaning", "allow_genesis_mismatch");
        finding["severity"] != "ok" && is_about("check", "node_") && !is_configured
    };
    findings.iter().filter(is_wrong).cloned().collect()
}

/// Each limit of one of two nodes is named, with its fix, and the other one is not blamed.
fn assert_named(home: &Home, limited: &Proxy, network: &str, cases: &[Case]) {
    let host = limited.url.trim_start_matches("http://");
    let (_, none) = findings(home);
    assert_eq!(of_nodes(&none), Vec::<Value>::new(), "a node without limits");
    for (name, limit, check, seen, fix) in cases {
        limit(limited);
        let (code, found) = findings(home);
        limited.heal();
        let found = of_nodes(&found);
        let told = found.iter().find(|finding| finding["check"] == *check && finding["subject"] == host);
        let told = told.unwrap_or_else(|| panic!("{name}: {check} is not told: {found:#?}"));
        let has = |key: &str, words: &str| told[key].as_str().is_some_and(|text| text.contains(words));
        assert!(has("seen", seen) && has("fix", fix) && has("meaning", ""), "{name}: {told:#}");
        assert_eq!(told["network"], network, "{name}");
        assert!(code >= Some(1), "{name}: exit code {code:?}");
        let others: Vec<_> = found.iter().filter(|finding| finding["subject"] != host).collect();
        assert!(others.is_empty(), "{name}: the node without limits is blamed: {others:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_with_a_limit_is_told_the_limit_and_the_fix() {
    let chain = Anvil::start().await;
    chain.node.mine_blocks(600).await;
    let (healthy, limited) = (Proxy::before(&chain.node.url).await, Proxy::before(&chain.node.url).await);
    let home = Home::on(&chain).rpc(&[&healthy.url, &limited.url]);
    assert_named(&home, &limited, "eip155:84532", &CASES);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_of_solana_with_a_limit_is_told_the_limit_and_the_fix() {
    let validator = Validator::start().await;
    let (healthy, limited) = (Proxy::before(validator.chain.url()).await, Proxy::before(validator.chain.url()).await);
    let home = Home::on(&validator).rpc(&[&healthy.url, &limited.url]);
    // A node can lag by some slots once there are so many.
    let node = Node::at(validator.chain.url().to_owned());
    eventually("some slots", || async { (node.try_call("getSlot", json!([])).await?.as_u64()? > 20).then_some(()) })
        .await;
    let found = findings(&home).1;
    let network = found.iter().find_map(|finding| finding["network"].as_str()).expect("a network");
    assert_named(&home, &limited, network, &SVM_CASES);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_node_that_does_not_answer_is_named_once_with_its_network() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).rpc(&["http://127.0.0.1:9"]);
    let output = home.run(&["doctor"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("eip155:84532 node_answers: 127.0.0.1:9: cannot connect"), "{text}");
    assert!(text.contains("is the only node") && text.contains("1 error, 2 warnings"), "{text}");
}

/// The doctor's words about money of assets in gas wallets: severity, gas wallet, and what was seen.
fn told_of_tokens(home: &Home) -> Vec<[String; 3]> {
    let told = findings(home).1.into_iter().filter(|finding| finding["check"] == "wallet_tokens");
    let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    told.map(|finding| ["severity", "subject", "seen"].map(|key| word(&finding, key))).collect()
}

/// I07: a key on a server guards no more than it needs.
#[tokio::test(flavor = "multi_thread")]
async fn money_of_an_asset_in_a_gas_wallet_is_told() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    assert_eq!(told_of_tokens(&home), Vec::<[String; 3]>::new());
    chain.mint(GAS_WALLET, 1_500_000).await;
    let told = told_of_tokens(&home);
    let [[severity, wallet, seen]] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((severity.as_str(), seen.as_str()), ("warning", "holds 1.5 USDC"));
    assert!(wallet.eq_ignore_ascii_case(GAS_WALLET), "{wallet}");
}

/// I07, on Solana: tokens of either program.
#[tokio::test(flavor = "multi_thread")]
async fn money_of_an_asset_in_a_fee_payer_s_accounts_is_told_on_solana() {
    let validator = Validator::start().await;
    let home = Home::on(&validator);
    assert_eq!(told_of_tokens(&home), Vec::<[String; 3]>::new());
    let rich = Payer::numbered(0);
    let home = home.network("fee_payers", vec![validator::fee_payer().secret().expose(), rich.secret().expose()]);
    let told = ["USDC", "PYUSD"].map(|symbol| format!("holds 1000000 {symbol}"));
    let expected = told.map(|seen| ["warning".to_owned(), rich.address().to_string(), seen]);
    assert_eq!(told_of_tokens(&home), expected);
}
