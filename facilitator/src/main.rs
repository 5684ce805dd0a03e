//! The `facilitator` binary: hands the arguments and the environment on.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    facilitator::cli::run(
        std::env::vars_os().filter_map(|(n, v)| Some((n.into_string().ok()?, v.into_string().ok()?))).collect(),
    )
    .await
}
