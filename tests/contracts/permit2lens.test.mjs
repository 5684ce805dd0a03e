// Permit2Lens against a real anvil: what it says about honest payments, and that hostile neighbours change nothing about that.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  concat, createPublicClient, createTestClient, createWalletClient, decodeErrorResult, encodeFunctionData, hashTypedData, hexToBytes, http, keccak256,
  pad, parseAbi, parseEther, parseSignature, size, stringToHex, toHex,
} from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { EXACT_PROXY, PERMIT2, UPTO_PROXY, USDC, furnish } from "./chain.mjs";
import { anvil, code } from "./lens.mjs";
import { exactAbi, lensCode, readOutput, settleCall, typedData, writeInput } from "./permit2lens.mjs";

const tokenAbi = parseAbi([
  "function mint(address,uint256)", "function approve(address,uint256) returns (bool)", "function execute(address,bytes)", "function refuse(bool)",
  "function nonces(address) view returns (uint256)",
]);
const MAX = 2n ** 256n - 1n;
const LATER = 2n ** 40n;
const GAS_CAP = 300_000;
const PAYEE = "0x00000000000000000000000000000000000fa7ee";
const payer = privateKeyToAccount(keccak256(stringToHex("payer")));
const gasWallet = privateKeyToAccount(keccak256(stringToHex("gas wallet")));
const stranger = privateKeyToAccount(keccak256(stringToHex("stranger")));

let node, client, wallet, testClient;
const tokens = {};
const wallets = {};

const send = async (to, functionName, args, account = gasWallet, abi = tokenAbi) => {
  const hash = await wallet.sendTransaction({ account, to, data: encodeFunctionData({ abi, functionName, args }), chain: null, gas: 3_000_000n });
  const receipt = await client.waitForTransactionReceipt({ hash });
  assert.equal(receipt.status, "success", `${functionName} of ${to}`);
  return receipt;
};
const deploy = async (name, ...args) => {
  const data = concat([code(name), ...args.map((arg) => pad(arg, { size: 32 }))]);
  const hash = await wallet.sendTransaction({ account: gasWallet, data, chain: null });
  return (await client.waitForTransactionReceipt({ hash })).contractAddress;
};
before(async () => {
  node = await anvil();
  const transport = http(node.url);
  client = createPublicClient({ transport, pollingInterval: 20, cacheTime: 0 });
  wallet = createWalletClient({ transport });
  testClient = createTestClient({ mode: "anvil", transport });
  for (const { address } of [payer, gasWallet]) await testClient.setBalance({ address, value: parseEther("1000") });
  await furnish(testClient);
  tokens.usdc = USDC;
  for (const name of [
    "FeeOnTransferUsdc", "IdleUsdc", "FakeEventUsdc", "ShortUsdc", "GasBurnerUsdc", "ReentrantUsdc", "ReturnBombUsdc", "GarbageBalanceUsdc", "PlainErc20",
  ]) tokens[name] = await deploy(name);
  for (const name of ["OwnerWallet", "CallOnlyWallet", "FlippingWallet"]) wallets[name] = await deploy(name, payer.address);
  for (const name of ["GasBurnerWallet", "ReturnBombWallet", "RevertingWallet", "DirtyWallet"]) wallets[name] = await deploy(name);
  for (const token of Object.values(tokens)) {
    await send(token, "mint", [payer.address, 1_000_000n]);
    await send(token, "approve", [PERMIT2, MAX], payer);
  }
  for (const address of Object.values(wallets)) {
    await send(USDC, "mint", [address, 1_000_000n]);
    await testClient.impersonateAccount({ address });
    await testClient.setBalance({ address, value: parseEther("1") });
    const hash = await client.request({ method: "eth_sendTransaction", params: [{ from: address, to: USDC, data: encodeFunctionData({ abi: tokenAbi, functionName: "approve", args: [PERMIT2, MAX] }) }] });
    assert.equal((await client.waitForTransactionReceipt({ hash })).status, "success");
  }
  // Code which destroys itself whatever it is asked, and code that is not there.
  tokens.SelfDestruct = "0x00000000000000000000000000000000000dead1";
  await testClient.setCode({ address: tokens.SelfDestruct, bytecode: "0x33ff" });
  tokens.Invalid = "0x00000000000000000000000000000000000dead2";
  await testClient.setCode({ address: tokens.Invalid, bytecode: "0xfe" });
  tokens.Nothing = "0x00000000000000000000000000000000000dead3";
});
after(() => node?.stop());

