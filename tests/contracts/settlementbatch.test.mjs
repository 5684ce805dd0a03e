// SettlementBatch on a real EVM (anvil, Prague rules): what its owners can do with it, what nobody can, and what it costs.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  concat, createPublicClient, createTestClient, createWalletClient, encodeAbiParameters, encodeFunctionData, getAddress, getContractAddress, hexToBigInt,
  http, keccak256, pad, parseAbi, parseEther, parseEventLogs, size, stringToHex, toHex,
} from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { EXACT_PROXY, PERMIT2, USDC, furnish } from "./chain.mjs";
import { anvil, code } from "./lens.mjs";

const batchAbi = parseAbi([
  "function carry(bytes items) returns (uint256 succeeded)", "function isOwner(address) view returns (bool)", "event Carried(uint256 succeeded)",
  "error NotOwner()", "error BadOwners()", "error BadItems()",
]);
const tokenAbi = parseAbi([
  "function mint(address,uint256)", "function approve(address,uint256) returns (bool)", "function transfer(address,uint256) returns (bool)",
  "function balanceOf(address) view returns (uint256)", "function allowance(address,address) view returns (uint256)",
  "function authorizationState(address,bytes32) view returns (bool)",
  "function transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)",
  "event Transfer(address indexed from, address indexed to, uint256 value)",
]);
const byKeyAbi = parseAbi(["function transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)"]);
const exactAbi = parseAbi([
  "function settle(((address token, uint256 amount) permitted, uint256 nonce, uint256 deadline) permit, address owner, (address to, uint256 validAfter) witness, bytes signature)",
]);
const DEPLOYER = "0x4e59b44847b379578588920cA78FbF26c0B4956C";
const NO_SALT = toHex(0, { size: 32 });
const LATER = 2n ** 40n;
const account = (name) => privateKeyToAccount(keccak256(stringToHex(name)));
const owners = [account("owner"), account("another owner")].sort((a, b) => (a.address.toLowerCase() < b.address.toLowerCase() ? -1 : 1));
const [owner] = owners;
const stranger = account("stranger");
const payers = Array.from({ length: 25 }, (_, i) => account(`payer ${i}`));
const payee = (i) => getAddress(toHex(0xfa7ee0000 + i, { size: 20 }));

let node, client, wallet, batch, tokens, wallets;

/** The gas limit of a batch: the same rule as in chains/evm/src/tx/batch.rs. */
const ITEM_GAS = 3_500n;
const gasLimit = (caps, data) => {
  const nonzero = (data.slice(2).match(/../g) ?? []).filter((byte) => byte !== "00").length;
  const calldata = 4n * BigInt(size(data) - nonzero) + 16n * BigInt(nonzero);
  const most = caps.reduce((a, b) => (a > b ? a : b), 0n);
  return 21_000n + 15_000n + calldata + caps.reduce((sum, cap) => sum + cap + ITEM_GAS, 0n) + most / 63n;
};
const pack = (items) => concat(items.flatMap(({ to, gas, data }) => [to, toHex(gas, { size: 4 }), toHex(size(data), { size: 2 }), data]));
const carry = (items, suffix = "0x") => concat([encodeFunctionData({ abi: batchAbi, functionName: "carry", args: [pack(items)] }), suffix]);

const send = (from, to, data, more = {}) => wallet.sendTransactionSync({ account: from, to, data, chain: null, gas: 10_000_000n, ...more });
const sendBatch = async (items, { suffix, from = owner, gas } = {}) => {
  const data = carry(items, suffix);
  const receipt = await send(from, batch, data, { gas: gas ?? gasLimit(items.map(({ gas }) => BigInt(gas)), data) });
  const [event] = parseEventLogs({ abi: batchAbi, logs: receipt.logs, eventName: "Carried" });
  return { receipt, bits: event && items.map((_, i) => ((event.args.succeeded >> BigInt(i)) & 1n) === 1n) };
};
const read = (address, functionName, ...args) => client.readContract({ address, abi: tokenAbi, functionName, args });
const error = (promise) => promise.then(() => "none", (e) => e.walk((cause) => cause.data?.errorName)?.data?.errorName ?? "another");
const simulate = (data, from = owner) =>
  error(client.simulateContract({ address: batch, abi: batchAbi, functionName: "carry", args: [data], account: from }));
const deploy = async (name, ...args) =>
  (await send(owner, undefined, concat([code(name), ...args.map((arg) => pad(arg, { size: 32 }))]))).contractAddress;

