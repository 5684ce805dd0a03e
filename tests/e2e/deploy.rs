//! The files of `facilitator/deploy`, and the image: valid, and tried with the built binary.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use chains_svm::local::{Genesis, NETWORK as SOLANA, Payer, USDC as USDC_MINT};
use e2e::{
    anvil::{Anvil, GAS_WALLET_KEY, NETWORK, PAYEE, USDC, free_port},
    balancer::Balancer,
    eventually,
    payer::Draft,
    proxy::{Fault, Proxy, Times},
    service::{Home, binary, text_of},
    validator::{self, Validator},
};

use serde_json::{Value, json};

use crate::redis_guard::SECOND_WALLET_KEY;

/// The user of the image.
const USER: &str = "65532";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn deployed(path: &str) -> PathBuf {
    root().join("facilitator/deploy").join(path)
}

fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    output.unwrap_or_else(|error| panic!("`tests/run` installs {program}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_as_it_is_delivered_hides_an_instance_that_takes_nothing_and_one_that_dies() {
    let file = deployed("haproxy/haproxy.cfg");
    let checked = run("haproxy", &["-c", "-f", &file.display().to_string()]);
    assert!(checked.status.success(), "{}", text_of(&checked));

    let chain = Anvil::start().await;
    let node = Proxy::before(&chain.node.url).await;
    let homes = [Home::on(&chain).rpc(&[&node.url]), Home::on(&chain).wallets(&[SECOND_WALLET_KEY])];
    let (dies, stays) = (homes[0].serve().await, homes[1].serve().await);
    let port = free_port();
    let mut text =
        fs::read_to_string(&file).expect("the file").replace("bind :8402", &format!("bind 127.0.0.1:{port}"));
    for (name, home) in ["facilitator-1:8402", "facilitator-2:8402"].into_iter().zip(&homes) {
        assert!(text.contains(name), "{name}");
        text = text.replace(name, home.url.trim_start_matches("http://"));
    }
    let balancer = Balancer::configured(port, &text).await;
    let client = e2e::http_client();
    let ask = async |path: &str| {
        let answer = client.post(format!("{}{path}", balancer.url)).json(&Draft::default().v2()).send().await;
        let answer = answer.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    };
    for paid in 1..=4 {
        let (status, body) = ask("/settle").await;
        assert!(status == 200 && body.contains("\"success\":true"), "{status} {body}");
        assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000 * paid);
    }
    // Its node is gone: it answers 503, until its health check is seen to fail and after.
    node.fail("*", Fault::Status(500), Times::Always);
    for request in 0..20 {
        let (status, body) = ask("/verify").await;
        assert!(status == 200 && body.contains("\"isValid\":true"), "request {request}: {status} {body}");
    }
    node.heal();
    eventually("it is ready again", || async { (dies.get("/ready").await.status == 200).then_some(()) }).await;
    dies.kill();
    for request in 0..50 {
        let (status, body) = ask("/verify").await;
        assert!(status == 200 && body.contains("\"isValid\":true"), "request {request}: {status} {body}");
    }
    let (status, body) = ask("/settle").await;
    assert!(status == 200 && body.contains("\"success\":true"), "{status} {body}");
    drop(stays);
}

/// The dependencies are a layer of their own, which needs the manifest of every crate.
#[test]
fn the_image_is_built_from_every_manifest_and_runs_as_nobody() {
    let image = fs::read_to_string(root().join("facilitator/Dockerfile")).expect("the file");
    let mut manifests = vec!["facilitator/Cargo.toml".to_owned(), "tests/Cargo.toml".to_owned()];
    for family in fs::read_dir(root().join("chains")).expect("the families") {
        manifests.push(format!("chains/{}/Cargo.toml", family.expect("a folder").file_name().display()));
    }
    for manifest in manifests {
        assert!(image.contains(&format!("COPY {manifest} {manifest}\n")), "{manifest}");
    }
    assert!(image.contains(&format!("USER {USER}:{USER}\n")), "{image}");
    for label in ["title", "description", "licenses", "revision"] {
        assert!(image.contains(&format!("org.opencontainers.image.{label}=")), "{label}");
    }
    let bases = image.lines().filter_map(|line| line.strip_prefix("ARG ")?.split_once("_IMAGE=")).map(|(_, base)| base);
    for base in bases {
        let version = base.split_once(':').map_or("", |(_, tag)| tag);
        let one_for_ever =
            version.split_once("@sha256:").is_some_and(|(tag, digest)| tag.contains('.') && digest.len() == 64);
        assert!(one_for_ever, "{base} is not one image for ever");
    }
}

