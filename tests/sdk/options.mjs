// What all programs here take: --name on the command line, or NAME in the environment.
import { parseArgs } from "node:util";

const NAMES = {
  protocol: { otherwise: "v2", what: "v1 or v2" },
  "facilitator-url": { what: "base URL of the facilitator" },
  "rpc-url": { what: "EVM node; only asked where the official client asks it" },
  "payer-key": { what: "private key of the buyer" },
  "pay-to": { what: "address of the seller" },
  network: { what: "CAIP-2 for v2, legacy name for v1; otherwise Base Sepolia" },
  price: { otherwise: "$0.01", what: "as the official servers take it" },
  "max-timeout-seconds": { otherwise: "60", what: "how long the authorization lives" },
  "api-key": { what: "bearer token for the facilitator" },
  port: { otherwise: "0", what: "the seller's port" },
};

export const readOptions = (needed, more = {}) => {
  const names = { ...NAMES, ...more };
  const { values } = parseArgs({ options: Object.fromEntries(Object.keys(names).map((name) => [name, { type: "string" }])) });
  const option = (name) => values[name] ?? process.env[name.toUpperCase().replaceAll("-", "_")] ?? names[name].otherwise;
  const missing = needed.filter((name) => !option(name));
  if (missing.length > 0 || !["v1", "v2"].includes(option("protocol"))) {
    console.error(`needed: ${needed.map((name) => `--${name}`).join(" ")}`);
    for (const [name, { what, otherwise }] of Object.entries(names)) console.error(`  --${name}  ${what}${otherwise ? ` (${otherwise})` : ""}`);
    process.exit(64);
  }
  const protocol = option("protocol");
  return {
    protocol,
    facilitatorUrl: option("facilitator-url"),
    rpcUrl: option("rpc-url"),
    payerKey: option("payer-key"),
    payTo: option("pay-to"),
    network: option("network") ?? (protocol === "v1" ? "base-sepolia" : "eip155:84532"),
    price: option("price"),
    maxTimeoutSeconds: Number(option("max-timeout-seconds")),
    token: option("api-key"),
    port: Number(option("port")),
    path: "/paid",
    option,
  };
};

export const sdk = (protocol) => import(`./${protocol}.mjs`);
