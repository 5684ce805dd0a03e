"""The official Python package as seller and buyer, unpatched: opens a shop, buys once, prints one line of JSON.

Exits with 0 only if the paid resource arrived.
"""

import argparse
import json
import sys
import threading

from eth_account import Account
from flask import Flask
from werkzeug.serving import make_server
from x402 import x402ClientSync, x402ResourceServerSync
from x402.http import FacilitatorConfig, HTTPFacilitatorClientSync
from x402.http.clients import x402_requests
from x402.http.middleware.flask import payment_middleware
from x402.http.utils import decode_payment_response_header
from x402.mechanisms.evm import EthAccountSignerWithRPC
from x402.mechanisms.evm.exact import ExactEvmScheme, ExactEvmServerScheme
from x402.mechanisms.evm.upto import UptoEvmScheme, UptoEvmServerScheme

SCHEMES = {"exact": (ExactEvmScheme, ExactEvmServerScheme), "upto": (UptoEvmScheme, UptoEvmServerScheme)}


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ["facilitator-url", "rpc-url", "payer-key", "pay-to", "network"]:
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--scheme", choices=SCHEMES, default="exact")
    parser.add_argument("--permit2-asset", help="pay 10,000 units of this token by Permit2, not $0.01 by EIP-3009")
    return parser.parse_args()


def price(asset: str | None) -> str | dict:
    if asset is None:
        return "$0.01"
    return {"amount": "10000", "asset": asset, "extra": {"name": "USDC", "version": "2", "assetTransferMethod": "permit2"}}


def shop(given: argparse.Namespace) -> Flask:
    app = Flask("shop")

    @app.get("/paid")
    def paid() -> dict:
        return {"paid": True}

    server = x402ResourceServerSync(HTTPFacilitatorClientSync(FacilitatorConfig(url=given.facilitator_url)))
    server.register(given.network, SCHEMES[given.scheme][1]())
    accepts = {"scheme": given.scheme, "network": given.network, "payTo": given.pay_to, "price": price(given.permit2_asset)}
    payment_middleware(app, {"GET /paid": {"accepts": accepts}}, server)
    return app


def buy(given: argparse.Namespace, url: str) -> dict:
    client = x402ClientSync()
    signer = EthAccountSignerWithRPC(Account.from_key(given.payer_key), given.rpc_url)
    client.register(given.network, SCHEMES[given.scheme][0](signer))
    response = x402_requests(client).get(url, timeout=60)
    header = response.headers.get("PAYMENT-RESPONSE")
    settled = decode_payment_response_header(header).model_dump(by_alias=True, exclude_none=True) if header else None
    return {"status": response.status_code, "body": response.text, "paymentResponse": settled}


def main() -> int:
    given = options()
    server = make_server("127.0.0.1", 0, shop(given), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    outcome = buy(given, f"http://127.0.0.1:{server.server_port}/paid")
    server.shutdown()
    print(json.dumps(outcome))
    return 0 if outcome["status"] == 200 and (outcome["paymentResponse"] or {}).get("success") else 1


if __name__ == "__main__":
    sys.exit(main())
