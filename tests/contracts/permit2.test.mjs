// The Permit2 world of the tests on a real anvil: Permit2 at its address, and proxies that pay, refuse and report as those of x402 do.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  concat, createPublicClient, createTestClient, createWalletClient, decodeErrorResult, encodeFunctionData, getAbiItem, getAddress, http, keccak256,
  numberToHex, pad, parseAbi, parseEther, parseEventLogs, parseSignature, stringToHex, toEventSelector, toFunctionSelector, zeroAddress,
} from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { EXACT_PROXY, PERMIT2, UPTO_PROXY, USDC, furnish } from "./chain.mjs";
import { anvil, code } from "./lens.mjs";

const PERMIT = "((address token, uint256 amount) permitted, uint256 nonce, uint256 deadline) permit";
const EXACT_WITNESS = "(address to, uint256 validAfter) witness";
const UPTO_WITNESS = "(address to, address facilitator, uint256 validAfter) witness";
const PERMIT_2612 = "(uint256 value, uint256 deadline, bytes32 r, bytes32 s, uint8 v) permit2612";
const ERRORS = [
  "error InvalidAmount()", "error InvalidDestination()", "error InvalidOwner()", "error PaymentTooEarly()", "error Permit2612AmountMismatch()",
  "error ReentrancyGuardReentrantCall()", "error UnauthorizedFacilitator()", "error AmountExceedsPermitted()",
  "error SignatureExpired(uint256)", "error InvalidNonce()", "error InvalidSigner()", "error InvalidSignature()", "error InvalidContractSignature()",
  "error Error(string)",
];
const EVENTS = [
  "event Settled()", "event SettledWithPermit()", "event Transfer(address indexed from, address indexed to, uint256 value)",
  "event EIP2612PermitFailedWithReason(address indexed token, address indexed owner, string reason)",
  "event EIP2612PermitFailedWithData(address indexed token, address indexed owner, bytes data)",
];
const exactAbi = parseAbi([
  `function settle(${PERMIT}, address owner, ${EXACT_WITNESS}, bytes signature)`,
  `function settleWithPermit(${PERMIT_2612}, ${PERMIT}, address owner, ${EXACT_WITNESS}, bytes signature)`,
  "function PERMIT2() view returns (address)",
  ...ERRORS, ...EVENTS,
]);
const uptoAbi = parseAbi([
  `function settle(${PERMIT}, uint256 amount, address owner, ${UPTO_WITNESS}, bytes signature)`,
  `function settleWithPermit(${PERMIT_2612}, ${PERMIT}, uint256 amount, address owner, ${UPTO_WITNESS}, bytes signature)`,
  "function PERMIT2() view returns (address)",
  ...ERRORS, ...EVENTS,
]);
const tokenAbi = parseAbi([
  "function mint(address,uint256)", "function approve(address,uint256) returns (bool)", "function balanceOf(address) view returns (uint256)",
  "function allowance(address,address) view returns (uint256)", "function nonces(address) view returns (uint256)", "function leave(bytes)",
  "function execute(address,bytes)", "function nonceBitmap(address,uint256) view returns (uint256)",
]);
const PAYEE = getAddress("0x00000000000000000000000000000000000fa7ee");
const payer = privateKeyToAccount(keccak256(stringToHex("payer")));
const facilitator = privateKeyToAccount(keccak256(stringToHex("facilitator")));
const stranger = privateKeyToAccount(keccak256(stringToHex("stranger")));
const LATER = 2n ** 40n;

let node, client, wallet, permitToken, reentrantToken, ownerWallet, dirtyWallet;

const send = (to, abi, functionName, args, account = facilitator) =>
  wallet.sendTransactionSync({ account, to, data: encodeFunctionData({ abi, functionName, args }), chain: null, gas: 1_000_000n });
