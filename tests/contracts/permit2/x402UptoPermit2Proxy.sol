// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ISignatureTransfer, Permit2Proxy} from "./Permit2Proxy.sol";

/// Scheme `upto`: the facilitator that was signed for, and no other, says how much of the signed amount is transferred.
contract x402UptoPermit2Proxy is Permit2Proxy {
    struct Witness {
        address to;
        address facilitator;
        uint256 validAfter;
    }

    bytes32 public constant WITNESS_TYPEHASH = keccak256("Witness(address to,address facilitator,uint256 validAfter)");
    string public constant WITNESS_TYPE_STRING =
        "Witness witness)TokenPermissions(address token,uint256 amount)Witness(address to,address facilitator,uint256 validAfter)";

    error AmountExceedsPermitted();
    error UnauthorizedFacilitator();

    function settle(
        ISignatureTransfer.PermitTransferFrom calldata permit,
        uint256 amount,
        address owner,
        Witness calldata witness,
        bytes calldata signature
    ) external nonReentrant {
        _check(permit.permitted, amount, witness);
        _settle(permit, amount, owner, _payee(witness), signature);
        emit Settled();
    }

    function settleWithPermit(
        EIP2612Permit calldata permit2612,
        ISignatureTransfer.PermitTransferFrom calldata permit,
        uint256 amount,
        address owner,
        Witness calldata witness,
        bytes calldata signature
    ) external nonReentrant {
        _check(permit.permitted, amount, witness);
        _permit(permit.permitted, owner, permit2612);
        _settle(permit, amount, owner, _payee(witness), signature);
        emit SettledWithPermit();
    }

    function _check(ISignatureTransfer.TokenPermissions calldata permitted, uint256 amount, Witness calldata witness) private view {
        if (msg.sender != witness.facilitator) revert UnauthorizedFacilitator();
        if (amount > permitted.amount) revert AmountExceedsPermitted();
    }

    function _payee(Witness calldata witness) private pure returns (Payee memory) {
        return Payee(witness.to, witness.validAfter, keccak256(abi.encode(WITNESS_TYPEHASH, witness)), WITNESS_TYPE_STRING);
    }
}