#[test]
fn the_unit_of_systemd_is_valid_and_leaves_the_service_little_to_reach() {
    let unit = fs::read_to_string(deployed("systemd/facilitator.service")).expect("the unit");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("facilitator.service");
    fs::write(&file, unit.replace("/usr/local/bin/facilitator", &binary().display().to_string())).expect("written");
    let file = file.display().to_string();
    let verified = run("systemd-analyze", &["verify", "--man=no", &file]);
    assert!(verified.status.success() && text_of(&verified).is_empty(), "{}", text_of(&verified));
    // Of 100: 0 reaches nothing.
    let judged = run("systemd-analyze", &["security", "--offline=true", "--threshold=20", "--no-pager", &file]);
    assert!(judged.status.success(), "{}", text_of(&judged));
}

/// The compose file with its secrets, made with these arguments, in a folder of its own, as Debian's `docker-compose` reads it.
fn composed(folder: &Path, arguments: &[&str]) -> Value {
    let copied = ["docker-compose.yml", "facilitator/deploy/compose/secrets.sh"];
    for path in copied {
        let to = folder.join(path);
        fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        fs::copy(root().join(path), to).expect("copied");
    }
    for _ in 0..2 {
        let made = run("bash", &[&[folder.join(copied[1]).display().to_string().as_str()], arguments].concat());
        assert!(made.status.success(), "{}", text_of(&made));
    }
    let read = Command::new("docker-compose").args(["--profile", "dev", "config"]).current_dir(folder).output();
    let read = read.expect("`tests/run` installs docker-compose");
    assert!(read.status.success(), "{}", text_of(&read));
    fs::write(folder.join("read.yml"), read.stdout).expect("written");
    documents(&folder.join("read.yml")).remove(0)
}

#[test]
fn every_service_of_the_compose_file_has_limits_and_no_rights_and_the_instances_take_their_environment() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = composed(folder.path(), &[]);
    let services = file["services"].as_object().expect("services");
    assert!(services.len() >= 7, "{services:?}");
    for (name, service) in services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        assert!(service["mem_limit"].is_string() && service["cpus"].is_number(), "{name} {service}");
        assert!(service["privileged"].is_null() && !service.to_string().contains("docker.sock"), "{name}");
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(port.as_str().is_some_and(|port| port.starts_with("127.0.0.1:")), "{name}: {port}");
        }
        let image = service["image"].as_str().expect("an image");
        assert!(image == "x402-facilitator" || image.contains('.'), "{name}: {image} is not one image for ever");
    }
    assert_eq!(file["networks"]["back"]["internal"], true);
    // The service itself takes this environment, with the secrets where they are here.
    let secrets = folder.path().join("secrets").display().to_string();
    let config = folder.path().join("facilitator.toml");
    let chain = format!("[networks.\"{NETWORK}\"]\nrpc = [\"http://a\"]\ngas_wallets = [\"{GAS_WALLET_KEY}\"]\n");
    fs::write(&config, chain).expect("written");
    let names = ["facilitator-1", "facilitator-2"].map(|name| {
        assert_eq!(services[name]["environment"]["FACILITATOR__INSTANCE__NAME"], name);
        let told = fs::read_to_string(deployed("haproxy/haproxy.cfg")).expect("HAProxy's")
            + &fs::read_to_string(deployed("compose/prometheus.yml")).expect("Prometheus'");
        assert!(told.contains(&format!("{name}:8402")) && told.contains(&format!("{name}:8403")), "{name}");
        name
    });
    let environment = services[names[1]]["environment"].as_object().expect("an environment");
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let environment = environment.iter().map(|(name, value)| (name, text(value).replace("/run/secrets", &secrets)));
    let mut check = Command::new(binary());
    let checked = check.args(["config", "check", "--config"]).arg(config).envs(environment).output().expect("it runs");
    let said = text_of(&checked);
    assert!(checked.status.success(), "{said}");
    let keys = ["store.password_file", "redis.password_file", "admin.token_sha256", "server.trusted_proxies"];
    for key in keys.into_iter().chain(["instance.name"]) {
        assert!(said.contains(&format!("sets {key}")), "{key}: {said}");
    }
}

/// Every document of a YAML file. Debian's docker-compose brings Python's reader of YAML with it.
fn documents(file: &Path) -> Vec<Value> {
    let script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let json = run("/usr/bin/python3", &["-c", script, &file.display().to_string()]);
    serde_json::from_slice(&json.stdout).unwrap_or_else(|error| panic!("{error}: {}", text_of(&json)))
}

