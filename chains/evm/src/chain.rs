//! One EVM network, as the service sees it.

use std::sync::Arc;

use alloy::{
    consensus::{SignableTransaction, TxEip1559},
    eips::eip2718::Encodable2718,
    primitives::{Address, Bytes, TxKind, U256, hex},
};
use async_trait::async_trait;
use chains_core::{
    Amount, Network,
    chain::{
        Broadcast, Chain, ChainUnavailable, Fees, Finding, GasBalance, Head, Kind, Observation, OpenError, Pace,
        PlannedTransaction, QuoteError, Sequence, SignError, SignedTransaction, Watch, Watched,
    },
    protocol::Version,
    scheme::Scheme,
};
use tokio::time::Instant;

use crate::{
    builder_code,
    context::Context,
    doctor,
    exact::{self, Exact},
    fees, observe, open,
    plan::Method,
    rpc::{
        error::CallError,
        method::{At, Call, quantity},
    },
    sponsoring::{
        eip2612, erc20_approval,
        steps::{Body, Step},
    },
    upto::{self, Upto},
};

/// Blocks that a transaction may stay unseen before its bytes are sent again.
const RESEND_AFTER_BLOCKS: u64 = 2;

/// Blocks after which a settled transfer is looked at once more: two epochs of
/// Ethereum, when its blocks are final.
const FINAL_AFTER_BLOCKS: u64 = 64;

/// One configured EVM network.
pub(crate) struct EvmChain {
    context: Arc<Context>,
    schemes: Vec<Arc<dyn Scheme>>,
}

impl EvmChain {
    pub fn new(context: Context) -> Self {
        let context = Arc::new(context);
        let schemes: Vec<Arc<dyn Scheme>> =
            vec![Arc::new(Exact::new(Arc::clone(&context))), Arc::new(Upto::new(Arc::clone(&context)))];
        Self { context, schemes }
    }

    /// Reads a plan that is to be signed, and notes what it gives away.
    fn body(&self, plan: &PlannedTransaction) -> Result<Body, SignError> {
        let body = Body::read(&plan.body).map_err(|error| SignError::Plan(error.to_string()))?;
        if let Body::Step(step) = &body {
            self.context.ledger.under_way(step.settle().effect.from, step.funding(), Instant::now());
        }
        Ok(body)
    }

    fn address(&self, gas_wallet: &str) -> Result<Address, ChainUnavailable> {
        let address = self.context.wallets.address(gas_wallet);
        address.ok_or_else(|| self.context.rpc.unavailable(format!("gas wallet {gas_wallet} has no key here")))
    }

    /// Asks all endpoints for a number: they may differ for a moment.
    async fn numbers(&self, call: Call) -> Result<Vec<U256>, ChainUnavailable> {
        let mut numbers = vec![];
        let mut failure = CallError::NoEndpoint;
        for answer in self.context.rpc.everywhere::<String>(call).await {
            match answer {
                Ok(text) => numbers.extend(quantity(&text)),
                Err(error) => failure = error,
            }
        }
        if numbers.is_empty() { Err(self.context.rpc.unavailable(failure)) } else { Ok(numbers) }
    }
}

/// What a node says of bytes that a payer signed is about the payer's account:
/// no word about the gas wallet, and no end of anything.
fn about_the_payer(sent: &SignedTransaction, answer: Broadcast) -> Broadcast {
    if sent.sequence.is_some() {
        return answer;
    }
    match answer {
        Broadcast::GasWalletEmpty => Broadcast::Unknown("the payer cannot pay for its gas yet".to_owned()),
        Broadcast::SequenceTaken => Broadcast::Unknown("another transaction of the payer waits".to_owned()),
        Broadcast::Refused(text) => Broadcast::Unknown(text),
        Broadcast::Accepted
        | Broadcast::Unknown(_)
        | Broadcast::SequenceConsumed
        | Broadcast::SequenceGap
        | Broadcast::Underpriced
        | Broadcast::PoolFull => answer,
    }
}

#[async_trait]
impl Chain for EvmChain {
    fn network(&self) -> &Network {
        &self.context.config.network
    }

    fn legacy_name(&self) -> Option<&str> {
        self.context.config.legacy_name.as_deref()
    }

    fn schemes(&self) -> &[Arc<dyn Scheme>] {
        &self.schemes
    }

