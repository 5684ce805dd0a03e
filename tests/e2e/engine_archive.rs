//! Old settlements leave the store for a file: their payments stay refused, the audit knows them, and no crash loses
//! or doubles one.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use e2e::{
    anvil::{Anvil, PAYEE, USDC},
    eventually,
    payer::Draft,
    service::{Home, Service, Stored, text_of},
};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _};

const PAYMENTS: usize = 6;

/// A settled payment: its body, its settlement and its transaction.
struct Paid {
    body: Value,
    id: String,
    transaction: String,
}

async fn pay(service: &Service) -> Paid {
    let body = Draft::default().v2();
    let answer = service.decided(&body).await;
    assert!(answer.is_good(), "{answer:?}");
    let (id, transaction) = (answer.settlement_id().to_owned(), answer.text("transaction").to_owned());
    Paid { body, id, transaction }
}

async fn become_final(chain: &Anvil, service: &Service, paid: &[Paid]) {
    for Paid { id, .. } in paid {
        eventually("the settlement is final", || async {
            chain.node.mine().await;
            let found = service.try_get(&format!("/settlements/{id}")).await?;
            (!found.body["finalizedAt"].is_null()).then_some(())
        })
        .await;
    }
}

fn archive(home: &Home, file: &Path, bound: &[&str]) -> Output {
    let to = file.display().to_string();
    home.run(&[&["archive", "--to", &to, "--json"], bound].concat())
}

