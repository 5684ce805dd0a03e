// What can be wrong with any payment: requirements, and what stands around the payload. A mutation's `adjust` changes the draft before it is
// signed, its `change` the body afterwards; `class` is what the table of differences speaks of. Of those that touch the same place a case has
// one, and one that stands `alone` meets no others.
import { concat, pad, zeroAddress } from "viem";
import { serializeErc6492Signature } from "viem/utils";
import { PERMIT2, USDC } from "../../contracts/chain.mjs";
import { ABSENT, ADDRESSES, NUMBERS, OBJECTS, TEXTS } from "./spellings.mjs";

/** Sets, or removes, what stands at a path of the body; nothing when a part of the way is not there. */
export const rewrite = (body, path, write) => {
  const steps = path.split(".");
  const last = steps.pop();
  const place = steps.reduce((at, step) => (at !== null && typeof at === "object" ? at[step] : undefined), body);
  if (place === null || typeof place !== "object" || !(last in place)) return;
  const value = write(place[last]);
  if (value === ABSENT) delete place[last];
  else place[last] = value;
};
/** A mutation for each spelling of the value at a path; `of` says for which kinds of payment. */
export const respelled = (path, spellings, of = () => true) =>
  spellings.map(({ class: kind, title, write }) => ({ class: kind, malformed: MALFORMED.test(kind), title: `${path}: ${title}`, of, touches: path, change: (body) => rewrite(body, path, (value) => respell(write, value)) }));
const MALFORMED = /^(no |a number )/;
// Another mutation may have been there before: what is no text any more stays as it is.
const respell = (write, value) => {
  try { return write(value); } catch { return value; }
};
const extend = (body, extensions) => rewrite(body, "paymentPayload", (payment) => (payment && typeof payment === "object" ? { ...payment, extensions } : payment));
const v1 = (kind) => kind.endsWith("v1");
const v2 = (kind) => !v1(kind);

/** Mutations of the requirements and of what stands around the payload. */
export const AROUND = [
  ...["asset", "payTo"].flatMap((key) => respelled(`paymentRequirements.${key}`, ADDRESSES)),
  ...respelled("paymentRequirements.amount", NUMBERS, v2),
  ...respelled("paymentRequirements.maxAmountRequired", NUMBERS, v1),
  ...["scheme", "network", "extra.name", "extra.version"].flatMap((key) => respelled(`paymentRequirements.${key}`, TEXTS)),
  ...["scheme", "network"].flatMap((key) => respelled(`paymentPayload.accepted.${key}`, TEXTS, v2)),
  ...["scheme", "network"].flatMap((key) => respelled(`paymentPayload.${key}`, TEXTS, v1)),
  ...["paymentPayload", "paymentRequirements", "paymentPayload.payload", "paymentRequirements.extra"].flatMap((path) => respelled(path, OBJECTS)),
  ...respelled("paymentPayload.accepted", OBJECTS, v2),
  ...[1, 2, 3, 0, "2", null, 1.5, ABSENT].map((version) => ({ class: "another protocol version", title: `paymentPayload.x402Version: ${String(version)}`, change: (body) => rewrite(body, "paymentPayload.x402Version", () => version) })),
  ...[1, 2, 3, "2", ABSENT].map((version) => ({ class: "a protocol version that nobody reads", title: `x402Version: ${String(version)}`, change: (body) => rewrite(body, "x402Version", () => version) })),
  ...["eip155:1", "eip155:8453", "eip155:084532", "eip155:", "eip155:*", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "base", "base-sepolia", "84532"].flatMap((network) => [
    { class: "another network demanded", title: `paymentRequirements.network: ${network}`, change: (body) => rewrite(body, "paymentRequirements.network", () => network) },
    { class: "another network chosen", title: `network chosen: ${network}`, change: (body) => ["paymentPayload.accepted.network", "paymentPayload.network"].forEach((path) => rewrite(body, path, () => network)) },
    { class: "another network demanded", title: `network both: ${network}`, change: (body) => ["paymentRequirements.network", "paymentPayload.accepted.network", "paymentPayload.network"].forEach((path) => rewrite(body, path, () => network)) },
  ]),
  ...["upto", "batch-settlement", "steal"].map((scheme) => ({ class: "another scheme demanded", title: `scheme both: ${scheme}`, change: (body) => ["paymentRequirements.scheme", "paymentPayload.accepted.scheme", "paymentPayload.scheme"].forEach((path) => rewrite(body, path, () => scheme)) })),
  ...["amount", "payTo", "asset", "extra", "maxTimeoutSeconds"].map((key) => ({ class: "what the buyer echoes", title: `accepted.${key}`, of: v2, change: (body) => rewrite(body, `paymentPayload.accepted.${key}`, () => null) })),
  ...[0, -1, 1e9, "60", null, ABSENT].map((seconds) => ({ class: "what nobody reads", title: `maxTimeoutSeconds: ${String(seconds)}`, change: (body) => rewrite(body, "paymentRequirements.maxTimeoutSeconds", () => seconds) })),
  ...["paymentPayload", "paymentRequirements", "paymentPayload.payload", "paymentRequirements.extra"].map((path) => ({ class: "what nobody reads", title: `a stranger's key in ${path}`, change: (body) => rewrite(body, path, (value) => (value && typeof value === "object" && !Array.isArray(value) ? { ...value, surplus: { deep: [1, "2", null] } } : value)) })),
  ...[[], "text", 1].map((extensions) => ({
    class: "extensions that are no object", title: `extensions: ${JSON.stringify(extensions)}`, of: v2, change: (body) => extend(body, extensions),
  })),
  ...[null, {}, { bazaar: null }, { "payment-identifier": { info: { required: true, id: "order_0123456789abcdef" } } }, { "builder-code": { info: { a: "the_shop" } } }].map((extensions) => ({
    class: "extensions that decide nothing", title: `extensions: ${JSON.stringify(extensions)}`, of: v2, change: (body) => extend(body, extensions),
  })),
];

