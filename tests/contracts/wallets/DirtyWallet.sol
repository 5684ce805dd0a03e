// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// C07: accepts every signature with the right four bytes and twenty-eight wrong ones behind them.
contract DirtyWallet {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        assembly {
            mstore(0, or(shl(224, 0x1626ba7e), 0xbad))
            return(0, 32)
        }
    }
}
