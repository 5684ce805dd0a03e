// The answers of the official facilitator that ours promises to give as well, one case after the other on one chain. By itself it asks the
// facilitator at --facilitator-url and expects the column that is named, `reference` or `ours`; it prints what differs and exits with 0 only if
// nothing does.
import { parseArgs } from "node:util";
import { privateKeyToAccount } from "viem/accounts";
import { PERMIT2, USDC } from "../contracts/chain.mjs";
import * as eip3009 from "./differential/eip3009.mjs";
import * as permit2 from "./differential/permit2.mjs";
import { random } from "./differential/random.mjs";
import { RICH, prepare } from "./differential/world.mjs";
import { world } from "./ways.mjs";

const PRICE = 5_000n;
const OK = "valid";
const both = (code) => ({ reference: code, ours: code });
const verify = (expected) => ({ path: "/verify", ...(typeof expected === "string" ? both(expected) : expected) });
const settle = (expected, more) => ({ path: "/settle", ...(typeof expected === "string" ? both(expected) : expected), ...more });

/**
 * Each case: the kind of payment, what `adjust` changes about it before it is signed, and the questions about it in their order. Some are for
 * facilitators that allow the factory of the tests' wallets, or that do not.
 */
const CASES = [
  {
    name: "EIP-3009, and once more",
    kind: "eip3009 v2",
    steps: [
      verify(OK), settle(OK, { paid: PRICE }), verify("invalid_exact_evm_nonce_already_used"),
      settle({ reference: "invalid_exact_evm_nonce_already_used", ours: "duplicate_settlement" }),
    ],
  },
  { name: "EIP-3009 in v1", kind: "eip3009 v1", steps: [verify(OK), settle(OK, { paid: PRICE })] },
  { name: "signed with the wrong name", kind: "eip3009 v2", adjust: (d) => { d.name = "USD Coin"; }, steps: [verify("invalid_exact_evm_token_name_mismatch")] },
  { name: "more than the balance", kind: "eip3009 v2", adjust: (d) => { d.value = RICH + 1n; }, steps: [verify("invalid_exact_evm_insufficient_balance")] },
  { name: "Permit2 without allowance", kind: "permit2", adjust: (d, w) => { d.payer = w.payers["not approving"]; }, steps: [verify("permit2_allowance_required")] },
  {
    name: "Permit2 with a permit of EIP-2612",
    kind: "permit2 with a permit",
    steps: [verify(OK), settle(OK, { paid: PRICE })],
    after: async ({ read }, w) => (await read(USDC, "allowance", w.payers["not approving"].address, PERMIT2)) !== 0n && "the allowance is not used up",
  },
  { name: "Permit2 with allowance, and once more", kind: "permit2", steps: [verify(OK), settle(OK, { paid: PRICE }), verify("permit2_simulation_failed")] },
  {
    name: "upto: too much, some of it",
    kind: "upto",
    steps: [verify(OK), settle("invalid_upto_evm_payload_settlement_exceeds_amount", { charge: 6_000n }), settle(OK, { charge: 1_234n, paid: 1_234n })],
  },
  {
    name: "upto: nothing, and then something",
    kind: "upto",
    steps: [settle(OK, { charge: 0n, transaction: "", paid: 0n }), settle({ reference: OK, ours: "duplicate_settlement" }, { charge: 1_234n })],
  },
  {
    name: "a wallet that is not there, of a factory that is not allowed",
    kind: "eip3009 v2",
    factoryAllowed: false,
    adjust: (d, w) => { d.payer = w.payers["undeployed wallet"]; },
    steps: [verify("eip6492_factory_not_allowed"), settle("eip6492_factory_not_allowed")],
  },
  {
    name: "a wallet that is not there, of a factory that is allowed",
    kind: "eip3009 v2",
    factoryAllowed: true,
    adjust: (d, w) => { d.payer = w.payers["undeployed wallet"]; },
    steps: [verify(OK), settle(OK, { paid: PRICE })],
    after: async ({ client }, w) => !(await client.getCode({ address: w.payers["undeployed wallet"].address })) && "the wallet is not there yet",
  },
  {
    name: "that wallet again, still wrapped",
    kind: "eip3009 v2",
    factoryAllowed: true,
    adjust: (d, w) => { d.payer = w.payers["undeployed wallet"]; },
    steps: [verify(OK), settle(OK, { paid: PRICE })],
  },
  { name: "a wallet that is there", kind: "eip3009 v2", adjust: (d, w) => { d.payer = w.payers.OwnerWallet; }, steps: [verify(OK), settle(OK, { paid: PRICE })] },
  { name: "a wallet that is there, wrapped", kind: "eip3009 v2", adjust: (d, w) => { d.payer = w.payers["deployed wallet, wrapped signature"]; }, steps: [verify(OK), settle(OK, { paid: PRICE })] },
];

