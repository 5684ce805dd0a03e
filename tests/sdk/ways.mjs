// The ways to pay on EVM that the official packages know: what the chain needs for each, what is bought, and what must be so afterwards.
// By itself it buys in the ways that are named, or in all: on a furnished chain (tests/contracts/chain.mjs), over a running facilitator. It
// prints a line of JSON for each, and exits with 0 only if everything was as it must be.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { parseBuilderCodeSuffixFromCalldata } from "@x402/extensions/builder-code";
import { concat, createTestClient, encodeFunctionData, http, maxUint256, pad, parseAbi, publicActions, walletActions } from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { baseSepolia } from "viem/chains";
import { PERMIT2, PERMIT_ERC20, PLAIN_ERC20, USDC, WALLET_FACTORY } from "../contracts/chain.mjs";
import { pay } from "./pay.mjs";
import { startSeller } from "./seller.mjs";

const abi = parseAbi([
  "function mint(address,uint256)", "function approve(address,uint256) returns (bool)", "function balanceOf(address) view returns (uint256)",
  "function allowance(address,address) view returns (uint256)", "function execute(address,bytes) returns (bytes)",
  "function deploy(address,bytes32) returns (address)", "function addressOf(address,bytes32) view returns (address)",
]);
const PRICE = 10_000n;

/** A chain on which everything may be done; each has its own sender, and so several never meet. */
export const world = (rpcUrl) => {
  const sender = privateKeyToAccount(generatePrivateKey());
  const client = createTestClient({ account: sender, mode: "anvil", chain: baseSepolia, transport: http(rpcUrl), pollingInterval: 50, cacheTime: 0 }).extend(publicActions).extend(walletActions);
  const send = async (account = sender, transaction = {}) => {
    await client.setBalance({ address: account.address, value: 10n ** 18n });
    const receipt = await client.sendTransactionSync({ account, ...transaction });
    if (receipt.status !== "success") throw new Error(`a preparation failed: ${receipt.transactionHash}`);
    return receipt;
  };
  return {
    client,
    send,
    call: (to, functionName, args, account) => send(account, { to, data: encodeFunctionData({ abi, functionName, args }) }),
    read: (address, functionName, ...args) => client.readContract({ address, abi, functionName, args }),
    deploy: async (name, ...args) => {
      const code = `0x${readFileSync(join(import.meta.dirname, `../contracts/out/${name}.hex`), "utf8")}`;
      return (await send(undefined, { data: concat([code, ...args.map((arg) => pad(arg, { size: 32 }))]) })).contractAddress;
    },
  };
};

const permit2 = { method: "permit2" };
const upto = { ...permit2, scheme: "upto" };
const approval = [PERMIT2, maxUint256];
const approve = ({ call, asset, payer }) => call(asset, "approve", approval, payer);
const deployedWallet = async ({ deploy, payer }) => ({ wallet: await deploy("OwnerWallet", payer.address) });
const undeployedWallet = async ({ read, payer }) => {
  const factory = WALLET_FACTORY;
  const args = [payer.address, pad("0x01", { size: 32 })];
  return { wallet: await read(factory, "addressOf", ...args), factory, factoryCalldata: encodeFunctionData({ abi, functionName: "deploy", args }) };
};
const plain = { asset: PLAIN_ERC20, domain: { name: "Plain", version: "1" } };

/**
 * `options` are v2.mjs's; `asset` and its `domain` when it is not USDC; `wallet` says which one pays; `prepare` changes the chain before. In the
 * end the shop answers with `status`, the payee has `paid`, and `after` has nothing to object.
 */
