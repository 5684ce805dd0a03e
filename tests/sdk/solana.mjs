// A chain that looks like Solana's devnet: a real validator with a token of each token program at the addresses that USDC and PYUSD have there.
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { TOKEN_PROGRAM_ADDRESS, getMintEncoder } from "@solana-program/token";
import { TOKEN_2022_PROGRAM_ADDRESS, findAssociatedTokenPda, getCreateAssociatedTokenIdempotentInstructionAsync, getMintToInstruction } from "@solana-program/token-2022";
import {
  appendTransactionMessageInstructions, createKeyPairSignerFromBytes, createKeyPairSignerFromPrivateKeyBytes, createSolanaRpc, createTransactionMessage, getBase58Decoder,
  getAddressEncoder, getBase64EncodedWireTransaction, pipe, setTransactionMessageFeePayerSigner, setTransactionMessageLifetimeUsingBlockhash, signTransactionMessageWithSigners,
} from "@solana/kit";

export const NETWORK = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";
export const LEGACY_NAME = "solana-devnet";
export const DECIMALS = 6;

/** The mints, and the program that each is one of. */
export const MINTS = {
  usdc: { mint: "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU", program: TOKEN_PROGRAM_ADDRESS },
  pyusd: { mint: "CXk2AMBfi3TwaEL2468s6zP8xq9NxTXjp9gjMgzeUynM", program: TOKEN_2022_PROGRAM_ADDRESS },
};

// Who mints on every chain of the tests, those of `chains/svm/src/local.rs` included.
const mintAuthority = () => createKeyPairSignerFromPrivateKeyBytes(createHash("sha256").update("mint authority").update(Buffer.alloc(8)).digest());

/** A new key: the base58 of its 64 bytes, as the official packages read it, and its signer. */
export const newKey = async () => {
  const seed = randomBytes(32);
  const { address } = await createKeyPairSignerFromPrivateKeyBytes(seed);
  const secret = Buffer.concat([seed, getAddressEncoder().encode(address)]);
  return { secret: getBase58Decoder().decode(secret), signer: await createKeyPairSignerFromBytes(secret), address };
};

const dumped = (pubkey, lamports, owner, data) => ({
  pubkey,
  account: { lamports, data: [Buffer.from(data).toString("base64"), "base64"], owner, executable: false, rentEpoch: 0, space: data.length },
});

const genesis = async (rich) => {
  const { address } = await mintAuthority();
  const mint = getMintEncoder().encode({ mintAuthority: address, supply: 0n, decimals: DECIMALS, isInitialized: true, freezeAuthority: address });
  const system = "11111111111111111111111111111111";
  return [
    ...Object.values(MINTS).map(({ mint: at, program }) => dumped(at, 2_039_280, program, mint)),
    ...[address, ...rich].map((holder) => dumped(holder, 1_000_000_000_000, system, new Uint8Array())),
  ];
};

const isFree = (port) =>
  new Promise((resolve) => {
    const server = createServer().once("error", () => resolve(false)).listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });

// The validator takes its ports in a row.
const freePorts = async (count) => {
  for (let attempt = 0; attempt < 100; attempt++) {
    const first = 20_000 + Math.floor(Math.random() * 10_000);
    const free = await Promise.all(Array.from({ length: count }, (_, i) => isFree(first + i)));
    if (free.every(Boolean)) return first;
  }
  throw new Error(`no ${count} ports in a row are free`);
};

/** Starts a validator on which these addresses have coins, and waits until it executes transactions. */
export const startValidator = async (rich) => {
  const folder = mkdtempSync(join(tmpdir(), "validator-"));
  const accounts = join(folder, "accounts");
  mkdirSync(accounts);
  (await genesis(rich)).forEach((account, number) => writeFileSync(join(accounts, `${number}.json`), JSON.stringify(account)));
  const port = await freePorts(40);
  const places = {
    ledger: join(folder, "ledger"), "account-dir": accounts, "rpc-port": port, "faucet-port": port + 2, "gossip-port": port + 3, "dynamic-port-range": `${port + 4}-${port + 40}`,
  };
  // Before the first root, which takes 15 seconds, the genesis block is the root, and v0 transactions are resolved against it: it has no slot
  // hashes and they are dropped. A root at slot 1 has them.
  const child = spawn("solana-test-validator", ["--quiet", "--reset", "--warp-slot", "1", ...Object.entries(places).flatMap(([name, value]) => [`--${name}`, String(value)])], { stdio: "ignore" });
  const ended = new Promise((resolve) => { child.once("error", resolve).once("exit", (code) => resolve(new Error(`solana-test-validator ended with ${code}`))); });
  const stop = async () => {
    child.kill("SIGKILL");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  const url = `http://127.0.0.1:${port}`;
  const rpc = createSolanaRpc(url);
  const isUp = () => rpc.getEpochInfo({ commitment: "confirmed" }).send().then(({ blockHeight }) => blockHeight > 0n, () => false);
  for (const deadline = Date.now() + 60_000; !(await isUp()); ) {
    const gone = await Promise.race([ended, pause(50)]);
    if (gone || Date.now() > deadline) {
      await stop();
      throw gone ?? new Error("the validator makes no blocks");
    }
  }
  return { url, stop };
};

/** What can be done and seen on such a chain. */
export const world = (rpcUrl) => {
  const rpc = createSolanaRpc(rpcUrl);
  const account = async (owner, { mint, program }) => (await findAssociatedTokenPda({ owner, mint, tokenProgram: program }))[0];
  const confirmed = async (signature) => {
    for (const deadline = Date.now() + 30_000; Date.now() < deadline; await pause(50)) {
      const [status] = (await rpc.getSignatureStatuses([signature]).send()).value;
      if (status?.err) throw new Error(`a preparation failed: ${signature}`);
      if (["confirmed", "finalized"].includes(status?.confirmationStatus)) return;
    }
    throw new Error(`a preparation was not confirmed: ${signature}`);
  };
  const send = async (signer, instructions) => {
    const { value: blockhash } = await rpc.getLatestBlockhash({ commitment: "confirmed" }).send();
    const message = pipe(
      createTransactionMessage({ version: 0 }),
      (draft) => setTransactionMessageFeePayerSigner(signer, draft),
      (draft) => setTransactionMessageLifetimeUsingBlockhash(blockhash, draft),
      (draft) => appendTransactionMessageInstructions(instructions, draft),
    );
    const wire = getBase64EncodedWireTransaction(await signTransactionMessageWithSigners(message));
    await confirmed(await rpc.sendTransaction(wire, { encoding: "base64", preflightCommitment: "confirmed" }).send());
  };
  return {
    rpc,
    /** Gives an owner a token account, and tokens in it. */
    fund: async (owner, token, amount) => {
      const authority = await mintAuthority();
      const { mint, program } = token;
      const create = await getCreateAssociatedTokenIdempotentInstructionAsync({ payer: authority, owner, mint, tokenProgram: program });
      const issue = getMintToInstruction({ mint, token: await account(owner, token), mintAuthority: authority, amount }, { programAddress: program });
      await send(authority, amount > 0n ? [create, issue] : [create]);
    },
    /** How much somebody has; nothing without a token account. */
    balance: async (owner, token) => {
      const found = await rpc.getAccountInfo(await account(owner, token), { commitment: "confirmed", encoding: "jsonParsed" }).send();
      return BigInt(found.value?.data.parsed.info.tokenAmount.amount ?? 0);
    },
    /** A transaction as it is in its block. */
    transaction: (signature) => rpc.getTransaction(signature, { commitment: "confirmed", encoding: "json", maxSupportedTransactionVersion: 0 }).send(),
  };
};