/// The answer of a run that must work.
fn archived(home: &Home, file: &Path, bound: &[&str]) -> Value {
    let output = archive(home, file, bound);
    assert!(output.status.success(), "{}", text_of(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The settlements of a file, each with the number of its lines.
fn lines(file: &Path) -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    for line in fs::read_to_string(file).expect("a file").lines().skip(1) {
        let line: Value = serde_json::from_str(line).expect("JSON");
        *lines.entry(line["id"].as_str().expect("an id").to_owned()).or_default() += 1;
    }
    lines
}

fn once_each(paid: &[Paid]) -> BTreeMap<String, usize> {
    paid.iter().map(|paid| (paid.id.clone(), 1)).collect()
}

async fn are_refused(service: &Service, paid: &[Paid]) {
    for Paid { body, id, transaction } in paid {
        let again = service.post("/settle", body).await;
        assert_eq!((again.status, again.text("errorReason")), (200, "duplicate_settlement"), "{again:?}");
        assert_eq!((again.settlement_id(), again.text("transaction")), (id.as_str(), transaction.as_str()));
    }
}

async fn listed(service: &Service) -> usize {
    service.get("/settlements?limit=100").await.body["settlements"].as_array().map_or(0, Vec::len)
}

async fn database(home: &Home) -> sqlx::SqliteConnection {
    let url = format!("sqlite://{}", home.database().display());
    sqlx::SqliteConnection::connect(&url).await.expect("opened")
}

fn path(home: &Home, name: &str) -> PathBuf {
    home.path().join(name)
}

/// K16: beside the running service, and after its restart.
#[tokio::test(flavor = "multi_thread")]
async fn archived_settlements_stay_refused_audited_and_found() {
    archived_settlements_stay_refused_audited_and_found_in(Stored::of_environment()).await;
}

pub async fn archived_settlements_stay_refused_audited_and_found_in(stored: Stored) {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).stored_in(stored);
    let service = home.serve().await;
    let mut paid = vec![];
    for _ in 0..PAYMENTS {
        paid.push(pay(&service).await);
    }
    let file = path(&home, "old.jsonl");
    let none = archived(&home, &file, &["--before", "2020-01-01T00:00:00Z"]);
    assert_eq!((&none["archived"], &none["archive"]["settlements"]), (&json!(0), &json!(0)), "{none}");
    become_final(&chain, &service, &paid).await;
    let young = archived(&home, &file, &["--older-than", "1h"]);
    assert_eq!(young["archived"], 0, "{young}");
    let all = archived(&home, &file, &["--older-than", "0s"]);
    assert_eq!((&all["archived"], &all["staying"]), (&json!(PAYMENTS), &json!(0)), "{all}");
    assert_eq!(lines(&file), once_each(&paid));
    assert_eq!(listed(&service).await, 0);

    are_refused(&service, &paid).await;
    let fresh = pay(&service).await;
    assert_eq!(service.stop(), Some(0));
    let service = home.serve().await;
    are_refused(&service, &paid).await;
    assert_eq!(chain.node.token_balance(USDC, PAYEE).await, 10_000 * (u128::try_from(PAYMENTS).expect("few") + 1));

    let (code, text) = home.audit();
    assert_eq!(code, 0, "the nonces of archived transactions are known: {text}");
    assert!(text.contains(&format!("{PAYMENTS} archived settlements are not compared")), "{text}");
    let to = file.display().to_string();
    let whole = home.run(&["audit", "--archive", &to]);
    let text = text_of(&whole);
    assert!(whole.status.success() && text.contains(&format!("{} settlements compared", PAYMENTS + 1)), "{text}");

    let Paid { id, transaction, .. } = &paid[0];
    let shown = text_of(&home.run(&["settlement", id]));
    assert!([transaction.as_str(), "settled", &to].iter().all(|part| shown.contains(part)), "{shown}");
    let hint = text_of(&home.run(&["settlement", transaction]));
    assert!(hint.contains("--archive") && hint.contains(&to), "{hint}");
    for name in [id, transaction] {
        let story = text_of(&home.run(&["settlement", name, "--archive", &to]));
        assert!(
            [id.as_str(), "signed", "sent: accepted", "included in block", "finalized"]
                .iter()
                .all(|part| story.contains(part)),
            "{story}"
        );
    }

    // A line that somebody has changed is a difference, as is a file that lacks its end.
    let good = fs::read_to_string(&file).expect("a file");
    fs::write(&file, good.replace(transaction.as_str(), &fresh.transaction)).expect("written");
    let changed = home.run(&["audit", "--archive", &to]);
    assert_eq!(changed.status.code(), Some(1), "{}", text_of(&changed));
    assert!(text_of(&changed).contains(id.as_str()), "{}", text_of(&changed));
    fs::write(&file, &good[..good.len() - 10]).expect("written");
    for output in [home.run(&["audit", "--archive", &to]), archive(&home, &file, &["--older-than", "0s"])] {
        assert!(!output.status.success() && text_of(&output).contains("not the whole file"), "{}", text_of(&output));
    }
    home.assert_audit();
}

/// K16: the process is killed when the file is written and the store is not, and a crash cuts a line.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_file_and_store_loses_no_settlement_and_doubles_none() {
    let chain = Anvil::start().await;
    let home = Home::on(&chain).stored_in(Stored::Sqlite);
    let service = home.serve().await;
    let mut paid = vec![];
    for _ in 0..PAYMENTS {
        paid.push(pay(&service).await);
    }
    become_final(&chain, &service, &paid).await;
    let file = path(&home, "old.jsonl");
    archived(&home, &file, &["--before", "2020-01-01T00:00:00Z"]);
    let begun = fs::metadata(&file).expect("a file").len();

    let mut writer = database(&home).await;
    writer.execute("BEGIN IMMEDIATE").await.expect("the lock of the only writer");
    let mut command = home.command(&["archive", "--older-than", "0s", "--to", "old.jsonl"]);
    let mut killed = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    eventually("the settlements are in the file", || async { (lines_of(&file) == PAYMENTS).then_some(()) }).await;
    killed.kill().expect("killed");
    killed.wait().expect("gone");
    writer.execute("ROLLBACK").await.expect("given back");
    assert_eq!(listed(&service).await, PAYMENTS, "nothing has left the store");
    assert!(fs::metadata(&file).expect("a file").len() > begun);
    let mut cut = fs::OpenOptions::new().append(true).open(&file).expect("opened");
    cut.write_all(b"{\"id\":\"0199").expect("written");
    drop(cut);

    let all = archived(&home, &file, &["--older-than", "0s"]);
    assert_eq!(all["archived"], PAYMENTS, "{all}");
    assert_eq!((lines(&file), listed(&service).await), (once_each(&paid), 0));
    let again = archived(&home, &file, &["--older-than", "0s"]);
    assert_eq!((&again["archived"], &again["archive"]["settlements"]), (&json!(0), &json!(PAYMENTS)), "{again}");
    are_refused(&service, &paid).await;
    let audit = home.run(&["audit", "--archive", &file.display().to_string()]);
    assert!(audit.status.success(), "{}", text_of(&audit));

    // What is no archive of this store is left as it is.
    let stranger = path(&home, "notes.txt");
    fs::write(&stranger, "mine\n").expect("written");
    let refused = archive(&home, &stranger, &["--older-than", "0s"]);
    assert!(!refused.status.success(), "{}", text_of(&refused));
    assert_eq!(fs::read_to_string(&stranger).expect("read"), "mine\n");
}

/// Whole lines after the first.
fn lines_of(file: &Path) -> usize {
    fs::read_to_string(file).map_or(0, |text| text.matches('\n').count().saturating_sub(1))
}
