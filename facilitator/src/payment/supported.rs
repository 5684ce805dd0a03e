//! `/supported` and `/ready`: what can be paid with here, now.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

use chains_core::protocol::{Supported, SupportedKind};

use super::{Payments, identifier};

/// Whether the service can do its work, and what is in its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The store and at least one network are ready.
    pub ready: bool,
    /// One line for the store and for each network.
    pub lines: Vec<ReadinessLine>,
}

/// One part of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadinessLine {
    /// `store`, or a network.
    pub subject: String,
    /// Whether it is ready.
    pub ready: bool,
    /// `ok`, what an operator should know all the same, or what is wrong.
    pub detail: String,
}

impl Payments {
    /// The kinds of payment that can be settled now. A network that is not
    /// open, or has no gas money, is not among them: servers that start now
    /// shall not offer it.
    /// Of several gas wallets each answer announces the next, so that payments
    /// that are bound to a wallet spread over them.
    pub fn supported(&self) -> Arc<Supported> {
        let turn = self.supported_turn.fetch_add(1, Ordering::Relaxed);
        let mut kinds = Vec::new();
        let mut extensions = BTreeSet::from([identifier::NAME]);
        let mut signers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for submitter in self.networks.values() {
            let Some(gas_wallet) = submitter.announced(turn) else { continue };
            let chain = submitter.chain();
            extensions.extend(chain.extensions());
            kinds.extend(chain.kinds(gas_wallet).into_iter().map(SupportedKind::from));
            let family = signers.entry(format!("{}:*", chain.network().namespace())).or_default();
            for wallet in chain.gas_wallets() {
                if !family.contains(wallet) {
                    family.push(wallet.clone());
                }
            }
        }
        Arc::new(Supported { kinds, extensions: extensions.into_iter().map(str::to_owned).collect(), signers })
    }

    /// The networks that are configured, for people.
    pub fn networks(&self) -> Vec<String> {
        self.networks.keys().map(ToString::to_string).collect()
    }

    /// Whether payments can be settled, part by part.
    pub async fn readiness(&self) -> Readiness {
        let line = |subject: String, state: Result<String, String>| {
            let (ready, Ok(detail) | Err(detail)) = (state.is_ok(), state);
            ReadinessLine { subject, ready, detail }
        };
        let store = self.store.check().await.map(|()| "ok".to_owned()).map_err(|error| {
            tracing::error!(%error, "the store does not answer");
            "the store does not answer".to_owned()
        });
        let networks = self.networks.iter().map(|(network, s)| line(network.to_string(), s.readiness()));
        let networks: Vec<_> = networks.collect();
        let ready = store.is_ok() && networks.iter().all(|line| line.ready);
        let mut lines = vec![line("store".to_owned(), store)];
        lines.extend(networks);
        Readiness { ready, lines }
    }
}
