// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {DemoUsdc} from "../../../chains/evm/contracts/DemoUsdc.sol";

/// D04: one percent of each transfer goes elsewhere, and the events say so.
contract FeeOnTransferUsdc is DemoUsdc {
    address private constant COLLECTOR = address(0xfee);

    function _transfer(address from, address to, uint256 value) internal override {
        uint256 fee = value / 100;
        super._transfer(from, to, value - fee);
        super._transfer(from, COLLECTOR, fee);
    }
}
