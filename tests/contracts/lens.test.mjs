// Eip3009Lens against a real anvil: what it says about honest payments, and that hostile neighbours change nothing about that.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  concat, createPublicClient, createTestClient, createWalletClient, decodeErrorResult, encodeAbiParameters, encodeFunctionData,
  hashTypedData, hexToBytes, http, keccak256, numberToHex, pad, parseAbi, parseEther, size, slice, stringToHex, toHex,
} from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { anvil, code, lensCode, readOutput, writeInput } from "./lens.mjs";

const abi = parseAbi([
  "function mint(address,uint256)",
  "function transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)",
  "function transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)",
  "function isValidSignature(bytes32,bytes) view returns (bytes4)",
  "function balanceOf(address) view returns (uint256)",
  "function DOMAIN_SEPARATOR() view returns (bytes32)",
  "function cancelAuthorization(address,bytes32,uint8,bytes32,bytes32)",
  "function permit(address,address,uint256,uint256,uint8,bytes32,bytes32)",
  "function allowance(address,address) view returns (uint256)",
  "function pause()",
  "function unpause()",
  "function blacklist(address)",
  "function unBlacklist(address)",
  "function deploy(address,bytes32) returns (address)",
  "function addressOf(address,bytes32) view returns (address)",
  "function refuse(bool)",
  "error Error(string)",
]);
const USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
const GAS_CAP = 300_000;
const PAYEE = "0x00000000000000000000000000000000000fa7ee";
const payer = privateKeyToAccount(keccak256(stringToHex("payer")));
const gasWallet = privateKeyToAccount(keccak256(stringToHex("gas wallet")));

let node, client, wallet, testClient;
const tokens = {};
const wallets = {};

const send = async (to, functionName, args = [], account = gasWallet) => {
  const hash = await wallet.sendTransaction({ account, to, data: encodeFunctionData({ abi, functionName, args }), chain: null, gas: 3_000_000n });
  const receipt = await client.waitForTransactionReceipt({ hash });
  assert.equal(receipt.status, "success");
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
  await testClient.setBalance({ address: gasWallet.address, value: parseEther("1000") });
  await testClient.setBalance({ address: payer.address, value: parseEther("1000") });
  await testClient.setCode({ address: USDC, bytecode: code("DemoUsdc", "runtime") });
  tokens.usdc = USDC;
  for (const name of [
    "FeeOnTransferUsdc", "IdleUsdc", "FakeEventUsdc", "ShortUsdc", "GasBurnerUsdc", "ReentrantUsdc", "ReturnBombUsdc", "GarbageBalanceUsdc", "PlainErc20",
  ]) tokens[name] = await deploy(name);
  for (const name of ["OwnerWallet", "CallOnlyWallet", "FlippingWallet"]) wallets[name] = await deploy(name, payer.address);
  for (const name of ["GasBurnerWallet", "ReturnBombWallet", "Eip7702Delegate", "OwnerWalletFactory"]) wallets[name] = await deploy(name);
  for (const token of Object.values(tokens)) await send(token, "mint", [payer.address, 1_000_000n]);
  for (const address of Object.values(wallets)) await send(USDC, "mint", [address, 1_000_000n]);
  // Code which destroys itself whatever it is asked, and code that is not there.
  tokens.SelfDestruct = "0x00000000000000000000000000000000000dead1";
  await testClient.setCode({ address: tokens.SelfDestruct, bytecode: "0x33ff" });
  tokens.Invalid = "0x00000000000000000000000000000000000dead2";
  await testClient.setCode({ address: tokens.Invalid, bytecode: "0xfe" });
  tokens.Nothing = "0x00000000000000000000000000000000000dead3";
});
after(() => node?.stop());

