// Payments by Permit2, scheme `exact` and scheme `upto`, each also with a permit of EIP-2612, and everything that can be wrong with them.
import { hashTypedData, zeroAddress } from "viem";
import { EXACT_PROXY, PERMIT2, UPTO_PROXY, USDC } from "../../contracts/chain.mjs";
import { AROUND, WRAPPERS, credulous, payersOf, respelled, rewrite, signatureOf, signed } from "./around.mjs";
import { ADDRESSES, NUMBERS, OBJECTS, SIGNATURES, TEXTS } from "./spellings.mjs";
import { FULL_WORD, POOR, RICH } from "./world.mjs";

export const KINDS = ["permit2", "permit2 by a wallet", "upto", "permit2 with a permit", "upto with a permit"];
const upto = (kind) => kind.startsWith("upto");
const permitted = (kind) => kind.endsWith("with a permit");
const MOST = 2n ** 256n - 1n;

const WITNESSES = {
  exact: [{ name: "to", type: "address" }, { name: "validAfter", type: "uint256" }],
  upto: [{ name: "to", type: "address" }, { name: "facilitator", type: "address" }, { name: "validAfter", type: "uint256" }],
};
const typesOf = (witness) => ({
  PermitWitnessTransferFrom: [
    { name: "permitted", type: "TokenPermissions" }, { name: "spender", type: "address" }, { name: "nonce", type: "uint256" }, { name: "deadline", type: "uint256" },
    { name: "witness", type: "Witness" },
  ],
  TokenPermissions: [{ name: "token", type: "address" }, { name: "amount", type: "uint256" }],
  Witness: WITNESSES[witness],
});
const PERMIT = {
  Permit: [
    { name: "owner", type: "address" }, { name: "spender", type: "address" }, { name: "value", type: "uint256" }, { name: "nonce", type: "uint256" }, { name: "deadline", type: "uint256" },
  ],
};

/**
 * What is to be signed and asked for; an honest one. `key`, `wrapper`, `payTo`, `demanded` and `extra` are what mutations put in the place of what
 * follows from the rest; `permit` is what the permit says otherwise than it should.
 */
export const draft = (kind, { payers, nobody, gasWallet }, random, now) => ({
  kind, payer: permitted(kind) ? payers["not approving"] : kind.endsWith("wallet") ? payers.OwnerWallet : payers.payer, to: nobody, spender: upto(kind) ? UPTO_PROXY : EXACT_PROXY, amount: BigInt(2_000 + random.below(8_000)),
  nonce: BigInt(random.hex(32)), deadline: BigInt(now + 600), validAfter: 0n, facilitator: gasWallet, token: USDC, asset: USDC, name: "USDC", version: "2",
  chainId: 84532, contract: PERMIT2, contractName: "Permit2", witness: upto(kind) ? "upto" : "exact", permit: {},
});

const sponsoring = async (d) => {
  const { key, name = d.name, version = d.version, chainId = d.chainId, nonce = 0n, ...said } = d.permit;
  const message = { owner: d.payer.address, spender: PERMIT2, value: d.amount, nonce, deadline: d.deadline, ...said };
  const domain = { name, version, chainId, verifyingContract: d.token };
  const signature = await (key ?? d.payer).signature(hashTypedData({ domain, types: PERMIT, primaryType: "Permit", message }));
  return { from: message.owner, asset: d.asset, spender: message.spender, amount: String(message.value), nonce: String(nonce), deadline: String(message.deadline), signature, version: "1" };
};

