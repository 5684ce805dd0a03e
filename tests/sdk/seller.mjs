// A small shop: GET /paid costs something. Run by itself it prints {"url": ...} and serves until it is stopped.
import express from "express";
import { readOptions, sdk } from "./options.mjs";

export const startSeller = async (options) => {
  const { middleware, charge } = await sdk(options.protocol);
  const app = express();
  app.use(middleware(options));
  app.get(options.path, (request, response) => {
    charge?.(options, response);
    response.json({ paid: true });
  });
  const server = await new Promise((resolve, reject) => {
    const listening = app.listen(options.port ?? 0, "127.0.0.1", () => resolve(listening));
    listening.on("error", reject);
  });
  const url = `http://127.0.0.1:${server.address().port}${options.path}`;
  return { url, stop: () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }) };
};

if (process.argv[1] === import.meta.filename) {
  const { url } = await startSeller(readOptions(["facilitator-url", "pay-to"]));
  console.log(JSON.stringify({ url }));
}
