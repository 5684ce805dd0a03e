//! The file and the store after a crash at each point, and lines that mean what was stored.

use std::{fs, io::Write as _, path::PathBuf, sync::Arc};

use chains_core::clock::Millis;
use tempfile::TempDir;

use super::{ArchiveError, archive, file::FileError, find, line};
use crate::{
    settlement::{AttemptKind, Failed, Recipient, SettlementId},
    store::{
        Change, Store,
        archive::Bounds,
        connect::{Access, Location, connect},
        contract::Backend,
        contract::build::{self, AT, Begun, apply, begun, flush, owned, timeline},
        schema::Migrations,
    },
};

struct Place(TempDir);

#[async_trait::async_trait]
impl Backend for Place {
    async fn open(&self) -> Arc<dyn Store> {
        self.connect(Access::Own(Migrations::Apply)).await
    }

    async fn read(&self) -> Arc<dyn Store> {
        self.connect(Access::Read).await
    }

    async fn operate(&self) -> Arc<dyn Store> {
        self.connect(Access::Operate).await
    }
}

impl Place {
    fn fresh() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    async fn connect(&self, access: Access) -> Arc<dyn Store> {
        connect(&Location::Sqlite(self.0.path().join("facilitator.db")), access).await.expect("opened")
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("old.jsonl")
    }
}

const BOUNDS: Bounds = Bounds { settled_before: Millis(10_000), failed_before: Millis(10_000) };

async fn over(store: &dyn Store, payments: &[Begun]) {
    for one in payments {
        apply(store, vec![one.include(), one.settle()]).await;
        assert!(store.deliver(one.id(), Recipient::Other, AT).await.expect("delivered"));
        apply(store, vec![Change::Finalize { id: one.id(), transfer: None }]).await;
    }
}

async fn run(store: &dyn Store, place: &Place) -> Result<u64, ArchiveError> {
    archive(store, &place.file(), BOUNDS, AT).await.map(|moved| moved.settlements)
}

fn ids(place: &Place) -> Vec<SettlementId> {
    let text = fs::read_to_string(place.file()).expect("a file");
    text.lines().skip(1).map(|line| line::read(line).expect("a settlement").record.id()).collect()
}

#[tokio::test]
async fn a_line_means_what_was_stored() {
    let place = Place::fresh();
    let store = owned(&place).await;
    let [one, two] = begun::<2>(&*store).await;
    let bump = build::attempt("w", Some(1), "0xbump", AttemptKind::Bump);
    apply(&*store, vec![Change::AddAttempt { transaction: one.transaction.id, attempt: bump }, two.kill()]).await;
    store.note_sent(vec![one.sent("accepted", 3_000), one.sent("unknown", 3_001)]);
    flush(&*store).await;
    let again = build::transaction("w", 7, &[(two.id(), 0)]);
    let (next, hash) = (build::plan().sent_by(Some("w".into())), again.newest().hash.clone());
    apply(&*store, vec![Change::Carry(again.clone()), build::include(again.id, &hash)]).await;
    apply(&*store, vec![Change::NextStep { id: two.id(), done: 0, plan: next }]).await;
    let failed = Failed {
        transaction: Some("0xforeign".into()),
        block: Some(build::block(12)),
        executable_until: Some(99),
        ..build::failed()
    };
    apply(&*store, vec![Change::Fail { id: two.id(), failed }, one.include(), one.settle()]).await;
    for id in [one.id(), two.id()] {
        let stored = timeline(&*store, id).await;
        let text = line::write(&stored).expect("written");
        assert!(!text.contains('\n'));
        assert_eq!(line::read(&text).expect("read"), stored);
    }
    let [open] = begun_later(&*store).await;
    assert!(matches!(line::write(&timeline(&*store, open.id()).await), Err(line::LineError::Open)));
    for text in ["", "{}", "{\"id\":1}"] {
        assert!(line::read(text).is_err(), "{text}");
    }
}

async fn begun_later(store: &dyn Store) -> [Begun; 1] {
    let one = build::begun_as(build::facts(50), 50);
    apply(store, one.begin()).await;
    [one]
}