let nonces = 0xfen; // across the edge of a word of the bitmap
/** A payment as an item of the lens; by default an honest one of scheme `exact`. */
const payment = async ({ spender = EXACT_PROXY, token = USDC, from = payer.address, to = PAYEE, amount = 10_000n, charged = amount, deadline = LATER, validAfter = 0n, signer = payer, facilitator = gasWallet.address, gasCap = GAS_CAP, permit2612 } = {}) => {
  const nonce = ++nonces;
  const permit = { permitted: { token, amount }, nonce, deadline };
  const witness = spender === UPTO_PROXY ? { to, facilitator, validAfter } : { to, validAfter };
  const message = typedData(spender, permit, witness);
  const signature = await signer.signTypedData(message);
  const call = settleCall(spender, permit, charged, from, witness, signature, permit2612);
  return { token, payer: from, payee: to, proxy: spender, value: charged, nonce, hash: hashTypedData(message), gasCap, call, tail: size(call) - 128 };
};
const call = async (items, { from = gasWallet.address, gas = 30_000_000, data = writeInput(items), price = {} } = {}) => {
  const params = [{ from, to: from, data, gas: toHex(gas), ...price }, "latest", { [from]: { code: lensCode, balance: toHex(parseEther("1000")) } }];
  return readOutput(await client.request({ method: "eth_call", params }));
};
const one = async (item, options) => (await call([item], options))[0];
const reason = (record) => {
  const { errorName, args } = decodeErrorResult({ abi: exactAbi, data: record.revert });
  return errorName === "Error" ? args[0] : errorName;
};
const VALID = {
  asked: true, tokenCode: true, payerCode: false, balanceKnown: true, nonceKnown: true, used: false, success: true, allowanceKnown: true,
  proxyWorks: true, signature: 0, effect: 1, balance: 1_000_000n, allowance: MAX, revert: "0x",
};
const without = ({ gasUsed, ...rest }) => rest;
const unworded = (record) => ({ ...without(record), revert: "0x" });

test("an honest payment of either scheme", async () => {
  for (const spender of [EXACT_PROXY, UPTO_PROXY]) assert.deepEqual(without(await one(await payment({ spender }))), VALID, spender);
  assert.deepEqual(without(await one(await payment({ spender: UPTO_PROXY, charged: 1n }))), VALID);
});

test("a gas wallet speaks in its own name, and for itself only", async () => {
  const item = await payment({ spender: UPTO_PROXY });
  assert.equal(reason(await one(item, { from: stranger.address })), "UnauthorizedFacilitator");
  const foreign = await payment({ spender: UPTO_PROXY, facilitator: stranger.address });
  assert.deepEqual(without(await one(foreign, { from: stranger.address })), VALID);
  assert.equal(reason(await one(foreign)), "UnauthorizedFacilitator");
  // To others it is an account without code: a call to it says nothing, whatever it asks.
  for (const data of ["0x", "0x00", writeInput([item])]) {
    const params = [{ from: stranger.address, to: gasWallet.address, data }, "latest", { [gasWallet.address]: { code: lensCode } }];
    assert.equal(await client.request({ method: "eth_call", params }), "0x");
  }
});

test("gas used is what the transaction then uses, also for the last of 16", async () => {
  // The proxies' guards are set up by their first use.
  for (const spender of [EXACT_PROXY, UPTO_PROXY]) {
    const { proxy, call: data } = await payment({ spender });
    await client.waitForTransactionReceipt({ hash: await wallet.sendTransaction({ account: gasWallet, to: proxy, data, chain: null }) });
    const items = await Promise.all(Array.from({ length: 16 }, () => payment({ spender })));
    const last = (await call(items)).at(-1);
    const hash = await wallet.sendTransaction({ account: gasWallet, to: proxy, data: items.at(-1).call, chain: null });
    const { gasUsed } = await client.waitForTransactionReceipt({ hash });
    const bytes = hexToBytes(items.at(-1).call);
    const intrinsic = 21_000 + bytes.reduce((sum, byte) => sum + (byte === 0 ? 4 : 16), 0);
    const paid = last.gasUsed + intrinsic;
    // A transaction gives a part back at its end, at most a fifth, for the guard that is where it was.
    assert.ok(paid >= Number(gasUsed) - 200 && paid <= (Number(gasUsed) * 5) / 4, `${paid} against ${gasUsed}`);
    const used = await one(items.at(-1));
    assert.deepEqual([used.used, used.success, reason(used)], [true, false, "InvalidNonce"]);
    await send(USDC, "mint", [payer.address, 20_000n]);
    await send(USDC, "approve", [PERMIT2, MAX], payer);
  }
});

