// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title What /verify needs to know about many EIP-3009 payments, in one eth_call
///
/// @notice Never deployed. The creation code, followed by the input, is the `data` of an eth_call without `to`; the "deployed
/// code" which that call returns is the output. Tokens and wallets are strangers' code: whatever they do, every other item's
/// record is the same, down to the gas figure, as if it had been asked alone, so long as the call has gas enough (below).
///
/// All integers are big-endian and nothing is padded.
///
/// INPUT  data = creation code || body || u16 size of body
///
///   body   offset  size  field
///          0       1     number of items, 1..128
///          1       ...   the items, one after the other, and nothing behind them
///
///   item   0       20    token
///          20      4     gas cap, of the simulated call and, separately, of the signature call
///          24      2     t = size of the transfer call
///          26      2     s = size of the signature call, 0 = do not ask
///          28      t     calldata of transferWithAuthorization, either overload, at least 196 bytes. Payer, payee, value and nonce
///                        are read from it, thus a record cannot be about anything else than what is simulated
///          28+t    s     calldata of isValidSignature(bytes32,bytes), for the payer
///
///   EIP-3860 bounds `data` to 49,152 bytes. A malformed body reverts without data.
///
/// OUTPUT header || records
///
///   header 0       1     1, the layout's version (so the output cannot begin with 0xEF, which EIP-3541 forbids)
///          1       1     number of records = number of items, in their order
///          2       8     block.number    (what the opcode says: on Arbitrum a block of Ethereum)
///          10      8     block.timestamp
///          18      16    block.basefee   (nodes set it to 0 in a call that names no gas price)
///
///   record 0       1     flags: 0x01 asked: when clear, too little gas was left; all else in the record is 0 and says nothing
///                               0x02 token has code        (when clear nothing was simulated and no balance was read)
///                               0x04 payer has code        0x08 and that code is an EIP-7702 delegation
///                               0x10 balance is known      (balanceOf(payer) answered)
///                               0x20 authorization state is known      0x40 and it is: used or cancelled
///                               0x80 the simulated call succeeded
///          1       1     signature: 0 not asked (s = 0 or payer without code), 1 valid, 2 answered with something else,
///                               3 reverted, ran out of gas or answered less than 32 bytes
///          2       1     effect: 0 unknown (call failed, or balanceOf(payee) did not answer), 1 the payee's balance rose by exactly
///                               value, 2 it did not (always so when payer = payee)
///          3       4     gas used by the simulated call: with cold storage, without intrinsic gas, calldata, refunds
///          7       1     r = size of revert data, at most 132 (Error(string) with up to 64 bytes of text)
///          8       32    balanceOf(payer)
///          40      r     revert data of the simulated call, when it failed
///
/// GAS    With 200,000 + the sum over the items of (500,000 + 3 * gas cap) every item is asked, whatever the others do; far less is used.
///        An item that would not find its own worst case is left out, never asked with less: what a stranger's code does when
///        it is short of gas is not what it does on chain.
///
/// The simulated call's msg.sender is a contract, tx.origin is the eth_call's `from`. A simulated transfer is undone before
/// the next item is looked at, so N payments from one balance are each judged as if alone.
contract Eip3009Lens {
    constructor() {
        address simulation = address(new Eip3009Simulation());
        assembly {
            // Simulates one item and writes its record, without the reads. item: where it begins. at: where the record goes.
            // Returns the record's size. The payee's balance after the transfer stands, until `read` has used it, in the balance field,
            // and effect is 1 if it is known.
            function simulate(to, item, at) -> recordSize {
                let word := mload(item)
                let header := shl(56, 0x01)
                mstore(add(at, 8), 0)
                recordSize := 40
                // A call to an address without code succeeds, which says nothing about money.
                if extcodesize(shr(96, word)) {
                    header := shl(56, 0x03)
                    // All gas is offered: Eip3009Simulation holds the caps, and `room` has seen to it that they fit.
                    pop(call(gas(), to, 0, item, add(28, and(shr(48, word), 0xffff)), 0, 64))
                    let outcome := mload(0)
                    header := or(header, shl(8, shr(224, outcome)))
                    if and(outcome, 1) { header := or(header, shl(56, 0x80)) }
                    if and(outcome, 2) { header := or(header, shl(40, 1)) }
                    mstore(add(at, 8), mload(32))
                    let reason := sub(returndatasize(), 64)
                    header := or(header, reason)
                    returndatacopy(add(at, 40), 64, reason)
                    recordSize := add(recordSize, reason)
                }
                mstore(at, or(shl(192, header), and(mload(at), sub(shl(192, 1), 1))))
            }

            // A view call whose calldata is in memory at `from`. The answer is cut to 32 bytes, hence a huge one costs us nothing.
            function ask(gasMax, target, from, size) -> answered, answer {
                answered := staticcall(gasMax, target, from, size, 0, 32)
                answered := and(answered, gt(returndatasize(), 31))
                if answered { answer := mload(0) }
            }

            function balanceOf(gasMax, token, account) -> answered, balance_ {
                mstore(0, shl(224, 0x70a08231))
                mstore(4, account)
                answered, balance_ := ask(gasMax, token, 0, 36)
            }

            // Completes the record at `at`.
            function read(item, at) {
                let word := mload(item)
                let token := shr(96, word)
                let transferSize := and(shr(48, word), 0xffff)
                let signatureSize := and(shr(32, word), 0xffff)
                let arguments := add(item, 32) // behind the selector
                let payer := shr(96, shl(96, mload(arguments)))
                let header := shr(192, mload(at))
                let balance_ := 0

                let codeSize := extcodesize(payer)
                if codeSize {
                    header := or(header, shl(56, 0x04))
                    if eq(codeSize, 23) {
                        mstore(0, 0)
                        extcodecopy(payer, 29, 0, 3)
                        if eq(mload(0), 0xef0100) { header := or(header, shl(56, 0x08)) }
                    }
                    if signatureSize {
                        let answered, magic := ask(and(shr(64, word), 0xffffffff), payer, add(item, add(28, transferSize)), signatureSize)
                        let verdict := 3
                        if answered { verdict := add(1, iszero(eq(magic, shl(224, 0x1626ba7e)))) }
                        header := or(header, shl(48, verdict))
                    }
                }

                if and(header, shl(56, 0x02)) {
                    let known
                    // Both balances of the payee are reads of strangers' code: the difference may wrap, and then it is not `value`.
                    if and(header, shl(40, 1)) {
                        let before
                        known, before := balanceOf(60000, token, shr(96, shl(96, mload(add(arguments, 32)))))
                        let rise := sub(mload(add(at, 8)), before)
                        header := and(header, not(shl(40, 3)))
                        if known { header := or(header, shl(add(40, iszero(eq(rise, mload(add(arguments, 64))))), 1)) }
                    }
                    known, balance_ := balanceOf(60000, token, payer)
                    if known { header := or(header, shl(56, 0x10)) }

                    mstore(0, shl(224, 0xe94a0102)) // authorizationState(address,bytes32)
                    mstore(4, payer)
                    mstore(36, mload(add(arguments, 160)))
                    let used
                    known, used := ask(60000, token, 0, 68)
                    // A boolean is 0 or 1; anything else is not an answer to this question.
                    if and(known, lt(used, 2)) { header := or(header, shl(56, or(0x20, shl(6, used)))) }
                }
                mstore(at, or(shl(192, header), and(mload(at), sub(shl(192, 1), 1))))
                mstore(add(at, 8), balance_)
            }

            // Gas that must be left for calls which may use `caps` in sum, two frames deep: a 64th stays behind at each level, and
            // 60,000 cover what is around the calls (cold accounts, memory, copying).
            function room(caps) -> needed {
                needed := add(add(caps, shr(4, caps)), 60000)
            }

            let body := 0x80
            mstore(0, 0)
            codecopy(30, sub(codesize(), 2), 2)
            let bodySize := mload(0)
            if or(lt(bodySize, 225), gt(bodySize, codesize())) { revert(0, 0) }
            codecopy(body, sub(sub(codesize(), 2), bodySize), bodySize)

            let count := byte(0, mload(body))
            let end := add(body, bodySize)
            let out := and(add(end, 63), not(31))
            if or(iszero(count), gt(count, 128)) { revert(0, 0) }

            mstore(out, or(or(shl(248, 1), shl(240, count)), or(shl(176, number()), shl(112, timestamp()))))
            mstore(add(out, 18), shl(128, basefee()))

            // All simulations come before all reads. An undone call leaves no storage slot warm, a read does: this way each
            // simulation finds the token cold, and its gas is what a transaction would use whatever else is in this call.
            let item := add(body, 1)
            let at := add(out, 34)
            // For the output (200 gas a byte is charged for it as code, at most 172 bytes a record) and for the reads still to come.
            let reserved := add(60000, mul(count, 36000))
            for { let i := count } i { i := sub(i, 1) } {
                let word := mload(item)
                let gasCap := and(shr(64, word), 0xffffffff)
                let transferSize := and(shr(48, word), 0xffff)
                let signatureSize := and(shr(32, word), 0xffff)
                let next := add(add(item, 28), add(transferSize, signatureSize))
                if or(gt(next, end), lt(transferSize, 196)) { revert(0, 0) }
                // 180,000: three reads of at most 60,000.
                let reads := room(add(180000, mul(gasCap, iszero(iszero(signatureSize)))))
                switch gt(gas(), add(add(reserved, reads), room(add(gasCap, 60000))))
                case 0 {
                    mstore(at, 0)
                    mstore(add(at, 8), 0)
                    at := add(at, 40)
                }
                default {
                    reserved := add(reserved, reads)
                    at := add(at, simulate(simulation, item, at))
                }
                item := next
            }
            if sub(item, end) { revert(0, 0) }

            item := add(body, 1)
            at := add(out, 34)
            for { let i := count } i { i := sub(i, 1) } {
                let word := mload(item)
                if byte(0, mload(at)) { read(item, at) }
                item := add(add(item, 28), add(and(shr(48, word), 0xffff), and(shr(32, word), 0xffff)))
                at := add(at, add(40, byte(7, mload(at))))
            }
            return(out, sub(at, out))
        }
    }
}

