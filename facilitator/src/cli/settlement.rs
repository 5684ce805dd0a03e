//! `settlement`: everything that is stored of one, and the operator's word on
//! one whose proof is withheld.

use std::{path::PathBuf, process::ExitCode};

use chains_core::{
    Amount,
    clock::{Clock as _, Millis, SystemClock},
};
use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::{ConfigFile, time};
use crate::{
    config::Environment,
    http::status::SettlementBody,
    settlement::{Attempt, Record, SettlementId, State, Timeline, Transaction, TransactionState, record::Sends},
    store::{
        OperatorWord, Query, Store,
        archive::{Archived, ArchivedEnd, ArchivedName},
        connect::{Access, Location, connect},
    },
};

/// Shows everything that is stored of a settlement, or ends an unresolved one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  facilitator settlement 019a8f3e-…
  facilitator settlement 0x5c50…  --json
  facilitator settlement 019a8f3e-… --resolve settled:0x5c50… --reason \"seen on two explorers\"

Exit codes: 0 shown or ended, 1 not found or not ended, 64 wrong arguments or configuration.")]
pub(super) struct Settlement {
    #[command(flatten)]
    config: ConfigFile,
    /// Its id, the hash of any of its transactions, or the id of the request that began it.
    #[arg(value_name = "ID_OR_TRANSACTION")]
    name: String,
    /// Looks in this file, which `facilitator archive` has written.
    #[arg(long, value_name = "FILE", conflicts_with = "resolve")]
    archive: Option<PathBuf>,
    /// For machines: the answer of `GET /settlements/{id}`.
    #[arg(long)]
    json: bool,
    /// Ends an unresolved settlement by your word: `settled:TRANSACTION` or
    /// `failed`. Never overrides a proof. Works beside the running service.
    #[arg(long, value_name = "settled:TX|failed", requires = "reason")]
    resolve: Option<String>,
    /// Why, in your words; stored with the settlement.
    #[arg(long, requires = "resolve")]
    reason: Option<String>,
}

impl Settlement {
    pub(super) async fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let location = self.config.load_store(environment)?.location;
        // Beside a running service too: neither access takes the lock.
        let access = if self.resolve.is_some() { Access::Operate } else { Access::Read };
        let store = connect(&location, access).await?;
        let found = match &self.archive {
            None => find(&*store, &self.name).await?,
            Some(file) => crate::archive::find(file, &store.archives().await?, &self.name)?,
        };
        let Some(timeline) = found else { return self.tell_rest(&*store, &location).await };
        if let (Some(word), Some(reason)) = (&self.resolve, &self.reason) {
            return resolve(&*store, &timeline.record, word, reason).await;
        }
        if self.json {
            println!("{}", serde_json::to_string_pretty(&SettlementBody::from(timeline))?);
        } else {
            print(&timeline, &self.units(environment, &timeline));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The units of its amounts, where the configuration can be read: keys that are
    /// not here keep nobody from looking.
    fn units(&self, environment: &Environment, timeline: &Timeline) -> Units {
        let facts = &timeline.record.facts;
        let config = self.config.read(environment).ok();
        let chains = config.iter().flat_map(|config| &config.chains);
        let chain = chains.into_iter().find(|chain| *chain.network() == facts.network);
        Units {
            asset: chain.and_then(|chain| chain.asset(&facts.asset)),
            coin: chain.map(|chain| chain.parameters()).map(|parameters| (parameters.coin, parameters.coin_decimals)),
        }
    }
}

/// The units of a settlement's amounts; `None` where they are not known.
struct Units {
    asset: Option<(String, u8)>,
    coin: Option<(&'static str, u8)>,
}

impl Units {
    /// An amount of the asset.
    fn paid(&self, amount: Amount, asset: &str) -> String {
        match &self.asset {
            Some((symbol, decimals)) => format!("{} {symbol} ({amount} of {asset})", amount.in_units(*decimals)),
            None => format!("{amount} of {asset}"),
        }
    }

