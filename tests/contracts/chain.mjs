// A chain that looks like Base Sepolia to whoever pays by Permit2: what stands where, and how it is put there.
import { code } from "./lens.mjs";

export const USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
export const PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3";
export const EXACT_PROXY = "0x402085c248EeA27D92E8b30b2C58ed07f9E20001";
export const UPTO_PROXY = "0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002";
export const MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11";

/** Places that only the tests know: two tokens without EIP-3009, one of them with EIP-2612, and the factory of wallets. */
export const PLAIN_ERC20 = "0x00000000000000000000000000000000000e4c20";
export const PERMIT_ERC20 = "0x000000000000000000000000000000000e4c2612";
export const WALLET_FACTORY = "0x000000000000000000000000000000000fac6492";

const PLACES = {
  DemoUsdc: USDC, Permit2: PERMIT2, x402ExactPermit2Proxy: EXACT_PROXY, x402UptoPermit2Proxy: UPTO_PROXY, Multicall3: MULTICALL3,
  PlainErc20: PLAIN_ERC20, PermitErc20: PERMIT_ERC20, OwnerWalletFactory: WALLET_FACTORY,
};

/** Takes viem's test client. */
export const furnish = async (testClient) => {
  for (const [name, address] of Object.entries(PLACES)) await testClient.setCode({ address, bytecode: code(name, "runtime") });
};
