// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title What would a Permit2 settlement do, had the payer's approval come first? In one eth_call
///
/// @notice Never deployed. An eth_call puts this code, by state overrides, at two addresses: that of a gas wallet, which calls itself,
/// and that of the payer, an account without code. So the token finds the payer as the msg.sender of `approve`, and the proxy finds the
/// gas wallet as the msg.sender of `settle`, as both will on chain. Permit2 asks a payer with code what it thinks of the signature; here
/// it finds every signature good: the caller checks the payer's key itself. To everybody else both accounts stay what they are,
/// accounts that take any call and say nothing.
///
/// All integers are big-endian and nothing is padded.
///
/// INPUT   offset  size  field
///         0       1     2
///         1       20    token
///         21      20    payer
///         41      20    payee
///         61      20    proxy, the contract that settles
///         81      32    value by which the payee's balance must rise
///         113     4     gas that `approve` may use
///         117     4     gas that the settlement may use
///         121     68    calldata for the token: approve(address,uint256)
///         189     ..    calldata for the proxy
///
/// OUTPUT  0       1     1, the layout's version
///         1       1     flags: 0x01 the approval succeeded         0x02 the settlement succeeded
///                              0x04 the payee's balance is known   0x08 and it rose by exactly value
///         2       4     gas used by the settlement: without intrinsic gas, calldata, refunds
///         6       ..    revert data of what failed, cut to 132 bytes
///
/// GAS     400,000 + 5/4 * (gas of approval + gas of settlement) + 40 * size of the input suffices.
contract ApprovalLens {
    fallback() external payable {
        assembly {
            let first := calldataload(0)

            // To the payer, by Permit2: isValidSignature(bytes32,bytes).
            if eq(shr(224, first), 0x1626ba7e) {
                mstore(0, shl(224, 0x1626ba7e))
                return(0, 32)
            }

            // To the payer, by the gas wallet: u8 1 || token || gas || calldata for the token.
            if eq(byte(0, first), 1) {
                calldatacopy(0, 25, 68)
                let success := call(shr(224, calldataload(21)), shr(96, calldataload(1)), 0, 0, 68, 0, 0)
                let size := returndatasize()
                if gt(size, 132) { size := 132 }
                returndatacopy(0, 0, size)
                if success { return(0, 0) }
                revert(0, size)
            }

            // Strangers find accounts without code.
            if xor(caller(), address()) { return(0, 0) }
            if xor(byte(0, first), 2) { revert(0, 0) }
            if lt(calldatasize(), 189) { revert(0, 0) }

            function payeeBalance() -> known, balance_ {
                mstore(0, shl(224, 0x70a08231))
                mstore(4, shr(96, calldataload(41)))
                known := staticcall(60000, shr(96, calldataload(1)), 0, 36, 0, 32)
                known := and(known, gt(returndatasize(), 31))
                balance_ := mload(0)
            }

            function answer(flags, used) {
                let reason := returndatasize()
                if gt(reason, 132) { reason := 132 }
                mstore(0, or(or(shl(248, 1), shl(240, flags)), shl(208, used)))
                returndatacopy(6, 0, reason)
                return(0, add(6, reason))
            }

            let at := 0x80
            mstore(at, shl(248, 1))
            calldatacopy(add(at, 1), 1, 20)
            calldatacopy(add(at, 21), 113, 4)
            calldatacopy(add(at, 25), 121, 68)
            if iszero(call(gas(), shr(96, calldataload(21)), 0, at, 93, 0, 0)) { answer(0, 0) }

            let known, before := payeeBalance()
            let size := sub(calldatasize(), 189)
            calldatacopy(at, 189, size)
            let left := gas()
            let success := call(shr(224, calldataload(117)), shr(96, calldataload(61)), 0, at, size, 0, 0)
            let used := sub(left, gas())
            if iszero(success) { answer(1, used) }
            let flags := 3
            let known2, after := payeeBalance()
            if and(known, known2) {
                flags := 7
                // Reads of strangers' code: the difference may wrap, and then it is not `value`.
                if eq(sub(after, before), calldataload(81)) { flags := 15 }
            }
            mstore(0, or(or(shl(248, 1), shl(240, flags)), shl(208, used)))
            return(0, 6)
        }
    }
}