test("why a payment would fail", async () => {
  const poor = privateKeyToAccount(generatePrivateKey());
  await send(USDC, "mint", [poor.address, 10_000n]);
  const cases = [
    [{ signer: stranger }, "InvalidSigner", {}],
    [{ amount: 1_000_001n }, "TRANSFER_FROM_FAILED", {}],
    [{ deadline: 1n }, "SignatureExpired", {}],
    [{ validAfter: LATER }, "PaymentTooEarly", {}],
    [{ from: poor.address, signer: poor }, "TRANSFER_FROM_FAILED", { balance: 10_000n, allowance: 0n }],
  ];
  for (const spender of [EXACT_PROXY, UPTO_PROXY]) {
    for (const [change, expected, differs] of cases) {
      const record = await one(await payment({ spender, ...change }));
      assert.equal(reason(record), expected);
      assert.deepEqual(unworded(record), { ...VALID, success: false, effect: 0, ...differs }, expected);
    }
  }
  assert.equal(reason(await one(await payment({ spender: UPTO_PROXY, amount: 10n, charged: 11n }))), "AmountExceedsPermitted");
});

test("a permit that comes along is tried, and its allowance is not there before", async () => {
  const account = privateKeyToAccount(generatePrivateKey());
  await send(USDC, "mint", [account.address, 1_000_000n]);
  const message = { owner: account.address, spender: PERMIT2, value: 10_000n, nonce: 0n, deadline: LATER };
  const types = { Permit: [{ name: "owner", type: "address" }, { name: "spender", type: "address" }, { name: "value", type: "uint256" }, { name: "nonce", type: "uint256" }, { name: "deadline", type: "uint256" }] };
  const signature = await account.signTypedData({ domain: { name: "USDC", version: "2", chainId: 84532, verifyingContract: USDC }, types, primaryType: "Permit", message });
  const { r, s, v } = parseSignature(signature);
  const permit2612 = { value: 10_000n, deadline: LATER, r, s, v: Number(v) };
  for (const spender of [EXACT_PROXY, UPTO_PROXY]) {
    const item = await payment({ spender, from: account.address, signer: account, permit2612 });
    assert.deepEqual(without(await one(item)), { ...VALID, allowance: 0n });
    const wrong = await payment({ spender, from: account.address, signer: account, permit2612: { ...permit2612, r: s } });
    assert.deepEqual(unworded(await one(wrong)), { ...VALID, allowance: 0n, success: false, effect: 0 });
  }
});

test("a chain without Permit2 or a proxy", async () => {
  const item = await payment();
  for (const [address, expected] of [[EXACT_PROXY, { proxyWorks: false }], [PERMIT2, { nonceKnown: false }]]) {
    const bytecode = await client.getCode({ address });
    await testClient.setCode({ address, bytecode: "0x" });
    const { proxyWorks, nonceKnown, effect } = await one(item);
    assert.deepEqual({ proxyWorks, nonceKnown }, { proxyWorks: true, nonceKnown: true, ...expected });
    assert.notEqual(effect, 1);
    await testClient.setCode({ address, bytecode });
  }
});

test("two payments from one balance are judged as if alone", async () => {
  const items = [await payment({ amount: 1_000_000n }), await payment({ amount: 1_000_000n, spender: UPTO_PROXY })];
  for (const record of await call(items)) assert.deepEqual(without(record), VALID);
});

test("hostile tokens", async () => {
  const token = async (name, change = {}) => one(await payment({ token: tokens[name], ...change }));
  for (const name of ["FeeOnTransferUsdc", "IdleUsdc", "FakeEventUsdc", "ShortUsdc", "ReentrantUsdc"]) {
    const record = await token(name);
    assert.ok(record.effect === 2 || !record.success, name);
    assert.deepEqual([record.asked, record.nonceKnown, record.used, record.proxyWorks], [true, true, false, true], name);
  }
  const garbage = await token("GarbageBalanceUsdc");
  assert.deepEqual([garbage.effect, garbage.balanceKnown, garbage.balance], [0, false, 0n]);
  assert.equal((await token("PlainErc20")).effect, 1);
  for (const name of ["SelfDestruct", "Invalid"]) {
    const record = await token(name);
    assert.deepEqual([record.effect, record.balanceKnown, record.allowanceKnown, record.tokenCode], [0, false, false, true], name);
  }
  const nothing = await token("Nothing");
  assert.deepEqual([nothing.effect, nothing.tokenCode, nothing.balanceKnown, nothing.allowanceKnown], [0, false, false, false]);
});

