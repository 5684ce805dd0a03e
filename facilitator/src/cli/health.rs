//! `health`: the service's own word on its readiness, for containers.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use serde_json::{Value, json};

use super::ConfigFile;
use crate::config::{self, Environment};

/// Asks the service on this machine whether it is ready, for a container's health check.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  facilitator health
  HEALTHCHECK CMD [\"facilitator\", \"health\"]

Exit codes: 0 ready, 1 not ready or no answer, 64 mistakes in the configuration.")]
pub(super) struct Health {
    #[command(flatten)]
    config: ConfigFile,
    /// The time for an answer.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// One JSON object: the answer of `/ready`.
    #[arg(long)]
    json: bool,
}

impl Health {
    pub(super) async fn run(self, environment: &Environment) -> anyhow::Result<ExitCode> {
        let listen = config::load_listen(self.config.config.as_deref(), environment);
        let listen = listen.map_err(|report| self.config.bad(environment, &report))?;
        let (is_ready, body) = match ask(reachable(listen), self.timeout).await {
            Ok(answer) => answer,
            Err(error) => (false, json!({"ready": false, "parts": [], "error": error.to_string()})),
        };
        if self.json {
            println!("{}", serde_json::to_string_pretty(&body)?);
        } else {
            print(is_ready, &body);
        }
        Ok(if is_ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// The answer of `/ready`, and its verdict.
async fn ask(address: SocketAddr, timeout: Duration) -> reqwest::Result<(bool, Value)> {
    // The machine's proxy has no business between a service and its health check.
    let client = reqwest::Client::builder().timeout(timeout).no_proxy().build()?;
    let answer = client.get(format!("http://{address}/ready")).send().await?;
    Ok((answer.status().is_success(), answer.json().await?))
}

/// The address by which this machine reaches a listener: every address is not one.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn print(is_ready: bool, body: &Value) {
    println!("{}", if is_ready { "ready" } else { "not ready" });
    if let Some(error) = body["error"].as_str() {
        println!("{error}");
    }
    let parts = body["parts"].as_array().into_iter().flatten();
    for part in parts.filter(|part| part["ready"] != true) {
        let text = |key: &str| part[key].as_str().unwrap_or_default().to_owned();
        println!("{}: {}", text("subject"), text("detail"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_asked_at_loopback() {
        for (listen, asked) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.7:1", "10.0.0.7:1"), ("[::1]:1", "[::1]:1")]
        {
            assert_eq!(reachable(listen.parse().expect("an address")).to_string(), asked, "{listen}");
        }
    }
}
