// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {DemoUsdc} from "../../../chains/evm/contracts/DemoUsdc.sol";

/// D08: a transfer works, if one lets it use 29 million gas.
contract GasBurnerUsdc is DemoUsdc {
    function _transfer(address from, address to, uint256 value) internal override {
        uint256 start = gasleft();
        while (start - gasleft() < 29_000_000) {}
        super._transfer(from, to, value);
    }
}
