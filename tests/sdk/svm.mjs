// The official packages' schemes for Solana, as buyer and as seller; of what can be patched only the node's URL is given.
import { ExactSvmScheme as ExactSvmClient } from "@x402/svm/exact/client";
import { ExactSvmScheme as ExactSvmServer } from "@x402/svm/exact/server";
import { ExactSvmSchemeV1 as ExactSvmClientV1 } from "@x402/svm/v1";
import { createKeyPairSignerFromBytes, getBase58Encoder } from "@solana/kit";

export const isSolana = (network) => network.startsWith("solana");

/** With `blockhashes` the seller tells a recent one, so that the buyer need not ask for it. */
export const sellerScheme = ({ rpcUrl, blockhashes }) => new ExactSvmServer(blockhashes ? { rpcUrl } : {});

export const buyerSchemes = async ({ payerKey, rpcUrl }) => {
  const signer = await createKeyPairSignerFromBytes(getBase58Encoder().encode(payerKey));
  return { v2: new ExactSvmClient(signer, { rpcUrl }), v1: new ExactSvmClientV1(signer, { rpcUrl }) };
};