const TYPES = {
  TransferWithAuthorization: [
    { name: "from", type: "address" }, { name: "to", type: "address" }, { name: "value", type: "uint256" },
    { name: "validAfter", type: "uint256" }, { name: "validBefore", type: "uint256" }, { name: "nonce", type: "bytes32" },
  ],
};
const domain = (token) => ({ name: "USDC", version: "2", chainId: 84532, verifyingContract: token });
let nonces = 0n;
// A payment as an item of the lens; by default an honest one.
const payment = async ({ token = USDC, from = payer.address, to = PAYEE, value = 10_000n, validAfter = 0n, validBefore = 2n ** 40n, signer = payer, gasCap = GAS_CAP, bytes = false, ask = false, signature } = {}) => {
  const nonce = pad(numberToHex(++nonces), { size: 32 });
  const message = { from, to, value, validAfter, validBefore, nonce };
  const typed = { domain: domain(token), types: TYPES, primaryType: "TransferWithAuthorization", message };
  signature ??= await signer.signTypedData(typed);
  const head = [from, to, value, validAfter, validBefore, nonce];
  const transferCall = encodeFunctionData({
    abi,
    functionName: "transferWithAuthorization",
    args: bytes ? [...head, signature] : [...head, Number(slice(signature, 64)), slice(signature, 0, 32), slice(signature, 32, 64)],
  });
  const signatureCall = ask ? encodeFunctionData({ abi, functionName: "isValidSignature", args: [hashTypedData(typed), signature] }) : "0x";
  return { token, gasCap, transferCall, signatureCall, nonce };
};
const call = async (items, extra = {}) => {
  const data = await client.request({ method: "eth_call", params: [{ from: gasWallet.address, data: writeInput(items), gas: toHex(30_000_000), ...extra }, "latest"] });
  return readOutput(data);
};
const one = async (item, extra) => (await call([item], extra)).records[0];
const reason = (record) => decodeErrorResult({ abi, data: record.revert }).args[0];

const VALID = {
  asked: true, tokenCode: true, payerCode: false, delegated: false, balanceKnown: true, stateKnown: true, used: false, success: true,
  signature: 0, effect: 1, balance: 1_000_000n, revert: "0x",
};
const without = ({ gasUsed, ...rest }) => rest;

test("an honest payment, either overload", async () => {
  for (const bytes of [false, true]) {
    const { header, records } = await call([await payment({ bytes })]);
    assert.deepEqual(without(records[0]), VALID);
    assert.ok(records[0].gasUsed > 50_000 && records[0].gasUsed < 90_000, String(records[0].gasUsed));
    const block = await client.getBlock();
    assert.equal(header.timestamp >= block.timestamp, true);
    assert.equal(header.number - block.number <= 1n, true);
  }
});

test("gas used is what the transaction then uses, also for the last of 32", async () => {
  const items = await Promise.all(Array.from({ length: 32 }, () => payment()));
  const { records } = await call(items);
  // v = 28 takes one comparison more than v = 27.
  const gas = records.map((record) => record.gasUsed);
  assert.ok(Math.max(...gas) - Math.min(...gas) < 50, String(gas));
  const hash = await wallet.sendTransaction({ account: gasWallet, to: USDC, data: items[31].transferCall, chain: null });
  const { gasUsed } = await client.waitForTransactionReceipt({ hash });
  const bytes = hexToBytes(items[31].transferCall);
  const intrinsic = 21_000 + bytes.reduce((sum, byte) => sum + (byte === 0 ? 4 : 16), 0);
  // The CALL itself costs about a hundred.
  assert.ok(Math.abs(records[31].gasUsed + intrinsic - Number(gasUsed)) < 200, `${records[31].gasUsed} + ${intrinsic} against ${gasUsed}`);
  await send(USDC, "mint", [payer.address, 10_000n]);
  const used = await one(items[31]);
  assert.equal(used.used, true);
  assert.equal(used.success, false);
  assert.equal(reason(used), "FiatTokenV2: authorization is used or canceled");
});

test("why a payment would fail", async () => {
  const stranger = privateKeyToAccount(keccak256(stringToHex("stranger")));
  const cases = [
    [{ signer: stranger }, "FiatTokenV2: invalid signature"],
    [{ value: 1_000_001n }, "ERC20: transfer amount exceeds balance"],
    [{ validBefore: 1n }, "FiatTokenV2: authorization is expired"],
    [{ validAfter: 2n ** 39n }, "FiatTokenV2: authorization is not yet valid"],
    [{ to: "0x0000000000000000000000000000000000000000" }, "ERC20: transfer to the zero address"],
    [{ bytes: true, signature: "0x1234" }, "ECRecover: invalid signature length"],
    [{ bytes: true, signature: concat([pad("0x01", { size: 32 }), "0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", "0x1b"]) }, "ECRecover: invalid signature 's' value"],
    [{ bytes: true, signature: concat([pad("0x01", { size: 32 }), pad("0x01", { size: 32 }), "0x00"]) }, "ECRecover: invalid signature 'v' value"],
  ];
  for (const [change, expected] of cases) {
    const record = await one(await payment(change));
    assert.equal(record.success, false, expected);
    assert.equal(record.effect, 0);
    assert.equal(reason(record), expected);
    assert.equal(record.balance, 1_000_000n);
  }
  await send(USDC, "pause");
  assert.equal(reason(await one(await payment())), "Pausable: paused");
  await send(USDC, "unpause");
  await send(USDC, "blacklist", [PAYEE]);
  assert.equal(reason(await one(await payment())), "Blacklistable: account is blacklisted");
  await send(USDC, "unBlacklist", [PAYEE]);
});

