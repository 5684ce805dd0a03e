// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {DemoUsdc} from "../../../chains/evm/contracts/DemoUsdc.sol";

/// D02: the Transfer event is as it should be, and no balance moves.
contract FakeEventUsdc is DemoUsdc {
    function _transfer(address from, address to, uint256 value) internal override {
        emit Transfer(from, to, value);
    }
}