const ask = async (url, path, body) => {
  const response = await fetch(`${url}${path}`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  const answer = await response.json();
  const code = answer.isValid || answer.success ? OK : answer.invalidReason ?? answer.errorReason;
  return { code: response.status === 200 ? code : `${response.status} ${code}`, answer };
};

const play = async ({ kind, adjust, steps, after }, column, { url, chain, w, number }) => {
  const method = permit2.KINDS.includes(kind) ? permit2 : eip3009;
  const source = random(`${w.seed} ${number}`);
  const draft = { ...method.draft(kind, w, source, Math.floor(Date.now() / 1000)), to: source.hex(20), [method === permit2 ? "amount" : "value"]: PRICE };
  adjust?.(draft, w);
  const body = await method.body(draft);
  const wrong = [];
  for (const { path, charge, paid, transaction, ...expected } of steps) {
    const asked = charge === undefined ? body : { ...body, paymentRequirements: { ...body.paymentRequirements, amount: String(charge) } };
    const { code, answer } = await ask(url, path, asked);
    const received = await chain.read(USDC, "balanceOf", draft.to);
    const step = `${path}${charge === undefined ? "" : ` of ${charge}`}`;
    if (code !== expected[column]) wrong.push(`${step}: ${JSON.stringify(answer)}, not ${expected[column]}`);
    if (paid !== undefined && received !== paid) wrong.push(`${step}: the payee has ${received}, not ${paid}`);
    if (charge !== undefined && code === OK && answer.amount !== String(charge)) wrong.push(`${step}: said to have settled ${answer.amount}`);
    if (transaction !== undefined && answer.transaction !== transaction) wrong.push(`${step}: transaction ${answer.transaction}`);
  }
  return [...wrong, await after?.(chain, w)].filter(Boolean);
};

/** Everything that is not as the column says. */
export const golden = async (column, { facilitatorUrl, rpcUrl, gasWallet, factoryAllowed = false }) => {
  const chain = world(rpcUrl);
  const w = { ...(await prepare({ rpcUrl, seed: `golden ${factoryAllowed}`, tokens: {} })), gasWallet };
  const wrong = [];
  for (const [number, item] of CASES.entries()) {
    if (item.factoryAllowed !== undefined && item.factoryAllowed !== factoryAllowed) continue;
    for (const text of await play(item, column, { url: facilitatorUrl, chain, w, number })) wrong.push(`${item.name}: ${text}`);
  }
  return wrong;
};

if (process.argv[1] === import.meta.filename) {
  const text = { type: "string" };
  const { values } = parseArgs({ options: { "facilitator-url": text, "rpc-url": text, "gas-wallet-key": text, column: { ...text, default: "ours" }, "factory-allowed": { type: "boolean", default: false } } });
  const gasWallet = privateKeyToAccount(values["gas-wallet-key"]).address;
  const wrong = await golden(values.column, { facilitatorUrl: values["facilitator-url"], rpcUrl: values["rpc-url"], gasWallet, factoryAllowed: values["factory-allowed"] });
  for (const line of wrong) console.error(line);
  process.exitCode = wrong.length > 0 ? 1 : 0;
}