    /// An amount of the coin that pays for gas.
    fn gas(&self, amount: Amount) -> String {
        match self.coin {
            Some((coin, decimals)) => format!("{} {coin}", amount.in_units(decimals)),
            None => format!("{amount} of the coin's atomic units"),
        }
    }
}

impl Settlement {
    /// Says what the store knows of a settlement that is not in it.
    async fn tell_rest(&self, store: &dyn Store, location: &Location) -> anyhow::Result<ExitCode> {
        let name = &self.name;
        let archived = match name.parse::<Uuid>() {
            Ok(id) => store.archived(ArchivedName::Id(SettlementId(id))).await?,
            Err(_) => None,
        };
        if let Some(archived) = archived.filter(|_| self.resolve.is_none()) {
            return print_archived(&archived, self.json);
        }
        let files = store.archives().await?;
        let elsewhere = if files.is_empty() {
            "If the payment was answered by another instance, ask its store".to_owned()
        } else {
            let paths: Vec<_> = files.iter().map(|archive| archive.path.as_str()).collect();
            format!("It may be archived: look with --archive FILE, which may be {}", paths.join(" or "))
        };
        anyhow::bail!("no settlement in {location} has the id, a transaction or the request id {name}. {elsewhere}")
    }
}

/// Shows what stays of an archived settlement.
fn print_archived(archived: &Archived, json: bool) -> anyhow::Result<ExitCode> {
    let Archived { id, end, archive } = archived;
    let (state, transaction) = match end {
        ArchivedEnd::Settled { transaction } => ("settled", transaction.as_str()),
        ArchivedEnd::Failed(failed) => ("failed", failed.transaction.as_deref().unwrap_or_default()),
    };
    if json {
        let archive = json!({"id": archive.id, "path": archive.path});
        let body = json!({"id": id, "state": state, "transaction": transaction, "archive": archive});
        println!("{}", serde_json::to_string_pretty(&body)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("settlement   {id}");
    println!("state        {state}");
    println!("transaction  {transaction}");
    if let ArchivedEnd::Failed(failed) = end {
        println!("failed       {}: {}", failed.reason, failed.message);
    }
    println!("archived     to {} ({})", archive.path, archive.id);
    println!("             its story: facilitator settlement {id} --archive {}", archive.path);
    Ok(ExitCode::SUCCESS)
}

async fn find(store: &dyn Store, name: &str) -> anyhow::Result<Option<Timeline>> {
    // A caller's request id may be a UUID as well.
    if let Ok(id) = name.parse::<Uuid>()
        && let Some(timeline) = store.timeline(SettlementId(id)).await?
    {
        return Ok(Some(timeline));
    }
    let named = || Some(name.to_owned());
    let by_transaction = Query { transaction: named(), limit: 1, ..Query::default() };
    let by_request = Query { request_id: named(), limit: 1, ..Query::default() };
    for query in [by_transaction, by_request] {
        if let Some(id) = store.find(&query).await?.first().map(Record::id) {
            return Ok(store.timeline(id).await?);
        }
    }
    Ok(None)
}

async fn resolve(store: &dyn Store, record: &Record, word: &str, reason: &str) -> anyhow::Result<ExitCode> {
    let settled_by = match word.split_once(':') {
        Some(("settled", transaction)) if !transaction.is_empty() => Some(transaction.to_owned()),
        None if word == "failed" => None,
        _ => anyhow::bail!("--resolve takes settled:TRANSACTION or failed, not {word:?}"),
    };
    anyhow::ensure!(!reason.trim().is_empty(), "--reason is empty: say how you know what happened");
    let id = record.id();
    let word = OperatorWord { id, settled_by, reason: reason.to_owned(), at: SystemClock.now() };
    if store.resolve(word.clone()).await? {
        let ended = if word.settled_by.is_some() { "settled" } else { "failed" };
        println!("settlement {id} is {ended} by your word");
        return Ok(ExitCode::SUCCESS);
    }
    anyhow::bail!(
        "settlement {id} is {}, not unresolved: your word would override what is proven, or what the chain still \
         decides. Nothing was changed",
        record.status.as_str()
    )
}

fn print(timeline: &Timeline, units: &Units) {
    let Timeline { record, transactions, events, .. } = timeline;
    let facts = &record.facts;
    println!("settlement   {}", facts.id);
    println!("state        {}", record.status.as_str());
    let paid = units.paid(facts.amount, &facts.asset);
    println!("payment      {paid} on {}, scheme {}", facts.network, facts.scheme);
    println!("payer        {}", facts.payer);
    println!("payTo        {}", facts.pay_to);
    println!("nonce        {}", facts.nonce);
    println!("API key      {}", if facts.caller.tenant.is_empty() { "none" } else { &facts.caller.tenant });
    println!("request      {}", facts.request_id);
    println!("transaction  {}", record.transaction);
    print_end(record);
    println!("\n{}  claimed, after block {}", time(facts.created_at), facts.claimed_block);
    for (transaction, sends) in transactions {
        print_transaction(record.id(), transaction, sends, units);
    }
    println!();
    for event in events {
        let detail = if event.detail.is_empty() { String::new() } else { format!(": {}", event.detail) };
        println!("{}  {}{detail}", time(event.at), event.kind);
    }
    if record.delivered.is_none() && matches!(record.state, State::Settled(_)) {
        println!("the success was given to nobody yet: the next request for it gets it");
    }
}

fn print_end(record: &Record) {
    match &record.state {
        State::Settled(settled) => match &settled.proof {
            Some((_, Some(block))) => println!("settled in   block {} {}", block.number, block.hash),
            Some((_, None)) => println!("settled      by the operator's word"),
            None => println!("settled      the payment asked for nothing: no transaction"),
        },
        State::Failed(failed) => {
            println!("failed       {}: {}", failed.reason, failed.message);
            if let (Some(transaction), Some(block)) = (&failed.transaction, &failed.block) {
                println!("shown by     {transaction} in block {} {}", block.number, block.hash);
            }
            if let Some(until) = failed.executable_until {
                println!("executable   by whoever holds the payload, until chain time {until}");
            }
        }
        State::Unresolved { why } => {
            println!("unresolved   {why}");
            println!("             it is asked for again; end it by --resolve settled:TX|failed --reason TEXT");
        }
        State::Open => println!("             not final: the service follows it until the chain has decided"),
    }
    if let Some(at) = record.finalized_at {
        println!("final        since {}", time(at));
    }
    if let Some(at) = record.reorged_at {
        println!("reorged      at {}", time(at));
    }
}

fn print_transaction(id: SettlementId, transaction: &Transaction, sends: &[Sends], units: &Units) {
    for attempt in &transaction.attempts {
        let sends = sends.iter().find(|sends| sends.hash == attempt.signed.hash);
        print_attempt(id, transaction, attempt, sends, units);
    }
    if let TransactionState::Dead { why } = &transaction.state {
        println!("                          dead: {why}");
    }
}

/// A block's own time, in seconds, as wide as all other times.
fn block_time(timestamp: u64) -> String {
    time(Millis(timestamp.saturating_mul(1_000)))
}

fn print_attempt(id: SettlementId, transaction: &Transaction, attempt: &Attempt, sends: Option<&Sends>, units: &Units) {
    let nonce = transaction.nonce.map_or_else(String::new, |nonce| format!(", nonce {nonce}"));
    println!("{}  signed {} ({})", time(attempt.created_at), attempt.signed.hash, attempt.kind.as_str());
    println!(
        "                          by {}{nonce}, at most {} in all, offering {}",
        transaction.gas_wallet,
        units.gas(attempt.signed.fee.amount_max),
        attempt.signed.fee.terms
    );
    let answers = sends.map_or(&[][..], |sends| &sends.answers);
    for send in answers {
        let detail = if send.detail.is_empty() { String::new() } else { format!(": {}", send.detail) };
        println!("{}  sent: {}{detail}", time(send.at), send.answer);
    }
    let kept = u64::try_from(answers.len()).unwrap_or(u64::MAX);
    let more = sends.map_or(0, |sends| sends.count.saturating_sub(kept));
    if more > 0 {
        println!("                          and {more} times more");
    }
    if let Some(inclusion) = &attempt.inclusion {
        // The block's own clock, in whole seconds: it may be behind the line before.
        let at = inclusion.timestamp.map_or_else(|| " ".repeat(24), block_time);
        println!("{at}  included in block {} {}", inclusion.block.number, inclusion.block.hash);
        println!("                          for {} of gas, {} paid", inclusion.gas_used, units.gas(inclusion.fee_paid));
        let others = transaction.items.len().saturating_sub(1);
        if others > 0 {
            let share = transaction.share(inclusion.fee_paid, id);
            println!(
                "                          together with {others} more settlements; {} of it for this one",
                units.gas(share)
            );
        }
    }
}
