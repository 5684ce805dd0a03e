// The official v2 packages as seller and payer, unpatched.
import { HTTPFacilitatorClient } from "@x402/core/server";
import { toClientEvmSigner } from "@x402/evm";
import { ExactEvmScheme as ExactEvmClient } from "@x402/evm/exact/client";
import { ExactEvmScheme as ExactEvmServer } from "@x402/evm/exact/server";
import { paymentMiddleware, x402ResourceServer } from "@x402/express";
import { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } from "@x402/fetch";
import { createPublicClient, http } from "viem";
import { privateKeyToAccount } from "viem/accounts";

export const responseHeader = "PAYMENT-RESPONSE";
export const decodeResponse = decodePaymentResponseHeader;

export const middleware = ({ facilitatorUrl, token, network, price, payTo, maxTimeoutSeconds, path }) => {
  const auth = token ? { Authorization: `Bearer ${token}` } : {};
  const facilitator = new HTTPFacilitatorClient({
    url: facilitatorUrl,
    createAuthHeaders: async () => ({ verify: auth, settle: auth, supported: auth, bazaar: auth }),
  });
  const server = new x402ResourceServer(facilitator).register(network, new ExactEvmServer());
  const accepts = { scheme: "exact", network, price, payTo, maxTimeoutSeconds };
  return paymentMiddleware({ [`GET ${path}`]: { accepts, description: "A paid resource", mimeType: "application/json" } }, server);
};

export const payingFetch = ({ payerKey, rpcUrl, network }) => {
  const account = privateKeyToAccount(payerKey);
  const signer = rpcUrl ? toClientEvmSigner(account, createPublicClient({ transport: http(rpcUrl) })) : account;
  return wrapFetchWithPayment(fetch, new x402Client().register(network, new ExactEvmClient(signer)));
};
