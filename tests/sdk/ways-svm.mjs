// The ways to pay on Solana that the official packages know: what the chain needs for each, what is bought, and what must be so afterwards.
// By itself it buys in the ways that are named, or in all: on a validator of the tests (solana.mjs or tests/src/validator.rs), over a running
// facilitator. It prints a line of JSON for each, and exits with 0 only if everything was as it must be.
import { parseArgs } from "node:util";
import { pay } from "./pay.mjs";
import { startSeller } from "./seller.mjs";
import { DECIMALS, LEGACY_NAME, MINTS, NETWORK, newKey, world } from "./solana.mjs";

const PRICE = 10_000n;
const MEMO = "order 4711: ½ a cup";
const MEMO_PROGRAM = "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr";

const v1 = { protocol: "v1", network: LEGACY_NAME };
// Buyers with the newer packages at shops that speak v1.
const mixed = { ...v1, buyer: "v2" };
const refused = { status: 402, paid: 0n };

/**
 * `options` are v2.mjs's; `token` when it is not USDC; `has` when the payer has not plenty; `noAccount` when the payee cannot receive the token. In
 * the end the shop answers with `status`, the payee has `paid`, and `after` has nothing to object.
 */
export const WAYS = {
  "v2-spl-token": {},
  "v2-token-2022": { token: "pyusd" },
  "v2-default-price": { options: { asset: undefined, price: "$0.01" } },
  "v2-blockhash-of-the-seller": { options: { blockhashes: true } },
  "v2-memo": {
    options: { memo: MEMO },
    after: async ({ transaction, outcome }) => {
      const { accountKeys, instructions } = (await transaction(outcome.paymentResponse.transaction)).transaction.message;
      const memos = instructions.filter(({ programIdIndex }) => accountKeys[programIdIndex] === MEMO_PROGRAM);
      return memos.length !== 1 && `the transaction has ${memos.length} memos`;
    },
  },
  "v2-payment-identifier": { options: { paymentId: "order_0123456789abcdef" } },
  "v2-too-poor": { ...refused, has: PRICE - 1n },
  "v2-payee-without-account": { ...refused, noAccount: true },
  "v1-spl-token": { options: v1 },
  "v1-token-2022": { options: v1, token: "pyusd" },
  "v1-default-price": { options: { ...v1, asset: undefined, price: "$0.01" } },
  "v1-spl-token-newer-buyer": { options: mixed },
  "v1-token-2022-newer-buyer": { options: mixed, token: "pyusd" },
  "v1-too-poor-newer-buyer": { ...refused, options: mixed, has: PRICE - 1n },
};

const objections = async ({ status = 200, paid = PRICE, after }, context) => {
  const { outcome, balance, payTo, token, payer, has } = context;
  if (outcome.status !== status) return [`the shop answers ${outcome.status}, not ${status}`];
  const good = outcome.body?.paid && outcome.paymentResponse?.success && outcome.paymentResponse.payer === payer.address;
  if (status === 200 && !good) return ["the goods did not arrive"];
  const [received, left] = [await balance(payTo, token), await balance(payer.address, token)];
  if (received !== paid || left !== has - paid) return [`the payee has ${received}, not ${paid}; the payer has ${left} of ${has}`];
  return [await after?.(context)].filter(Boolean);
};

/** Buys in one way: what the buyer got, and everything that was wrong. */
export const buy = async (name, { facilitatorUrl, rpcUrl }) => {
  const { options: special, token: symbol = "usdc", has = 100n * PRICE, noAccount, ...way } = WAYS[name];
  const token = MINTS[symbol];
  const chain = world(rpcUrl);
  const payer = await newKey();
  const { address: payTo } = await newKey();
  await chain.fund(payer.address, token, has);
  if (!noAccount) await chain.fund(payTo, token, 0n);
  const options = {
    protocol: "v2", network: NETWORK, maxTimeoutSeconds: 60, path: "/paid", facilitatorUrl, rpcUrl, payerKey: payer.secret, payTo,
    asset: token.mint, decimals: DECIMALS, price: String(PRICE), ...special,
  };
  const seller = await startSeller(options);
  const outcome = await pay(options, seller.url).catch((error) => ({ status: 0, body: String(error) }));
  await seller.stop();
  return { way: name, outcome, wrong: await objections(way, { ...chain, token, payer, payTo, has, outcome }) };
};

if (process.argv[1] === import.meta.filename) {
  const text = { type: "string" };
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { "facilitator-url": text, "rpc-url": text } });
  // The official packages log to stdout here and there; the lines of JSON are to stand alone.
  console.log = console.error;
  for (const name of positionals.length > 0 ? positionals : Object.keys(WAYS)) {
    const bought = await buy(name, { facilitatorUrl: values["facilitator-url"], rpcUrl: values["rpc-url"] });
    process.stdout.write(`${JSON.stringify(bought)}\n`);
    if (bought.wrong.length > 0) process.exitCode = 1;
  }
}
