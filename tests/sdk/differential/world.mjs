// Everything that a payment of the corpus can meet on the chain: payers of every kind, tokens with every vice, nonces that are gone.
import { encodeFunctionData, keccak256, maxUint256, pad, parseAbi, stringToHex } from "viem";
import { privateKeyToAccount, sign } from "viem/accounts";
import { serializeErc6492Signature } from "viem/utils";
import { PERMIT2, PERMIT_ERC20, PLAIN_ERC20, USDC, WALLET_FACTORY } from "../../contracts/chain.mjs";
import { world } from "../ways.mjs";

const abi = parseAbi([
  "function mint(address,uint256)", "function approve(address,uint256)", "function execute(address,bytes)", "function blacklist(address)", "function refuse(bool)",
  "function deploy(address,bytes32) returns (address)", "function addressOf(address,bytes32) view returns (address)",
  "function cancelAuthorization(address,bytes32,bytes)", "function invalidateUnorderedNonces(uint256,uint256)",
]);

/** An EIP-3009 nonce that the payers have cancelled, and a word of Permit2's bitmap that is full for them. */
export const CANCELLED = keccak256(stringToHex("cancelled"));
export const FULL_WORD = 7n;

export const RICH = 10n ** 12n;
export const POOR = 9_999n;

const keyOf = (seed, name) => keccak256(stringToHex(`${seed} ${name}`));
const holder = (seed, name) => {
  const key = keyOf(seed, name);
  const account = privateKeyToAccount(key);
  return { name, key, account, address: account.address, signature: (hash) => sign({ hash, privateKey: key, to: "hex" }) };
};

const CANCEL = { CancelAuthorization: [{ name: "authorizer", type: "address" }, { name: "nonce", type: "bytes32" }] };

const WALLETS = ["OwnerWallet", "CallOnlyWallet", "FlippingWallet", "GasBurnerWallet", "ReturnBombWallet", "DirtyWallet", "RevertingWallet"];

/** Those of the payers with an owner who can make them do something. */
const EXECUTING = ["OwnerWallet", "CallOnlyWallet", "FlippingWallet", "deployed wallet, wrapped signature"];

/**
 * Payers by name; each signs hashes by `signature`. `tokens` are those of the facilitator's configuration beside USDC, by name, and `others` such
 * that it does not know.
 */
export const prepare = async ({ rpcUrl, seed, tokens }) => {
  const chain = world(rpcUrl);
  const { client, deploy, read } = chain;
  const call = (to, functionName, args, account) => chain.send(account, { to, data: encodeFunctionData({ abi, functionName, args }) });
  const payers = {};
  for (const name of ["payer", "second payer", "not approving", "poor", "empty", "blacklisted", "delegated", "delegated to no wallet"]) payers[name] = holder(seed, name);
  for (const name of WALLETS) {
    const owner = holder(seed, `owner of ${name}`);
    const address = ["GasBurnerWallet", "ReturnBombWallet", "DirtyWallet", "RevertingWallet"].includes(name) ? await deploy(name) : await deploy(name, owner.address);
    payers[name] = { ...owner, name, address, owner: owner.account };
  }
  const factory = WALLET_FACTORY;
  const wrapped = async (name, deployed) => {
    const owner = holder(seed, `owner of ${name}`);
    const args = [owner.address, pad("0x02", { size: 32 })];
    const data = encodeFunctionData({ abi, functionName: "deploy", args });
    if (deployed) await call(factory, "deploy", args);
    const signature = async (hash) => serializeErc6492Signature({ address: factory, data, signature: await owner.signature(hash) });
    const address = await read(factory, "addressOf", ...args);
    return { ...owner, name, address, signature, ...(deployed ? { owner: owner.account } : {}) };
  };
  payers["undeployed wallet"] = await wrapped("undeployed wallet", false);
  payers["deployed wallet, wrapped signature"] = await wrapped("deployed wallet, wrapped signature", true);

  const all = Object.values(payers);
  const others = { PlainErc20: PLAIN_ERC20, PermitErc20: PERMIT_ERC20 };
  for (const token of [USDC, ...Object.values(tokens), ...Object.values(others)]) {
    for (const { name, address } of all) {
      if (name !== "empty") await call(token, "mint", [address, name === "poor" ? POOR : RICH]);
    }
  }
  const approval = encodeFunctionData({ abi, functionName: "approve", args: [PERMIT2, maxUint256] });
  for (const { name, account, address, owner } of all) {
    if (name === "not approving" || name === "undeployed wallet" || (owner && !EXECUTING.includes(name))) continue;
    for (const token of [USDC, ...Object.values(tokens)]) {
      if (owner) await call(address, "execute", [token, approval], owner);
      else await chain.send(account, { to: token, data: approval });
    }
  }
  const invalidate = encodeFunctionData({ abi, functionName: "invalidateUnorderedNonces", args: [FULL_WORD, maxUint256] });
  for (const { name, account, address, owner } of all) {
    if (name === "undeployed wallet" || (owner && name !== "OwnerWallet")) continue;
    if (owner) await call(address, "execute", [PERMIT2, invalidate], owner);
    else await chain.send(account, { to: PERMIT2, data: invalidate });
    const domain = { name: "USDC", version: "2", chainId: 84532, verifyingContract: USDC };
    const cancel = await account.signTypedData({ domain, types: CANCEL, primaryType: "CancelAuthorization", message: { authorizer: address, nonce: CANCELLED } });
    await call(USDC, "cancelAuthorization", [address, CANCELLED, cancel]);
  }
  await call(payers.FlippingWallet.address, "refuse", [true], payers.FlippingWallet.owner);
  const blacklistedPayee = holder(seed, "blacklisted payee").address;
  for (const address of [payers.blacklisted.address, blacklistedPayee]) await call(USDC, "blacklist", [address]);
  for (const [name, code] of [["delegated", await deploy("Eip7702Delegate")], ["delegated to no wallet", PLAIN_ERC20]]) {
    const { account } = payers[name];
    const nonce = await client.getTransactionCount({ address: account.address });
    const authorization = await account.signAuthorization({ chainId: 84532, nonce, contractAddress: code });
    await chain.send(undefined, { to: factory, value: 0n, gas: 300_000n, data: encodeFunctionData({ abi, functionName: "addressOf", args: [factory, pad("0x", { size: 32 })] }), authorizationList: [authorization] });
  }
  return { seed, client, payers, tokens, others, factory, stranger: holder(seed, "stranger"), nobody: holder(seed, "nobody").address, blacklistedPayee };
};
