// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {DemoUsdc} from "../../../chains/evm/contracts/DemoUsdc.sol";

/// D02: the payee gets one unit less than authorised, and the event tells the truth about it.
contract ShortUsdc is DemoUsdc {
    function _transfer(address from, address to, uint256 value) internal override {
        super._transfer(from, to, value - 1);
    }
}
