//! `weylflow completions` and `weylflow man`: what a shell and a reader of manuals want.

use super::Cli;
use crate::store::files::write_atomic;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::error::Error;
use std::path::PathBuf;

/// Print completions for a shell.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  weylflow completions bash > ~/.local/share/bash-completion/completions/weylflow"
)]
pub struct Completions {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn run(&self) -> Result<(), Box<dyn Error>> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "weylflow", &mut text);
        super::print(&String::from_utf8_lossy(&text))?;
        Ok(())
    }
}

/// Write a manual page for every command.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  weylflow man --out ~/.local/share/man/man1")]
pub struct Man {
    /// The folder to write into; it must be there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Man {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// A page that cannot be written.
    pub fn run(&self) -> Result<(), Box<dyn Error>> {
        let mut command = Cli::command();
        command.build();
        let of_all = std::iter::once(command.clone());
        let pages =
            of_all.chain(command.get_subcommands().filter(|c| c.get_name() != "help").cloned());
        let mut count = 0;
        for page in pages {
            let name = page.get_display_name().unwrap_or("weylflow").to_owned();
            let mut text = Vec::new();
            clap_mangen::Man::new(page).render(&mut text)?;
            write_atomic(&self.out.join(format!("{name}.1")), &text)?;
            count += 1;
        }
        super::print(&format!("{count} pages in {}\n", self.out.display()))?;
        Ok(())
    }
}
