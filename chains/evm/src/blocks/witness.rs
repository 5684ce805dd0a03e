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
    /// One alone shows it, and the others are not that far: they lag, or it is invented.
    Unshared,
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
    let shown: Vec<Option<RawBlock>> = answers.into_iter().flatten().collect();
    let same = shown.iter().flatten().filter(|block| block.hash.eq_ignore_ascii_case(hash)).count();
    let none = shown.iter().filter(|block| block.is_none()).count();
    verdict(same, shown.len() - same - none, none)
}

/// Of those that answer, so many show the same block at that height, so many
/// another, and so many have none.
const fn verdict(same: usize, other: usize, none: usize) -> Verdict {
    match (same, other) {
        (0 | 1, 0) if none > 0 => Verdict::Unshared,
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
        use Verdict::{Contradicted, Disproven, Stands, Unshared};
        let cases = [
            ((0, 0, 0), Stands),
            ((1, 0, 0), Stands),
            ((0, 0, 2), Unshared),
            ((1, 0, 1), Unshared),
            ((2, 0, 1), Stands),
            ((1, 1, 0), Contradicted),
            ((1, 1, 1), Contradicted),
            ((0, 1, 1), Disproven),
            ((1, 2, 0), Disproven),
            ((2, 1, 0), Stands),
            ((2, 2, 0), Stands),
            ((2, 3, 0), Disproven),
        ];
        for ((same, other, none), expected) in cases {
            assert_eq!(verdict(same, other, none), expected, "{same} {other} {none}");
        }
    }
}
