//! `settlement`: everything that is stored of one.

use std::process::ExitCode;

use clap::Args;
use uuid::Uuid;

use super::{ConfigFile, time};
use crate::{
    config::Environment,
    http::status::SettlementBody,
    settlement::{
        SettlementId, State,
        record::{Attempt, Outcome, Record, Timeline},
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
    /// For machines: what `GET /settlements/{id}` answers.
    #[arg(long)]
    json: bool,
}

impl Settlement {
    pub(super) async fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let path = self.config.load_store(environment)?.path;
        // Beside a running service too: reading takes no lock.
        let store = SqliteStore::open_to_read(&path).await?;
        let Some(timeline) = find(&store, &self.id_or_transaction).await? else {
            anyhow::bail!(
                "no settlement in {} has the id or a transaction {}. If the payment was answered by another \
                 instance, ask its store",
                path.display(),
                self.id_or_transaction
            );
        };
        if self.json {
            println!("{}", serde_json::to_string_pretty(&SettlementBody::from(timeline))?);
        } else {
            print(&timeline);
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn find(store: &SqliteStore, name: &str) -> anyhow::Result<Option<Timeline>> {
    let id = if let Ok(id) = name.parse::<Uuid>() {
        Some(SettlementId(id))
    } else {
        let query = Query { transaction: Some(name.to_owned()), limit: 1, ..Query::default() };
        store.find(&query).await?.first().map(|record| record.id)
    };
    Ok(match id {
        Some(id) => store.timeline(id).await?,
        None => None,
    })
}

fn print(timeline: &Timeline) {
    let record = &timeline.record;
    println!("settlement   {}", record.id);
    println!("state        {}", record.state.as_str());
    println!("payment      {} of {} on {}, scheme {}", record.amount, record.asset, record.network, record.scheme);
    println!("payer        {}", record.payer);
    println!("payTo        {}", record.pay_to);
    println!("nonce        {}", record.nonce);
    if !record.caller.tenant.is_empty() {
        println!("API key      {}", record.caller.tenant);
    }
    println!("transaction  {}", record.transaction);
    print_end(record);
    println!("\n{}  claimed, after block {}", time(record.created_at), record.claimed_at);
    for attempt in &timeline.attempts {
        print_attempt(attempt);
    }
    match (record.delivered_at, record.state) {
        (Some(at), _) => println!("{}  the success was given to a request", time(at)),
        (None, State::Settled) => println!("the success was given to nobody yet: the next request for it gets it"),
        (None, State::Claimed | State::Signed | State::Broadcast | State::Failed) => {}
    }
}

fn print_end(record: &Record) {
    match &record.outcome {
        Some(Outcome::Settled { transaction, block }) => {
            println!("settled in   block {} {}", block.number, block.hash);
            if *transaction != record.transaction {
                println!("by           {transaction}");
            }
        }
        Some(Outcome::NothingToSend) => println!("settled      the payment asked for nothing: no transaction"),
        Some(Outcome::Failed { reason, message, transaction, block }) => {
            println!("failed       {reason}: {message}");
            if let (Some(transaction), Some(block)) = (transaction, block) {
                println!("shown by     {transaction} in block {} {}", block.number, block.hash);
            }
        }
        None => println!("             not final: the service follows it until the chain has decided"),
    }
}

fn print_attempt(attempt: &Attempt) {
    let signed = &attempt.signed;
    let sequence = signed.sequence.map_or_else(String::new, |sequence| format!(", sequence {sequence}"));
    println!("{}  signed {}", time(attempt.created_at), signed.transaction);
    println!(
        "                          by {}{sequence}, at most {} per gas",
        signed.gas_wallet, signed.fees.per_gas_max
    );
    for send in &attempt.sends {
        let detail = if send.detail.is_empty() { String::new() } else { format!(": {}", send.detail) };
        println!("{}  sent: {}{detail}", time(send.at), send.answer);
    }
    let kept = u64::try_from(attempt.sends.len()).unwrap_or(u64::MAX);
    if attempt.sends_total > kept {
        println!("                          and {} times more", attempt.sends_total - kept);
    }
    if let Some(landed) = &attempt.landed {
        let block = &landed.block;
        println!("                          landed in block {} {}", block.number, block.hash);
        println!("                          for {} of gas, {} paid", landed.gas_used, landed.fee_paid);
    }
}
