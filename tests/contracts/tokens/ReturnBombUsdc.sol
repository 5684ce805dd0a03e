// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {DemoUsdc} from "../../../chains/evm/contracts/DemoUsdc.sol";

/// D02: each answer, and each revert of a transfer, is 128 KiB. Who copies all of it pays for it.
contract ReturnBombUsdc is DemoUsdc {
    uint256 private constant SIZE = 131072;

    function balanceOf(address account) public view override returns (uint256) {
        uint256 held = super.balanceOf(account);
        assembly {
            mstore(0, held)
            return(0, SIZE)
        }
    }

    function _transfer(address from, address, uint256) internal pure override {
        assembly {
            mstore(0, shl(224, 0x08c379a0))
            if from { revert(0, SIZE) } // always; unconditionally it would make the code behind it unreachable, a warning
        }
    }
}
