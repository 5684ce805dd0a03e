//! Each alert rule names what is there, and a real Prometheus fires each by its cause.

use std::{collections::BTreeSet, fs, path::PathBuf};

use e2e::{
    anvil::{Anvil, GAS_WALLET, USDC},
    payer::Draft,
    prometheus::{Prometheus, promtool},
    proxy::{Fault, Proxy, Times},
    service::Home,
    stranger::SEND,
};
use serde_json::json;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../facilitator/deploy/prometheus"))
}

fn rules() -> String {
    fs::read_to_string(folder().join("facilitator.rules.yml")).expect("the rules")
}

/// The part of a line behind a key.
fn values<'t>(text: &'t str, key: &'t str) -> impl Iterator<Item = &'t str> {
    text.lines().filter_map(move |line| line.trim_start_matches([' ', '-']).strip_prefix(key)).map(str::trim)
}

/// The anchor that a heading of a Markdown document has.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches(['#', ' ']).to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_rule_is_valid_fires_by_its_cause_and_stays_quiet_without_it() {
    for arguments in [["check", "rules", "facilitator.rules.yml"], ["test", "rules", "facilitator.rules.test.yml"]] {
        let output = promtool(&folder(), &arguments, "");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
    let tests = fs::read_to_string(folder().join("facilitator.rules.test.yml")).expect("the tests");
    for alert in values(&rules(), "alert:") {
        let cases = tests.matches(&format!("- alertname: {alert}\n")).count();
        assert!(cases >= 2, "{alert} has {cases} cases");
    }
}

#[test]
fn every_alert_has_a_severity_and_a_section_that_tells_what_to_do() {
    let (rules, document) =
        (rules(), fs::read_to_string(folder().join("../../docs/operations.md")).expect("a document"));
    let anchors: BTreeSet<String> = document.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
    let alerts = values(&rules, "alert:").count();
    let runbooks: Vec<&str> = values(&rules, "runbook_url:").collect();
    assert!(alerts >= 17 && runbooks.len() == alerts, "{} runbooks of {alerts} alerts", runbooks.len());
    for runbook in runbooks {
        let place = runbook.strip_prefix("facilitator/docs/operations.md#").expect("a section of operations.md");
        assert!(anchors.contains(place), "{runbook} is not there");
    }
    let severities: Vec<&str> = values(&rules, "labels:").collect();
    assert_eq!(severities.len(), alerts);
    assert!(severities.iter().all(|labels| ["{severity: page}", "{severity: ticket}"].contains(labels)));
    let metrics = fs::read_to_string(folder().join("../../docs/metrics.md")).expect("a document");
    for alert in values(&rules, "alert:") {
        let rest = alert.trim_start_matches("FacilitatorSettleErrors");
        assert!(metrics.contains(alert) || rest == "Slow", "{alert} is in the table of docs/metrics.md");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_a_rule_names_is_one_of_the_service() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let text = home.metrics().await;
    let there = |name: &str| {
        let base = ["_bucket", "_count", "_sum"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
        text.contains(&format!("# TYPE {name} ")) || text.contains(&format!("# TYPE {base} histogram"))
    };
    let rules = rules();
    let words = rules.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let named: BTreeSet<&str> = words.filter(|word| word.starts_with("facilitator_")).collect();
    let missing: Vec<_> = named.iter().filter(|name| !there(name)).collect();
    assert!(named.len() > 15 && missing.is_empty(), "{missing:?}");
    drop(service);
}

/// The rules with the times that nobody waits for in a test: each alert after a second, and a transaction that is
/// too old after five.
fn impatient() -> String {
    let hurried = |line: &str| {
        let is_for = line.trim_start().starts_with("for: ");
        let line = if is_for { "        for: 1s" } else { line };
        line.replace("oldest_age_seconds > 120", "oldest_age_seconds > 5")
    };
    rules().lines().map(hurried).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_fire_by_their_causes_and_end_with_them() {
    let chain = Anvil::start().await;
    chain.node.mine_blocks(40).await;
    let nodes = Proxy::three_before(&chain.node.url).await;
    let [first, second, third] = &nodes;
    let home = Home::on(&chain)
        .rpc(&[&first.url, &second.url, &third.url])
        .server("settle_wait", "2s")
        .network("recheck_interval", "200ms");
    let service = home.serve().await;
    let prometheus = Prometheus::start(&home.admin_url, &impatient()).await;
    prometheus.fires("all is well", &[]).await;

    // Every node refuses what is sent, and the transaction waits.
    for node in &nodes {
        node.fail(SEND, Fault::Refuse(-32000, "transaction underpriced: minimum needed 25000000000"), Times::Always);
    }
    let waiting = Draft::default().v2();
    assert_eq!(service.post("/settle", &waiting).await.text("errorReason"), "settlement_pending");
    let expected = [("FacilitatorBroadcastsRefused", ""), ("FacilitatorLaneStuck", "")];
    prometheus.fires("sends are refused", &expected).await;
    nodes.iter().for_each(Proxy::heal);
    assert!(service.decided(&waiting).await.is_good(), "{}", home.log());

    // One node is down, one lags, and the gas wallet is drained.
    second.fail("*", Fault::LoseRequest, Times::Always);
    third.lag(20);
    chain.node.call("anvil_setBalance", json!([GAS_WALLET, "0x1"])).await;
    let [down, lags] = [second, third].map(|node| node.url.trim_start_matches("http://"));
    let expected = [
        ("FacilitatorNodeLags", down),
        ("FacilitatorNodeLags", lags),
        ("FacilitatorNoFundedWallet", ""),
        ("FacilitatorWalletRunsOut", ""),
    ];
    prometheus.fires("a node is down, one lags, the wallet is drained", &expected).await;
    nodes.iter().for_each(Proxy::heal);
    chain.node.call("anvil_setBalance", json!([GAS_WALLET, "0x8ac7230489e80000"])).await;
    prometheus.fires("all is mended", &[]).await;

    // The token answers every question with nothing but zeros: the network is not what it was.
    let code = chain.node.call("eth_getCode", json!([USDC, "latest"])).await;
    chain.node.call("anvil_setCode", json!([USDC, "0x60206000f3"])).await;
    // Its code may be looked at before the network is closed, or not.
    let suspended = ["FacilitatorAssetSuspended"];
    prometheus.fires_among("the network closes", &[("FacilitatorNetworkClosed", "")], &suspended).await;
    chain.node.call("anvil_setCode", json!([USDC, code])).await;
    prometheus.fires("it opens again", &[]).await;

    // The chain's clock is a quarter of an hour ahead: nobody can say which payments are valid.
    chain.node.call("evm_increaseTime", json!([900])).await;
    let expected = [("FacilitatorClockSkew", ""), ("FacilitatorNetworkClosed", "")];
    prometheus.fires("the clocks differ", &expected).await;
    drop(service);
}
