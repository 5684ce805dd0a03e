// The byte layout of Eip3009Lens, written and read; and an anvil to try it on.
import { spawn } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { bytesToBigInt, bytesToHex, bytesToNumber, concat, hexToBytes, size, toHex } from "viem";

const here = import.meta.dirname;
const product = join(here, "../../chains/evm/contracts/out");

export const code = (name, part) => {
  const file = part ? `${name}.${part}.hex` : `${name}.hex`;
  const folder = ["ApprovalLens", "DemoUsdc", "Eip3009Lens", "Permit2Lens", "SettlementBatch"].includes(name) ? product : join(here, "out");
  return `0x${readFileSync(join(folder, file), "utf8")}`;
};

export const lensCode = code("Eip3009Lens");

export const writeInput = (items) => {
  const body = concat([
    toHex(items.length, { size: 1 }),
    ...items.flatMap(({ token, gasCap, transferCall, signatureCall }) => [
      token, toHex(gasCap, { size: 4 }), toHex(size(transferCall), { size: 2 }), toHex(size(signatureCall), { size: 2 }), transferCall, signatureCall,
    ]),
  ]);
  return concat([lensCode, body, toHex(size(body), { size: 2 })]);
};

export const readOutput = (hex) => {
  const bytes = hexToBytes(hex);
  let at = 0;
  const take = (length) => bytes.subarray(at, (at += length));
  if (bytesToNumber(take(1)) !== 1) throw new Error("unknown layout");
  const count = bytesToNumber(take(1));
  const header = { number: bytesToBigInt(take(8)), timestamp: bytesToBigInt(take(8)), basefee: bytesToBigInt(take(16)) };
  const records = Array.from({ length: count }, () => {
    const flags = bytesToNumber(take(1));
    const flag = (bit) => (flags & bit) !== 0;
    const [signature, effect] = take(2);
    const gasUsed = bytesToNumber(take(4));
    const reasonSize = bytesToNumber(take(1));
    return {
      asked: flag(0x01), tokenCode: flag(0x02), payerCode: flag(0x04), delegated: flag(0x08), balanceKnown: flag(0x10), stateKnown: flag(0x20),
      used: flag(0x40), success: flag(0x80), signature, effect, gasUsed, balance: bytesToBigInt(take(32)), revert: bytesToHex(take(reasonSize)),
    };
  });
  if (at !== bytes.length) throw new Error("something behind the last record");
  return { header, records };
};

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

/** The package's own command is a script that starts the binary; stopping the script would leave the binary running. */
export const anvilBinary = () => {
  const scope = join(here, "node_modules/@foundry-rs");
  const platform = readdirSync(scope).find((name) => name.startsWith("anvil-"));
  if (!platform) throw new Error("no anvil for this platform: npm ci in tests/contracts");
  return join(scope, platform, "bin/anvil");
};

export const anvil = async (...args) => {
  const port = await freePort();
  const child = spawn(anvilBinary(), ["--port", String(port), "--chain-id", "84532", "--hardfork", "prague", "--silent", ...args], { stdio: ["ignore", "ignore", "inherit"] });
  const url = `http://127.0.0.1:${port}`;
  for (let i = 0; ; i++) {
    const up = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: '{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}' }).then((r) => r.ok, () => false);
    if (up) break;
    if (i > 200 || child.exitCode !== null) throw new Error("anvil does not start");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { url, stop: () => new Promise((resolve) => { child.once("exit", resolve); child.kill(); }) };
};
