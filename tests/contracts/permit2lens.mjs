// The byte layout of Permit2Lens, written and read; and payments by Permit2 as payers sign them and proxies take them.
import { bytesToBigInt, bytesToHex, bytesToNumber, concat, encodeFunctionData, hexToBytes, parseAbi, size, toHex } from "viem";
import { EXACT_PROXY, PERMIT2, UPTO_PROXY } from "./chain.mjs";
import { code } from "./lens.mjs";

const PERMIT = "((address token, uint256 amount) permitted, uint256 nonce, uint256 deadline) permit";
const PERMIT_2612 = "(uint256 value, uint256 deadline, bytes32 r, bytes32 s, uint8 v) permit2612";
const ERRORS = [
  "error InvalidNonce()", "error InvalidSigner()", "error InvalidContractSignature()", "error SignatureExpired(uint256)", "error PaymentTooEarly()",
  "error UnauthorizedFacilitator()", "error AmountExceedsPermitted()", "error InvalidAmount()", "error Error(string)",
];
export const exactAbi = parseAbi([
  `function settle(${PERMIT}, address owner, (address to, uint256 validAfter) witness, bytes signature)`,
  `function settleWithPermit(${PERMIT_2612}, ${PERMIT}, address owner, (address to, uint256 validAfter) witness, bytes signature)`,
  ...ERRORS,
]);
export const uptoAbi = parseAbi([
  `function settle(${PERMIT}, uint256 amount, address owner, (address to, address facilitator, uint256 validAfter) witness, bytes signature)`,
  `function settleWithPermit(${PERMIT_2612}, ${PERMIT}, uint256 amount, address owner, (address to, address facilitator, uint256 validAfter) witness, bytes signature)`,
  ...ERRORS,
]);

const WITNESS = {
  [EXACT_PROXY]: [{ name: "to", type: "address" }, { name: "validAfter", type: "uint256" }],
  [UPTO_PROXY]: [{ name: "to", type: "address" }, { name: "facilitator", type: "address" }, { name: "validAfter", type: "uint256" }],
};
export const typedData = (spender, permit, witness) => ({
  domain: { name: "Permit2", chainId: 84532, verifyingContract: PERMIT2 },
  types: {
    PermitWitnessTransferFrom: [
      { name: "permitted", type: "TokenPermissions" }, { name: "spender", type: "address" }, { name: "nonce", type: "uint256" },
      { name: "deadline", type: "uint256" }, { name: "witness", type: "Witness" },
    ],
    TokenPermissions: [{ name: "token", type: "address" }, { name: "amount", type: "uint256" }],
    Witness: WITNESS[spender],
  },
  primaryType: "PermitWitnessTransferFrom",
  message: { ...permit, spender, witness },
});

/** Calldata for a proxy, with a permit of EIP-2612 before the payment's own if there is one. */
export const settleCall = (proxy, permit, charged, owner, witness, signature, permit2612) =>
  encodeFunctionData({
    abi: proxy === UPTO_PROXY ? uptoAbi : exactAbi,
    functionName: permit2612 ? "settleWithPermit" : "settle",
    args: [...(permit2612 ? [permit2612] : []), permit, ...(proxy === UPTO_PROXY ? [charged] : []), owner, witness, signature],
  });

export const lensCode = code("Permit2Lens", "runtime");

export const writeInput = (items) =>
  concat([
    toHex(items.length, { size: 1 }),
    ...items.flatMap(({ token, payer, payee, proxy, value, nonce, hash, gasCap, call, tail }) => [
      "0x00", token, payer, payee, proxy, toHex(value, { size: 32 }), toHex(nonce, { size: 32 }), hash, toHex(gasCap, { size: 4 }),
      toHex(size(call), { size: 2 }), toHex(tail, { size: 2 }), call,
    ]),
  ]);

export const readOutput = (hex) => {
  const bytes = hexToBytes(hex);
  let at = 0;
  const take = (length) => bytes.subarray(at, (at += length));
  if (bytesToNumber(take(1)) !== 1) throw new Error("unknown layout");
  const records = Array.from({ length: bytesToNumber(take(1)) }, () => {
    const [first, second, signature, effect] = take(4);
    const gasUsed = bytesToNumber(take(4));
    const reasonSize = bytesToNumber(take(1));
    return {
      asked: (first & 0x01) !== 0, tokenCode: (first & 0x02) !== 0, payerCode: (first & 0x04) !== 0, balanceKnown: (first & 0x10) !== 0,
      nonceKnown: (first & 0x20) !== 0, used: (first & 0x40) !== 0, success: (first & 0x80) !== 0, allowanceKnown: (second & 0x01) !== 0,
      proxyWorks: (second & 0x02) !== 0, signature, effect, gasUsed, balance: bytesToBigInt(take(32)), allowance: bytesToBigInt(take(32)),
      revert: bytesToHex(take(reasonSize)),
    };
  });
  if (at !== bytes.length) throw new Error("something behind the last record");
  return records;
};
