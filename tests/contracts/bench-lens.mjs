// How many payments a second one anvil answers through the lens of a method:
// node bench-lens.mjs [items a call] [calls at once] [seconds] [eip3009 | exact | upto]
import { request, Agent } from "node:http";
import { createTestClient, encodeFunctionData, hashTypedData, http, keccak256, numberToHex, pad, parseAbi, size, slice, stringToHex, toHex } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { EXACT_PROXY, PERMIT2, UPTO_PROXY, USDC, furnish } from "./chain.mjs";
import { anvil, readOutput, writeInput } from "./lens.mjs";
import * as permit2lens from "./permit2lens.mjs";

const method = process.argv[5] ?? "eip3009";
const [itemsPerCall, concurrency, seconds] = [32, 2, 5].map((otherwise, i) => Number(process.argv[2 + i] ?? otherwise));
const abi = parseAbi([
  "function mint(address,uint256)",
  "function approve(address,uint256) returns (bool)",
  "function transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)",
]);
const TYPES = {
  TransferWithAuthorization: [
    { name: "from", type: "address" }, { name: "to", type: "address" }, { name: "value", type: "uint256" },
    { name: "validAfter", type: "uint256" }, { name: "validBefore", type: "uint256" }, { name: "nonce", type: "bytes32" },
  ],
};

const node = await anvil("--block-time", "1");
const agent = new Agent({ keepAlive: true, maxSockets: concurrency });
const post = (body) =>
  new Promise((resolve, reject) => {
    const sent = request(node.url, { method: "POST", agent, headers: { "content-type": "application/json", "content-length": body.length } }, (answer) => {
      const chunks = [];
      answer.on("data", (chunk) => chunks.push(chunk));
      answer.on("end", () => resolve(JSON.parse(Buffer.concat(chunks))));
    });
    sent.on("error", reject);
    sent.end(body);
  });
const rpc = async (method, params) => {
  const { result, error } = await post(Buffer.from(JSON.stringify({ jsonrpc: "2.0", id: 1, method, params })));
  if (error) throw new Error(error.message);
  return result;
};
await furnish(createTestClient({ mode: "anvil", transport: http(node.url) }));

const from = "0x00000000000000000000000000000000000fa7e5";
const to = "0x00000000000000000000000000000000000fa7ee";
const byEip3009 = async (payer, i) => {
  const message = { from: payer.address, to, value: 10_000n, validAfter: 0n, validBefore: 2n ** 40n, nonce: pad(numberToHex(i), { size: 32 }) };
  const signature = await payer.signTypedData({ domain: { name: "USDC", version: "2", chainId: 84532, verifyingContract: USDC }, types: TYPES, primaryType: "TransferWithAuthorization", message });
  const args = [...Object.values(message), Number(slice(signature, 64)), slice(signature, 0, 32), slice(signature, 32, 64)];
  return { token: USDC, gasCap: 120_000, transferCall: encodeFunctionData({ abi, functionName: "transferWithAuthorization", args }), signatureCall: "0x" };
};
const byPermit2 = async (payer, i) => {
  const proxy = method === "upto" ? UPTO_PROXY : EXACT_PROXY;
  const upto = method === "upto" ? { facilitator: from } : {};
  const permit = { permitted: { token: USDC, amount: 10_000n }, nonce: BigInt(i), deadline: 2n ** 40n };
  const typed = permit2lens.typedData(proxy, permit, { to, ...upto, validAfter: 0n });
  const signature = await payer.signTypedData(typed);
  const call = permit2lens.settleCall(proxy, permit, 10_000n, payer.address, typed.message.witness, signature);
  return { token: USDC, payer: payer.address, payee: to, proxy, value: 10_000n, nonce: BigInt(i), hash: hashTypedData(typed), gasCap: 140_000, call, tail: size(call) - 128 };
};

const items = [];
for (let i = 0; i < itemsPerCall; i++) {
  const payer = privateKeyToAccount(keccak256(stringToHex(`payer ${i}`)));
  await rpc("eth_sendTransaction", [{ from: "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", to: USDC, data: encodeFunctionData({ abi, functionName: "mint", args: [payer.address, 10n ** 9n] }) }]);
  await rpc("anvil_setBalance", [payer.address, "0xde0b6b3a7640000"]);
  await rpc("anvil_impersonateAccount", [payer.address]);
  await rpc("eth_sendTransaction", [{ from: payer.address, to: USDC, data: encodeFunctionData({ abi, functionName: "approve", args: [PERMIT2, 10n ** 9n] }) }]);
  items.push(await (method === "eip3009" ? byEip3009 : byPermit2)(payer, i));
}
await rpc("evm_mine", []);
const calls = {
  eip3009: () => [{ from, data: writeInput(items), gas: toHex(200_000 + itemsPerCall * (500_000 + 3 * 120_000)) }, "latest"],
  permit2: () => [{ from, to: from, data: permit2lens.writeInput(items), gas: toHex(200_000 + itemsPerCall * 780_000) }, "latest", { [from]: { code: permit2lens.lensCode } }],
};
const params = method === "eip3009" ? calls.eip3009() : calls.permit2();
const call = Buffer.from(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_call", params }));
const { result } = await post(call);
const records = method === "eip3009" ? readOutput(result).records : permit2lens.readOutput(result);
if (!records.every((record) => record.success && record.effect === 1)) throw new Error("not what is to be measured");

let done = 0;
const until = Date.now() + seconds * 1000;
const started = process.hrtime.bigint();
await Promise.all(Array.from({ length: concurrency }, async () => {
  while (Date.now() < until) {
    await post(call);
    done += itemsPerCall;
  }
}));
const elapsed = Number(process.hrtime.bigint() - started) / 1e9;
console.log(`${method}: ${itemsPerCall} items a call, ${concurrency} calls at once: ${Math.round(done / elapsed)} items/s, ${((elapsed * 1e6) / done).toFixed(1)} us each (request ${call.length} bytes)`);
agent.destroy();
await node.stop();