const sent = async (...args) => {
  const receipt = await send(...args);
  assert.equal(receipt.status, "success");
  return receipt;
};
const deploy = async (name, ...args) => {
  const data = concat([code(name), ...args.map((arg) => pad(arg, { size: 32 }))]);
  return (await wallet.sendTransactionSync({ account: facilitator, data, chain: null })).contractAddress;
};
const read = (address, functionName, ...args) => client.readContract({ address, abi: tokenAbi, functionName, args });

before(async () => {
  node = await anvil();
  const transport = http(node.url);
  client = createPublicClient({ transport, pollingInterval: 20, cacheTime: 0 });
  wallet = createWalletClient({ transport });
  const testClient = createTestClient({ mode: "anvil", transport });
  for (const { address } of [payer, facilitator, stranger]) await testClient.setBalance({ address, value: parseEther("1000") });
  await furnish(testClient);
  permitToken = await deploy("PermitErc20");
  reentrantToken = await deploy("ReentrantPermitErc20");
  ownerWallet = await deploy("OwnerWallet", payer.address);
  dirtyWallet = await deploy("DirtyWallet");
  for (const token of [USDC, permitToken, reentrantToken]) {
    for (const holder of [payer.address, ownerWallet, dirtyWallet]) await sent(token, tokenAbi, "mint", [holder, 1_000_000n]);
  }
  await sent(USDC, tokenAbi, "approve", [PERMIT2, 2n ** 256n - 1n], payer);
  const approve = encodeFunctionData({ abi: tokenAbi, functionName: "approve", args: [PERMIT2, 2n ** 256n - 1n] });
  await sent(ownerWallet, tokenAbi, "execute", [USDC, approve], payer);
});
after(() => node?.stop());

const TOKEN_PERMISSIONS = [{ name: "token", type: "address" }, { name: "amount", type: "uint256" }];
const WITNESS = {
  [EXACT_PROXY]: [{ name: "to", type: "address" }, { name: "validAfter", type: "uint256" }],
  [UPTO_PROXY]: [{ name: "to", type: "address" }, { name: "facilitator", type: "address" }, { name: "validAfter", type: "uint256" }],
};
let nonces = 0n;
/** A signed payment as the arguments of `settle`; by default an honest one of scheme `exact`. */
const payment = async ({ spender = EXACT_PROXY, token = USDC, amount = 10_000n, deadline = LATER, to = PAYEE, validAfter = 0n, owner = payer.address, signer = payer, settled = amount, named = facilitator.address, nonce = ++nonces } = {}) => {
  const upto = spender === UPTO_PROXY;
  const witness = upto ? { to, facilitator: named, validAfter } : { to, validAfter };
  const permit = { permitted: { token, amount }, nonce, deadline };
  const signature = await signer.signTypedData({
    domain: { name: "Permit2", chainId: 84532, verifyingContract: PERMIT2 },
    types: {
      PermitWitnessTransferFrom: [
        { name: "permitted", type: "TokenPermissions" }, { name: "spender", type: "address" }, { name: "nonce", type: "uint256" },
        { name: "deadline", type: "uint256" }, { name: "witness", type: "Witness" },
      ],
      TokenPermissions: TOKEN_PERMISSIONS,
      Witness: WITNESS[spender],
    },
    primaryType: "PermitWitnessTransferFrom",
    message: { ...permit, spender, witness },
  });
  return { proxy: spender, abi: upto ? uptoAbi : exactAbi, args: [permit, ...(upto ? [settled] : []), owner, witness, signature] };
};
const permit2612 = async (token, { value = 10_000n, deadline = LATER, domain = { name: "Permit", version: "1" }, signer = payer } = {}) => {
  const nonce = await read(token, "nonces", payer.address);
  const signature = await signer.signTypedData({
    domain: { ...domain, chainId: 84532, verifyingContract: token },
    types: { Permit: [{ name: "owner", type: "address" }, { name: "spender", type: "address" }, { name: "value", type: "uint256" }, { name: "nonce", type: "uint256" }, { name: "deadline", type: "uint256" }] },
    primaryType: "Permit",
    message: { owner: payer.address, spender: PERMIT2, value, nonce, deadline },
  });
  const { r, s, v } = parseSignature(signature);
  return { value, deadline, r, s, v: Number(v) };
};
const settle = ({ proxy, abi, args }, account) => sent(proxy, abi, "settle", args, account);
const settleWithPermit = ({ proxy, abi, args }, permit, account) => sent(proxy, abi, "settleWithPermit", [permit, ...args], account);
const events = ({ logs }) => parseEventLogs({ abi: exactAbi, logs }).map(({ eventName, args }) => [eventName, args]);
/** What a call is refused with: the error's name, the token's words, or nothing at all. */
const refusal = async ({ proxy, abi, args }, functionName = "settle", account = facilitator) => {
  const data = encodeFunctionData({ abi, functionName, args });
  const error = await client.request({ method: "eth_call", params: [{ from: account.address, to: proxy, data }, "latest"] }).then(() => assert.fail("not refused"), (thrown) => thrown);
  const reverted = error.walk((cause) => typeof cause.data === "string");
  if (reverted.data === "0x") return "";
  const { errorName, args: words } = decodeErrorResult({ abi, data: reverted.data });
  return errorName === "Error" ? words[0] : errorName;
};

