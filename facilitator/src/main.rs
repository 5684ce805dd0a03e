//! The `facilitator` binary: hands the arguments and the environment on.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// The C library's keeps what many tasks have given back in pieces: it holds more and more.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    facilitator::cli::run(facilitator::config::Environment::of_process()).await
}
