// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// C07: refuses by reverting, with words chosen to be taken for a token's.
contract RevertingWallet {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        revert("FiatTokenV2: authorization is used or canceled");
    }
}