/** The body as the official servers write it. */
export const body = async (d) => {
  const witness = { to: d.to, ...(upto(d.kind) ? { facilitator: d.facilitator } : {}), validAfter: String(d.validAfter) };
  const authorization = {
    from: d.payer.address, permitted: { token: d.token, amount: String(d.amount) }, spender: d.spender, nonce: String(d.nonce), deadline: String(d.deadline), witness,
  };
  const message = { ...authorization, witness: { facilitator: d.facilitator, ...witness } };
  const hash = hashTypedData({ domain: { name: d.contractName, chainId: d.chainId, verifyingContract: d.contract }, types: typesOf(d.witness), primaryType: "PermitWitnessTransferFrom", message });
  const requirements = {
    scheme: upto(d.kind) ? "upto" : "exact", network: "eip155:84532", amount: String(d.demanded ?? d.amount), asset: d.asset, payTo: d.payTo ?? d.to, maxTimeoutSeconds: 60,
    extra: { ...(d.extra ?? { name: d.name, version: d.version }), assetTransferMethod: "permit2", ...(upto(d.kind) ? { facilitatorAddress: d.facilitator } : {}) },
  };
  return {
    x402Version: 2,
    paymentPayload: {
      x402Version: 2, resource: { url: "https://example.org/paid" }, accepted: structuredClone(requirements), payload: { signature: await signatureOf(d, hash), permit2Authorization: authorization },
      ...(permitted(d.kind) ? { extensions: { eip2612GasSponsoring: { info: { description: "The facilitator pays for the permit.", ...(await sponsoring(d)) }, schema: {} } } } : {}),
    },
    paymentRequirements: requirements,
  };
};

const P = "paymentPayload.payload.permit2Authorization";
const S = "paymentPayload.extensions.eip2612GasSponsoring";
const tampered = (path, value, of) => ({ class: "changed after signing", title: `${path}: changed`, of, change: (body, random) => rewrite(body, `${P}.${path}`, () => value(random)) });
const promised = (path, value) => ({ class: "a permit that was changed", title: `${path}: changed`, of: permitted, change: (body, random) => rewrite(body, `${S}.info.${path}`, () => value(random)) });
const sponsored = (kind, title, adjust) => signed(kind, title, adjust, { of: permitted });
/** The spellings of a permit's fields are of classes of their own: the reference reads them by patterns. */
const ofPermit = (mutations) => mutations.map((mutation) => ({ ...mutation, class: `in a permit: ${mutation.class}`, of: permitted }));

