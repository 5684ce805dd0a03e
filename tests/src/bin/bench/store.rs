//! The store alone: payments that begin, end, become final and leave for an archive.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chains_core::{
    Amount, Fingerprint, Identity, Network,
    clock::Millis,
    observation::{BlockRef, Inclusion},
    transaction::{Fee, Plan, SignedTransaction},
};
use e2e::postgres::Postgres;
use facilitator::{
    archive::archive,
    settlement::{
        Attempt, AttemptKind, Caller, Facts, Recipient, Settled, SettlementId, Transaction, TransactionId,
        TransactionState,
    },
    store::{
        Change, SendNote, Store,
        archive::Bounds,
        connect::{Access, Location, connect},
        schema::Migrations,
    },
};
use tokio::task::JoinSet;

use crate::{
    CALLERS,
    load::Run,
    report::{Report, Row, Size},
};

/// Payments for each second of the run that was asked for.
const PAYMENTS_PER_SECOND: usize = 1_000;

const WALLET: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";

const ANSWER: &str = "\"success\":true";

/// The lines of the store; `wanted` says which names are asked for.
pub(crate) async fn run(report: &mut Report, time: Duration, wanted: impl Fn(&str) -> bool) {
    let count = usize::try_from(time.as_secs()).expect("seconds") * PAYMENTS_PER_SECOND;
    if wanted("store: begin, end, finalize, archive") {
        in_a_file(report, count).await;
    }
    if wanted("store on PostgreSQL: begin, end, finalize, archive") {
        // As the file of the other: on a disk.
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
        let server = Postgres::start_with(&target, &["fsync=on"]);
        let location = Location::of(&server.url("postgres")).expect("a URL");
        let folder = tempfile::tempdir().expect("a folder");
        payments(report, "store on PostgreSQL", &location, count).await;
        archived(report, "store on PostgreSQL", &location, (count, &folder.path().join("archive.jsonl"))).await;
    }
}

async fn in_a_file(report: &mut Report, count: usize) {
    // Beside the build: on a disk, which a folder for temporary files may not be.
    let folder = tempfile::tempdir_in(Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")).expect("a folder");
    let (file, lines) = (folder.path().join("facilitator.db"), folder.path().join("archive.jsonl"));
    let location = Location::Sqlite(file.clone());
    payments(report, "store", &location, count).await;
    let whole = bytes(&file);
    archived(report, "store", &location, (count, &lines)).await;
    let mut connection = connection(&file).await;
    sqlx::Executor::execute(&mut connection, "VACUUM").await.expect("vacuumed");
    // What it leaves out is in the file when the log is: with the last connection.
    sqlx::Connection::close(connection).await.expect("closed");
    let size = |what: &str, bytes: u64| {
        let bytes = bytes / u64::try_from(count).expect("a count");
        Size { what: what.to_owned(), bytes }
    };
    report.sizes.push(size("in the store", whole));
    report.sizes.push(size("in the store once archived", bytes(&file)));
    report.sizes.push(size("in the archive", bytes(&lines)));
}

/// Begins, ends and finalizes payments.
async fn payments(report: &mut Report, name: &str, location: &Location, count: usize) {
    let store = connect(location, Access::Own(Migrations::Apply)).await.expect("a store");
    let network: Network = "eip155:84532".parse().expect("CAIP-2");
    let epoch = store.own_wallet(&network, WALLET, "the benchmark").await.expect("owned");
    let payments: Arc<Vec<_>> = Arc::new((0..count).map(|number| Payment::new(&network, epoch, number)).collect());
    phase(report, &format!("{name}: begin"), &store, &payments, Payment::begin).await;
    phase(report, &format!("{name}: end"), &store, &payments, Payment::end).await;
    let began = Instant::now();
    for part in payments.chunks(256) {
        let finalities = part.iter().map(|payment| Change::Finalize { id: payment.facts.id, transfer: None }).collect();
        store.apply(finalities, Millis(9_000)).await.expect("final");
    }
    let count = u64::try_from(count).expect("a count");
    report.add(Row::rate(&format!("{name}: finalize, 256 at a time"), count, began.elapsed()));
    store.close().await;
}

/// Moves all of them into a file.
async fn archived(report: &mut Report, name: &str, location: &Location, (count, lines): (usize, &Path)) {
    let operator = connect(location, Access::Operate).await.expect("a store");
    let bounds = Bounds { settled_before: Millis(10_000), failed_before: Millis(10_000) };
    let began = Instant::now();
    let moved = archive(&*operator, lines, bounds, Millis(10_000)).await.expect("archived");
    let took = began.elapsed();
    assert_eq!(usize::try_from(moved.settlements).expect("a count"), count, "all are over");
    report.add(Row::rate(&format!("{name}: archive"), moved.settlements, took));
    operator.close().await;
}

async fn connection(file: &Path) -> sqlx::SqliteConnection {
    let url = format!("sqlite://{}", file.display());
    <sqlx::SqliteConnection as sqlx::Connection>::connect(&url).await.expect("opened")
}

fn bytes(file: &Path) -> u64 {
    fs::metadata(file).expect("a file").len()
}

/// Applies the changes of every payment once, by callers that each wait for their answer.
async fn phase(
    report: &mut Report,
    name: &str,
    store: &Arc<dyn Store>,
    payments: &Arc<Vec<Payment>>,
    changes: fn(&Payment) -> Vec<Change>,
) {
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (store, payments, next) = (Arc::clone(store), Arc::clone(payments), Arc::clone(&next));
        callers.spawn(async move {
            let mut run = Run::new();
            while let Some(payment) = payments.get(next.fetch_add(1, Ordering::Relaxed)) {
                let asked = Instant::now();
                let changes = changes(payment);
                let begins = changes.iter().any(|change| matches!(change, Change::Carry(_)));
                store.apply(changes, Millis(5_000)).await.expect("applied");
                run.record(asked.elapsed(), ANSWER);
                if begins {
                    store.note_sent(vec![payment.sent()]);
                }
            }
            run
        });
    }
    let mut run = Run::new();
    while let Some(one) = callers.join_next().await {
        run.merge(one.expect("no panic"));
    }
    report.add(Row::of(&format!("{name}, {CALLERS} callers"), &run, began.elapsed()));
}

