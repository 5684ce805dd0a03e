// Payments by EIP-3009 in both protocol versions, and everything that can be wrong with them.
import { hashTypedData, pad, zeroAddress } from "viem";
import { EXACT_PROXY, PERMIT2, USDC } from "../../contracts/chain.mjs";
import { AROUND, WRAPPERS, credulous, payersOf, respelled, rewrite, signatureOf, signed } from "./around.mjs";
import { ADDRESSES, NUMBERS, OBJECTS, SIGNATURES, WORDS } from "./spellings.mjs";
import { CANCELLED, POOR, RICH } from "./world.mjs";

const TYPES = {
  TransferWithAuthorization: [
    { name: "from", type: "address" }, { name: "to", type: "address" }, { name: "value", type: "uint256" },
    { name: "validAfter", type: "uint256" }, { name: "validBefore", type: "uint256" }, { name: "nonce", type: "bytes32" },
  ],
};
const MOST = 2n ** 256n - 1n;
export const KINDS = ["eip3009 v2", "eip3009 v2 by a wallet", "eip3009 v1"];

/** What is to be signed and asked for; an honest one. `key`, `wrapper`, `payTo`, `amount` and `extra` are what mutations put in the place of what follows from the rest. */
export const draft = (kind, { payers, nobody }, random, now) => ({
  kind, payer: kind.endsWith("wallet") ? payers.OwnerWallet : payers.payer, to: nobody, value: BigInt(2_000 + random.below(8_000)), validAfter: 0n, validBefore: BigInt(now + 600), nonce: random.hex(32),
  name: "USDC", version: "2", chainId: 84532, token: USDC, asset: USDC, types: TYPES,
});

/** The body as the official servers write it. */
export const body = async (d) => {
  const authorization = {
    from: d.from ?? d.payer.address, to: d.to, value: String(d.value), validAfter: String(d.validAfter), validBefore: String(d.validBefore), nonce: d.nonce,
  };
  const [primaryType] = Object.keys(d.types);
  const hash = hashTypedData({ domain: { name: d.name, version: d.version, chainId: d.chainId, verifyingContract: d.token }, types: d.types, primaryType, message: authorization });
  const payload = { signature: await signatureOf(d, hash), authorization };
  const network = d.kind === "eip3009 v1" ? "base-sepolia" : "eip155:84532";
  const amount = String(d.amount ?? d.value);
  const terms = { asset: d.asset, payTo: d.payTo ?? d.to, maxTimeoutSeconds: 60, extra: d.extra ?? { name: d.name, version: d.version } };
  if (d.kind === "eip3009 v1") {
    return {
      x402Version: 1,
      paymentPayload: { x402Version: 1, scheme: "exact", network, payload },
      paymentRequirements: { scheme: "exact", network, maxAmountRequired: amount, resource: "https://example.org/paid", description: "", mimeType: "application/json", ...terms },
    };
  }
  const requirements = { scheme: "exact", network, amount, ...terms };
  return {
    x402Version: 2,
    paymentPayload: { x402Version: 2, resource: { url: "https://example.org/paid" }, accepted: structuredClone(requirements), payload },
    paymentRequirements: requirements,
  };
};

const tampered = (key, value) => ({ class: "changed after signing", title: `authorization.${key}: changed`, change: (body, random) => rewrite(body, `paymentPayload.payload.authorization.${key}`, () => value(random)) });

