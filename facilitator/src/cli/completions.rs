//! `completions`: what a shell completes.

use std::{io::Write as _, process::ExitCode};

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;

/// Prints the completions of a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  facilitator completions bash > /etc/bash_completion.d/facilitator
  facilitator completions zsh > ~/.zfunc/_facilitator

Exit codes: 0 printed, 64 an unknown shell.")]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> ExitCode {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "facilitator", &mut text);
        // A pipe that is closed early wants no more.
        std::io::stdout().write_all(&text).ok();
        ExitCode::SUCCESS
    }
}
