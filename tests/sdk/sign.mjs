// Prints, byte for byte, the body that the official server POSTs for a payment of the official client: to /verify, or with --request settle
// to /settle. Nothing is verified or settled: the facilitator here says yes to everything and keeps what it was sent.
import express from "express";
import { pay } from "./pay.mjs";
import { readOptions } from "./options.mjs";
import { startSeller } from "./seller.mjs";

const options = readOptions(["payer-key", "pay-to"], { request: { otherwise: "verify", what: "verify or settle" } });
const bodies = {};
const app = express();
app.use(express.text({ type: () => true, limit: "1mb" }));
app.get("/supported", (request, response) =>
  response.json({ kinds: [{ x402Version: 2, scheme: "exact", network: options.network }, { x402Version: 1, scheme: "exact", network: options.network }], extensions: [], signers: {} }));
app.post("/verify", (request, response) => {
  bodies.verify = request.body;
  response.json({ isValid: true, payer: "" });
});
app.post("/settle", (request, response) => {
  bodies.settle = request.body;
  response.json({ success: true, payer: "", transaction: `0x${"00".repeat(32)}`, network: options.network });
});
const recorder = await new Promise((resolve) => { const server = app.listen(0, "127.0.0.1", () => resolve(server)); });
const seller = await startSeller({ ...options, facilitatorUrl: `http://127.0.0.1:${recorder.address().port}`, port: 0 });
const outcome = await pay(options, seller.url);
await seller.stop();
recorder.close();
recorder.closeAllConnections();

const body = bodies[options.option("request")];
if (!body) {
  console.error(JSON.stringify(outcome));
  process.exit(1);
}
process.stdout.write(body);
