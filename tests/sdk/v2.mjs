// The official v2 packages as seller and payer, unpatched.
import { HTTPFacilitatorClient } from "@x402/core/server";
import { toClientEvmSigner } from "@x402/evm";
import { ExactEvmScheme as ExactEvmClient } from "@x402/evm/exact/client";
import { ExactEvmScheme as ExactEvmServer } from "@x402/evm/exact/server";
import { UptoEvmScheme as UptoEvmClient } from "@x402/evm/upto/client";
import { UptoEvmScheme as UptoEvmServer } from "@x402/evm/upto/server";
import { paymentMiddleware, setSettlementOverrides, x402ResourceServer } from "@x402/express";
import { declareEip2612GasSponsoringExtension, declareErc20ApprovalGasSponsoringExtension } from "@x402/extensions";
import { BUILDER_CODE, BuilderCodeClientExtension, builderCodeResourceServerExtension, declareBuilderCodeExtension } from "@x402/extensions/builder-code";
import { PAYMENT_IDENTIFIER, appendPaymentIdentifierToExtensions, declarePaymentIdentifierExtension, paymentIdentifierResourceServerExtension } from "@x402/extensions/payment-identifier";
import { decodePaymentResponseHeader, wrapFetchWithPayment, x402Client } from "@x402/fetch";
import { createPublicClient, http } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { serializeErc6492Signature } from "viem/utils";
import * as svm from "./svm.mjs";

export const responseHeader = "PAYMENT-RESPONSE";
export const decodeResponse = decodePaymentResponseHeader;

const SPONSORING = { eip2612: declareEip2612GasSponsoringExtension, erc20Approval: declareErc20ApprovalGasSponsoringExtension };

const declared = ({ sponsoring, paymentId, builderCode }) => ({
  ...(sponsoring ? SPONSORING[sponsoring]() : {}),
  ...(paymentId ? { [PAYMENT_IDENTIFIER]: declarePaymentIdentifierExtension(true) } : {}),
  ...(builderCode ? { [BUILDER_CODE]: declareBuilderCodeExtension(builderCode) } : {}),
});

const priced = ({ price, asset, domain, method, memo }) =>
  asset ? { amount: price, asset, extra: { ...domain, ...(method === "permit2" ? { assetTransferMethod: method } : {}), ...(memo ? { memo } : {}) } } : price;

const sellerScheme = (options) => {
  if (svm.isSolana(options.network)) return svm.sellerScheme(options);
  return options.scheme === "upto" ? new UptoEvmServer() : new ExactEvmServer();
};

/**
 * Beyond what the programs take on their command lines, ways.mjs says: `scheme` exact or upto and, for upto, `charge`, what is taken in the end;
 * `asset` in whose units the price then is, its EIP-712 `domain` and transfer `method`; `sponsoring` eip2612 or erc20Approval; `paymentId`;
 * `builderCode` of the seller and `serviceCode` of the buyer; the `wallet` that pays, signed for by the payer's key, and, while there is none,
 * ERC-6492's `factory` and `factoryCalldata`. On Solana: the `memo` that the seller wants to see, and `blockhashes` when it tells recent ones.
 */
export const middleware = (options) => {
  const { facilitatorUrl, token, network, payTo, maxTimeoutSeconds, path, scheme = "exact" } = options;
  const auth = token ? { Authorization: `Bearer ${token}` } : {};
  const facilitator = new HTTPFacilitatorClient({
    url: facilitatorUrl,
    createAuthHeaders: async () => ({ verify: auth, settle: auth, supported: auth, bazaar: auth }),
  });
  const server = new x402ResourceServer(facilitator).register(network, sellerScheme(options));
  server.registerExtension(builderCodeResourceServerExtension);
  server.registerExtension(paymentIdentifierResourceServerExtension);
  const accepts = { scheme, network, price: priced(options), payTo, maxTimeoutSeconds };
  return paymentMiddleware({ [`GET ${path}`]: { accepts, description: "A paid resource", mimeType: "application/json", extensions: declared(options) } }, server);
};

/** What the shop does once the resource is made: with upto it says how much it takes. */
export const charge = ({ charge }, response) => {
  if (charge !== undefined) setSettlementOverrides(response, { amount: charge });
};

// A smart wallet pays: its owner signs, and where there is no wallet yet the signature says who deploys it.
const walletSigner = (account, { wallet, factory, factoryCalldata }) => ({
  address: wallet,
  signTypedData: async (message) => {
    const signature = await account.signTypedData(message);
    return factory ? serializeErc6492Signature({ address: factory, data: factoryCalldata, signature }) : signature;
  },
});

const evmBuyer = (client, options) => {
  const { payerKey, rpcUrl, network, scheme, wallet } = options;
  const account = privateKeyToAccount(payerKey);
  const payer = wallet ? walletSigner(account, options) : account;
  const signer = rpcUrl ? toClientEvmSigner(payer, createPublicClient({ transport: http(rpcUrl) })) : payer;
  const schemeOptions = rpcUrl ? { rpcUrl } : undefined;
  return client.register(network, scheme === "upto" ? new UptoEvmClient(signer, schemeOptions) : new ExactEvmClient(signer, schemeOptions));
};

const svmBuyer = async (client, options) => {
  const { v1, v2 } = await svm.buyerSchemes(options);
  return options.protocol === "v1" ? client.registerV1(options.network, v1) : client.register(options.network, v2);
};

export const payingFetch = async (options) => {
  const { network, asset, paymentId, serviceCode } = options;
  const client = await (svm.isSolana(network) ? svmBuyer : evmBuyer)(new x402Client(), options);
  if (asset) client.setSpendControls({ allowedAssets: [{ network, asset }] });
  if (serviceCode) client.registerExtension(new BuilderCodeClientExtension(serviceCode));
  if (paymentId) client.onBeforePaymentCreation(async ({ paymentRequired }) => { appendPaymentIdentifierToExtensions(paymentRequired.extensions, paymentId); });
  return wrapFetchWithPayment(fetch, client);
};