let nonces = 0n;
/** A payment by EIP-3009, with either overload. */
const eip3009 = async ({ payer = payers[0], to = payee(0), value = 1_000n, token = USDC, until = LATER, gas = 100_000, from, byBytes = false, nonce } = {}) => {
  nonce ??= pad(toHex(++nonces), { size: 32 });
  const message = { from: from ?? payer.address, to, value, validAfter: 0n, validBefore: until, nonce };
  const signature = await payer.signTypedData({
    domain: { name: "USDC", version: "2", chainId: 84532, verifyingContract: token },
    types: { TransferWithAuthorization: ["address from", "address to", "uint256 value", "uint256 validAfter", "uint256 validBefore", "bytes32 nonce"].map((field) => ({ type: field.split(" ")[0], name: field.split(" ")[1] })) },
    primaryType: "TransferWithAuthorization", message,
  });
  const args = [message.from, to, value, 0n, until, nonce];
  const key = [Number(`0x${signature.slice(130)}`), `0x${signature.slice(2, 66)}`, `0x${signature.slice(66, 130)}`];
  const data = byBytes
    ? encodeFunctionData({ abi: tokenAbi, functionName: "transferWithAuthorization", args: [...args, signature] })
    : encodeFunctionData({ abi: byKeyAbi, functionName: "transferWithAuthorization", args: [...args, ...key] });
  return { to: token, gas, data, nonce, payer, payee: to, value };
};
/** A payment by Permit2, in scheme exact. */
const permit2 = async ({ payer = payers[0], to = payee(0), value = 1_000n, gas = 120_000 } = {}) => {
  const permit = { permitted: { token: USDC, amount: value }, nonce: hexToBigInt(keccak256(toHex(++nonces))), deadline: LATER };
  const witness = { to, validAfter: 0n };
  const fields = (text) => text.split(", ").map((field) => ({ type: field.split(" ")[0], name: field.split(" ")[1] }));
  const signature = await payer.signTypedData({
    domain: { name: "Permit2", chainId: 84532, verifyingContract: PERMIT2 },
    types: {
      PermitWitnessTransferFrom: fields("TokenPermissions permitted, address spender, uint256 nonce, uint256 deadline, Witness witness"),
      TokenPermissions: fields("address token, uint256 amount"), Witness: fields("address to, uint256 validAfter"),
    },
    primaryType: "PermitWitnessTransferFrom", message: { ...permit, spender: EXACT_PROXY, witness },
  });
  const data = encodeFunctionData({ abi: exactAbi, functionName: "settle", args: [permit, payer.address, witness, signature] });
  return { to: EXACT_PROXY, gas, data, payer, payee: to, value };
};

before(async () => {
  node = await anvil("--gas-limit", "60000000");
  const transport = http(node.url);
  client = createPublicClient({ transport, pollingInterval: 20, cacheTime: 0 });
  wallet = createWalletClient({ transport });
  const testClient = createTestClient({ mode: "anvil", transport });
  for (const { address } of [...owners, stranger, ...payers]) await testClient.setBalance({ address, value: parseEther("1000") });
  await furnish(testClient);
  const creation = concat([code("SettlementBatch"), encodeAbiParameters([{ type: "address[]" }], [owners.map(({ address }) => address)])]);
  batch = getContractAddress({ opcode: "CREATE2", from: DEPLOYER, salt: NO_SALT, bytecode: creation });
  // Anybody may deploy it: the address is the same.
  await send(stranger, DEPLOYER, concat([NO_SALT, creation]));
  const named = async (names) => Object.fromEntries(await names.reduce(async (all, name) => [...(await all), [name, await deploy(name, payers[0].address)]], []));
  tokens = await named(["GasBurnerUsdc", "ReturnBombUsdc", "ReentrantUsdc"]);
  wallets = await named(["GasBurnerWallet", "ReturnBombWallet"]);
  const mint = (token, to) => send(owner, token, encodeFunctionData({ abi: tokenAbi, functionName: "mint", args: [to, 1_000_000_000n] }));
  for (const holder of [...payers.map(({ address }) => address), ...Object.values(wallets), ...payers.map((_, i) => payee(i))]) await mint(USDC, holder);
  for (const token of Object.values(tokens)) await mint(token, payers[0].address);
  const approve = encodeFunctionData({ abi: tokenAbi, functionName: "approve", args: [PERMIT2, 2n ** 256n - 1n] });
  for (const payer of payers) await send(payer, USDC, approve);
});

