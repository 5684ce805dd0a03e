// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {OwnerWallet} from "./OwnerWallet.sol";

/// C07: valid where a number of the block or of the transaction is even. A simulation sees another number than the transaction will.
contract CoinWallet is OwnerWallet {
    uint256 public immutable source;
    /// Gives each wallet a code of its own.
    uint256 public immutable salt;

    constructor(address owner_, uint256 source_, uint256 salt_) OwnerWallet(owner_) {
        source = source_;
        salt = salt_;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature) public view override returns (bytes4) {
        return coin() % 2 == 0 ? super.isValidSignature(hash, signature) : bytes4(0xffffffff);
    }

    function coin() private view returns (uint256) {
        if (source == 0) return block.timestamp;
        if (source == 1) return block.number;
        if (source == 2) return tx.gasprice;
        if (source == 3) return uint160(tx.origin);
        return block.prevrandao;
    }
}
