//! Looks whether endpoints show the block that one of them showed. Pure, but
//! for the question itself.

use std::time::Duration;

use super::read::RawBlock;
use crate::rpc::{
    Rpc,
    method::{At, Call},
};

/// Every so many blocks the others are asked for one that is followed.
pub(super) const ASK_EVERY: u64 = 4;

/// The depth of the block that they are asked for: they may be some blocks
/// behind, and the newest blocks may differ for a moment.
pub(super) const ASK_DEPTH: u64 = 3;

/// The longest wait for the others.
const PATIENCE_MAX: Duration = Duration::from_secs(1);

/// The verdict of the endpoints on a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nobody shows another one in its place, or one alone does.
    Stands,
    /// One shows it, one shows another: nobody can say which is the chain's.
    Contradicted,
    /// The others show another one.
    Disproven,
}

/// Asks every endpoint for the block at this height, and compares.
pub(super) async fn ask(rpc: &Rpc, number: u64, hash: &str, block_time: Duration) -> Verdict {
    if rpc.endpoints().len() < 2 {
        return Verdict::Stands;
    }
    let call = Call::block(At::Number(number));
    let answers = rpc.everywhere_within::<Option<RawBlock>>(call, block_time.min(PATIENCE_MAX)).await;
    let shown = answers.into_iter().flatten().flatten().map(|block| block.hash.eq_ignore_ascii_case(hash));
    let (same, other): (Vec<bool>, Vec<bool>) = shown.partition(|same| *same);
    verdict(same.len(), other.len())
}

/// Of those that have a block at that height, so many show the same one, and
/// so many another.
const fn verdict(same: usize, other: usize) -> Verdict {
    match (same, other) {
        (_, 0) => Verdict::Stands,
        (0, _) | (1, 2..) => Verdict::Disproven,
        (1, 1) => Verdict::Contradicted,
        (same, other) if other > same => Verdict::Disproven,
        _ => Verdict::Stands,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_most_others_do_not_show_is_not_the_chain_s() {
        use Verdict::{Contradicted, Disproven, Stands};
        let cases = [
            ((0, 0), Stands),
            ((1, 0), Stands),
            ((1, 1), Contradicted),
            ((0, 1), Disproven),
            ((1, 2), Disproven),
            ((2, 1), Stands),
            ((2, 2), Stands),
            ((2, 3), Disproven),
        ];
        for ((same, other), expected) in cases {
            assert_eq!(verdict(same, other), expected, "{same} {other}");
        }
    }
}