/** Mutations of payments by Permit2. */
export const MUTATIONS = [
  ...["permitted.amount", "deadline", "witness.validAfter"].flatMap((key) => respelled(`${P}.${key}`, NUMBERS)),
  ...respelled(`${P}.nonce`, NUMBERS).map((mutation) => (mutation.title.endsWith("in hex") ? { ...mutation, class: "a nonce in hex" } : mutation)),
  ...["from", "spender", "permitted.token", "witness.to"].flatMap((key) => respelled(`${P}.${key}`, ADDRESSES)),
  ...respelled(`${P}.witness.facilitator`, ADDRESSES, upto),
  ...respelled("paymentPayload.payload.signature", SIGNATURES),
  ...[P, `${P}.permitted`, `${P}.witness`].flatMap((path) => respelled(path, OBJECTS)),
  ...AROUND,
  tampered("permitted.amount", (random) => String(1 + random.below(20_000))),
  tampered("permitted.token", (random) => random.hex(20)),
  tampered("witness.to", (random) => random.hex(20)),
  tampered("witness.validAfter", () => "1"),
  tampered("from", (random) => random.hex(20)),
  tampered("spender", (random) => random.hex(20)),
  tampered("nonce", (random) => String(BigInt(random.hex(32)))),
  tampered("deadline", () => String(2n ** 64n - 1n)),
  signed("signed by another key", "another key", (d, w) => { d.key = w.stranger; }),
  signed("signed for another domain", "another chain", (d) => { d.chainId = 8453; }),
  signed("signed for another domain", "another contract", (d) => { d.contract = USDC; }),
  signed("signed for another domain", "another name", (d) => { d.contractName = "Permit3"; }),
  signed("signed as another type", "the other scheme's witness", (d) => { d.witness = d.witness === "upto" ? "exact" : "upto"; }),
  signed("another spender", "the other scheme's", (d) => { d.spender = d.spender === UPTO_PROXY ? EXACT_PROXY : UPTO_PROXY; }),
  signed("another spender", "Permit2 itself", (d) => { d.spender = PERMIT2; }),
  signed("another facilitator", "a stranger", (d, w) => { d.facilitator = w.stranger.address; }, { of: upto }),
  signed("another facilitator", "nobody", (d) => { d.facilitator = zeroAddress; }, { of: upto }),
  signed("expired", "long ago", (d) => { d.deadline = 1n; }),
  ...[-100_000, -60, -1, 2].map((seconds) => signed("expired", `${seconds} s from now`, (d, w, random, now) => { d.deadline = BigInt(now + seconds); })),
  ...[30, 60, 3600, 1e9].map((seconds) => signed("valid for longer or shorter", `${seconds} s from now`, (d, w, random, now) => { d.deadline = BigInt(now + seconds); })),
  signed("valid for longer or shorter", "for ever", (d) => { d.deadline = MOST; }),
  ...[60, 3600].map((seconds) => signed("not valid yet", `in ${seconds} s`, (d, w, random, now) => { d.validAfter = BigInt(now + seconds); })),
  signed("not valid yet", "never", (d) => { d.validAfter = MOST; }),
  ...[10, 600, 1e8].map((seconds) => signed("valid for some time", `since ${seconds} s`, (d, w, random, now) => { d.validAfter = BigInt(now - seconds); })),
  signed("another amount demanded", "one less", (d) => { d.demanded = d.amount - 1n; }),
  signed("another amount demanded", "nearly twice as much", (d) => { d.demanded = d.amount === MOST ? d.amount / 2n : 2n * d.amount - 1n; }),
  signed("nothing is demanded", "nothing", (d) => { d.demanded = 0n; }),
  signed("nothing is paid", "0", (d) => { d.amount = 0n; }),
  signed("dust is paid", "1", (d) => { d.amount = 1n; }),
  signed("dust is paid", "999", (d) => { d.amount = 999n; }),
  signed("more than there is", "one more", (d) => { d.amount = RICH + 1n; }),
  signed("more than there is", "everything that can be", (d) => { d.amount = MOST; }),
  signed("all that there is", "all", (d) => { d.amount = RICH; }),
  signed("another payee demanded", "payTo", (d, w, random) => { d.payTo = random.hex(20); }),
  signed("another token demanded", "asset", (d, w) => { d.asset = w.others.PermitErc20; }),
  signed("paid to nobody", "the zero address", (d) => { d.to = zeroAddress; }),
  signed("paid to the token", "the token", (d) => { d.to = d.token; }),
  signed("paid to oneself", "the payer", (d) => { d.to = d.payer.address; }),
  signed("paid to the gas wallet", "the gas wallet", (d, w) => { d.to = w.gasWallet; }),
  signed("paid to a blacklisted account", "blacklisted", (d, w) => { d.to = w.blacklistedPayee; }),
  signed("paid to some contract", "a contract", (d) => { d.to = EXACT_PROXY; }),
  signed("a nonce that was invalidated", "the first of its word", (d) => { d.nonce = FULL_WORD << 8n; }),
  signed("a nonce that was invalidated", "the last of its word", (d) => { d.nonce = (FULL_WORD << 8n) + 255n; }),
  signed("a nonce beside those that were invalidated", "the word after", (d) => { d.nonce = (FULL_WORD + 1n) << 8n; }),
  signed("a nonce of zero", "zero", (d) => { d.nonce = 0n; }),
  signed("an asset that is not accepted", "no contract", (d) => { d.asset = d.token = "0x000000000000000000000000000000000a55e700"; }),
  signed("an asset that is not accepted", "one with EIP-2612 alone", (d, w) => { d.asset = d.token = w.others.PermitErc20; d.name = "Permit"; d.version = "1"; }),
  signed("an asset that is not accepted", "the zero address", (d) => { d.asset = d.token = zeroAddress; }),
  signed("a domain that Permit2 does not need", "another name", (d) => { d.extra = { name: "USD Coin", version: "2" }; }),
  signed("a domain that Permit2 does not need", "another version", (d) => { d.extra = { name: "USDC", version: "1" }; }),
  signed("a domain that Permit2 does not need", "none", (d) => { d.extra = {}; }),
  ...WRAPPERS,
  ...ofPermit([
    ...["amount", "nonce", "deadline"].flatMap((key) => respelled(`${S}.info.${key}`, NUMBERS)),
    ...["from", "asset", "spender"].flatMap((key) => respelled(`${S}.info.${key}`, ADDRESSES)),
    ...respelled(`${S}.info.signature`, SIGNATURES),
    ...respelled(`${S}.info.version`, [...TEXTS, { class: "another text", title: "1.0.2", write: () => "1.0.2" }]),
    ...["paymentPayload.extensions", S, `${S}.info`].flatMap((path) => respelled(path, OBJECTS)),
  ]),
  ...["from", "asset", "spender", "amount", "nonce", "deadline", "signature", "version"].map((key) => ({ class: "in a permit: nothing", title: key, of: permitted, change: (body) => rewrite(body, `${S}.info.${key}`, () => "") })),
  promised("from", (random) => random.hex(20)),
  promised("asset", (random) => random.hex(20)),
  promised("spender", () => EXACT_PROXY),
  promised("amount", () => String(MOST)),
  promised("nonce", () => "1"),
  promised("deadline", () => "1"),
  promised("deadline", () => String(MOST)),
  { class: "a permit that says what the server said", title: "description and version alone", of: permitted, change: (body) => rewrite(body, `${S}.info`, ({ description, version }) => ({ description, version })) },
  sponsored("a permit signed by another key", "another key", (d, w) => { d.permit.key = w.stranger; }),
  sponsored("a permit for another domain", "name", (d) => { d.permit.name = "USD Coin"; }),
  sponsored("a permit for another domain", "chain", (d) => { d.permit.chainId = 8453; }),
  sponsored("a permit over another amount", "one less", (d) => { d.permit.value = d.amount === 0n ? 1n : d.amount - 1n; }),
  sponsored("a permit over another amount", "everything", (d) => { d.permit.value = MOST - 1n; }),
  sponsored("a permit over another amount", "nothing", (d) => { d.permit.value = 0n; }),
  sponsored("a permit with a nonce to come", "1", (d) => { d.permit.nonce = 1n; }),
  sponsored("a permit for another spender", "a stranger", (d, w) => { d.permit.spender = w.stranger.address; }),
  sponsored("a permit of another owner", "a stranger", (d, w) => { d.permit.owner = w.stranger.address; }),
  sponsored("a permit that expired", "long ago", (d) => { d.permit.deadline = 1n; }),
  sponsored("a permit that expired", "2 s from now", (d, w, random, now) => { d.permit.deadline = BigInt(now + 2); }),
  sponsored("a permit that holds for longer", "for ever", (d) => { d.permit.deadline = MOST; }),
  sponsored("a permit that nobody needs", "approved already", (d, w) => { d.payer = w.payers.payer; }),
];

/** Who may pay instead, and with what. */
export const OTHERS = (w) => [
  ...payersOf(w),
  signed("more than there is", "a unit more than a poor payer has", (d, { payers }) => { d.payer = payers.poor; d.amount = POOR + 1n; }),
  ...Object.entries(w.tokens).flatMap(([name, address]) => [
    signed("a hostile token", name, (d) => { d.asset = d.token = address; }),
    signed("a hostile token", `${name}, more than there is`, (d) => { d.asset = d.token = address; d.amount = RICH + 1n; }, { alone: true }),
    signed("a hostile token", `${name}, all that there is`, (d) => { d.asset = d.token = address; d.amount = RICH; }, { alone: true }),
    signed("a hostile token", `${name}, to nobody`, (d) => { d.asset = d.token = address; d.to = zeroAddress; }, { alone: true }),
  ]),
  ...credulous(w.payers.ReturnBombWallet, []),
];
