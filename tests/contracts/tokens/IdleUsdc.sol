// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {DemoUsdc} from "../../../chains/evm/contracts/DemoUsdc.sol";

/// D02: accepts every transfer and does nothing, silently.
contract IdleUsdc is DemoUsdc {
    function _transfer(address, address, uint256) internal override {}
}
