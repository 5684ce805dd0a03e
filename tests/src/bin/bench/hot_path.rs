//! One settlement after the other at an even rate: the same chain, and the two stores by turns.

use std::{path::Path, time::Duration};

use e2e::{
    anvil::Anvil,
    payer::Draft,
    postgres::Postgres,
    service::{Home, Stored},
};

use crate::{Counters, load, report::Report};

/// Arrivals a second.
const ARRIVALS: u32 = 60;

/// Each store has so many turns.
const TURNS: usize = 2;

/// Puts a home on a store whose data is on the disk of the build: a folder for temporary files may be in memory.
pub(crate) fn on_disk(home: Home, stored: Stored) -> Home {
    match stored {
        Stored::Sqlite => home.stored_in(stored),
        Stored::Postgres => {
            let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
            std::fs::create_dir_all(&target).expect("the folder of the build");
            home.stored_on(Postgres::start_with(&target, &["fsync=on"]))
        }
    }
}

/// Measures what is wanted.
pub(crate) async fn run(report: &mut Report, time: Duration, wanted: impl Fn(&str) -> bool) {
    let stores = [("SQLite", Stored::Sqlite), ("PostgreSQL", Stored::Postgres)];
    let lines: Vec<_> = stores
        .map(|(store, stored)| (format!("hot path: arrivals at 60/s on {store}"), stored))
        .into_iter()
        .filter(|(name, _)| wanted(name))
        .collect();
    for turn in 1..=TURNS {
        for (name, stored) in &lines {
            let chain = Anvil::start().await;
            let home = on_disk(Home::on(&chain).network("in_flight_max", 256), *stored);
            let service = home.serve().await;
            let before = Counters::read(&home, &service).await;
            let run =
                load::open_loop(&service.url, "/settle", ARRIVALS, time, |_| Draft::default().v2().to_string()).await;
            report.add(before.since(&home, &service, &format!("{name}, turn {turn}"), &run, time).await);
            drop(service);
            home.assert_audit();
        }
    }
}
