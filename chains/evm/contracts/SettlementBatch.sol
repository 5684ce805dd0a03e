// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Many settlements in one transaction
///
/// @notice Makes calls that move a payer's tokens straight to a payee, each with its own gas, each for itself: one that fails or
/// burns its gas takes nothing from the others. Only its owners, which are the gas wallets of one operator, may call it.
///
/// It holds nothing and can give nothing away: it takes no coin, sends none, and makes no other calls than the four below, so it
/// can neither transfer nor approve a token of its own. Its owners are fixed when it is deployed; there is no other storage, no
/// administration and no upgrade. Other owners are another contract, at another address.
contract SettlementBatch {
    /// The batch was carried. Bit i is set when the call of item i succeeded, which alone says nothing about money.
    event Carried(uint256 succeeded);

    error NotOwner();
    /// The list of owners is empty, too long, or not in strictly ascending order.
    error BadOwners();
    /// Not a list of items, or a call that is not allowed.
    error BadItems();

    uint256 private constant OWNERS_MAX = 256;

    mapping(address => bool) public isOwner;

    /// Ascending order gives one set of owners one address.
    constructor(address[] memory owners) {
        if (owners.length == 0 || owners.length > OWNERS_MAX) revert BadOwners();
        address last = address(0);
        for (uint256 i = 0; i < owners.length; ++i) {
            if (owners[i] <= last) revert BadOwners();
            last = owners[i];
            isOwner[last] = true;
        }
    }

    /// @notice Makes the calls in order; none of them ends the others.
    ///
    /// @param items One after the other, integers big-endian, nothing padded, 256 at most:
    ///   20 bytes  the contract to call
    ///    4 bytes  the most gas that the call may use
    ///    2 bytes  n = size of the calldata
    ///    n bytes  calldata of one of
    ///             transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)
    ///             transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)
    ///             settle(((address,uint256),uint256,uint256),address,(address,uint256),bytes)
    ///             settleWithPermit((uint256,uint256,bytes32,bytes32,uint8),((address,uint256),uint256,uint256),address,(address,uint256),bytes)
    ///
    /// @return succeeded As in the event. An item that could not be given all of its gas is not called at all: what a call does
    /// when it is short of gas is not what it was signed for.
    ///
    /// @dev Nothing of what a call returns is copied, so a huge answer costs its own gas only. A call that comes back here is not an
    /// owner's. Whatever stands behind the encoded argument is ignored: builder codes (ERC-8021) stand there.
    function carry(bytes calldata items) external returns (uint256 succeeded) {
        if (!isOwner[msg.sender]) revert NotOwner();
        bool good = true;
        assembly ("memory-safe") {
            let at := items.offset
            let end := add(at, items.length)
            let data := mload(0x40)
            for { let bit := 1 } lt(at, end) { bit := shl(1, bit) } {
                let word := calldataload(at)
                let target := shr(96, word)
                let limit := and(shr(64, word), 0xffffffff)
                let size := and(shr(48, word), 0xffff)
                at := add(at, 26)
                let next := add(at, size)
                // After 256 items no bit is left.
                if or(or(gt(next, end), lt(size, 4)), iszero(bit)) {
                    good := 0
                    break
                }
                switch shr(224, calldataload(at))
                case 0xe3ee160e {}
                case 0xcf092995 {}
                case 0x13cd3b53 {}
                case 0xfa340378 {}
                default {
                    good := 0
                    break
                }
                calldatacopy(data, at, size)
                at := next
                // A 64th stays behind (EIP-150); 3,000 are for the account that is called.
                if gt(gas(), add(add(limit, div(limit, 63)), 3000)) {
                    if call(limit, target, 0, data, size, 0, 0) { succeeded := or(succeeded, bit) }
                }
            }
        }
        if (!good) revert BadItems();
        emit Carried(succeeded);
    }
}
