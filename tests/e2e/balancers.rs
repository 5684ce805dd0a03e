//! Load balancers of the field, with their defaults, stand before the service and nobody notices.

use std::{net::TcpListener, time::Duration};

use e2e::{
    anvil::{Anvil, GAS_WALLET_KEY, PAYEE, PAYER, PERMIT_ERC20, PLAIN_ERC20, USDC, WALLET_FACTORY},
    balancer::{Balancer, Program},
    eventually,
    hostile::wire::{answer, connect, from, request},
    payer::Draft,
    permit2::allow,
    sdk,
    service::{
        Home,
        config::{asset, permit2_asset},
    },
    validator::Validator,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const PROGRAMS: [Program; 2] = [Program::Nginx, Program::HaProxy];

#[tokio::test(flavor = "multi_thread")]
async fn official_clients_pay_through_load_balancers_with_default_settings() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    for program in PROGRAMS {
        let balancer = Balancer::before(program, &[&service.url]).await;
        for protocol in ["v2", "v1"] {
            let before = chain.node.token_balance(USDC, PAYEE).await;
            let (received, printed) = sdk::pay(protocol, &balancer.url, &chain.node.url).await;
            assert!(received, "{program:?} {protocol}: {printed}\n{}", home.log());
            assert!(chain.node.token_balance(USDC, PAYEE).await > before, "{program:?} {protocol}: {printed}");
        }
    }
    home.assert_audit();
}

/// A home where every way of the official packages to pay on EVM is open.
fn open_to_every_way(chain: &Anvil) -> Home {
    let mut plain = permit2_asset(PLAIN_ERC20);
    plain.insert("eip2612".to_owned(), false.into());
    Home::on(chain)
        .network("erc6492_factories", vec![WALLET_FACTORY])
        .network("builder_code", "our_wallet")
        .network("sponsor_erc20_approval", true)
        .network("sponsor_funding_max", "1000000000000000")
        .network("sponsor_funding_per_hour_max", "10000000000000000")
        .asset(asset(USDC))
        .asset(permit2_asset(PERMIT_ERC20))
        .asset(plain)
}

