//! `manual`: pages for `man`.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};

use super::Cli;

/// Prints the manual page, or writes the page of every command into a folder.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  facilitator manual | man -l -
  facilitator manual /usr/local/share/man/man1

Exit codes: 0 written, 1 not written, 64 wrong arguments.")]
pub(super) struct Manual {
    /// The folder; it has to be there.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

impl Manual {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let command = Cli::command();
        if let Some(folder) = self.folder {
            clap_mangen::generate_to(command, &folder)
                .with_context(|| format!("cannot write into {}", folder.display()))?;
            println!("{}", folder.display());
        } else {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            // A pipe that is closed early wants no more.
            std::io::stdout().write_all(&page).ok();
        }
        Ok(ExitCode::SUCCESS)
    }
}