/// @notice Runs one item's transfer and always reverts, which undoes whatever the token did. One instance serves all items:
/// it has no storage, and a token that calls back into it only spends its own gas on a call that will be undone.
/// @dev Called with an item up to the end of its transfer call. Reverts with
///   0   4   gas used by the call
///   31  1   bit 0: it succeeded, bit 1: the payee's balance is known
///   32  32  balanceOf(payee) after the call
///   64  ..  revert data, cut to 132 bytes, if it failed
contract Eip3009Simulation {
    fallback() external payable {
        assembly {
            let word := calldataload(0)
            let token := shr(96, word)
            let transferSize := and(shr(48, word), 0xffff)
            calldatacopy(0, 28, transferSize)
            let before := gas()
            let success := call(and(shr(64, word), 0xffffffff), token, 0, 0, transferSize, 0, 0)
            let outcome := or(shl(224, sub(before, gas())), success)
            let reason := 0
            switch success
            case 0 {
                reason := returndatasize()
                if gt(reason, 132) { reason := 132 }
                returndatacopy(64, 0, reason)
                mstore(32, 0)
            }
            default {
                mstore(0, shl(224, 0x70a08231))
                mstore(4, shr(96, shl(96, calldataload(64)))) // the payee: 28 + selector + payer
                let answered := staticcall(60000, token, 0, 36, 32, 32)
                if and(answered, gt(returndatasize(), 31)) { outcome := or(outcome, 2) }
            }
            mstore(0, outcome)
            revert(0, add(64, reason))
        }
    }
}
