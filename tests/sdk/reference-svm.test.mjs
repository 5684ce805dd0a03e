// The drivers of the official packages, proven on Solana: with the official facilitator each way to pay works.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startReference } from "./reference-svm.mjs";
import { newKey, startValidator } from "./solana.mjs";
import { WAYS, buy } from "./ways-svm.mjs";

let validator, facilitator;
before(async () => {
  const { address, signer } = await newKey();
  validator = await startValidator([address]);
  facilitator = await startReference({ rpcUrl: validator.url, feePayer: signer });
});
after(async () => { await facilitator?.stop(); await validator?.stop(); });

for (const way of Object.keys(WAYS)) {
  test(way, async () => {
    const { outcome, wrong } = await buy(way, { facilitatorUrl: facilitator.url, rpcUrl: validator.url });
    assert.deepEqual(wrong, [], JSON.stringify(outcome));
  });
}
