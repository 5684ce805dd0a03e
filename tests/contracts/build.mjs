// Compiles the Solidity of the product and of the tests, and takes what others deployed from their package. For each contract that has its file's name it writes out/<Contract>.hex
// (creation code) and, where a constructor has nothing to add to it, out/<Contract>.runtime.hex (what anvil_setCode takes): lower-case
// hex without 0x and without a line end, for include_str!.
// `--check` writes nothing and fails when the committed files are not what the sources yield.
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const here = dirname(fileURLToPath(import.meta.url));
const root = resolve(here, "../..");
const folders = { "chains/evm/contracts": "chains/evm/contracts/out", "tests/contracts/permit2": "tests/contracts/out", "tests/contracts/tokens": "tests/contracts/out", "tests/contracts/wallets": "tests/contracts/out" };
const outs = [...new Set(Object.values(folders))].map((out) => join(root, out));
const check = process.argv.includes("--check");

const sources = {};
for (const folder of Object.keys(folders)) {
  for (const file of readdirSync(join(root, folder)).filter((name) => name.endsWith(".sol")).sort()) {
    sources[`${folder}/${file}`] = { content: readFileSync(join(root, folder, file), "utf8") };
  }
}

const input = {
  language: "Solidity",
  sources,
  settings: {
    // The oldest target that still has every opcode used here: one bytecode for all chains, also those without PUSH0 and MCOPY.
    evmVersion: "paris",
    viaIR: true,
    optimizer: { enabled: true, runs: 1_000_000 },
    // No metadata: the same source gives the same bytes wherever it is compiled.
    metadata: { appendCBOR: false, bytecodeHash: "none" },
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode"] } },
  },
};

const npm = createRequire(import.meta.url);
const output = JSON.parse(
  solc.compile(JSON.stringify(input), {
    import: (path) => {
      try {
        return { contents: readFileSync(npm.resolve(path), "utf8") };
      } catch (error) {
        return { error: String(error) };
      }
    },
  }),
);
const messages = output.errors ?? [];
for (const { formattedMessage } of messages) console.error(formattedMessage);
if (messages.length > 0) process.exit(1); // a warning too: it would be looked at never again

const wanted = new Map();
for (const [file, contracts] of Object.entries(output.contracts)) {
  const { abi, evm } = contracts[basename(file, ".sol")] ?? {};
  const out = folders[dirname(file)];
  if (!out || !evm?.bytecode.object) continue; // imported from npm, or abstract
  wanted.set(join(root, out, `${basename(file, ".sol")}.hex`), evm.bytecode.object);
  const immutables = Object.keys(evm.deployedBytecode.immutableReferences);
  if (immutables.length === 0 && abi.some(({ type }) => type === "function" || type === "fallback")) {
    wanted.set(join(root, out, `${basename(file, ".sol")}.runtime.hex`), evm.deployedBytecode.object);
  }
}

// Permit2 and Multicall3 as they stand on every chain: nobody can compile those bytes again. Permit2's are those of Ethereum; on a chain with
// another id it computes its domain separator at each call.
const preinstalls = readFileSync(npm.resolve("@eth-optimism/contracts-bedrock/src/libraries/Preinstalls.sol"), "utf8");
for (const [name, constant] of [["Permit2", "Permit2TemplateCode"], ["Multicall3", "MultiCall3Code"]]) {
  const [, hex] = preinstalls.match(new RegExp(`constant ${constant} =\\s*hex"([0-9a-f]+)";`)) ?? [];
  if (!hex) throw new Error(`no ${constant} in the package`);
  wanted.set(join(root, "tests/contracts/out", `${name}.runtime.hex`), hex);
}

for (const out of outs) mkdirSync(out, { recursive: true });
const present = outs.flatMap((out) => readdirSync(out).map((name) => join(out, name)));
const read = (path) => (present.includes(path) ? readFileSync(path, "utf8") : undefined);
const stale = [...wanted].filter(([path, code]) => read(path) !== code).map(([path]) => path);
const orphaned = present.filter((path) => !wanted.has(path));

if (check) {
  for (const path of [...stale, ...orphaned]) console.error(`differs from the sources: ${relative(root, path)}`);
  if (stale.length + orphaned.length > 0) {
    console.error("run: node tests/contracts/build.mjs");
    process.exit(1);
  }
  console.log(`${wanted.size} compiled files match their sources`);
} else {
  for (const path of orphaned) rmSync(path);
  for (const path of stale) writeFileSync(path, wanted.get(path));
  console.log(`${stale.length} files written, ${wanted.size - stale.length} unchanged`);
}