test("selectors and topics are those of the deployed proxies", () => {
  const selectors = (abi) => ["settle", "settleWithPermit", "PERMIT2"].map((name) => toFunctionSelector(getAbiItem({ abi, name })));
  assert.deepEqual(selectors(exactAbi), ["0x13cd3b53", "0xfa340378", "0x6afdd850"]);
  assert.deepEqual(selectors(uptoAbi), ["0xff11e7b4", "0x016c1748", "0x6afdd850"]);
  for (const name of ["x402ExactPermit2Proxy", "x402UptoPermit2Proxy"]) {
    const runtime = code(name, "runtime");
    const abi = name.includes("Upto") ? uptoAbi : exactAbi;
    for (const selector of selectors(abi)) assert.ok(runtime.includes(selector.slice(2).replace(/^(00)+/, "")), `${name} ${selector}`);
    for (const event of abi.filter(({ type, name }) => type === "event" && name.startsWith("Settled"))) assert.ok(runtime.includes(toEventSelector(event).slice(2)), event.name);
  }
});

test("both proxies know Permit2", async () => {
  for (const address of [EXACT_PROXY, UPTO_PROXY]) assert.equal(await client.readContract({ address, abi: exactAbi, functionName: "PERMIT2" }), PERMIT2);
});

test("a payment signed by an official type settles, once", async () => {
  const paid = await payment();
  const before = await read(USDC, "balanceOf", PAYEE);
  const receipt = await settle(paid);
  assert.deepEqual(events(receipt), [["Transfer", { from: payer.address, to: PAYEE, value: 10_000n }], ["Settled", undefined]]);
  assert.equal(await read(USDC, "balanceOf", PAYEE), before + 10_000n);
  assert.equal(await refusal(paid), "InvalidNonce");
  assert.equal((await read(PERMIT2, "nonceBitmap", payer.address, 0n)) >> nonces & 1n, 1n);
});

test("upto transfers what the facilitator says, at most what was signed, for it alone", async () => {
  const before = await read(USDC, "balanceOf", PAYEE);
  const paid = await payment({ spender: UPTO_PROXY, amount: 5_000n, settled: 1_234n });
  assert.equal(await refusal(paid, "settle", stranger), "UnauthorizedFacilitator");
  await settle(paid);
  assert.equal(await read(USDC, "balanceOf", PAYEE), before + 1_234n);
  assert.equal(await refusal(paid), "InvalidNonce");
  assert.equal(await refusal(await payment({ spender: UPTO_PROXY, amount: 5_000n, settled: 6_000n })), "AmountExceedsPermitted");
  assert.equal(await refusal(await payment({ spender: UPTO_PROXY, amount: 5_000n, settled: 0n })), "InvalidAmount");
});

