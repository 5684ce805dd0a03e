// The official facilitator in this process, unpatched, on a chain of the tests: what ours is compared with, and what proves the drivers here.
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorEvmSigner } from "@x402/evm";
import { ExactEvmScheme } from "@x402/evm/exact/facilitator";
import { ExactEvmSchemeV1 } from "@x402/evm/exact/v1/facilitator";
import { UptoEvmScheme } from "@x402/evm/upto/facilitator";
import { EIP2612_GAS_SPONSORING, createErc20ApprovalGasSponsoringExtension } from "@x402/extensions";
import { BuilderCodeFacilitatorExtension } from "@x402/extensions/builder-code";
import express from "express";
import { createWalletClient, http, parseTransaction, publicActions, recoverTransactionAddress } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { baseSepolia } from "viem/chains";

/**
 * A facilitator with one gas wallet; it settles one payment at a time. `factories` are those of ERC-6492 that may be called; `sponsorApprovals` turns ERC-20 approval sponsoring
 * on, as the packages' example does it: the payer gets the gas money that it lacks, then one transaction after the other.
 */
export const reference = ({ rpcUrl, gasWalletKey, factories = [], sponsorApprovals = false, builderCode }) => {
  const account = privateKeyToAccount(gasWalletKey);
  // Sent and waited for in one call: where a block is made for each transaction, whoever asks for the receipt too early waits for another block.
  const client = createWalletClient({ account, chain: baseSepolia, transport: http(rpcUrl, { batch: { batchSize: 200 } }), pollingInterval: 100, cacheTime: 0 }).extend(publicActions);
  const signer = toFacilitatorEvmSigner({
    address: account.address,
    getCode: (args) => client.getCode(args),
    readContract: (args) => client.readContract({ account, ...args }),
    verifyTypedData: (args) => client.verifyTypedData(args),
    writeContract: async (args) => (await client.writeContractSync(args)).transactionHash,
    sendTransaction: async (args) => (await client.sendTransactionSync(args)).transactionHash,
    waitForTransactionReceipt: (args) => client.waitForTransactionReceipt(args),
  });
  const facilitator = new x402Facilitator()
    .register("eip155:84532", new ExactEvmScheme(signer, { eip6492AllowedFactories: factories }))
    .register("eip155:84532", new UptoEvmScheme(signer))
    .registerV1("base-sepolia", new ExactEvmSchemeV1(signer, { eip6492AllowedFactories: factories }))
    .registerExtension(EIP2612_GAS_SPONSORING);
  if (builderCode) facilitator.registerExtension(new BuilderCodeFacilitatorExtension({ builderCode }));
  if (sponsorApprovals) {
    const fund = async (serializedTransaction) => {
      const { gas, maxFeePerGas } = parseTransaction(serializedTransaction);
      const to = await recoverTransactionAddress({ serializedTransaction });
      const missing = gas * maxFeePerGas - (await client.getBalance({ address: to }));
      if (missing > 0n) await client.sendTransactionSync({ to, value: missing });
    };
    const sendTransactions = async (transactions) => {
      const hashes = [];
      for (const transaction of transactions) {
        const signed = typeof transaction === "string";
        if (signed) await fund(transaction);
        const receipt = await (signed ? client.sendRawTransactionSync({ serializedTransaction: transaction }) : client.sendTransactionSync(transaction));
        hashes.push(receipt.transactionHash);
      }
      return hashes;
    };
    facilitator.registerExtension(createErc20ApprovalGasSponsoringExtension({ ...signer, sendTransactions }));
  }
  return facilitator;
};

/** Such a facilitator over HTTP, as the packages' example serves it. */
export const serve = async (facilitator) => {
  const app = express();
  app.use(express.json({ limit: "1mb" }));
  app.get("/supported", (request, response) => response.json(facilitator.getSupported()));
  for (const action of ["verify", "settle"]) {
    app.post(`/${action}`, (request, response) => {
      const { paymentPayload, paymentRequirements } = request.body;
      facilitator[action](paymentPayload, paymentRequirements).then((answer) => response.json(answer), (error) => response.status(500).json({ error: String(error) }));
    });
  }
  const server = await new Promise((resolve) => { const listening = app.listen(0, "127.0.0.1", () => resolve(listening)); });
  return { url: `http://127.0.0.1:${server.address().port}`, stop: () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }) };
};

export const startReference = (options) => serve(reference(options));