    fn kinds(&self, gas_wallet: &str) -> Vec<Kind> {
        let kind = |version, scheme, network: &str, extra| Kind { version, scheme, network: network.to_owned(), extra };
        let (context, network) = (&self.context, self.network().as_str());
        let by_eip3009 = context.config.assets.iter().any(|asset| asset.eip3009.is_some());
        let mut kinds = vec![];
        if by_eip3009 || context.capabilities.has(Method::Permit2) {
            kinds.push(kind(Version::V2, exact::NAME, network, None));
        }
        if context.capabilities.has(Method::Upto) {
            let extra = serde_json::json!({ "facilitatorAddress": gas_wallet });
            kinds.push(kind(Version::V2, upto::NAME, network, Some(extra)));
        }
        // v1 knows EIP-3009 only.
        let legacy_name = self.legacy_name().filter(|_| by_eip3009);
        kinds.extend(legacy_name.map(|name| kind(Version::V1, exact::NAME, name, None)));
        kinds
    }

    fn extensions(&self) -> Vec<&'static str> {
        let capabilities = &self.context.capabilities;
        let by_permit2 = capabilities.has(Method::Permit2) || capabilities.has(Method::Upto);
        let config = &self.context.config;
        let sponsoring = [(config.sponsor_eip2612, eip2612::KEY), (config.sponsor_erc20_approval, erc20_approval::KEY)];
        let sponsoring = sponsoring.into_iter().filter(|(on, _)| by_permit2 && *on).map(|(_, key)| key);
        std::iter::once(builder_code::KEY).chain(sponsoring).collect()
    }

    fn gas_wallets(&self) -> &[String] {
        self.context.wallets.names()
    }

    fn pace(&self) -> Pace {
        let config = &self.context.config;
        Pace {
            in_flight_max: config.in_flight_max,
            confirmations: config.confirmations,
            block_time: config.block_time,
            resend_after: RESEND_AFTER_BLOCKS,
            final_after: FINAL_AFTER_BLOCKS,
            recheck_interval: config.recheck_interval,
        }
    }

    async fn open(&self) -> Result<(), OpenError> {
        open::open(&self.context).await
    }

    async fn sequence(&self, gas_wallet: &str) -> Result<Option<Sequence>, ChainUnavailable> {
        let counts = self.numbers(Call::transaction_count(self.address(gas_wallet)?, At::Latest)).await?;
        // The highest: an endpoint that lags knows of fewer.
        let latest = counts.into_iter().max().and_then(|count| u64::try_from(count).ok());
        let unreadable = || self.context.rpc.unavailable("the transaction count is no number");
        Ok(Some(Sequence { latest: latest.ok_or_else(unreadable)? }))
    }

    async fn gas_balance(&self, gas_wallet: &str) -> Result<GasBalance, ChainUnavailable> {
        let call = Call::balance(self.address(gas_wallet)?);
        let text: String = self.context.rpc.call(call).await.map_err(|error| self.context.rpc.unavailable(error))?;
        let balance = quantity(&text).ok_or_else(|| self.context.rpc.unavailable("the balance is no number"))?;
        Ok(GasBalance { balance: Amount::from(balance), balance_min: self.context.config.gas_balance_min })
    }

    fn sign(
        &self,
        gas_wallet: &str,
        sequence: Option<u64>,
        plan: &PlannedTransaction,
        fees: &Fees,
    ) -> Result<SignedTransaction, SignError> {
        let (to, value, input, gas_limit) = match self.body(plan)? {
            Body::Settle(plan) => (plan.to, U256::ZERO, plan.data, plan.gas_limit),
            Body::Step(Step::Fund(fund)) => (fund.settle.effect.from, fund.value, Bytes::new(), fund.gas_limit),
            Body::Step(Step::Approve(approve)) => return approve.signed(gas_wallet),
        };
        let nonce = sequence.ok_or_else(|| SignError::Plan("an EVM transaction needs a sequence".to_owned()))?;
        let transaction = TxEip1559 {
            chain_id: self.context.config.chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: fees.per_gas_max,
            max_priority_fee_per_gas: fees.tip_per_gas,
            to: TxKind::Call(to),
            value,
            access_list: alloy::eips::eip2930::AccessList::default(),
            input,
        };
        let signature = self.context.wallets.sign(gas_wallet, transaction.signature_hash());
        let signature = signature.ok_or_else(|| SignError::NoKey(gas_wallet.to_owned()))?;
        let signed = transaction.into_signed(signature);
        Ok(SignedTransaction {
            transaction: hex::encode_prefixed(signed.hash()),
            raw: signed.encoded_2718(),
            gas_wallet: gas_wallet.to_owned(),
            sequence: Some(nonce),
            gas_limit,
            fees: fees.clone(),
        })
    }

    fn quote(&self) -> Result<Fees, QuoteError> {
        let newest = self.context.heads.newest().ok_or(QuoteError::NoHead)?;
        let config = &self.context.config;
        fees::quote(newest.base_fee, config.tip_per_gas, config.fee_per_gas_max)
    }

    async fn broadcast(&self, transactions: &[SignedTransaction]) -> Vec<Broadcast> {
        let raw: Vec<&[u8]> = transactions.iter().map(|transaction| transaction.raw.as_slice()).collect();
        let answers = self.context.rpc.send(&raw).await;
        transactions.iter().zip(answers).map(|(sent, answer)| about_the_payer(sent, answer)).collect()
    }

    fn exclusive(&self, plan: &PlannedTransaction) -> Option<String> {
        match Body::read(&plan.body) {
            Ok(Body::Step(step)) => Some(format!("{}/{}", self.network(), step.settle().effect.from)),
            Ok(Body::Settle(_)) | Err(_) => None,
        }
    }

    async fn next_head(&self, after: Option<&Head>, watch: Watch) -> Result<Head, ChainUnavailable> {
        self.context.heads.next(&self.context.rpc, after, watch).await
    }

    async fn observe(&self, transactions: &[Watched<'_>]) -> Result<Vec<Observation>, ChainUnavailable> {
        observe::observe(&self.context, transactions).await
    }

    fn notices(&self) -> Vec<String> {
        self.context.upgrades.notices(&self.context.config.assets)
    }

    async fn check(&self) -> Vec<Finding> {
        doctor::check(&self.context).await
    }
}

