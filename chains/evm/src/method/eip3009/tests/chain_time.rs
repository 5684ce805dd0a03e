//! Validity at the time of the block to come, and endpoints that differ.

use std::time::Duration;

use chains_core::{
    clock::{ManualClock, Millis},
    observation::Urgency,
};

use super::*;

/// A node whose newest block is of `timestamp`, that knows the lens's record
/// of a good payment at any later time than `valid_after`.
async fn node(timestamp: u64, valid_after: u64, lens: Lens) -> FakeNode {
    FakeNode::start(move |method, params| match method {
        "eth_blockNumber" => Say::Result(json!("0x64")),
        "eth_getBlockByNumber" => Say::Result(json!({
            "number": "0x64", "hash": "0xb", "parentHash": "0xa", "timestamp": format!("{timestamp:#x}"),
        })),
        _ => {
            let time = params[3]["time"].as_str().and_then(crate::rpc::method::quantity).expect("a block to come");
            assert_eq!(params[3]["number"], "0x65");
            let early = time.to::<u64>() <= valid_after;
            say(if early { Lens::Used } else { lens }, params)
        }
    })
    .await
}

/// The verdict on a payment that is valid from `valid_after` on.
async fn verdict(node: &FakeNode, valid_after: u64, occasion: Occasion, passes: u64) -> Option<Code> {
    let clock = Arc::new(ManualClock::at(Millis(NOW * 1000)));
    let context = Arc::new(fake_node::context_at(node, Arc::clone(&clock)));
    context.blocks.next(&context.rpc, None, Urgency::Closely).await.expect("a block");
    let order = Order { valid_after, ..order() };
    let payment = payment(payer().sign(&order).expect("signed"));
    let read = Exact::new(context).read(&payment).expect("read");
    let time = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        clock.advance(passes * 1000);
    };
    match futures::future::join(read.verify(occasion), time).await.0 {
        Verdict::Valid(_) => None,
        Verdict::Invalid(rejection) => Some(rejection.code),
        Verdict::Unavailable(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn what_is_valid_in_the_block_to_come_is_valid() {
    // (age of the newest block, valid after, verdict of a verify, of a settle 3 s later)
    let cases = [
        (9, NOW - 4, None, None),
        (1, NOW, None, None),
        (9, NOW + 2, Some(reason::VALID_AFTER), None),
        (1, NOW + 60, Some(reason::VALID_AFTER), Some(reason::VALID_AFTER)),
    ];
    for (age, valid_after, verify, settle) in cases {
        let node = node(NOW - age, valid_after, Lens::Good).await;
        assert_eq!(verdict(&node, valid_after, Occasion::Verify, 0).await, verify, "{age} {valid_after}");
        assert_eq!(verdict(&node, valid_after, Occasion::Settle, 3).await, settle, "{age} {valid_after}");
    }
}

#[tokio::test]
async fn while_the_clocks_cannot_both_be_right_nothing_is_called_expired() {
    let node = node(NOW + 3600, 0, Lens::Good).await;
    let context = Arc::new(fake_node::context(&node));
    context.blocks.next(&context.rpc, None, Urgency::Closely).await.expect("a block");
    let read = Exact::new(context).read(&good()).expect("read");
    for occasion in [Occasion::Verify, Occasion::Settle] {
        let Verdict::Unavailable(error) = read.verify(occasion).await else { panic!("nobody can say") };
        assert!(error.detail.contains("Check NTP"), "{error}");
    }
}

/// The verdict through several endpoints; `None`: nobody can say.
async fn through(lenses: &[Lens]) -> Option<Option<Code>> {
    let mut nodes = vec![];
    for lens in lenses {
        nodes.push(node(NOW, 0, *lens).await);
    }
    let mut context = fake_node::context(&nodes[0]);
    context.rpc = fake_node::rpc(&nodes.iter().collect::<Vec<_>>());
    context.blocks.next(&context.rpc, None, Urgency::Closely).await.expect("a block");
    let read = Exact::new(Arc::new(context)).read(&good()).expect("read");
    match read.verify(Occasion::Verify).await {
        Verdict::Valid(_) => Some(None),
        Verdict::Invalid(rejection) => Some(Some(rejection.code)),
        Verdict::Unavailable(_) => None,
    }
}

#[tokio::test]
async fn one_endpoint_alone_turns_no_payer_away_where_there_are_more() {
    let used = Some(Some(reason::NONCE_ALREADY_USED));
    for (lenses, expected) in [
        (vec![Lens::Used], used),
        (vec![Lens::Used, Lens::Used], used),
        (vec![Lens::Used, Lens::Good], None),
        (vec![Lens::Used, Lens::Good, Lens::Good], Some(None)),
        (vec![Lens::Used, Lens::Good, Lens::Used], used),
        (vec![Lens::Good, Lens::Used, Lens::Used], Some(None)),
    ] {
        assert_eq!(through(&lenses).await, expected);
    }
}
