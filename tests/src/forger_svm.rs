//! The notifications of a node of Solana, which tell what a test wants and nothing that is true.

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::broadcast,
};
use tokio_tungstenite::{accept_async, tungstenite::Message};

/// Notifications that may wait for a subscriber.
const WAITING_MAX: usize = 64;

/// A WebSocket that grants every subscription.
pub struct Forger {
    told: broadcast::Sender<Value>,
    /// The address to reach it at.
    pub url: String,
}

impl Forger {
    /// Starts it.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("ws://{}", listener.local_addr().expect("bound"));
        let (told, _) = broadcast::channel(WAITING_MAX);
        let subscribers = told.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, subscribers.subscribe()));
            }
        });
        Self { told, url }
    }

    /// Tells all subscribers that a transaction was confirmed in a slot; returns the number of subscribers.
    pub fn tell(&self, signature: &str, slot: u64) -> usize {
        let value = json!({"signature": signature, "err": null, "logs": []});
        self.told.send(json!({"context": {"slot": slot}, "value": value})).unwrap_or(0)
    }
}

/// Grants what is asked for, and passes on what is told, until the caller goes away.
async fn serve(stream: TcpStream, mut told: broadcast::Receiver<Value>) {
    let Ok(mut socket) = accept_async(stream).await else { return };
    let mut subscriptions: Vec<u64> = vec![];
    loop {
        let answers: Vec<Value> = tokio::select! {
            asked = socket.next() => match asked {
                Some(Ok(Message::Text(text))) => {
                    let request: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
                    let id = request["id"].as_u64().unwrap_or(0);
                    subscriptions.push(id);
                    vec![json!({"jsonrpc": "2.0", "id": id, "result": id})]
                }
                Some(Ok(_)) => vec![],
                Some(Err(_)) | None => return,
            },
            Ok(result) = told.recv() => {
                let notify = |subscription: &u64| json!({"jsonrpc": "2.0", "method": "logsNotification",
                    "params": {"result": result, "subscription": subscription}});
                subscriptions.iter().map(notify).collect()
            }
        };
        for answer in answers {
            if socket.send(Message::text(answer.to_string())).await.is_err() {
                return;
            }
        }
    }
}