#[test]
fn the_example_for_kubernetes_has_no_rights_and_a_configuration_that_the_service_takes() {
    let all = documents(&deployed("kubernetes/facilitator.yaml"));
    let of = |kind: &str| all.iter().find(|document| document["kind"] == kind).unwrap_or_else(|| panic!("a {kind}"));
    for kind in ["Job", "Deployment"] {
        let pod = &of(kind)["spec"]["template"]["spec"];
        assert_eq!(
            (&pod["securityContext"]["runAsNonRoot"], &pod["automountServiceAccountToken"]),
            (&json!(true), &json!(false))
        );
        let confined = &pod["containers"][0]["securityContext"];
        let expected = json!({
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}
        });
        assert_eq!(confined, &expected, "{kind}");
    }
    let deployment = &of("Deployment")["spec"];
    assert_eq!(deployment["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    let container = &deployment["template"]["spec"]["containers"][0];
    for (probe, path) in [("livenessProbe", "/health"), ("readinessProbe", "/ready")] {
        assert_eq!(container[probe]["httpGet"]["path"], path);
    }
    // The service takes this configuration, with the secrets where they are here.
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["postgres-password", "redis-password"] {
        let file = folder.path().join(name);
        fs::write(&file, "secret").expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its own");
    }
    let text = of("ConfigMap")["data"]["facilitator.toml"].as_str().expect("a text");
    let wallets = text.lines().find(|line| line.starts_with("gas_wallets")).expect("gas wallets");
    let text = text
        .replace(wallets, "gas_wallets = [\"${FIRST_KEY}\", \"${SECOND_KEY}\"]")
        .replace("/run/secrets/facilitator", &folder.path().display().to_string());
    let config = folder.path().join("facilitator.toml");
    fs::write(&config, text).expect("written");
    let mut check = Command::new(binary());
    check.args(["config", "check", "--config"]).arg(config);
    check.env("FIRST_KEY", GAS_WALLET_KEY).env("SECOND_KEY", SECOND_WALLET_KEY);
    for name in container["env"].as_array().expect("variables").iter().filter_map(|variable| variable["name"].as_str())
    {
        check.env(name, if name == "ADMIN_TOKEN_SHA256" { "a".repeat(64) } else { "a-name".to_owned() });
    }
    let checked = check.output().expect("it runs");
    assert!(checked.status.success(), "{}", text_of(&checked));
}

/// As in the image: a user without rights, no capabilities, nothing to write to but its own folder. Without root
/// the user is one of a namespace of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_rights_serves_from_a_tree_that_it_cannot_write_to() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let is_root = text_of(&run("id", &["-u"])).trim() == "0";
    let folder = home.path().display().to_string();
    let (namespace, user) = if is_root {
        (vec!["--mount"], format!("--reuid={USER} --regid={USER} --clear-groups"))
    } else {
        (vec!["--map-root-user", "--mount"], String::new())
    };
    let script = format!(
        "set -e; : > {folder}/binary; if [ -n '{user}' ]; then chown -R {USER}:{USER} {folder}; fi; \
         mount --make-rprivate /; mount --bind {folder} {folder}; mount --bind {} {folder}/binary; \
         mount -o remount,bind,ro {folder}/binary; mount -o remount,bind,ro /; \
         exec setpriv {user} --no-new-privs --bounding-set=-all --inh-caps=-all {folder}/binary serve --config {}",
        binary().display(),
        home.config_file().display()
    );
    let mut command = Command::new("unshare");
    command.args(namespace).args(["sh", "-c", &script]).current_dir(home.path());
    let service = home.spawn_command(command);
    eventually("it is ready", || async {
        let ready = service.try_get("/ready").await?;
        (ready.status == 200).then_some(())
    })
    .await;
    let settled = service.post("/settle", &Draft::default().v2()).await;
    assert!(settled.is_good(), "{settled:?}\n{}", home.log());
    let status = fs::read_to_string(format!("/proc/{}/status", service.id())).expect("it runs");
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or("").to_owned();
    assert!(!is_root || line("Uid:").contains(USER), "{status}");
    assert_eq!(line("NoNewPrivs:").split_whitespace().last(), Some("1"), "{status}");
    assert_eq!(line("CapBnd:").split_whitespace().last(), Some("0000000000000000"), "{status}");
}

