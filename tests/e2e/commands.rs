//! The commands behave alike: exit codes, stdout against stderr, JSON, help with an example.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use e2e::{
    anvil::Anvil,
    payer::Draft,
    service::{Home, binary},
};
use serde_json::Value;
use tempfile::TempDir;

/// The commands, as help lists them.
const COMMANDS: [&[&str]; 20] = [
    &["serve"],
    &["demo"],
    &["seed"],
    &["doctor"],
    &["config"],
    &["config", "check"],
    &["config", "print"],
    &["config", "init"],
    &["keygen"],
    &["keygen", "evm"],
    &["keygen", "svm"],
    &["keygen", "address"],
    &["migrate"],
    &["settlement"],
    &["audit"],
    &["archive"],
    &["instances"],
    &["health"],
    &["completions"],
    &["manual"],
];

/// Commands that only hold others.
const GROUPS: [&str; 1] = ["config"];

fn run_in(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(folder).envs(variables.iter().copied());
    tokio::task::block_in_place(|| command.output()).expect("the binary runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Writes the file of a new operator for Base Sepolia.
fn first_file(folder: &Path) {
    let output = run_in(folder, &["config", "init", "--output", "facilitator.toml"], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

const KEY: (&str, &str) = ("GAS_WALLET_KEY", "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");

/// A variable that sets nothing, as two underscores are missing.
const ONE_UNDERSCORE: (&str, &str) = ("FACILITATOR_SERVER_LISTEN", "127.0.0.1:8402");

#[tokio::test(flavor = "multi_thread")]
async fn every_command_has_help_with_an_example_and_its_exit_codes() {
    let folder = tempfile::tempdir().expect("a folder");
    for command in COMMANDS {
        let output = run_in(folder.path(), &[command, &["--help"]].concat(), &[]);
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(0), "{command:?}");
        assert!(output.stderr.is_empty(), "{command:?}: {}", stderr(&output));
        assert!(text.contains("Usage: facilitator"), "{command:?}: {text}");
        if !GROUPS.contains(&command.join(" ").as_str()) {
            assert!(text.contains("Example") && text.contains("  facilitator "), "{command:?}: {text}");
            assert!(text.contains("Exit codes: 0"), "{command:?}: {text}");
        }
    }
    let listed = stdout(&run_in(folder.path(), &["--help"], &[]));
    for command in COMMANDS.iter().filter(|command| command.len() == 1) {
        assert!(listed.contains(&format!("\n  {} ", command[0])), "{command:?} is not listed:\n{listed}");
    }
}

/// Arguments, variables, exit code, words on stdout, words on stderr.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], i32, &'a [&'a str], &'a [&'a str]);

fn check(folder: &Path, (arguments, variables, code, out, err): Case<'_>) {
    let output = run_in(folder, arguments, variables);
    let (printed, said) = (stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{printed}\n{said}");
    for words in out {
        assert!(printed.contains(words), "{arguments:?}: {words:?} is not in stdout:\n{printed}\n{said}");
    }
    for words in err {
        assert!(said.contains(words), "{arguments:?}: {words:?} is not in stderr:\n{said}");
    }
    if out.is_empty() {
        assert!(printed.is_empty(), "{arguments:?}: stdout is for results:\n{printed}");
    }
    if err.is_empty() {
        assert!(said.is_empty(), "{arguments:?}: stderr:\n{said}");
    }
    if arguments.contains(&"--json") && code != 64 {
        let json: Value =
            serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{printed}"));
        assert!(json.is_object(), "{arguments:?}: one object");
    }
}

/// `facilitator config print | head -1`.
#[test]
fn a_reader_that_has_had_enough_is_told_of_no_bug() {
    let folder = tempfile::tempdir().expect("a folder");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = Command::new(binary());
    let ended = command.args(["config", "check"]).current_dir(folder.path()).stdout(writer).output().expect("it runs");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && !said.contains("panicked"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_on_stdout_and_all_else_on_stderr_with_the_code_that_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let cases: [Case<'_>; 14] = [
        (&["bogus"], &[], 64, &[], &["unrecognized subcommand 'bogus'", "The commands are serve, demo, seed, doctor"]),
        (&["doctr"], &[], 64, &[], &["a similar subcommand exists: 'doctor'"]),
        (&["audit", "--form", "24h"], &[], 64, &[], &["--from"]),
        (&["--version"], &[], 0, &["facilitator 0.1.0"], &[]),
        (&["completions", "bash"], &[], 0, &["facilitator__subcmd__config"], &[]),
        (&["completions", "tcsh"], &[], 64, &[], &["possible values"]),
        (&["manual"], &[], 0, &[".TH facilitator 1"], &[]),
        (&["manual", "nowhere"], &[], 1, &[], &["cannot write into nowhere"]),
        (&["config", "check"], &[], 64, &["no configuration file", "./facilitator.toml", "config init"], &[]),
        (&["config", "init", "--network", "bsae"], &[], 64, &[], &["did you mean `base`?"]),
        (
            &["config", "init", "--network", "peaq"],
            &[],
            0,
            &["[[networks.\"eip155:3338\".assets]]", "No asset of peaq is known here"],
            &["write the address of the asset"],
        ),
        (&["serve"], &[], 64, &[], &["config init"]),
        (&["health"], &[], 1, &["not ready"], &[]),
        (&["keygen", "evm"], &[], 64, &[], &["--show"]),
    ];
    for case in cases {
        check(path, case);
    }
    first_file(path);
    fs::create_dir(path.join("man")).expect("made");
    let cases: [Case<'_>; 18] = [
        (&["config", "init", "--output", "facilitator.toml"], &[], 1, &[], &["is there already"]),
        (&["config", "check"], &[], 64, &["GAS_WALLET_KEY, which is not set", "--> facilitator.toml:"], &[]),
        (&["config", "check"], &[ONE_UNDERSCORE], 64, &["not set", "did you mean FACILITATOR__SERVER__LISTEN?"], &[]),
        (&["config", "check"], &[KEY], 0, &["no mistakes in facilitator.toml"], &[]),
        (&["config", "check", "--json"], &[KEY], 0, &["eip155:84532"], &[]),
        (&["config", "check", "--json"], &[], 64, &["\"line\""], &[]),
        (&["config", "print"], &[KEY], 0, &["[networks.\"eip155:84532\"]"], &[]),
        (&["config", "print", "--json"], &[KEY], 0, &["\"network\""], &[]),
        (&["doctor", "--json"], &[], 2, &["findings"], &[]),
        (&["migrate"], &[], 0, &["schema version"], &[]),
        (&["settlement", "nothing"], &[], 1, &[], &["no settlement in"]),
        (&["audit", "--from", "yesterday"], &[KEY], 64, &[], &["24h"]),
        (&["archive", "--older-than", "400d", "--to", "a.jsonl", "--json"], &[], 0, &["archived"], &[]),
        (&["instances", "--json"], &[], 0, &["instances"], &[]),
        (&["manual", "man"], &[], 0, &["man"], &[]),
        (&["health", "--json", "--timeout", "1s"], &[], 1, &["\"ready\": false"], &[]),
        (&["keygen", "svm", "--show"], &[], 0, &["address", "key"], &["Keep the key"]),
        (&["keygen", "evm", "--keystore", "k.json"], &[], 1, &[], &["FACILITATOR_KEYSTORE_PASSWORD"]),
    ];
    for case in cases {
        check(path, case);
    }
    let pages = fs::read_dir(path.join("man")).expect("a folder").count();
    assert!(pages > COMMANDS.len(), "{pages} pages");
}

/// Commands that ask a chain and a running service.
#[tokio::test(flavor = "multi_thread")]
async fn commands_beside_a_running_service_tell_what_people_and_machines_need() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain);
    let service = home.serve().await;
    let answer = service.decided(&Draft::default().v2()).await;
    let id = answer.settlement_id().to_owned();
    let run = |arguments: &[&str]| {
        let output = home.run(arguments);
        (output.status.code(), stdout(&output), stderr(&output))
    };
    let (code, text, _) = run(&["health"]);
    assert!(code == Some(0) && text.starts_with("ready"), "{text}");
    let (code, text, _) = run(&["settlement", &id]);
    assert_eq!(code, Some(0), "{text}");
    for words in ["0.01 USDC (10000 of 0x", "API key      none", "request      ", " ETH paid", " ETH in all"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let (code, text, error) = run(&["audit", "--from", "24h", "--json"]);
    assert_eq!(code, Some(0), "{text}{error}");
    let audit: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&audit["networks"][0]["settlements"], &audit["networks"][0]["differences"]),
        (&1.into(), &Value::from(Vec::<Value>::new()))
    );
    let (code, text, _) = run(&["settlement", &id, "--json"]);
    assert!(
        code == Some(0) && serde_json::from_str::<Value>(&text).is_ok_and(|json| json["id"] == id.as_str()),
        "{text}"
    );
    let (code, text, error) = run(&["doctor", "--json"]);
    let doctor: Value = serde_json::from_str(&text).expect("JSON");
    assert!(code < Some(2), "{text}{error}");
    for finding in doctor["findings"].as_array().expect("a list") {
        let is_of_network = finding["network"].is_null() || finding["network"] == "eip155:84532";
        assert!(is_of_network && finding["check"].is_string() && finding["seen"].is_string(), "{finding}");
    }
    drop(service);
    let (code, text, _) = run(&["health"]);
    assert!(code == Some(1) && text.starts_with("not ready"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_to_nobody_who_did_not_ask() {
    let folder = tempfile::tempdir().expect("a folder");
    let password = [("FACILITATOR_KEYSTORE_PASSWORD", "correct horse")];
    let cases: [Case<'_>; 6] = [
        (&["keygen", "evm", "--keystore", "gas.json"], &password, 0, &["address   0x", "keystore:gas.json"], &[]),
        (&["keygen", "svm", "--keystore", "fee.json"], &[], 0, &["address   ", "file:fee.json"], &[]),
        (&["keygen", "evm", "--keystore", "gas.json"], &password, 1, &[], &["exists already"]),
        (&["keygen", "svm", "--keystore", "fee.json"], &[], 1, &[], &["exists already"]),
        (&["keygen", "address", "fee.json"], &[], 0, &[""], &[]),
        (&["keygen", "address", "gas.json"], &password, 0, &["0x"], &[]),
    ];
    for case in cases {
        check(folder.path(), case);
    }
    for file in ["gas.json", "fee.json"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(folder.path().join(file)).expect("written").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let shown = |arguments: &[&str]| stdout(&run_in(folder.path(), arguments, &password));
    let made = TempDir::new().expect("a folder");
    let made = stdout(&run_in(made.path(), &["keygen", "svm", "--keystore", "k"], &[]));
    let secret = |line: &str| line.split_whitespace().any(|word| word.len() > 60);
    assert!(!made.lines().any(secret), "{made}");
    assert!(shown(&["keygen", "evm", "--show"]).lines().any(secret));
}