/** Mutations of EIP-3009 payments. */
export const MUTATIONS = [
  ...["value", "validAfter", "validBefore"].flatMap((key) => respelled(`paymentPayload.payload.authorization.${key}`, NUMBERS)),
  ...["from", "to"].flatMap((key) => respelled(`paymentPayload.payload.authorization.${key}`, ADDRESSES)),
  ...respelled("paymentPayload.payload.authorization.nonce", WORDS),
  ...respelled("paymentPayload.payload.signature", SIGNATURES),
  ...respelled("paymentPayload.payload.authorization", OBJECTS),
  ...AROUND,
  tampered("value", (random) => String(1 + random.below(20_000))),
  tampered("to", (random) => random.hex(20)),
  tampered("from", (random) => random.hex(20)),
  tampered("nonce", (random) => random.hex(32)),
  tampered("validAfter", () => "1"),
  tampered("validBefore", () => String(2n ** 64n - 1n)),
  { class: "a Permit2 key beside the authorization", title: "permit2Authorization", change: (body) => rewrite(body, "paymentPayload.payload", (payload) => (payload && typeof payload === "object" ? { ...payload, permit2Authorization: {} } : payload)) },
  { class: "ERC-7710 keys beside the authorization", title: "delegationManager", change: (body) => rewrite(body, "paymentPayload.payload", (payload) => (payload && typeof payload === "object" ? { ...payload, delegationManager: PERMIT2, permissionContext: "0x", delegator: PERMIT2 } : payload)) },
  signed("signed by another key", "another key", (d, w) => { d.key = w.stranger; }),
  signed("signed for another domain", "another chain", (d) => { d.chainId = 8453; }),
  signed("signed for another domain", "another contract", (d) => { d.token = PERMIT2; }),
  signed("signed for another domain", "another name", (d) => { d.extra = { name: d.name, version: d.version }; d.name = "USD Coin"; }),
  signed("signed for another domain", "another version", (d) => { d.extra = { name: d.name, version: d.version }; d.version = "1"; }),
  signed("signed as another type", "receiveWithAuthorization", (d) => { d.types = { ReceiveWithAuthorization: TYPES.TransferWithAuthorization }; }),
  signed("another domain demanded and signed for", "name", (d) => { d.name = "USD Coin"; }),
  signed("another domain demanded and signed for", "version", (d) => { d.version = "1"; }),
  signed("expired", "long ago", (d) => { d.validBefore = 1n; }),
  ...[-100_000, -60, -1, 2].map((seconds) => signed("expired", `${seconds} s from now`, (d, w, random, now) => { d.validBefore = BigInt(now + seconds); })),
  ...[30, 60, 3600, 1e9].map((seconds) => signed("valid for longer or shorter", `${seconds} s from now`, (d, w, random, now) => { d.validBefore = BigInt(now + seconds); })),
  signed("valid for longer or shorter", "for ever", (d) => { d.validBefore = 2n ** 256n - 1n; }),
  ...[60, 3600].map((seconds) => signed("not valid yet", `in ${seconds} s`, (d, w, random, now) => { d.validAfter = BigInt(now + seconds); })),
  signed("not valid yet", "never", (d) => { d.validAfter = 2n ** 256n - 1n; }),
  ...[10, 600, 1e8].map((seconds) => signed("valid for some time", `since ${seconds} s`, (d, w, random, now) => { d.validAfter = BigInt(now - seconds); })),
  signed("another amount demanded", "one less", (d) => { d.amount = d.value - 1n; }),
  signed("another amount demanded", "nearly twice as much", (d) => { d.amount = d.value === MOST ? d.value / 2n : 2n * d.value - 1n; }),
  signed("nothing is demanded", "nothing", (d) => { d.amount = 0n; }),
  signed("nothing is paid", "0", (d) => { d.value = 0n; }),
  signed("dust is paid", "1", (d) => { d.value = 1n; }),
  signed("dust is paid", "999", (d) => { d.value = 999n; }),
  signed("more than there is", "one more", (d) => { d.value = RICH + 1n; }),
  signed("more than there is", "everything that can be", (d) => { d.value = MOST; }),
  signed("all that there is", "all", (d) => { d.value = RICH; }),
  signed("another payee demanded", "payTo", (d, w, random) => { d.payTo = random.hex(20); }),
  signed("paid to nobody", "the zero address", (d) => { d.to = zeroAddress; }),
  signed("paid to the token", "the token", (d) => { d.to = USDC; }),
  signed("paid to oneself", "the payer", (d) => { d.to = d.payer.address; }),
  signed("paid to the gas wallet", "the gas wallet", (d, w) => { d.to = w.gasWallet; }),
  signed("paid to a blacklisted account", "blacklisted", (d, w) => { d.to = w.blacklistedPayee; }),
  signed("paid to some contract", "a contract", (d) => { d.to = EXACT_PROXY; }),
  signed("an authorization that was cancelled", "cancelled", (d) => { d.nonce = CANCELLED; }),
  signed("a nonce of zeros", "zeros", (d) => { d.nonce = pad("0x", { size: 32 }); }),
  signed("an asset that is not accepted", "no contract", (d) => { d.asset = d.token = "0x000000000000000000000000000000000a55e700"; }),
  signed("an asset that is not accepted", "no EIP-3009", (d, w) => { d.asset = d.token = w.others.PlainErc20; d.name = "Plain"; d.version = "1"; }),
  signed("an asset that is not accepted", "the zero address", (d) => { d.asset = d.token = zeroAddress; }),
  ...WRAPPERS,
];

/** Who may pay instead, and with what. */
export const OTHERS = (w) => [
  ...payersOf(w),
  signed("more than there is", "a unit more than a poor payer has", (d, { payers }) => { d.payer = payers.poor; d.value = POOR + 1n; }),
  signed("paid to oneself", "by a blacklisted payer", (d, { payers }) => { d.payer = payers.blacklisted; d.to = d.payer.address; }, { alone: true }),
  ...Object.entries(w.tokens).flatMap(([name, address]) => [
    signed("a hostile token", name, (d) => { d.asset = d.token = address; }),
    signed("a hostile token", `${name}, more than there is`, (d) => { d.asset = d.token = address; d.value = RICH + 1n; }, { alone: true }),
    signed("a hostile token", `${name}, all that there is`, (d) => { d.asset = d.token = address; d.value = RICH; }, { alone: true }),
    signed("a hostile token", `${name}, to nobody`, (d) => { d.asset = d.token = address; d.to = zeroAddress; }, { alone: true }),
  ]),
  ...credulous(w.payers.ReturnBombWallet, [
    ["another name", (d) => { d.name = "USD Coin"; }], ["another version", (d) => { d.version = "1"; }], ["a name that is no text", (d) => { d.extra = { name: ["USDC"], version: "2" }; }],
  ]),
];
