// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ISignatureTransfer, Permit2Proxy} from "./Permit2Proxy.sol";

/// Scheme `exact` by Permit2: transfers the whole signed amount.
contract x402ExactPermit2Proxy is Permit2Proxy {
    struct Witness {
        address to;
        uint256 validAfter;
    }

    bytes32 public constant WITNESS_TYPEHASH = keccak256("Witness(address to,uint256 validAfter)");
    string public constant WITNESS_TYPE_STRING =
        "Witness witness)TokenPermissions(address token,uint256 amount)Witness(address to,uint256 validAfter)";

    function settle(
        ISignatureTransfer.PermitTransferFrom calldata permit,
        address owner,
        Witness calldata witness,
        bytes calldata signature
    ) external nonReentrant {
        _settle(permit, permit.permitted.amount, owner, _payee(witness), signature);
        emit Settled();
    }

    function settleWithPermit(
        EIP2612Permit calldata permit2612,
        ISignatureTransfer.PermitTransferFrom calldata permit,
        address owner,
        Witness calldata witness,
        bytes calldata signature
    ) external nonReentrant {
        _permit(permit.permitted, owner, permit2612);
        _settle(permit, permit.permitted.amount, owner, _payee(witness), signature);
        emit SettledWithPermit();
    }

    function _payee(Witness calldata witness) private pure returns (Payee memory) {
        return Payee(witness.to, witness.validAfter, keccak256(abi.encode(WITNESS_TYPEHASH, witness)), WITNESS_TYPE_STRING);
    }
}