/// The accounts that a validator's ledger begins with.
#[test]
fn the_accounts_of_the_local_validator_are_those_that_seed_expects() {
    let folder = tempfile::tempdir().expect("a folder");
    Genesis::default().write(folder.path()).expect("written");
    let files = |folder: &Path| {
        let read = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
        read.map(|entry| (entry.file_name(), fs::read_to_string(entry.path()).expect("read")))
            .collect::<BTreeMap<_, _>>()
    };
    assert_eq!(files(&deployed("compose/solana")), files(folder.path()));
}

/// The validator of the compose file, with ports of its own.
async fn validator(service: &Value) -> Validator {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = folder.path().join("ledger").display().to_string();
    let accounts = deployed("compose/solana").display().to_string();
    let entrypoint = service["entrypoint"].as_array().expect("an entrypoint").iter();
    let words: Vec<_> = entrypoint.map(|word| word.as_str().expect("a word").replace("$$", "$")).collect();
    let words = ["/tmp/ledger", "/accounts", "$(hostname -i)"]
        .iter()
        .zip([ledger.as_str(), &accounts, "127.0.0.1"])
        .fold(words, |words, (there, here)| {
            assert!(words.concat().contains(there), "{words:?}");
            words.iter().map(|word| word.replace(there, here)).collect()
        });
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    Validator::of(command, validator::TICKS_PER_SLOT, folder).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dev_profile_settles_a_payment_on_each_of_its_chains() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = composed(folder.path(), &["--dev"]);
    let mounted = file["services"]["facilitator-1"]["volumes"].to_string();
    assert!(mounted.contains("facilitator/deploy/compose/dev.toml:/etc/facilitator.toml:ro"), "{mounted}");
    let (anvil, validator) = (Anvil::start().await, validator(&file["services"]["solana"]).await);
    anvil.node.call("anvil_setCode", json!([USDC, "0x"])).await;

    let config = folder.path().join("dev.toml");
    let mut text = fs::read_to_string(deployed("compose/dev.toml")).expect("the file");
    for (there, here) in [
        ("http://anvil:8545", anvil.node.url.as_str()),
        ("http://solana:8899", validator.chain.url()),
        ("ws://solana:8900", validator.websocket.as_str()),
    ] {
        assert!(text.contains(there), "{there}");
        text = text.replace(there, here);
    }
    fs::write(&config, text).expect("written");
    let (listen, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let command = |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(binary());
        command.args(arguments).arg("--config").arg(&config).kill_on_drop(true);
        command.env("FACILITATOR__SERVER__LISTEN", &listen).env("FACILITATOR__ADMIN__LISTEN", &admin);
        command.env("FACILITATOR__STORE__URL", format!("sqlite://{}", folder.path().join("store.db").display()));
        command
    };
    let log = fs::File::create(folder.path().join("log")).expect("a file");
    let mut service =
        command(&["serve"]).stdout(log.try_clone().expect("a file")).stderr(log).spawn().expect("it starts");
    // The command of the compose file, twice: for `up` and by hand.
    let told = file["services"]["seed"]["command"].as_array().expect("a command");
    assert!(told.contains(&json!("--settle")), "{told:?}");
    for _ in 0..2 {
        let url = format!("http://{listen}");
        let arguments = ["seed", "--settle", "--json", "--wait", "2m", "--rpc", &anvil.node.url];
        let more = ["--solana-rpc", validator.chain.url(), "--facilitator", &url];
        let seeded = command(&[arguments.as_slice(), &more].concat()).output().await.expect("it runs");
        let said = fs::read_to_string(folder.path().join("log")).expect("the log");
        assert!(seeded.status.success(), "{}\n{said}", text_of(&seeded));
        let printed: Value = serde_json::from_slice(&seeded.stdout).expect("JSON");
        let networks = printed["payments"].as_array().expect("payments").iter();
        let networks: Vec<_> =
            networks.map(|payment| (&payment["network"], payment["transaction"].is_string())).collect();
        assert_eq!(networks, [(&json!(NETWORK), true), (&json!(SOLANA), true)]);
    }
    service.kill().await.expect("it ends");
    let payee = chains_evm::local::Payer::numbered(2).expect("a payer").address();
    let (evm, svm) = (
        anvil.node.token_balance(USDC, &payee).await,
        validator.chain.token_balance(&Payer::numbered(3).address(), &USDC_MINT).await,
    );
    assert_eq!((evm, svm.expect("an answer")), (20_000, 20_000));
}