after(() => node.stop());

test("stands where its owners say, with the committed code, and knows them alone", async () => {
  assert.equal(await client.getCode({ address: batch }), code("SettlementBatch", "runtime"));
  const isOwner = (address) => client.readContract({ address: batch, abi: batchAbi, functionName: "isOwner", args: [address] });
  for (const { address } of owners) assert.equal(await isOwner(address), true);
  for (const address of [stranger.address, batch, DEPLOYER, getAddress(toHex(0, { size: 20 }))]) assert.equal(await isOwner(address), false, address);
});

test("is deployed for owners in ascending order only", async () => {
  const [low, high] = owners.map(({ address }) => address);
  const many = (count) => Array.from({ length: count }, (_, i) => toHex(i + 1, { size: 20 }));
  const cases = [[[low, high], "none"], [many(256), "none"], [[], "BadOwners"], [[high, low], "BadOwners"], [[low, low], "BadOwners"], [[toHex(0, { size: 20 })], "BadOwners"], [many(257), "BadOwners"]];
  for (const [list, expected] of cases) {
    const data = concat([code("SettlementBatch"), encodeAbiParameters([{ type: "address[]" }], [list])]);
    const said = await client.call({ data, account: owner.address }).then(() => "none", (e) => e.walk((cause) => cause.data)?.data);
    assert.equal(expected === "none" ? said : said?.data ?? said, expected === "none" ? "none" : keccak256(stringToHex("BadOwners()")).slice(0, 10), `${list.length} owners`);
  }
});

test("a stranger cannot call it, not even through a token", async () => {
  const item = await eip3009();
  assert.equal(await simulate(pack([item]), stranger.address), "NotOwner");
  assert.equal(await simulate(pack([item]), owner.address), "none");
  // It calls its caller with the same calldata, and is no owner.
  const again = await eip3009({ token: tokens.ReentrantUsdc, gas: 300_000 });
  const victim = await eip3009({ payer: payers[1] });
  const before = await read(USDC, "balanceOf", victim.payee);
  const { bits } = await sendBatch([again, victim]);
  assert.deepEqual(bits, [true, true]);
  assert.equal((await read(USDC, "balanceOf", victim.payee)) - before, victim.value, "carried once");
  // A malicious token may not have it carry anything in its name either.
  assert.equal(await simulate(pack([victim]), tokens.ReentrantUsdc), "NotOwner");
});

test("makes no other calls than settlements, and takes no list that is not one", async () => {
  const good = await eip3009();
  const call = (functionName, ...args) => ({ to: USDC, gas: 100_000, data: encodeFunctionData({ abi: tokenAbi, functionName, args }) });
  const cut = (hex, bytes) => hex.slice(0, hex.length - 2 * bytes);
  const cases = {
    approve: pack([good, call("approve", stranger.address, 1n)]), transfer: pack([call("transfer", stranger.address, 0n)]), mint: pack([call("mint", stranger.address, 1n)]),
    "three bytes of calldata": pack([{ ...good, data: "0xe3ee16" }]), "no calldata": pack([{ ...good, data: "0x" }]),
    "a header that is cut": cut(pack([good]), size(good.data) + 1), "calldata that is cut": cut(pack([good, good]), 1),
    "257 items": pack(Array.from({ length: 257 }, () => ({ ...good, data: "0xe3ee160e" }))),
  };
  for (const [name, items] of Object.entries(cases)) assert.equal(await simulate(items), "BadItems", name);
  assert.equal(await simulate(pack(Array.from({ length: 256 }, () => ({ ...good, gas: 0, data: "0xe3ee160e" })))), "none");
  assert.equal(await simulate("0x"), "none", "nothing is carried");
});

test("takes no coin, and keeps none of what it carries", async () => {
  await assert.rejects(client.call({ account: owner.address, to: batch, value: 1n }));
  await assert.rejects(client.call({ account: owner.address, to: batch, value: 1n, data: carry([await eip3009()]) }));
  await sendBatch([await eip3009(), await permit2({ payer: payers[1] })]);
  assert.equal(await client.getBalance({ address: batch }), 0n);
  assert.equal(await read(USDC, "balanceOf", batch), 0n);
  for (const spender of [PERMIT2, EXACT_PROXY, owner.address]) assert.equal(await read(USDC, "allowance", batch, spender), 0n);
});

