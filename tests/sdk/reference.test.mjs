// The drivers of the official packages, proven: with the official facilitator each way to pay works.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createTestClient, http } from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { furnish } from "../contracts/chain.mjs";
import { anvil } from "../contracts/lens.mjs";
import { golden } from "./golden.mjs";
import { startReference } from "./reference.mjs";
import { WAYS, buy, world } from "./ways.mjs";

let node, facilitator, factory, strict;
const gasWalletKey = generatePrivateKey();
before(async () => {
  node = await anvil();
  const chain = createTestClient({ mode: "anvil", transport: http(node.url) });
  await furnish(chain);
  await chain.setBalance({ address: privateKeyToAccount(gasWalletKey).address, value: 10n ** 21n });
  factory = await world(node.url).deploy("OwnerWalletFactory");
  facilitator = await startReference({ rpcUrl: node.url, gasWalletKey, factories: [factory], sponsorApprovals: true, builderCode: "reference" });
  strict = await startReference({ rpcUrl: node.url, gasWalletKey });
});
after(async () => { await facilitator?.stop(); await strict?.stop(); await node?.stop(); });

for (const way of Object.keys(WAYS)) {
  test(way, async () => {
    const { outcome, wrong } = await buy(way, { facilitatorUrl: facilitator.url, rpcUrl: node.url, factory, facilitatorCode: "reference" });
    assert.deepEqual(wrong, [], JSON.stringify(outcome));
  });
}

test("the golden table", async () => {
  const gasWallet = privateKeyToAccount(gasWalletKey).address;
  assert.deepEqual(await golden("reference", { facilitatorUrl: strict.url, rpcUrl: node.url, gasWallet }), []);
});
