//! Finds out whether plans that waited are still worth a transaction.

use alloy::primitives::{Bytes, hex};
use chains_core::{Rejection, observation::Recheck, transaction::Plan};
use chains_rpc::Agreement;
use futures::future::join_all;

use crate::{
    call_batcher::eip3009::Item,
    context::Context,
    extension::sponsoring::steps::Body,
    reason,
    rpc::{Rpc, error::CallError, method::Call},
    simulation::Simulation,
    tx::{
        gas,
        plan::{Method, TransferPlan},
        sign,
    },
};

/// Returns whether a plan is valid until after the time to inclusion: the block to
/// come, and one more.
///
/// # Errors
/// It is not.
pub(crate) fn still_valid(context: &Context, plan: &Plan) -> Result<(), Rejection> {
    let included_by = context.now_seconds().saturating_add(context.config.block_seconds());
    match plan.valid_before {
        Some(time) if time <= included_by => {
            let code = match sign::body(plan).as_deref() {
                Ok(Body::Settle(plan)) if plan.effect.method == Method::Eip3009 => reason::VALID_BEFORE,
                Ok(Body::Settle(_) | Body::Step(_)) | Err(_) => reason::PERMIT2_DEADLINE_EXPIRED,
            };
            let message = format!("the authorization ends at {time}, before a transaction is sure to be in a block");
            Err(Rejection::new(code, message))
        }
        Some(_) | None => Ok(()),
    }
}

/// Tries plans out in the block to come; one answer for each, in order. That
/// one would fail is said by two endpoints.
pub(crate) async fn recheck(context: &Context, plans: &[Plan]) -> Vec<Recheck> {
    let mut answers: Vec<Option<Recheck>> = plans.iter().map(|plan| without_chain(context, plan)).collect();
    let open: Vec<(usize, &Plan)> =
        plans.iter().enumerate().filter(|(index, _)| answers.get(*index).is_some_and(Option::is_none)).collect();
    let good = join_all(open.iter().map(|(_, plan)| is_good_by_lens(context, plan))).await;
    for (index, _) in open.iter().zip(&good).filter(|(_, good)| **good).map(|(open, _)| open) {
        if let Some(place) = answers.get_mut(*index) {
            *place = Some(Recheck::Good);
        }
    }
    let open: Vec<(usize, &Plan)> =
        open.into_iter().zip(good).filter(|(_, good)| !good).map(|(open, _)| open).collect();
    let asked: Vec<&Plan> = open.iter().map(|(_, plan)| *plan).collect();
    let tried = try_out(context, &context.rpc, &asked).await;
    for (position, (index, plan)) in open.into_iter().enumerate() {
        let answer = match tried.as_ref().map(|tried| tried.get(position).cloned()) {
            Ok(Some(Recheck::Bad(_))) => confirmed(context, plan).await,
            Ok(Some(answer)) => answer,
            Ok(None) => Recheck::Unknown("the endpoint left an answer out".to_owned()),
            Err(error) => Recheck::Unknown(error.to_string()),
        };
        if let Some(place) = answers.get_mut(index) {
            *place = Some(answer);
        }
    }
    answers.into_iter().map(|answer| answer.unwrap_or_else(|| Recheck::Unknown("not asked".to_owned()))).collect()
}

/// Returns what is known of a plan without asking; `None` when the chain must tell.
fn without_chain(context: &Context, plan: &Plan) -> Option<Recheck> {
    if let Err(why) = still_valid(context, plan) {
        return Some(Recheck::Bad(why));
    }
    match sign::body(plan).as_deref() {
        Ok(Body::Settle(_)) => None,
        // Gas money and approvals are proven by what follows them.
        Ok(Body::Step(_)) => Some(Recheck::Good),
        Err(error) => Some(Recheck::Unknown(error.to_string())),
    }
}

/// Returns true when the lens says that a transfer by EIP-3009 would succeed:
/// many share a call. Anything else is left to a call of the plan's own.
async fn is_good_by_lens(context: &Context, plan: &Plan) -> bool {
    let Ok(body) = sign::body(plan) else { return false };
    let Body::Settle(settle) = &*body else { return false };
    let gas_max = settle.gas_limit.saturating_sub(context.config.gas_extra);
    let Ok(gas_cap) = u32::try_from(gas_max) else { return false };
    if settle.effect.method != Method::Eip3009 || settle.to != settle.effect.token {
        return false;
    }
    let item = Item { token: settle.to, gas_cap, transfer: settle.data.clone(), signature: Bytes::new() };
    let record = context.eip3009_batcher.ask(context.simulator(), &item).await;
    record.is_ok_and(|record| {
        let needed = gas::call_gas(record.gas_used, &settle.data);
        record.succeeded && !record.pays_wrong_amount && needed <= gas_max
    })
}

