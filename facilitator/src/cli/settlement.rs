//! `settlement`: everything that is stored of one.

use std::process::ExitCode;

use clap::Args;
use uuid::Uuid;

use super::ConfigFile;
use crate::{
    config::Environment,
    settlement::{
        SettlementId,
        record::{Outcome, Timeline},
    },
    store::{Query, Store as _, sqlite::SqliteStore},
};

/// Shows everything that is stored of a settlement.
#[derive(Debug, Args)]
pub(super) struct Settlement {
    #[command(flatten)]
    config: ConfigFile,
    /// Its id, or the name of any of its transactions.
    id_or_transaction: String,
}

impl Settlement {
    pub(super) async fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let config = self.config.load(environment)?;
        let store = SqliteStore::open_to_read(&config.store.path).await?;
        let id = if let Ok(id) = self.id_or_transaction.parse::<Uuid>() {
            Some(SettlementId(id))
        } else {
            let transaction = Some(self.id_or_transaction.clone());
            let query = Query { transaction, limit: 1, ..Query::default() };
            store.find(&query).await?.first().map(|record| record.id)
        };
        let timeline = match id {
            Some(id) => store.timeline(id).await?,
            None => None,
        };
        match timeline {
            Some(timeline) => {
                print(&timeline);
                Ok(ExitCode::SUCCESS)
            }
            None => anyhow::bail!("no settlement has this id or transaction: {}", self.id_or_transaction),
        }
    }
}

fn print(timeline: &Timeline) {
    let record = &timeline.record;
    println!("settlement   {}", record.id);
    println!("state        {}", record.state.as_str());
    println!("payment      {} of {} on {}", record.amount, record.asset, record.network);
    println!("payer        {}", record.payer);
    println!("payTo        {}", record.pay_to);
    println!("nonce        {}", record.nonce);
    println!("transaction  {}", record.transaction);
    match &record.outcome {
        Some(Outcome::Settled { block, .. }) => println!("settled in   block {} {}", block.number, block.hash),
        Some(Outcome::Failed { reason, message, .. }) => println!("failed       {reason}: {message}"),
        None => println!("not final"),
    }
    println!("claimed      {} ms, after block {}", record.created_at.0, record.claimed_at);
    match record.delivered_at {
        Some(at) => println!("delivered    {} ms", at.0),
        None => println!("delivered    to nobody yet"),
    }
    for attempt in &timeline.attempts {
        let signed = &attempt.signed;
        let sequence = signed.sequence.map_or_else(|| "none".to_owned(), |sequence| sequence.to_string());
        println!("attempt      {}", signed.transaction);
        println!("  signed     {} ms by {}, sequence {sequence}", attempt.created_at.0, signed.gas_wallet);
        for send in &attempt.sends {
            println!("  sent       {} ms: {} {}", send.at.0, send.answer, send.detail);
        }
        if let Some(landed) = &attempt.landed {
            println!("  landed     block {}, gas {}, fee {}", landed.block.number, landed.gas_used, landed.fee_paid);
        }
    }
}
