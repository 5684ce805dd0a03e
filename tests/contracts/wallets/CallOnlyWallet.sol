// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {OwnerWallet} from "./OwnerWallet.sol";

/// C07: valid in an eth_call that names no gas price, invalid in every transaction.
contract CallOnlyWallet is OwnerWallet {
    constructor(address owner_) OwnerWallet(owner_) {}

    function isValidSignature(bytes32 hash, bytes calldata signature) public view override returns (bytes4) {
        return tx.gasprice == 0 ? super.isValidSignature(hash, signature) : bytes4(0xffffffff);
    }
}
