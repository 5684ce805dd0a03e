// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {PermitErc20} from "./PermitErc20.sol";

/// D02: its `permit` calls its caller with what somebody left here before it grants anything, and passes a refusal on.
contract ReentrantPermitErc20 is PermitErc20 {
    bytes private left;

    function leave(bytes calldata call) external {
        left = call;
    }

    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) public override {
        (bool success, bytes memory answer) = msg.sender.call(left);
        if (!success) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
        super.permit(owner, spender, value, deadline, v, r, s);
    }
}