test("wallets", async () => {
  const ask = async (name, change = {}) => one(await payment({ from: wallets[name], ...change }));
  const WALLET = { ...VALID, payerCode: true, signature: 1 };
  const REFUSED = { ...WALLET, signature: 2, success: false, effect: 0 };
  assert.deepEqual(without(await ask("OwnerWallet")), WALLET);
  assert.deepEqual(without(await ask("OwnerWallet", { spender: UPTO_PROXY })), WALLET);
  assert.deepEqual(unworded(await ask("OwnerWallet", { signer: stranger })), REFUSED);
  assert.deepEqual(without(await ask("CallOnlyWallet")), WALLET);
  const price = { maxFeePerGas: toHex(10n ** 10n), maxPriorityFeePerGas: toHex(1n) };
  assert.deepEqual(unworded((await call([await payment({ from: wallets.CallOnlyWallet })], { price }))[0]), REFUSED);
  assert.deepEqual(without(await ask("FlippingWallet")), WALLET);
  await send(wallets.FlippingWallet, "refuse", [true], payer);
  assert.deepEqual(unworded(await ask("FlippingWallet")), REFUSED);
  assert.deepEqual(unworded(await ask("GasBurnerWallet")), { ...REFUSED, signature: 3 });
  assert.deepEqual(unworded(await ask("RevertingWallet")), { ...REFUSED, signature: 3 });
  assert.deepEqual(without(await ask("ReturnBombWallet")), WALLET);
  const dirty = await ask("DirtyWallet");
  assert.deepEqual([dirty.signature, dirty.success], [2, false]);
  // The gas wallet itself has code for the time of the call, and gives no signature by it.
  const own = await one(await payment({ from: gasWallet.address, signer: gasWallet }));
  assert.deepEqual([own.signature, own.success], [3, false]);
});

test("no item changes another's record", async () => {
  const items = [];
  for (const token of Object.values(tokens)) items.push(await payment({ token }));
  for (const from of Object.values(wallets)) items.push(await payment({ from, spender: UPTO_PROXY }));
  items.push(await payment({ gasCap: 0 }), await payment({ gasCap: 21_000 }), await payment());
  // The generous caps of 22 hostile items do not fit into 30 million.
  const options = { gas: 100_000_000 };
  const alone = [];
  for (const item of items) alone.push(await one(item, options));
  assert.equal(alone.every((record) => record.asked), true);
  assert.deepEqual(await call(items, options), alone);
  assert.deepEqual((await call([...items].reverse(), options)).reverse(), alone);
});

test("the documented gas is enough for the worst, and less leaves out, never misjudges", async () => {
  const worst = [];
  for (let i = 0; i < 12; i++) worst.push(await payment({ token: tokens.GasBurnerUsdc }), await payment({ from: wallets.GasBurnerWallet }));
  const items = [...worst, await payment()];
  const enough = items.reduce((sum, { call: data }) => sum + 450_000 + (GAS_CAP * 9) / 4 + 16 * (185 + size(data)), 200_000);
  const all = await call(items, { gas: enough });
  assert.deepEqual(all.map((record) => record.asked), items.map(() => true));
  assert.deepEqual(without(all.at(-1)), VALID);
  for (const gas of [4_000_000, 8_000_000, 12_000_000, 16_000_000]) {
    const records = await call(items, { gas });
    for (const [i, record] of records.entries()) {
      if (record.asked) assert.deepEqual(record, all[i]);
      else assert.ok(Object.values(record).every((value) => !value || value === "0x"), "nothing is said");
    }
    assert.ok(records.some((record) => !record.asked));
  }
});

test("128 items, and a malformed input", async () => {
  const items = await Promise.all(Array.from({ length: 128 }, () => payment()));
  const records = await call(items, { gas: 100_000_000 });
  assert.equal(records.length, 128);
  for (const record of records) assert.deepEqual(without(record), VALID);
  const good = writeInput([items[0]]);
  const bad = [
    "0x00", "0x01", "0x",
    `0x00${good.slice(4)}`, // no items
    `0x02${good.slice(4)}`, // one too few
    `0x81${good.slice(4)}`, // more than 128
    `${good}00`, // a byte too many
    good.slice(0, -2), // one too few
    `0x0101${good.slice(6)}`, // an item that does not begin with 0
    writeInput([{ ...items[0], tail: size(items[0].call) }]), // no room for a length
  ];
  for (const data of bad) await assert.rejects(call([], { data }), data.slice(0, 10));
});