export const signed = (kind, title, adjust, more) => ({ class: kind, title, adjust, ...more });
const SIGNATURE = { touches: "paymentPayload.payload.signature" };

/** Puts the payer's signature into a wrapper of ERC-6492. */
export const WRAPPERS = [
  signed("an ERC-6492 wrapper", "of nobody", (d) => { d.wrapper = { address: zeroAddress, data: "0x" }; }, SIGNATURE),
  signed("an ERC-6492 wrapper", "that calls nothing", (d, w) => { d.wrapper = { address: w.factory, data: "0x" }; }, SIGNATURE),
  signed("an ERC-6492 wrapper that calls somebody", "the token", (d) => { d.wrapper = { address: USDC, data: concat(["0xa9059cbb", pad(PERMIT2, { size: 32 }), pad("0x01", { size: 32 })]) }; }, SIGNATURE),
];

/** Every payer; those that have a row of their own are of their own class. */
export const payersOf = ({ payers }) => [
  ...Object.values(payers).map((payer) => signed(payer.name in ROWS ? ROWS[payer.name] : "another payer", payer.name, (d) => { d.payer = payer; }, payer.name.includes("deployed") ? SIGNATURE : undefined)),
  signed("an ERC-6492 wrapper", "in a wrapper", (d, w) => { d.payer = w.payers["undeployed wallet"]; d.wrapper = { address: w.factory, data: "0x" }; }, { alone: true }),
  signed("an ERC-6492 wrapper with dirt in it", "before the factory", (d) => {
    const { address, signature } = payers["deployed wallet, wrapped signature"];
    d.payer = { address, signature: async (hash) => `0x01${(await signature(hash)).slice(4)}` };
  }, { alone: true }),
];
const ROWS = { CallOnlyWallet: "a wallet that is good where gas costs nothing", DirtyWallet: "a wallet whose answer has dirt in it", ReturnBombWallet: "a wallet that takes everything", "deployed wallet, wrapped signature": "a wrapper of a deployed wallet" };

/** What a wallet that takes every signature could be made to pay for. */
export const credulous = (payer, more) => [
  ...[["a signature of 4,096 bytes", 4096], ["a signature of 4,097 bytes", 4097]].map(([title, size]) => [title, (d) => { d.key = { signature: async () => `0x${"11".repeat(size)}` }; }]),
  ["half a byte", (d) => { d.key = { signature: async () => "0x111" }; }],
  ["the suffix of ERC-6492 behind a signature", (d) => { d.key = { signature: async (hash) => `${await payer.signature(hash)}${"6492".repeat(16)}` }; }],
  ["an r of zero", (d) => { d.key = { signature: async () => `0x${"00".repeat(32)}${"11".repeat(32)}1b` }; }],
  ...more,
].map(([title, adjust]) => signed("a wallet that takes everything", title, (d, ...rest) => { d.payer = payer; adjust(d, ...rest); }, { alone: true }));

/** What the payer of a draft, or who is to sign instead, says to a hash. */
export const signatureOf = async ({ key, payer, wrapper }, hash) => {
  const signature = await (key ?? payer).signature(hash);
  return wrapper ? serializeErc6492Signature({ ...wrapper, signature }) : signature;
};