test("a payment to oneself has no effect", async () => {
  assert.deepEqual(without(await one(await payment({ to: payer.address }))), { ...VALID, effect: 2 });
});

test("two payments from one balance are judged as if alone", async () => {
  const items = [await payment({ value: 1_000_000n }), await payment({ value: 1_000_000n })];
  for (const record of (await call(items)).records) assert.deepEqual(without(record), VALID);
});

test("hostile tokens", async () => {
  const token = async (name, change = {}) => one(await payment({ token: tokens[name], ...change }));
  assert.deepEqual(without(await token("FeeOnTransferUsdc")), { ...VALID, effect: 2 });
  assert.deepEqual(without(await token("IdleUsdc")), { ...VALID, effect: 2 });
  assert.deepEqual(without(await token("FakeEventUsdc")), { ...VALID, effect: 2 });
  assert.deepEqual(without(await token("ShortUsdc")), { ...VALID, effect: 2 });
  assert.deepEqual(without(await token("ReentrantUsdc")), { ...VALID, effect: 2 });
  assert.deepEqual(without(await token("GarbageBalanceUsdc")), { ...VALID, effect: 0, balanceKnown: false, balance: 0n });

  const burner = await token("GasBurnerUsdc");
  assert.deepEqual(without(burner), { ...VALID, success: false, effect: 0 });
  assert.ok(burner.gasUsed >= GAS_CAP && burner.gasUsed < GAS_CAP + 3_000, String(burner.gasUsed));

  const bomb = await token("ReturnBombUsdc");
  assert.equal(size(bomb.revert), 132);
  assert.deepEqual({ ...without(bomb), revert: "0x" }, { ...VALID, success: false, effect: 0 });

  assert.deepEqual(without(await token("PlainErc20")), { ...VALID, success: false, effect: 0, stateKnown: false });
  assert.deepEqual(without(await token("Invalid")), { ...VALID, success: false, effect: 0, balanceKnown: false, stateKnown: false, balance: 0n });
  assert.deepEqual(without(await token("SelfDestruct")), { ...VALID, effect: 0, balanceKnown: false, stateKnown: false, balance: 0n });
  assert.deepEqual(await token("Nothing"), { ...VALID, tokenCode: false, success: false, effect: 0, balanceKnown: false, stateKnown: false, balance: 0n, gasUsed: 0 });
});

test("wallets", async () => {
  const ask = async (name, change = {}, extra) => one(await payment({ from: wallets[name], ask: true, ...change }), extra);
  const WALLET = { ...VALID, payerCode: true, signature: 1 };
  const REFUSED = { ...WALLET, signature: 2, success: false, effect: 0 };
  const unworded = (record) => ({ ...without(record), revert: "0x" });
  assert.deepEqual(without(await ask("OwnerWallet")), WALLET);
  assert.deepEqual(without(await ask("OwnerWallet", { bytes: true })), WALLET);
  const stranger = privateKeyToAccount(keccak256(stringToHex("stranger")));
  assert.deepEqual(unworded(await ask("OwnerWallet", { signer: stranger })), REFUSED);

  assert.deepEqual(without(await ask("CallOnlyWallet")), WALLET);
  assert.deepEqual(unworded(await ask("CallOnlyWallet", {}, { gasPrice: toHex(10n ** 10n) })), REFUSED);
  assert.deepEqual(without(await ask("FlippingWallet")), WALLET);
  await send(wallets.FlippingWallet, "refuse", [true], payer);
  assert.deepEqual(unworded(await ask("FlippingWallet")), REFUSED);

  assert.deepEqual(unworded(await ask("GasBurnerWallet")), { ...REFUSED, signature: 3 });
  assert.deepEqual(without(await ask("ReturnBombWallet")), WALLET);
  assert.deepEqual(unworded(await ask("Eip7702Delegate")), REFUSED); // not delegated to: its own address has no key

  // Asked about an account without code there is nothing to ask.
  assert.deepEqual(without(await one(await payment({ ask: true }))), VALID);
});