#[cfg(test)]
mod tests {
    use alloy::{consensus::TxEnvelope, eips::eip2718::Decodable2718};

    use super::*;
    use crate::{
        fake_node::{self, FakeNode, Say},
        plan::{Plan, Transfer},
    };

    async fn chain() -> EvmChain {
        let node = FakeNode::start(|method, _| match method {
            "eth_getBalance" => Say::Result(serde_json::json!("0xff")),
            "eth_getTransactionCount" => Say::Result(serde_json::json!("0x5")),
            _ => Say::Error(-32601, "no such method"),
        })
        .await;
        EvmChain::new(fake_node::context(&node))
    }

    fn plan() -> PlannedTransaction {
        let token = Address::repeat_byte(0xaa);
        let effect = Transfer {
            token,
            from: Address::repeat_byte(1),
            to: Address::repeat_byte(2),
            value: U256::from(1),
            nonce: alloy::primitives::B256::ZERO,
            method: Method::Eip3009,
        };
        let body = Plan { to: token, data: Bytes::from_static(&[1, 2]), gas_limit: 120_000, effect }.to_body();
        PlannedTransaction { gas_wallet: None, body, valid_before: None }
    }

    #[tokio::test]
    async fn the_same_arguments_give_the_same_bytes_signed_for_this_chain() {
        let chain = chain().await;
        let wallet = chain.gas_wallets()[0].clone();
        let fees = Fees { per_gas_max: 100, tip_per_gas: 3 };
        let signed = chain.sign(&wallet, Some(7), &plan(), &fees).expect("signed");
        assert_eq!(chain.sign(&wallet, Some(7), &plan(), &fees).as_ref(), Ok(&signed));
        let TxEnvelope::Eip1559(read) = TxEnvelope::decode_2718(&mut signed.raw.as_slice()).expect("decodes") else {
            panic!("EIP-1559");
        };
        let from = alloy::consensus::transaction::SignerRecoverable::recover_signer(&read).expect("a signer");
        assert_eq!(from.to_checksum(None), wallet);
        assert_eq!(hex::encode_prefixed(read.hash()), signed.transaction);
        let t = read.tx();
        assert_eq!((t.chain_id, t.nonce, t.gas_limit, t.value), (84_532, 7, 120_000, U256::ZERO));
        assert_eq!((t.max_fee_per_gas, t.max_priority_fee_per_gas), (100, 3));
    }

