// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title What /verify needs to know about many Permit2 payments, in one eth_call
///
/// @notice Never deployed. An eth_call puts this code, by a state override, at the address of a gas wallet, and has the gas wallet call
/// itself: so the simulated `settle` finds the msg.sender that it will find on chain, which scheme `upto` insists on. To everybody else
/// the gas wallet stays what it is, an account that takes any call and says nothing. Tokens and wallets are strangers' code: whatever
/// they do, every other item's record is the same, down to the gas figure, as if it had been asked alone, so long as the call has gas
/// enough (below).
///
/// All integers are big-endian and nothing is padded.
///
/// INPUT  calldata = u8 number of items (1..128) || items, and nothing behind them
///
///   item   offset  size  field
///          0       1     0, by which a call about one item, to ourselves, is told from the call about all
///          1       20    token
///          21      20    payer
///          41      20    payee
///          61      20    proxy, the contract that is called
///          81      32    value by which the payee's balance must rise
///          113     32    nonce in Permit2's bitmap
///          145     32    hash that the payer signed
///          177     4     gas cap, of the simulated call and, separately, of the signature call
///          181     2     c = size of the call
///          183     2     t = where in the call the signature stands: its length in 32 bytes, then itself, up to the call's end
///          185     c     calldata for the proxy
///
///   A malformed input reverts without data.
///
/// OUTPUT u8 1, the layout's version || u8 number of records || records, in the items' order
///
///   record 0       1     flags: 0x01 asked: when clear, too little gas was left; all else in the record is 0 and says nothing
///                               0x02 token has code        (when clear no balance and no allowance was read)
///                               0x04 payer has code
///                               0x10 balance is known      (balanceOf(payer) answered)
///                               0x20 nonce is known        (nonceBitmap answered)      0x40 and it is used
///                               0x80 the simulated call succeeded
///          1       1     flags: 0x01 allowance is known    (allowance(payer, Permit2) answered)
///                               0x02 the proxy's PERMIT2() is Permit2
///          2       1     signature: 0 not asked (payer without code), 1 valid, 2 answered with something else,
///                               3 reverted, ran out of gas or answered less than 32 bytes
///          3       1     effect: 0 unknown (call failed, or balanceOf(payee) did not answer), 1 the payee's balance rose by exactly
///                               value, 2 it did not (always so when payer = payee)
///          4       4     gas used by the simulated call: with cold storage, without intrinsic gas, calldata, refunds
///          8       1     r = size of revert data, at most 132 (Error(string) with up to 64 bytes of text)
///          9       32    balanceOf(payer)
///          41      32    allowance(payer, Permit2)
///          73      r     revert data of the simulated call, when it failed
///
/// GAS    With 200,000 + the sum over the items of (450,000 + 9/4 * gas cap + 16 * size of the item) every item is asked, whatever the
///        others do; far less is used. An item that would not find its own worst case is left out, never asked with less: what a
///        stranger's code does when it is short of gas is not what it does on chain.
///
/// A simulated settlement is undone before the next item is looked at, so N payments from one balance are each judged as if alone.
contract Permit2Lens {
    fallback() external payable {
        assembly {
            // Strangers find the account without code that a gas wallet is.
            if xor(caller(), address()) { return(0, 0) }

            // A call about one item: run it, and revert, which undoes whatever it did. Reverts with
            //   0   4   gas used by the call
            //   31  1   bit 0: it succeeded, bit 1: the payee's balance is known
            //   32  32  balanceOf(payee) after the call
            //   64  ..  revert data, cut to 132 bytes, if it failed
            if iszero(byte(0, calldataload(0))) {
                let sizes := calldataload(177)
                let callSize := and(shr(208, sizes), 0xffff)
                calldatacopy(0, 185, callSize)
                let before := gas()
                let success := call(shr(224, sizes), shr(96, calldataload(61)), 0, 0, callSize, 0, 0)
                let outcome := or(shl(224, sub(before, gas())), success)
                let reason := 0
                mstore(32, 0)
                switch success
                case 0 {
                    reason := returndatasize()
                    if gt(reason, 132) { reason := 132 }
                    returndatacopy(64, 0, reason)
                }
                default {
                    mstore(0, shl(224, 0x70a08231))
                    mstore(4, shr(96, calldataload(41)))
                    let answered := staticcall(60000, shr(96, calldataload(1)), 0, 36, 32, 32)
                    if and(answered, gt(returndatasize(), 31)) { outcome := or(outcome, 2) }
                }
                mstore(0, outcome)
                revert(0, add(64, reason))
            }

            // A view call whose calldata is in memory at `from`. The answer is cut to 32 bytes, hence a huge one costs us nothing.
            function ask(gasMax, target, from, size) -> answered, answer {
                answered := staticcall(gasMax, target, from, size, 0, 32)
                answered := and(answered, gt(returndatasize(), 31))
                if answered { answer := mload(0) }
            }

            // A view call with one or two words.
            function view1(gasMax, target, selector, word) -> answered, answer {
                mstore(0, shl(224, selector))
                mstore(4, word)
                answered, answer := ask(gasMax, target, 0, 36)
            }
            function view2(gasMax, target, selector, first, second) -> answered, answer {
                mstore(0, shl(224, selector))
                mstore(4, first)
                mstore(36, second)
                answered, answer := ask(gasMax, target, 0, 68)
            }

            function permit2() -> account {
                account := 0x000000000022D473030F116dDEE9F6B43aC78BA3
            }

            // Simulates the item and writes its record, without the reads. The payee's balance after the settlement stands, until `read` has
            // used it, in the balance field, and effect is 1 if it is known. Gives the record's size.
            function simulate(item, size, scratch, at) -> recordSize {
                // A transaction finds the contract that it calls warm, and everything else cold.
                pop(extcodesize(shr(96, calldataload(add(item, 61)))))
                calldatacopy(scratch, item, size)
                // All gas is offered: the called side holds the caps, and `room` has seen to it that they fit.
                pop(call(gas(), address(), 0, scratch, size, 0, 64))
                let outcome := mload(0)
                let header := or(shl(248, 0x01), shl(192, shr(224, outcome)))
                if and(outcome, 1) { header := or(header, shl(248, 0x80)) }
                if and(outcome, 2) { header := or(header, shl(224, 1)) }
                let reason := sub(returndatasize(), 64)
                mstore(at, or(header, shl(184, reason)))
                mstore(add(at, 9), mload(32))
                mstore(add(at, 41), 0)
                returndatacopy(add(at, 73), 64, reason)
                recordSize := add(73, reason)
            }

            // What the payer's code, if it has any, says of the signature.
            function readSignature(item, payer, scratch) -> header {
                if extcodesize(payer) {
                    header := shl(248, 0x04)
                    let sizes := calldataload(add(item, 177))
                    let tail := and(shr(192, sizes), 0xffff)
                    let tailSize := sub(and(shr(208, sizes), 0xffff), tail)
                    mstore(scratch, shl(224, 0x1626ba7e)) // isValidSignature(bytes32,bytes)
                    mstore(add(scratch, 4), calldataload(add(item, 145)))
                    mstore(add(scratch, 36), 64)
                    calldatacopy(add(scratch, 68), add(add(item, 185), tail), tailSize)
                    let answered, magic := ask(shr(224, sizes), payer, scratch, add(68, tailSize))
                    let verdict := 3
                    if answered { verdict := add(1, iszero(eq(magic, shl(224, 0x1626ba7e)))) }
                    header := or(header, shl(232, verdict))
                }
            }

            // What the token says; the payee's balance after the settlement is in `balance_` if `header` says that it is known.
            function readToken(item, payer, header, after) -> found, balance_, allowed {
                let token := shr(96, calldataload(add(item, 1)))
                found := and(header, not(shl(224, 0xff)))
                if extcodesize(token) {
                    found := or(found, shl(248, 0x02))
                    let known
                    if and(header, shl(224, 1)) {
                        let before
                        known, before := view1(60000, token, 0x70a08231, shr(96, calldataload(add(item, 41)))) // balanceOf(payee)
                        // Both balances are reads of strangers' code: the difference may wrap, and then it is not `value`.
                        let effect := add(1, iszero(eq(sub(after, before), calldataload(add(item, 81)))))
                        if known { found := or(found, shl(224, effect)) }
                    }
                    known, balance_ := view1(60000, token, 0x70a08231, payer)
                    if known { found := or(found, shl(248, 0x10)) }
                    known, allowed := view2(60000, token, 0xdd62ed3e, payer, permit2()) // allowance(payer, Permit2)
                    if known { found := or(found, shl(240, 0x01)) }
                }
            }

            // What Permit2 and the proxy say.
            function readPermit2(item, payer) -> header {
                let nonce := calldataload(add(item, 113))
                let known, answer := view2(20000, permit2(), 0x4fe02b44, payer, shr(8, nonce)) // nonceBitmap
                if known { header := shl(248, or(0x20, shl(6, and(shr(and(nonce, 0xff), answer), 1)))) }
                mstore(0, shl(224, 0x6afdd850)) // PERMIT2()
                known, answer := ask(20000, shr(96, calldataload(add(item, 61))), 0, 4)
                if and(known, eq(answer, permit2())) { header := or(header, shl(240, 0x02)) }
            }

            // Completes the record at `at`.
            function read(item, scratch, at) {
                let payer := shr(96, calldataload(add(item, 21)))
                // The first 9 bytes; the balance field's begin stands behind them.
                let header := and(mload(at), not(shr(72, not(0))))
                header := or(header, readSignature(item, payer, scratch))
                header := or(header, readPermit2(item, payer))
                let balance_, allowed
                header, balance_, allowed := readToken(item, payer, header, mload(add(at, 9)))
                mstore(at, header)
                mstore(add(at, 9), balance_)
                mstore(add(at, 41), allowed)
            }

            // Gas that must be left for calls which may use `caps` in sum, two frames deep: a 64th stays behind at each level, and
            // 60,000 cover what is around the calls (cold accounts, memory, copying).
            function room(caps) -> needed {
                needed := add(add(caps, shr(4, caps)), 60000)
            }

            let count := byte(0, calldataload(0))
            if gt(count, 128) { revert(0, 0) }
            let out := 0x80
            // Behind the largest output: the item, or the question about the signature, of the moment.
            let scratch := add(out, add(64, mul(count, 205)))
            mstore(out, or(shl(248, 1), shl(240, count)))

            // All simulations come before all reads. An undone call leaves nothing warm, a read does: this way each simulation finds the
            // token and Permit2 cold, and its gas is what a transaction would use whatever else is in this call.
            let item := 1
            let at := add(out, 2)
            // For the reads still to come.
            let reserved := 60000
            for { let i := count } i { i := sub(i, 1) } {
                let sizes := calldataload(add(item, 177))
                let gasCap := shr(224, sizes)
                let callSize := and(shr(208, sizes), 0xffff)
                let next := add(item, add(185, callSize))
                if or(or(gt(next, calldatasize()), byte(0, calldataload(item))), gt(add(and(shr(192, sizes), 0xffff), 32), callSize)) { revert(0, 0) }
                // 220,000: three reads of at most 60,000, two of at most 20,000.
                let reads := room(add(220000, gasCap))
                switch gt(gas(), add(add(reserved, reads), room(add(gasCap, 60000))))
                case 0 {
                    mstore(at, 0)
                    mstore(add(at, 32), 0)
                    mstore(add(at, 41), 0)
                    at := add(at, 73)
                }
                default {
                    reserved := add(reserved, reads)
                    at := add(at, simulate(item, sub(next, item), scratch, at))
                }
                item := next
            }
            if sub(item, calldatasize()) { revert(0, 0) }

            item := 1
            at := add(out, 2)
            for { let i := count } i { i := sub(i, 1) } {
                if byte(0, mload(at)) { read(item, scratch, at) }
                item := add(item, add(185, and(shr(208, calldataload(add(item, 177))), 0xffff)))
                at := add(at, add(73, byte(8, mload(at))))
            }
            return(out, sub(at, out))
        }
    }
}