test("an account that delegates by EIP-7702", async () => {
  const account = privateKeyToAccount(generatePrivateKey());
  await send(USDC, "mint", [account.address, 1_000_000n]);
  const authorization = await account.signAuthorization({ chainId: 84532, nonce: 0, contractAddress: wallets.Eip7702Delegate });
  const hash = await wallet.sendTransaction({ account: gasWallet, to: account.address, authorizationList: [authorization], chain: null, gas: 200_000n });
  await client.waitForTransactionReceipt({ hash });
  const own = await one(await payment({ from: account.address, signer: account, ask: true }));
  assert.deepEqual(without(own), { ...VALID, payerCode: true, delegated: true, signature: 1 });
  const foreign = await one(await payment({ from: account.address, signer: payer, ask: true }));
  assert.equal(foreign.signature, 2);
  assert.equal(foreign.success, false);
});

test("a wallet from the factory is where it was said to be", async () => {
  const salt = pad("0x07", { size: 32 });
  const address = await client.readContract({ address: wallets.OwnerWalletFactory, abi, functionName: "addressOf", args: [payer.address, salt] });
  await send(USDC, "mint", [address, 1_000_000n]);
  const before = await one(await payment({ from: address, ask: true }));
  assert.deepEqual([before.payerCode, before.signature, before.success], [false, 0, false]);
  await send(wallets.OwnerWalletFactory, "deploy", [payer.address, salt]);
  await send(wallets.OwnerWalletFactory, "deploy", [payer.address, salt]);
  assert.deepEqual(without(await one(await payment({ from: address, ask: true }))), { ...VALID, payerCode: true, signature: 1 });
});

test("a token behind a proxy", async () => {
  // EIP-1167: everything is delegated, storage is the proxy's.
  const proxy = "0x00000000000000000000000000000000000dead4";
  await testClient.setCode({ address: proxy, bytecode: concat(["0x363d3d373d3d3d363d73", USDC, "0x5af43d82803e903d91602b57fd5bf3"]) });
  await send(proxy, "mint", [payer.address, 1_000_000n]);
  assert.deepEqual(without(await one(await payment({ token: proxy }))), VALID);
});

test("no item changes another's record", async () => {
  const items = [];
  for (const token of Object.values(tokens)) items.push(await payment({ token }));
  for (const from of Object.values(wallets)) items.push(await payment({ from, ask: true, bytes: true }));
  items.push(await payment({ gasCap: 0 }), await payment({ gasCap: 21_000 }), await payment());
  // The generous caps of 26 hostile items do not fit into 30 million.
  const extra = { gas: toHex(100_000_000) };
  const alone = [];
  for (const item of items) alone.push(await one(item, extra));
  assert.equal(alone.every((record) => record.asked), true);
  assert.deepEqual((await call(items, extra)).records, alone);
  assert.deepEqual((await call([...items].reverse(), extra)).records.reverse(), alone);
});

test("the documented gas is enough for the worst, and less leaves out, never misjudges", async () => {
  const worst = [];
  for (let i = 0; i < 16; i++) worst.push(await payment({ token: tokens.GasBurnerUsdc }), await payment({ from: wallets.GasBurnerWallet, ask: true, bytes: true }));
  const items = [...worst, await payment()];
  const enough = 200_000 + items.length * (500_000 + 3 * GAS_CAP);
  const all = (await call(items, { gas: toHex(enough) })).records;
  assert.deepEqual(all.map((record) => record.asked), items.map(() => true));
  assert.deepEqual(without(all.at(-1)), VALID);
  for (const gas of [5_000_000, 10_000_000, 15_000_000, 20_000_000]) {
    const { records } = await call(items, { gas: toHex(gas) });
    for (const [i, record] of records.entries()) {
      if (record.asked) assert.deepEqual(record, all[i]);
      else assert.deepEqual(record, { ...without(record), asked: false, gasUsed: 0, balance: 0n, revert: "0x" });
    }
    assert.ok(records.some((record) => !record.asked));
  }
});