    #[tokio::test]
    async fn what_cannot_be_signed_says_why() {
        let chain = chain().await;
        let (wallet, fees) = (chain.gas_wallets()[0].clone(), Fees { per_gas_max: 1, tip_per_gas: 1 });
        let sign = |wallet: &str, sequence, plan: &PlannedTransaction| chain.sign(wallet, sequence, plan, &fees);
        assert!(matches!(sign("0x00", Some(1), &plan()), Err(SignError::NoKey(_))));
        assert!(matches!(sign(&wallet, None, &plan()), Err(SignError::Plan(_))));
        let broken = PlannedTransaction { body: "{}".into(), ..plan() };
        assert!(matches!(sign(&wallet, Some(1), &broken), Err(SignError::Plan(_))));
        assert_eq!(chain.quote(), Err(QuoteError::NoHead));
    }

    #[tokio::test]
    async fn a_payers_own_bytes_say_nothing_of_the_gas_wallet() {
        use crate::sponsoring::erc20_approval::tests::Signed;
        let chain = chain().await;
        let (wallet, fees) = (chain.gas_wallets()[0].clone(), Fees { per_gas_max: 100, tip_per_gas: 3 });
        let settle = Plan::from_body(&plan().body).expect("a plan");
        let payer = settle.effect.from;
        let first = |funding| {
            let body = Step::first(&Signed::default().transaction(), U256::from(funding), 0, settle.clone(), 0);
            PlannedTransaction { body, ..plan() }
        };
        let (fund, approve) = (first(7), first(0));
        for step in [&fund, &approve] {
            assert_eq!(chain.exclusive(step), Some(format!("eip155:84532/{payer}")), "one at a time of each payer");
        }
        assert_eq!(chain.exclusive(&plan()), None);
        let signed = chain.sign(&wallet, Some(7), &fund, &fees).expect("signed");
        let Ok(TxEnvelope::Eip1559(read)) = TxEnvelope::decode_2718(&mut signed.raw.as_slice()) else {
            panic!("EIP-1559");
        };
        let t = read.tx();
        assert_eq!((t.to, t.value, t.gas_limit, t.input.len()), (TxKind::Call(payer), U256::from(7), 21_000, 0));
        let approval = chain.sign(&wallet, Some(8), &approve, &fees).expect("signed");
        assert_eq!((approval.sequence, signed.sequence), (None, Some(7)));
        let unknown = |answer| matches!(answer, Broadcast::Unknown(_));
        let answers = || [Broadcast::GasWalletEmpty, Broadcast::SequenceTaken, Broadcast::Refused("no".into())];
        for answer in answers() {
            assert!(unknown(about_the_payer(&approval, answer.clone())), "{answer:?}");
            assert_eq!(about_the_payer(&signed, answer.clone()), answer);
        }
        let consumed = Broadcast::SequenceConsumed;
        assert_eq!(about_the_payer(&approval, consumed.clone()), consumed, "its block is looked for");
    }

    #[tokio::test]
    async fn wallets_are_read_and_kinds_are_named_for_both_versions() {
        let chain = chain().await;
        let wallet = chain.gas_wallets()[0].clone();
        assert_eq!(chain.sequence(&wallet).await, Ok(Some(Sequence { latest: 5 })));
        assert_eq!(chain.gas_balance(&wallet).await.map(|b| b.balance), Ok(Amount::from(255_u64)));
        assert!(chain.gas_balance("0x00").await.is_err());
        let kinds: Vec<_> = chain
            .kinds(&chain.gas_wallets()[0])
            .into_iter()
            .map(|kind| (kind.version, kind.scheme, kind.network))
            .collect();
        let expected = [(Version::V2, "exact", "eip155:84532"), (Version::V1, "exact", "base-sepolia")];
        assert_eq!(kinds, expected.map(|(version, scheme, network)| (version, scheme, network.to_owned())));
        assert!(!chain.extensions().contains(&eip2612::KEY));
    }

    #[tokio::test]
    async fn what_the_network_can_do_is_announced_with_the_wallet_of_the_moment() {
        let chain = chain().await;
        chain.context.capabilities.found(true, true);
        let upto = chain.kinds("0xabc").into_iter().find(|kind| kind.scheme == "upto").expect("announced");
        assert_eq!(upto.extra, Some(serde_json::json!({ "facilitatorAddress": "0xabc" })));
        assert_eq!((upto.version, upto.network.as_str()), (Version::V2, "eip155:84532"));
        assert_eq!(chain.kinds("0xabc").len(), 3, "v1 knows exact only");
        assert!(chain.extensions().contains(&"eip2612GasSponsoring"));
        chain.context.capabilities.found(false, false);
        assert_eq!(chain.kinds("0xabc").len(), 3, "a busy node takes nothing back");
    }
}
