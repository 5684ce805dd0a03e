// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {OwnerWallet} from "./OwnerWallet.sol";

/// C07: its owner withdraws all signatures after /verify, and restores them when it likes.
contract FlippingWallet is OwnerWallet {
    bool public refusing;

    constructor(address owner_) OwnerWallet(owner_) {}

    function refuse(bool refusing_) external {
        require(msg.sender == owner, "FlippingWallet: not the owner");
        refusing = refusing_;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature) public view override returns (bytes4) {
        return refusing ? bytes4(0xffffffff) : super.isValidSignature(hash, signature);
    }
}