test("why a payment would fail", async () => {
  const cases = [
    [{ amount: 0n }, "InvalidAmount"],
    [{ to: zeroAddress }, "InvalidDestination"],
    [{ owner: zeroAddress }, "InvalidOwner"],
    [{ validAfter: LATER }, "PaymentTooEarly"],
    [{ deadline: 1n }, "SignatureExpired"],
    [{ signer: stranger }, "InvalidSigner"],
    [{ owner: ownerWallet, signer: stranger }, "InvalidContractSignature"],
    [{ amount: 1_000_001n }, "TRANSFER_FROM_FAILED"],
    [{ token: permitToken }, "TRANSFER_FROM_FAILED"], // no allowance
  ];
  for (const spender of [EXACT_PROXY, UPTO_PROXY]) {
    for (const [change, expected] of cases) assert.equal(await refusal(await payment({ spender, ...change })), expected, `${spender} ${expected}`);
  }
  // Four right bytes and wrong ones behind them are no answer to Permit2.
  assert.equal(await refusal(await payment({ owner: dirtyWallet })), "");
});

test("a wallet's owner pays for the wallet", async () => {
  const before = await read(USDC, "balanceOf", ownerWallet);
  await settle(await payment({ owner: ownerWallet }));
  assert.equal(await read(USDC, "balanceOf", ownerWallet), before - 10_000n);
});

test("a permit of EIP-2612 stands in for the allowance, which is used up", async () => {
  for (const [spender, settled] of [[EXACT_PROXY, 10_000n], [UPTO_PROXY, 10_000n]]) {
    const before = await read(permitToken, "balanceOf", PAYEE);
    const receipt = await settleWithPermit(await payment({ spender, token: permitToken, settled }), await permit2612(permitToken));
    assert.equal(events(receipt).at(-1)[0], "SettledWithPermit");
    assert.equal(await read(permitToken, "balanceOf", PAYEE), before + settled);
    assert.equal(await read(permitToken, "allowance", payer.address, PERMIT2), 0n);
  }
});

test("a permit over another amount than the payment's is refused", async () => {
  const { proxy, abi, args } = await payment({ token: permitToken });
  assert.equal(await refusal({ proxy, abi, args: [await permit2612(permitToken, { value: 2n ** 256n - 1n }), ...args] }, "settleWithPermit"), "Permit2612AmountMismatch");
});

test("a permit that fails is reported, and the payment fails only for want of an allowance", async () => {
  const failing = await permit2612(permitToken, { signer: stranger });
  const { proxy, abi, args } = await payment({ token: permitToken });
  assert.equal(await refusal({ proxy, abi, args: [failing, ...args] }, "settleWithPermit"), "TRANSFER_FROM_FAILED");
  await sent(permitToken, tokenAbi, "approve", [PERMIT2, 10_000n], payer);
  const withData = await settleWithPermit({ proxy, abi, args }, failing);
  assert.deepEqual(events(withData).map(([name]) => name), ["EIP2612PermitFailedWithData", "Transfer", "SettledWithPermit"]);
  const withReason = await settleWithPermit(await payment(), await permit2612(USDC, { domain: { name: "USDC", version: "2" }, signer: stranger }));
  assert.deepEqual(events(withReason).map(([name]) => name), ["EIP2612PermitFailedWithReason", "Transfer", "SettledWithPermit"]);
  assert.equal(events(withReason)[0][1].reason, "EIP2612: invalid signature");
});

test("nobody settles within a settlement", async () => {
  await sent(reentrantToken, tokenAbi, "approve", [PERMIT2, 1_000_000n], payer);
  const inner = await payment();
  await sent(reentrantToken, tokenAbi, "leave", [encodeFunctionData({ abi: inner.abi, functionName: "settle", args: inner.args })]);
  const receipt = await settleWithPermit(await payment({ token: reentrantToken }), await permit2612(reentrantToken));
  const [[name, { data }]] = events(receipt);
  assert.equal(name, "EIP2612PermitFailedWithData");
  assert.equal(decodeErrorResult({ abi: exactAbi, data }).errorName, "ReentrancyGuardReentrantCall");
});
