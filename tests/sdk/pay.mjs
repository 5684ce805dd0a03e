// Buys once. Without --url it opens the shop itself. Prints one line of JSON; exit code 0 only if the paid resource arrived.
import { readOptions, sdk } from "./options.mjs";
import { startSeller } from "./seller.mjs";

/** The buyer speaks the seller's protocol; with `buyer` "v2" it does so with the newer packages. */
export const pay = async (options, url) => {
  const { payingFetch } = await sdk(options.buyer ?? options.protocol);
  const { responseHeader, decodeResponse } = await sdk(options.protocol);
  const response = await (await payingFetch(options))(url);
  const text = await response.text();
  const json = (value) => { try { return JSON.parse(value); } catch { return value; } };
  const header = response.headers.get(responseHeader);
  // v2 states the requirements, and why a payment was refused, in a header; its body is empty.
  const required = response.headers.get("PAYMENT-REQUIRED");
  return {
    status: response.status,
    body: json(text),
    paymentResponse: header ? decodeResponse(header) : null,
    ...(required ? { paymentRequired: json(Buffer.from(required, "base64").toString()) } : {}),
  };
};

if (process.argv[1] === import.meta.filename) {
  const options = readOptions(["payer-key"], { url: { what: "an open shop to buy from" } });
  const url = options.option("url");
  if (!url && !(options.facilitatorUrl && options.payTo)) {
    console.error("needed: --url, or --facilitator-url and --pay-to");
    process.exit(64);
  }
  const seller = url ? undefined : await startSeller(options);
  // The official packages log to stdout here and there; the line of JSON is to stand alone.
  console.log = console.error;
  const outcome = await pay(options, url ?? seller.url).catch((error) => ({ status: 0, body: String(error), paymentResponse: null }));
  await seller?.stop();
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
  process.exitCode = outcome.status === 200 && outcome.body?.paid === true && outcome.paymentResponse?.success === true ? 0 : 1;
}
