// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// D08: never answers; uses whatever gas it gets.
contract GasBurnerWallet {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        while (true) {}
        return 0x1626ba7e;
    }
}