test("128 items, and a malformed body", async () => {
  const items = await Promise.all(Array.from({ length: 128 }, () => payment()));
  const { records } = await call(items, { gas: toHex(100_000_000) });
  assert.equal(records.length, 128);
  for (const record of records) assert.deepEqual(without(record), VALID);
  const good = writeInput([items[0]]);
  const body = good.slice(lensCode.length);
  const bad = [
    lensCode,
    concat([lensCode, "0x0000"]),
    concat([lensCode, "0xffff"]),
    concat([lensCode, `0x00${body.slice(2)}`]), // no items
    concat([lensCode, `0x02${body.slice(2)}`]), // one too few
    concat([lensCode, `0x81${body.slice(2)}`]), // more than 128
    writeInput([{ ...items[0], transferCall: "0xe3ee160e" }]),
    concat([good.slice(0, -4), "0x00", toHex(size(`0x${body}`) - 1, { size: 2 })]), // a byte too many
  ];
  for (const data of bad) {
    await assert.rejects(client.request({ method: "eth_call", params: [{ from: gasWallet.address, data, gas: toHex(30_000_000) }, "latest"] }));
  }
});

test("payments recorded from the official clients are payable", async () => {
  for (const version of ["v1", "v2"]) {
    const file = join(import.meta.dirname, `../fixtures/${version}-exact-eip3009.json`);
    const { signature, authorization } = JSON.parse(readFileSync(file, "utf8")).paymentPayload.payload;
    await send(USDC, "mint", [authorization.from, 1_000_000n]);
    const { from, to, value, validAfter, validBefore, nonce } = authorization;
    const args = [from, to, BigInt(value), BigInt(validAfter), BigInt(validBefore), nonce, Number(slice(signature, 64)), slice(signature, 0, 32), slice(signature, 32, 64)];
    const transferCall = encodeFunctionData({ abi, functionName: "transferWithAuthorization", args });
    const record = await one({ token: USDC, gasCap: GAS_CAP, transferCall, signatureCall: "0x" });
    assert.equal(record.success, true, version);
    assert.equal(record.effect, 1);
  }
});

test("DemoUsdc: permit, cancellation, domain", async () => {
  const message = { owner: payer.address, spender: PAYEE, value: 5n, nonce: 0n, deadline: 2n ** 40n };
  const types = { Permit: [{ name: "owner", type: "address" }, { name: "spender", type: "address" }, { name: "value", type: "uint256" }, { name: "nonce", type: "uint256" }, { name: "deadline", type: "uint256" }] };
  const parts = (signature) => [Number(slice(signature, 64)), slice(signature, 0, 32), slice(signature, 32, 64)];
  const permit = await payer.signTypedData({ domain: domain(USDC), types, primaryType: "Permit", message });
  await send(USDC, "permit", [payer.address, PAYEE, 5n, 2n ** 40n, ...parts(permit)]);
  assert.equal(await client.readContract({ address: USDC, abi, functionName: "allowance", args: [payer.address, PAYEE] }), 5n);

  const item = await payment();
  const cancelTypes = { CancelAuthorization: [{ name: "authorizer", type: "address" }, { name: "nonce", type: "bytes32" }] };
  const cancel = await payer.signTypedData({ domain: domain(USDC), types: cancelTypes, primaryType: "CancelAuthorization", message: { authorizer: payer.address, nonce: item.nonce } });
  await send(USDC, "cancelAuthorization", [payer.address, item.nonce, ...parts(cancel)]);
  const record = await one(item);
  assert.equal(record.used, true);
  assert.equal(reason(record), "FiatTokenV2: authorization is used or canceled");

  const domainType = keccak256(stringToHex("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"));
  const separator = keccak256(encodeAbiParameters(
    [{ type: "bytes32" }, { type: "bytes32" }, { type: "bytes32" }, { type: "uint256" }, { type: "address" }],
    [domainType, keccak256(stringToHex("USDC")), keccak256(stringToHex("2")), 84532n, USDC],
  ));
  assert.equal(await client.readContract({ address: USDC, abi, functionName: "DOMAIN_SEPARATOR" }), separator);
});
