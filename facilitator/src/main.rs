//! The `facilitator` binary: hands the arguments and the environment on.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    facilitator::cli::run(facilitator::config::Environment::of_process()).await
}
