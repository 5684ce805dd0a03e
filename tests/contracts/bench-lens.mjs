// How many payments a second one anvil answers through Eip3009Lens: node bench-lens.mjs [items a call] [calls at once] [seconds]
import { request, Agent } from "node:http";
import { encodeFunctionData, keccak256, numberToHex, pad, parseAbi, slice, stringToHex, toHex } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { anvil, code, readOutput, writeInput } from "./lens.mjs";

const [itemsPerCall, concurrency, seconds] = [32, 2, 5].map((otherwise, i) => Number(process.argv[2 + i] ?? otherwise));
const USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
const abi = parseAbi([
  "function mint(address,uint256)",
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
await rpc("anvil_setCode", [USDC, code("DemoUsdc", "runtime")]);

const from = "0x00000000000000000000000000000000000fa7e5";
const items = [];
for (let i = 0; i < itemsPerCall; i++) {
  const payer = privateKeyToAccount(keccak256(stringToHex(`payer ${i}`)));
  await rpc("eth_sendTransaction", [{ from: "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", to: USDC, data: encodeFunctionData({ abi, functionName: "mint", args: [payer.address, 10n ** 9n] }) }]);
  const message = { from: payer.address, to: "0x00000000000000000000000000000000000fa7ee", value: 10_000n, validAfter: 0n, validBefore: 2n ** 40n, nonce: pad(numberToHex(i), { size: 32 }) };
  const signature = await payer.signTypedData({ domain: { name: "USDC", version: "2", chainId: 84532, verifyingContract: USDC }, types: TYPES, primaryType: "TransferWithAuthorization", message });
  const args = [...Object.values(message), Number(slice(signature, 64)), slice(signature, 0, 32), slice(signature, 32, 64)];
  items.push({ token: USDC, gasCap: 150_000, transferCall: encodeFunctionData({ abi, functionName: "transferWithAuthorization", args }), signatureCall: "0x" });
}
await rpc("evm_mine", []);
const gas = 200_000 + itemsPerCall * (500_000 + 3 * 150_000);
const call = Buffer.from(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_call", params: [{ from, data: writeInput(items), gas: toHex(gas) }, "latest"] }));
const { records } = readOutput((await post(call)).result);
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
console.log(`${itemsPerCall} items a call, ${concurrency} calls at once: ${Math.round(done / elapsed)} items/s, ${((elapsed * 1e6) / done).toFixed(1)} us each (request ${call.length} bytes)`);
agent.destroy();
await node.stop();
