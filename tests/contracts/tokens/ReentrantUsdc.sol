// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {DemoUsdc} from "../../../chains/evm/contracts/DemoUsdc.sol";

/// D02: calls its caller back with the same calldata, then itself, and so pays twice what was authorised.
contract ReentrantUsdc is DemoUsdc {
    bool private entered;

    function _transfer(address from, address to, uint256 value) internal override {
        super._transfer(from, to, value);
        if (entered) return;
        entered = true;
        (bool ignored,) = msg.sender.call(msg.data);
        ignored;
        super._transfer(from, to, value);
        entered = false;
    }
}
