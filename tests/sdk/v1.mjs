// The legacy v1 packages as seller and payer, unpatched: much of what is deployed still speaks it.
import { paymentMiddleware } from "x402-express";
import { createSigner, decodeXPaymentResponse, wrapFetchWithPayment } from "x402-fetch";

export const responseHeader = "X-PAYMENT-RESPONSE";
export const decodeResponse = decodeXPaymentResponse;

/** With an `asset`, the price is in its units; `decimals` are its own. */
export const middleware = ({ facilitatorUrl, token, network, price, asset, decimals, payTo, maxTimeoutSeconds, path }) => {
  const auth = token ? { Authorization: `Bearer ${token}` } : {};
  return paymentMiddleware(
    payTo,
    { [`GET ${path}`]: { price: asset ? { amount: price, asset: { address: asset, decimals } } : price, network, config: { description: "A paid resource", mimeType: "application/json", maxTimeoutSeconds } } },
    { url: facilitatorUrl, createAuthHeaders: async () => ({ verify: auth, settle: auth, supported: auth, list: auth }) },
  );
};

// The legacy client refuses to pay more than 0.1 USDC unless told otherwise.
export const payingFetch = async ({ payerKey, network, rpcUrl }) =>
  wrapFetchWithPayment(fetch, await createSigner(network, payerKey), 10n ** 12n, undefined, rpcUrl ? { svmConfig: { rpcUrl } } : undefined);