test("each item fails alone, and whoever succeeds is paid once", async () => {
  const used = await eip3009({ payer: payers[2] });
  await send(stranger, used.to, used.data);
  const poor = account("poor");
  const items = [
    await eip3009({ payer: payers[3] }), used, await eip3009({ payer: payers[4], byBytes: true }), await eip3009({ until: 1n }), await permit2({ payer: payers[5] }),
    await eip3009({ payer: poor }), await permit2({ payer: poor }), await eip3009({ payer: payers[6], from: payers[7].address }), await eip3009({ payer: payers[8] }),
  ];
  items.push(items[0]);
  const before = await read(USDC, "balanceOf", payee(0));
  const { receipt, bits } = await sendBatch(items);
  assert.equal(receipt.status, "success");
  assert.deepEqual(bits, [true, false, true, false, true, false, false, false, true, false]);
  assert.equal((await read(USDC, "balanceOf", payee(0))) - before, 4_000n);
  const paid = parseEventLogs({ abi: tokenAbi, logs: receipt.logs, eventName: "Transfer" }).map(({ args }) => args.from);
  assert.deepEqual(paid, [3, 4, 5, 8].map((i) => payers[i].address));
});

test("whoever burns gas or answers a lot pays for it alone: the others settle, wherever it stands", async () => {
  const vices = [
    await eip3009({ token: tokens.GasBurnerUsdc }), await eip3009({ token: tokens.ReturnBombUsdc }), await eip3009({ from: wallets.GasBurnerWallet, byBytes: true }),
    await eip3009({ from: wallets.ReturnBombWallet, byBytes: true }),
  ];
  for (const [i, vice] of vices.entries()) {
    for (const place of [0, 2, 4]) {
      const items = await Promise.all([9, 10, 11, 12].map((n) => eip3009({ payer: payers[n] })));
      items.splice(place, 0, vice);
      const { receipt, bits } = await sendBatch(items);
      assert.deepEqual(bits, items.map((item) => item !== vice), `vice ${i} at ${place}`);
      assert.ok(receipt.gasUsed < 4n * 60_000n + 100_000n + 60_000n, `${receipt.gasUsed}`);
    }
  }
});

test("the gas limit lets every item use all of its gas, and with less none is called short of it", async () => {
  const burners = await Promise.all(Array.from({ length: 25 }, (_, i) => eip3009({ token: tokens.GasBurnerUsdc, gas: i % 2 ? 90_000 : 150_000 })));
  const last = await eip3009({ payer: payers[13], gas: 150_000 });
  const items = [...burners.slice(1), last];
  const { bits } = await sendBatch(items);
  assert.equal(bits[24], true, "the last one still has its gas");
  const short = [...burners.slice(1), await eip3009({ payer: payers[13], gas: 150_000 })];
  const data = carry(short);
  const limit = gasLimit(short.map(({ gas }) => BigInt(gas)), data);
  const less = await sendBatch(short, { gas: limit - 150_000n });
  assert.equal(less.receipt.status, "success");
  assert.equal(less.bits[24], false);
  assert.equal(await read(USDC, "authorizationState", payers[13].address, short[24].nonce), false, "and can be carried again");
});

test("a suffix behind the items is nothing to it", async () => {
  const { bits } = await sendBatch([await eip3009(), await permit2()], { suffix: "0xa161616161000501020380218021802180218021802180218021" });
  assert.deepEqual(bits, [true, true]);
});

test("a settlement of 25 costs at most 55,000 gas", async (t) => {
  const single = async (item) => (await send(owner, item.to, item.data)).gasUsed;
  const all = async (make, n, to) => Promise.all(Array.from({ length: n }, (_, i) => make({ payer: payers[i], to: payee(to(i)) })));
  const lines = [];
  for (const [name, make] of [["EIP-3009", eip3009], ["Permit2", permit2]]) {
    const alone = await single(await make({ payer: payers[0] }));
    for (const [payees, to] of [["one payee", () => 0], ["distinct payees", (i) => i]]) {
      for (const n of [2, 5, 10, 25]) {
        const { receipt, bits } = await sendBatch(await all(make, n, to));
        assert.ok(bits.every((bit) => bit));
        const each = receipt.gasUsed / BigInt(n);
        lines.push(`${name}, ${n} together, ${payees}: ${each} gas each; alone ${alone}`);
        if (n === 25 && name === "EIP-3009") assert.ok(each <= 55_000n, `${each}`);
        if (n === 25) assert.ok(each * 10n < alone * 8n, `${name}: ${each} of ${alone}`);
      }
    }
  }
  lines.forEach((line) => t.diagnostic(line));
});