/// A payment of the sizes that one by EIP-3009 on an EVM chain has.
struct Payment {
    facts: Arc<Facts>,
    plan: Plan,
    transaction: Transaction,
}

impl Payment {
    fn new(network: &Network, epoch: u64, number: usize) -> Self {
        let number = u64::try_from(number).expect("a number");
        let id = SettlementId::fresh();
        let (payer, pay_to, asset) = (text(20), text(20), "0x036CbD53842c5426634e7929541eC2318f3dCF7e".to_owned());
        let nonce = text(32);
        let plan = format!(
            "{{\"kind\":\"eip3009\",\"token\":\"{asset}\",\"from\":\"{payer}\",\"to\":\"{pay_to}\",\"value\":\"10000\",\
             \"validAfter\":\"0\",\"validBefore\":\"1795200000\",\"nonce\":\"{nonce}\",\"signature\":\"{}\"}}",
            text(65)
        );
        let facts = Facts {
            id,
            identity: Identity::of("bench", &[&number.to_be_bytes()]),
            fingerprint: Fingerprint::of("bench", &[&number.to_be_bytes()]),
            caller: Caller::default(),
            request_id: String::new(),
            network: network.clone(),
            scheme: "exact".into(),
            payer,
            payer_code: None,
            pay_to,
            asset,
            amount: Amount::from(10_000_u64),
            nonce,
            claimed_block: 1_000_000,
            created_at: Millis(1_000),
        };
        let fee = Fee {
            amount_max: Amount::from(200_000_000_000_000_u64),
            terms: "{\"gas\":100000,\"maxFeePerGas\":\"2000000000\",\"maxPriorityFeePerGas\":\"1000000\"}".into(),
        };
        let raw = rand::random::<[u8; 32]>().repeat(12);
        let signed = SignedTransaction { hash: text(32), raw, gas_wallet: WALLET.into(), nonce: Some(number), fee };
        let attempt = Attempt { signed, kind: AttemptKind::First, created_at: Millis(2_000), inclusion: None };
        let transaction = Transaction {
            id: TransactionId::fresh(),
            gas_wallet: WALLET.into(),
            nonce: Some(number),
            epoch,
            items: vec![(id, 0)],
            attempts: vec![attempt],
            state: TransactionState::Open,
            created_at: Millis(2_000),
        };
        Self { facts: Arc::new(facts), plan: Plan::new(plan).valid_before(Some(1_795_200_000)), transaction }
    }

    fn hash(&self) -> String {
        self.transaction.newest().hash.clone()
    }

    fn begin(&self) -> Vec<Change> {
        let plan = Some(self.plan.clone());
        vec![Change::Claim { facts: Arc::clone(&self.facts), plan }, Change::Carry(self.transaction.clone())]
    }

    fn sent(&self) -> SendNote {
        let (settlements, hash) = (vec![self.facts.id], self.hash());
        SendNote { settlements, hash, answer: "accepted", detail: String::new(), at: Millis(5_000) }
    }

    fn end(&self) -> Vec<Change> {
        let block = BlockRef { number: 1_000_001, hash: text(32) };
        let inclusion = Inclusion {
            hash: self.hash(),
            block: block.clone(),
            timestamp: Some(1_800_000_000),
            confirmed: true,
            fee_paid: Amount::from(150_000_000_000_u64),
            gas_used: 75_292,
        };
        let settled = Settled::by(self.hash(), block);
        vec![
            Change::Include { transaction: self.transaction.id, inclusion },
            Change::Settle { id: self.facts.id, settled, delivered: Some(Recipient::Caller) },
        ]
    }
}

/// Random bytes as an address or a hash is written.
fn text(bytes: usize) -> String {
    let random: Vec<u8> = (0..bytes).map(|_| rand::random()).collect();
    format!("0x{}", hex::encode(random))
}
