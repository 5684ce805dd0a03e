// The official facilitator for Solana in this process, unpatched, on a chain of the tests.
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorSvmSigner } from "@x402/svm";
import { ExactSvmScheme } from "@x402/svm/exact/facilitator";
import { ExactSvmSchemeV1 } from "@x402/svm/exact/v1/facilitator";
import { serve } from "./reference.mjs";
import { LEGACY_NAME, NETWORK } from "./solana.mjs";

/** A facilitator with one fee payer. */
export const reference = ({ rpcUrl, feePayer }) => {
  const signer = toFacilitatorSvmSigner(feePayer, { defaultRpcUrl: rpcUrl });
  return new x402Facilitator().register(NETWORK, new ExactSvmScheme(signer)).registerV1(LEGACY_NAME, new ExactSvmSchemeV1(signer));
};

export const startReference = (options) => serve(reference(options));
