// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// D07: a token that is whatever the slot of EIP-1967 names. Without a constructor: tests put the code and the slot in place.
contract UpgradeableUsdc {
    fallback() external {
        assembly {
            calldatacopy(0, 0, calldatasize())
            let success := delegatecall(gas(), sload(0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc), 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            if iszero(success) { revert(0, returndatasize()) }
            return(0, returndatasize())
        }
    }
}