/// Returns what two endpoints say of a plan that one calls bad.
async fn confirmed(context: &Context, plan: &Plan) -> Recheck {
    let ask = |rpc: Rpc| async move { try_out(context, &rpc, &[plan]).await?.pop().ok_or_else(CallError::unreadable) };
    match context.rpc.agree(ask, std::mem::discriminant).await {
        Ok(Agreement::Agreed(answer) | Agreement::Alone(answer)) => answer,
        Ok(Agreement::Disagreed(answers)) => {
            let hosts: Vec<_> = answers.into_iter().map(|(host, _)| host).collect();
            Recheck::Unknown(format!("the endpoints do not agree on a simulation: {}", hosts.join(", ")))
        }
        Err(error) => Recheck::Unknown(error.to_string()),
    }
}

/// Makes the plans' own calls in the block to come; one batch.
async fn try_out(context: &Context, rpc: &Rpc, plans: &[&Plan]) -> Result<Vec<Recheck>, CallError> {
    let mut calls: Vec<Call> = vec![];
    let mut bodies = vec![];
    for plan in plans {
        let Ok(body) = sign::body(plan) else { continue };
        if let Body::Settle(settle) = &*body {
            let bound = plan.gas_wallet.as_deref().and_then(crate::parse::address);
            let sender = bound.unwrap_or_else(|| context.wallets.first());
            let data = hex::encode_prefixed(&settle.data);
            let simulation = Simulation::of_call(sender, settle.to, data, settle.gas_limit);
            let simulator = context.simulator();
            calls.push(simulation.call(simulator.price, simulator.place));
        }
        bodies.push(body);
    }
    let answers = rpc.each::<Bytes>(&calls).await?;
    Ok(answers.into_iter().zip(&bodies).map(|(answer, body)| read(answer, body)).collect())
}

fn read(answer: Result<Bytes, CallError>, body: &Body) -> Recheck {
    match (answer, body) {
        (Ok(_), _) => Recheck::Good,
        (Err(CallError::Node { error, .. }), Body::Settle(plan)) if error.is_revert() || error.is_out_of_gas() => {
            Recheck::Bad(rejection(plan, &error.revert_text(), error.data.as_deref().unwrap_or_default()))
        }
        (Err(error), _) => Recheck::Unknown(error.to_string()),
    }
}

