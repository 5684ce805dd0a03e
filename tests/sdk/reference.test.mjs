// The drivers of the official packages, proven: with the official facilitator each way to pay works.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createTestClient, http } from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { WALLET_FACTORY, furnish } from "../contracts/chain.mjs";
import { anvil } from "../contracts/lens.mjs";
import { golden } from "./golden.mjs";
import { startReference } from "./reference.mjs";
import { WAYS, buy } from "./ways.mjs";

let node, facilitator, strict;
const gasWalletKey = generatePrivateKey();
before(async () => {
  node = await anvil();
  const chain = createTestClient({ mode: "anvil", transport: http(node.url) });
  await furnish(chain);
  await chain.setBalance({ address: privateKeyToAccount(gasWalletKey).address, value: 10n ** 21n });
  facilitator = await startReference({ rpcUrl: node.url, gasWalletKey, factories: [WALLET_FACTORY], sponsorApprovals: true, builderCode: "reference" });
  strict = await startReference({ rpcUrl: node.url, gasWalletKey });
});
after(async () => { await facilitator?.stop(); await strict?.stop(); await node?.stop(); });

for (const way of Object.keys(WAYS)) {
  test(way, async () => {
    const { outcome, wrong } = await buy(way, { facilitatorUrl: facilitator.url, rpcUrl: node.url, facilitatorCode: "reference" });
    assert.deepEqual(wrong, [], JSON.stringify(outcome));
  });
}

for (const factoryAllowed of [false, true]) {
  test(`the golden table, the factory ${factoryAllowed ? "" : "not "}allowed`, async () => {
    const { url } = factoryAllowed ? facilitator : strict;
    const gasWallet = privateKeyToAccount(gasWalletKey).address;
    assert.deepEqual(await golden("reference", { facilitatorUrl: url, rpcUrl: node.url, gasWallet, factoryAllowed }), []);
  });
}
