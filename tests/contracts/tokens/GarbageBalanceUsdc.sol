// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {DemoUsdc} from "../../../chains/evm/contracts/DemoUsdc.sol";

/// D02: five bytes where balanceOf owes thirty-two. Transfers work.
contract GarbageBalanceUsdc is DemoUsdc {
    function balanceOf(address) public pure override returns (uint256) {
        assembly {
            mstore(0, not(0))
            return(0, 5)
        }
    }
}