export const WAYS = {
  eip3009: {},
  permit2: { options: permit2, prepare: approve },
  "permit2-no-allowance": {
    options: permit2,
    status: 412,
    paid: 0n,
    after: ({ outcome }) => outcome.paymentRequired?.error !== "permit2_allowance_required" && "the buyer is not told what is missing",
  },
  "permit2-eip2612": {
    options: { ...permit2, sponsoring: "eip2612" },
    after: async ({ read, asset, payer }) => (await read(asset, "allowance", payer.address, PERMIT2)) !== 0n && "something of the permit is left",
  },
  "permit2-eip2612-alone": { asset: PERMIT_ERC20, domain: { name: "Permit", version: "1" }, options: { ...permit2, sponsoring: "eip2612" } },
  "permit2-erc20-approval": {
    ...plain,
    options: { ...permit2, sponsoring: "erc20Approval" },
    prepare: ({ client, payer }) => client.setBalance({ address: payer.address, value: 10n ** 18n }),
  },
  "permit2-erc20-approval-no-gas-money": { ...plain, options: { ...permit2, sponsoring: "erc20Approval" } },
  "upto-erc20-approval-no-gas-money": { ...plain, options: { ...upto, charge: "1234", sponsoring: "erc20Approval" }, paid: 1_234n },
  upto: { options: { ...upto, charge: "1234" }, prepare: approve, paid: 1_234n },
  "upto-all": { options: upto, prepare: approve },
  "upto-nothing": { options: { ...upto, charge: "0" }, prepare: approve, paid: 0n, after: ({ outcome }) => outcome.paymentResponse?.transaction !== "" && "something was sent for nothing" },
  "upto-no-allowance": { options: upto, status: 412, paid: 0n },
  "upto-eip2612": { options: { ...upto, charge: "1234", sponsoring: "eip2612" }, paid: 1_234n },
  "eip1271-eip3009": { wallet: deployedWallet },
  "eip1271-permit2": {
    options: permit2,
    wallet: deployedWallet,
    prepare: ({ call, asset, payer, wallet }) => call(wallet, "execute", [asset, encodeFunctionData({ abi, functionName: "approve", args: approval })], payer),
  },
  eip6492: { wallet: undeployedWallet, after: async ({ client, wallet }) => !(await client.getCode({ address: wallet })) && "the wallet is not deployed" },
  "payment-identifier": { options: { paymentId: "order_0123456789abcdef" } },
  "builder-code": {
    options: { builderCode: "the_shop", serviceCode: "the_buyer" },
    after: async ({ client, outcome, facilitatorCode }) => {
      const { input } = await client.getTransaction({ hash: outcome.paymentResponse.transaction });
      const { a, w, s } = parseBuilderCodeSuffixFromCalldata(input) ?? {};
      const said = JSON.stringify([a, w, s]);
      return said !== JSON.stringify(["the_shop", facilitatorCode, ["the_buyer"]]) && `the transaction says ${said}`;
    },
  },
};

const objections = async ({ status = 200, paid = PRICE, after }, context) => {
  const { outcome, read, asset, payTo } = context;
  const received = await read(asset, "balanceOf", payTo);
  if (outcome.status !== status) return [`the shop answers ${outcome.status}, not ${status}`];
  if (status === 200 && !(outcome.body?.paid && outcome.paymentResponse?.success)) return ["the goods did not arrive"];
  if (received !== paid) return [`the payee has ${received}, not ${paid}`];
  return [await after?.(context)].filter(Boolean);
};

/** Buys in one way: what the buyer got, and everything that was wrong. `facilitatorCode` is the facilitator's builder code. */
export const buy = async (name, { facilitatorUrl, rpcUrl, facilitatorCode }) => {
  const way = WAYS[name];
  const chain = world(rpcUrl);
  const payerKey = generatePrivateKey();
  const payer = privateKeyToAccount(payerKey);
  const payTo = privateKeyToAccount(generatePrivateKey()).address;
  const { asset = USDC } = way;
  const from = (await way.wallet?.({ ...chain, payer })) ?? {};
  await chain.call(asset, "mint", [from.wallet ?? payer.address, 100n * PRICE]);
  await way.prepare?.({ ...chain, ...from, asset, payer });
  const options = {
    protocol: "v2", network: "eip155:84532", maxTimeoutSeconds: 60, path: "/paid", facilitatorUrl, rpcUrl, payerKey, payTo, asset, price: String(PRICE),
    domain: way.domain ?? { name: "USDC", version: "2" }, ...way.options, ...from,
  };
  const seller = await startSeller(options);
  const outcome = await pay(options, seller.url).catch((error) => ({ status: 0, body: String(error) }));
  await seller.stop();
  return { way: name, outcome, wrong: await objections(way, { ...chain, ...from, asset, payer, payTo, outcome, facilitatorCode }) };
};

if (process.argv[1] === import.meta.filename) {
  const text = { type: "string" };
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { "facilitator-url": text, "rpc-url": text, "facilitator-code": text } });
  // The official packages log to stdout here and there; the lines of JSON are to stand alone.
  console.log = console.error;
  for (const name of positionals.length > 0 ? positionals : Object.keys(WAYS)) {
    const bought = await buy(name, { facilitatorUrl: values["facilitator-url"], rpcUrl: values["rpc-url"], facilitatorCode: values["facilitator-code"] });
    process.stdout.write(`${JSON.stringify(bought)}\n`);
    if (bought.wrong.length > 0) process.exitCode = 1;
  }
}
