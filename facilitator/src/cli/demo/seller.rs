//! A paid web server in a few lines: asks for payment, lets the facilitator
//! verify and settle it, then serves.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use tokio::net::TcpListener;

struct Shop {
    client: reqwest::Client,
    facilitator: String,
    requirements: Value,
}

/// Opens the shop; its address.
pub(super) async fn start(facilitator: &str, requirements: Value) -> anyhow::Result<String> {
    #[expect(clippy::disallowed_methods, reason = "the demonstration asks its own service")]
    let shop = Shop { client: reqwest::Client::new(), facilitator: facilitator.to_owned(), requirements };
    let router = Router::new().route("/weather", get(weather)).with_state(Arc::new(shop));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    // Ends with the process, as the whole demonstration does.
    #[expect(clippy::disallowed_methods, reason = "the demonstration's server ends with the process")]
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(format!("http://{address}"))
}

async fn weather(State(shop): State<Arc<Shop>>, headers: HeaderMap) -> Response {
    let Some(payload) = headers.get("payment-signature").and_then(|value| decode(value.as_bytes())) else {
        return shop.ask("PAYMENT-SIGNATURE header is required");
    };
    let body = json!({"x402Version": 2, "paymentPayload": payload, "paymentRequirements": shop.requirements});
    for (path, good) in [("/verify", "isValid"), ("/settle", "success")] {
        println!("  server → POST {path}");
        let answer = match shop.post(path, &body).await {
            Ok(answer) => answer,
            Err(error) => return shop.ask(&error.to_string()),
        };
        println!("  server ← {answer}");
        if answer[good] != true {
            return shop.ask("the payment was refused");
        }
        if path == "/settle" {
            let receipt = BASE64.encode(answer.to_string());
            return ([("payment-response", receipt)], Json(json!({"weather": "sunny"}))).into_response();
        }
    }
    shop.ask("the payment was refused")
}

fn decode(header: &[u8]) -> Option<Value> {
    serde_json::from_slice(&BASE64.decode(header).ok()?).ok()
}

impl Shop {
    fn ask(&self, error: &str) -> Response {
        let required = json!({
            "x402Version": 2, "error": error, "resource": {"url": "/weather"}, "accepts": [self.requirements],
        });
        let header = [("payment-required", BASE64.encode(required.to_string()))];
        (StatusCode::PAYMENT_REQUIRED, header, Json(json!({}))).into_response()
    }

    async fn post(&self, path: &str, body: &Value) -> reqwest::Result<Value> {
        self.client.post(format!("{}{path}", self.facilitator)).json(body).send().await?.json().await
    }
}