fn rejection(plan: &TransferPlan, text: &str, data: &[u8]) -> Rejection {
    let code = match plan.effect.method {
        Method::Eip3009 => reason::of_revert(text).unwrap_or(reason::SIMULATION_FAILED),
        Method::Permit2 | Method::Upto => reason::of_permit2_revert(data).unwrap_or(reason::PERMIT2_SIMULATION_FAILED),
    };
    let said = if text.is_empty() { "no reason given" } else { text };
    Rejection::new(code, format!("the transfer would fail: {said}"))
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use alloy::primitives::{Address, B256, U256};
    use chains_core::Code;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        extension::sponsoring::{erc20_approval::tests::Signed, steps::Step},
        fake_node::{self, FakeNode, NOW, Say},
        tx::plan::Transfer,
    };

    fn settle(method: Method) -> TransferPlan {
        let account = Address::repeat_byte;
        let (token, from, to) = (account(0xaa), account(1), account(2));
        let effect = Transfer { token, from, to, value: U256::from(1), nonce: B256::ZERO, method };
        TransferPlan { to: token, data: Bytes::from_static(&[1, 2]), gas_limit: 120_000, effect }
    }

    fn plan(method: Method) -> Plan {
        Plan::new(settle(method).to_body()).valid_before(Some(NOW + 60))
    }

    async fn rechecked(says: &[Say], plans: &[Plan]) -> Vec<Recheck> {
        let mut nodes = vec![];
        for say in says {
            let say = say.clone();
            nodes.push(FakeNode::start(move |_, _| say.clone()).await);
        }
        let mut context = fake_node::context(&nodes[0]);
        context.rpc = fake_node::rpc(&nodes.iter().collect::<Vec<_>>());
        recheck(&context, plans).await
    }

    fn code(answer: &Recheck) -> Result<Option<Code>, ()> {
        match answer {
            Recheck::Good => Ok(None),
            Recheck::Bad(rejection) => Ok(Some(rejection.code)),
            Recheck::Unknown(_) => Err(()),
        }
    }

    #[tokio::test]
    async fn a_plan_is_bad_when_two_endpoints_say_so_and_good_when_one_does() {
        let (good, used) = (Say::Result(json!("0x")), Say::Error(3, "execution reverted: authorization is used"));
        let bad = Ok(Some(reason::NONCE_ALREADY_USED));
        for (says, expected) in [
            (vec![good.clone()], Ok(None)),
            (vec![used.clone()], bad),
            (vec![used.clone(), used.clone()], bad),
            (vec![used.clone(), good.clone()], Err(())),
            (vec![used.clone(), good.clone(), good.clone()], Ok(None)),
            (vec![good, used], Ok(None)),
            (vec![Say::Error(-32000, "busy")], Err(())),
        ] {
            let answers = rechecked(&says, &[plan(Method::Eip3009)]).await;
            assert_eq!(answers.iter().map(code).collect::<Vec<_>>(), [expected], "{says:?}");
        }
    }

    #[tokio::test]
    async fn each_plan_has_its_own_answer_in_its_own_words() {
        let says = [Say::Revert("0x756688fe".to_owned())];
        let over = plan(Method::Eip3009).valid_before(Some(NOW + 2));
        let approve = Step::first(&Signed::default().transaction(), U256::ZERO, 0, settle(Method::Permit2), NOW);
        let plans = [plan(Method::Permit2), over, Plan::new(approve), Plan::new("{}"), plan(Method::Eip3009)];
        let answers = rechecked(&says, &plans).await;
        let expected = [
            Ok(Some(reason::PERMIT2_INVALID_NONCE)),
            Ok(Some(reason::VALID_BEFORE)),
            Ok(None),
            Err(()),
            Ok(Some(reason::SIMULATION_FAILED)),
        ];
        assert_eq!(answers.iter().map(code).collect::<Vec<_>>(), expected);
    }

    #[tokio::test]
    async fn many_plans_share_a_request() {
        let node = FakeNode::start(|_, _| Say::Result(json!("0x"))).await;
        let context = fake_node::context(&node);
        let answers = recheck(&context, &vec![plan(Method::Permit2); 40]).await;
        assert_eq!((answers, node.requests()), (vec![Recheck::Good; 40], 1));
    }

    /// The lens's answer to a call of so many items, each with this flag.
    fn lens(params: &Value, flags: u8) -> Say {
        let data = hex::decode(params[0]["data"].as_str().expect("data")).expect("hex");
        let Some(size) = data.last_chunk::<2>().map(|size| usize::from(u16::from_be_bytes(*size))) else { panic!() };
        let count = data.len().checked_sub(2 + size).and_then(|at| data.get(at).copied()).unwrap_or_default();
        let mut answer = vec![0; 34];
        (answer[0], answer[1]) = (1, count);
        (0..count).for_each(|_| answer.extend([flags].into_iter().chain([0; 39])));
        Say::Result(json!(hex::encode_prefixed(answer)))
    }

    #[tokio::test]
    async fn many_plans_share_a_call_and_what_it_does_not_find_good_is_asked_by_itself() {
        let of_lens = |params: &Value| params[0]["to"].is_null();
        let direct = || {
            let transfer = settle(Method::Eip3009);
            Plan::new(TransferPlan { to: transfer.effect.token, ..transfer }.to_body()).valid_before(Some(NOW + 60))
        };
        // The flags say "asked" and "succeeded".
        for (flags, calls_of_their_own) in [(0x81, 0), (0x01, 40)] {
            let own = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&own);
            let node = FakeNode::start(move |_, params| {
                if of_lens(params) {
                    return lens(params, flags);
                }
                counter.fetch_add(1, Ordering::Relaxed);
                Say::Result(json!("0x"))
            })
            .await;
            let context = fake_node::context(&node);
            let answers = recheck(&context, &vec![direct(); 40]).await;
            assert_eq!(answers, vec![Recheck::Good; 40]);
            assert_eq!(own.load(Ordering::Relaxed), calls_of_their_own, "{flags}");
            assert!(node.requests() <= 5, "{}", node.requests());
        }
    }
}