/// Each of them is another client: of TypeScript and of Python, newer and older, with every scheme and extension.
#[tokio::test(flavor = "multi_thread")]
async fn every_driver_of_the_official_packages_passes_behind_load_balancers() {
    for program in PROGRAMS {
        let chain = Anvil::start_with(&[]).await;
        let home = open_to_every_way(&chain);
        let service = home.serve().await;
        let balancer = Balancer::before(program, &[&service.url]).await;
        let (good, printed) =
            sdk::buy(&[], &balancer.url, &chain.node.url, &["--facilitator-code", "our_wallet"]).await;
        assert!(good, "{program:?}: {printed}\n{}", home.log());
        allow(&chain, PAYER, u128::MAX).await;
        let arguments: [&[&str]; 2] = [&[], &["--permit2-asset", USDC, "--scheme", "upto"]];
        for more in arguments {
            let (received, printed) = sdk::pay_in_python(&balancer.url, &chain.node.url, more).await;
            assert!(received, "{program:?} {more:?}: {printed}\n{}", home.log());
        }
        home.assert_audit();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_golden_answers_are_given_behind_load_balancers() {
    for program in PROGRAMS {
        let chain = Anvil::start_with(&[]).await;
        let home = Home::on(&chain);
        let service = home.serve().await;
        let balancer = Balancer::before(program, &[&service.url]).await;
        let (good, printed) = sdk::golden(&balancer.url, &chain.node.url, GAS_WALLET_KEY, &[]).await;
        assert!(good, "{program:?}: {printed}\n{}", home.log());
        home.assert_audit();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_packages_pay_on_solana_behind_load_balancers() {
    let validator = Validator::start().await;
    for program in PROGRAMS {
        // The names that the buyers give to their payments are the same each time.
        let home = Home::on(&validator);
        let service = home.serve().await;
        let balancer = Balancer::before(program, &[&service.url]).await;
        let (good, printed) = sdk::buy_on_solana(&[], &balancer.url, validator.chain.url()).await;
        assert!(good, "{program:?}: {printed}\n{}", home.log());
        drop(service);
        home.assert_audit();
    }
}

/// The balancer asks every 200 ms and takes a server out after two failures.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stops_leaves_its_balancer_without_a_failed_request() {
    let chain = Anvil::start().await;
    let homes = [Home::on(&chain), Home::on(&chain)].map(|home| home.server("drain_delay", "2s"));
    let (leaving, staying) = (homes[0].serve().await, homes[1].serve().await);
    let balancer = Balancer::before(Program::HaProxy, &[&leaving.url, &staying.url]).await;
    let body = Draft::default().v2();
    let client = e2e::http_client();
    let ask = async || {
        let answer = client.post(format!("{}/verify", balancer.url)).json(&body).send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    };
    for _ in 0..10 {
        assert!(ask().await, "both serve");
    }
    let told = std::time::Instant::now();
    leaving.terminate();
    let ready = leaving.ready_says(&["being stopped"]).await;
    assert_eq!(ready.status, 503, "it still listens, and says that it leaves");
    let mut leaving = leaving;
    let mut asked = 0;
    while leaving.exit_code().is_none() {
        assert!(ask().await, "a request failed while the service was leaving, after {asked} good ones");
        asked += 1;
    }
    assert!(told.elapsed() >= Duration::from_secs(2), "the listener stays for the balancer to notice");
    assert!(asked > 10 && ask().await, "{asked}");
    assert_eq!(leaving.exit_code(), Some(0));
}

/// Begins a request of a caller behind the proxy at 127.0.0.2 and holds its body back.
/// It is under way when this returns: the service asks for the body.
async fn begun(url: &str, caller: &str) -> tokio::net::TcpStream {
    let forwarded = format!("x-forwarded-for: 203.0.113.9, {caller}");
    let head =
        ["host: 127.0.0.1", "content-type: application/json", "content-length: 10", "expect: 100-continue", &forwarded];
    let mut stream = connect(url, from(2)).await.expect("connected");
    let ask = format!("POST /verify HTTP/1.1\r\n{}\r\n\r\n", head.join("\r\n"));
    stream.write_all(ask.as_bytes()).await.expect("sent");
    let mut line = [0; "HTTP/1.1 100".len()];
    stream.read_exact(&mut line).await.expect("an answer");
    assert_eq!(line, *b"HTTP/1.1 100");
    stream
}

/// The status of `GET /supported` for a caller behind the proxy at 127.0.0.`last`.
async fn status_for(url: &str, last: u8, caller: &str) -> u16 {
    let forwarded = format!("x-forwarded-for: {caller}");
    let mut stream = connect(url, from(last)).await.expect("connected");
    let ask = request("GET /supported", &["host: 127.0.0.1", &forwarded], "");
    stream.write_all(ask.as_bytes()).await.expect("sent");
    answer(&mut stream).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_behind_a_trusted_proxy_have_limits_of_their_own() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain)
        .server("connections_per_ip_max", 2)
        .server("trusted_proxies", vec!["127.0.0.2"])
        .server("forwarded_by", "x-forwarded-for");
    let service = home.serve().await;
    let (first, second) = (begun(&service.url, "198.51.100.1").await, begun(&service.url, "198.51.100.1").await);
    assert_eq!(status_for(&service.url, 2, "198.51.100.1").await, 503, "two are under way, a third is too many");
    assert_eq!(status_for(&service.url, 2, "198.51.100.2").await, 200, "another caller, the same proxy");
    assert_eq!(
        status_for(&service.url, 2, "198.51.100.1, 127.0.0.2").await,
        503,
        "the same caller, through two proxies"
    );
    assert_eq!(status_for(&service.url, 3, "198.51.100.1").await, 200, "a stranger's header is not believed");
    drop((first, second));
    eventually("the caller is served again", || async {
        (status_for(&service.url, 2, "198.51.100.1").await == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_on_the_loopback_address_of_ipv6_answers_to_its_names() {
    let port = TcpListener::bind("[::1]:0").expect("this machine has IPv6").local_addr().expect("bound").port();
    let chain = Anvil::start().await;
    let home = Home::on(&chain).server("listen", format!("[::1]:{port}"));
    let _service = home.spawn();
    eventually("the service is ready", || async {
        let health = home.run(&["health"]);
        (health.status.code() == Some(0)).then_some(())
    })
    .await;
    let client = e2e::http_client();
    for (host, status) in [("localhost", 200), ("[::1]", 200), ("127.0.0.1", 200), ("evil.example", 421)] {
        let ask = client.get(format!("http://[::1]:{port}/supported")).header("host", format!("{host}:{port}"));
        assert_eq!(ask.send().await.expect("an answer").status(), status, "{host}");
    }
}
