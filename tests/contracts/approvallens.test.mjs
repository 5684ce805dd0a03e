// What ApprovalLens says of an approval and the settlement after it, on a real anvil.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { concat, createPublicClient, createTestClient, encodeFunctionData, getAddress, hexToBigInt, hexToNumber, http, maxUint256, numberToHex, parseAbi, slice, toHex } from "viem";
import { EXACT_PROXY, PERMIT2, UPTO_PROXY, USDC, furnish } from "./chain.mjs";
import { anvil, code } from "./lens.mjs";

const abi = parseAbi([
  "function approve(address,uint256) returns (bool)", "function mint(address,uint256)", "function allowance(address,address) view returns (uint256)",
  "function settle(((address token, uint256 amount) permitted, uint256 nonce, uint256 deadline) permit, address owner, (address to, uint256 validAfter) witness, bytes signature)",
]);
const uptoAbi = parseAbi([
  "function settle(((address token, uint256 amount) permitted, uint256 nonce, uint256 deadline) permit, uint256 amount, address owner, (address to, address facilitator, uint256 validAfter) witness, bytes signature)",
]);
const account = (byte) => getAddress(`0x${byte.repeat(20)}`);
const [wallet, payer, payee, stranger] = ["a1", "a2", "a3", "a4"].map(account);
const permit = (nonce, amount = 10_000n) => ({ permitted: { token: USDC, amount }, nonce, deadline: 2n ** 40n });
// The lens vouches for every signature: whoever asks has checked it.
const signature = "0x1234";
const settle = (nonce, amount) => encodeFunctionData({ abi, functionName: "settle", args: [permit(nonce, amount), payer, { to: payee, validAfter: 0n }, signature] });
const charge = (nonce, facilitator = wallet) => encodeFunctionData({ abi: uptoAbi, functionName: "settle", args: [permit(nonce), 1_234n, payer, { to: payee, facilitator, validAfter: 0n }, signature] });
const approve = (amount = maxUint256) => encodeFunctionData({ abi, functionName: "approve", args: [PERMIT2, amount] });

let node, client;

before(async () => {
  node = await anvil();
  client = createPublicClient({ transport: http(node.url) });
  const testClient = createTestClient({ mode: "anvil", transport: http(node.url) });
  await furnish(testClient);
  await testClient.setBalance({ address: stranger, value: 10n ** 18n });
  await testClient.impersonateAccount({ address: stranger });
  const data = encodeFunctionData({ abi, functionName: "mint", args: [payer, 20_000n] });
  await testClient.request({ method: "eth_sendTransaction", params: [{ from: stranger, to: USDC, data }] });
});
after(() => node?.stop());

const write = ({ proxy = EXACT_PROXY, value = 10_000n, approveGas = 100_000, settleGas = 140_000, approval = approve(), call = settle(1n) } = {}) =>
  concat(["0x02", USDC, payer, payee, proxy, toHex(value, { size: 32 }), toHex(approveGas, { size: 4 }), toHex(settleGas, { size: 4 }), approval, call]);
const raw = (data, from = wallet, gas = 900_000) => {
  const lens = { code: code("ApprovalLens", "runtime") };
  return client.request({ method: "eth_call", params: [{ from, to: wallet, data, gas: numberToHex(gas) }, "latest", { [wallet]: lens, [payer]: lens }] });
};
const ask = async (fields) => {
  const answer = await raw(write(fields));
  assert.equal(hexToNumber(slice(answer, 0, 1)), 1);
  return { flags: hexToNumber(slice(answer, 1, 2)), gas: hexToNumber(slice(answer, 2, 6)), revert: answer.length > 14 ? slice(answer, 6) : "0x" };
};

test("an approval and the settlement after it are both executed, by whom they will be", async () => {
  for (const fields of [{}, { approval: approve(10_000n) }, { proxy: UPTO_PROXY, value: 1_234n, call: charge(1n) }]) {
    const { flags, gas, revert } = await ask(fields);
    assert.deepEqual([flags, revert], [15, "0x"]);
    assert.ok(gas > 40_000 && gas < 140_000, String(gas));
  }
  assert.equal(await client.readContract({ address: USDC, abi, functionName: "allowance", args: [payer, PERMIT2] }), 0n, "and nothing of it stays");
  assert.equal((await ask({ value: 9_999n })).flags, 7, "the payee gets another amount");
});

test("what fails is told, and why", async () => {
  assert.deepEqual([(await ask({ approveGas: 10_000 })).flags, (await ask({ approval: concat(["0x12345678", toHex(0, { size: 64 })]) })).flags], [0, 0]);
  const failing = [{ approval: approve(9_999n) }, { call: settle(1n, 20_001n) }, { settleGas: 30_000 }, { proxy: UPTO_PROXY, call: charge(1n, stranger) }];
  for (const fields of failing) assert.equal((await ask(fields)).flags, 1, JSON.stringify(Object.keys(fields)));
  const { revert } = await ask({ proxy: UPTO_PROXY, call: charge(1n, stranger) });
  assert.equal(revert, "0x0f6fae87", "UnauthorizedFacilitator()");
});

test("everybody else finds accounts without code", async () => {
  assert.equal(await raw(write(), stranger), "0x");
  assert.equal(await raw("0x", stranger), "0x");
  for (const malformed of ["0x", "0x03", slice(write(), 0, 188)]) await assert.rejects(raw(malformed), malformed);
});

test("the gas that is asked for suffices for the largest caps", async () => {
  const fields = { approveGas: 100_000, settleGas: 250_000 };
  const size = BigInt((write(fields).length - 2) / 2);
  const gas = 400_000n + (350_000n * 5n) / 4n + 40n * size;
  const answer = await raw(write(fields), wallet, gas);
  assert.equal(hexToBigInt(slice(answer, 1, 2)), 15n);
});