#[tokio::test]
async fn a_run_after_a_crash_goes_on_where_the_store_stands() {
    let place = Place::fresh();
    let (store, operator) = (owned(&place).await, place.operate().await);
    let payments = begun::<5>(&*store).await;
    over(&*store, &payments[..2]).await;
    assert_eq!(run(&*operator, &place).await.expect("archived"), 2);
    let whole = fs::read(place.file()).expect("a file");

    // Each end that a crash may leave: a line, a part of one, and both; all of them still in the store.
    over(&*store, &payments[2..]).await;
    let stored = line::write(&timeline(&*store, payments[2].id()).await).expect("written");
    for end in [format!("{stored}\n"), stored[..40].to_owned(), format!("{stored}\n{}", &stored[..1])] {
        fs::OpenOptions::new()
            .append(true)
            .open(place.file())
            .expect("opened")
            .write_all(end.as_bytes())
            .expect("written");
        let nothing = Bounds { settled_before: Millis(0), failed_before: Millis(0) };
        archive(&*operator, &place.file(), nothing, AT).await.expect("taken up");
        assert_eq!(fs::read(place.file()).expect("a file"), whole, "{end}");
    }
    assert_eq!(run(&*operator, &place).await.expect("archived"), 3);
    assert_eq!(ids(&place), payments.each_ref().map(Begun::id));
    assert_eq!(run(&*operator, &place).await.expect("nothing to do"), 0);
    let known = operator.archives().await.expect("read");
    let found = find(&place.file(), &known, &payments[4].id().to_string()).expect("read").expect("there");
    assert_eq!(found.record.facts.nonce, payments[4].facts.nonce);
    assert!(find(&place.file(), &known, payments[1].hash()).expect("read").is_some());
    assert!(find(&place.file(), &known, "0xnone").expect("read").is_none());
}

#[tokio::test]
async fn a_file_that_is_not_this_store_s_is_left_as_it_is() {
    let place = Place::fresh();
    let (store, operator) = (owned(&place).await, place.operate().await);
    let payments = begun::<2>(&*store).await;
    over(&*store, &payments[..1]).await;
    assert_eq!(run(&*operator, &place).await.expect("archived"), 1);
    let good = fs::read(place.file()).expect("a file");

    fs::write(place.file(), &good[..good.len() - 1]).expect("written");
    let short = run(&*operator, &place).await;
    assert!(matches!(short, Err(ArchiveError::File(FileError::Short { .. }))), "{short:?}");

    // An older copy of the store does not know what the file has more.
    let gone = String::from_utf8(good.clone())
        .expect("text")
        .replace(&payments[0].id().to_string(), &SettlementId::fresh().to_string());
    let more = gone.lines().last().expect("a line").to_owned() + "\n";
    let ahead = [good.clone(), more.into_bytes()].concat();
    fs::write(place.file(), &ahead).expect("written");
    assert!(matches!(run(&*operator, &place).await, Err(ArchiveError::Ahead { .. })));
    assert_eq!(fs::read(place.file()).expect("a file"), ahead);

    // A line that was written to its end, and cannot be read: nothing of the file is dropped.
    let strange = [good.clone(), b"{\"of\":\"a later version\"}\n".to_vec()].concat();
    fs::write(place.file(), &strange).expect("written");
    let refused = run(&*operator, &place).await;
    assert!(matches!(refused, Err(ArchiveError::File(FileError::Line { .. }))), "{refused:?}");
    assert_eq!(fs::read(place.file()).expect("a file"), strange);

    let other = Place::fresh();
    drop(owned(&other).await);
    let elsewhere = other.operate().await;
    assert!(matches!(archive(&*elsewhere, &place.file(), BOUNDS, AT).await, Err(ArchiveError::Foreign(_))));

    fs::write(place.file(), "mine\n").expect("written");
    let refused = run(&*operator, &place).await;
    assert!(matches!(refused, Err(ArchiveError::File(FileError::NotAnArchive(_)))), "{refused:?}");
    assert_eq!(fs::read(place.file()).expect("a file"), b"mine\n");

    fs::write(place.file(), &good).expect("written");
    let held = super::file::ArchiveFile::open(&place.file()).expect("opened");
    let locked = run(&*operator, &place).await;
    assert!(matches!(locked, Err(ArchiveError::File(FileError::Locked(_)))), "{locked:?}");
    drop(held);
    over(&*store, &payments[1..]).await;
    assert_eq!(run(&*operator, &place).await.expect("archived"), 1);
}
