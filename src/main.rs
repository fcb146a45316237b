//! The program `weylflow`: the command line, and where errors end.

use clap::Parser;
use std::io::Write;
use std::process::ExitCode;
use weylflow::cli::{Cli, Exit};
use weylflow::report::escape::harmless;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With nowhere left to complain to, the exit code has to do.
            let text = format!("error: {error}");
            let _ = writeln!(std::io::stderr(), "{}", harmless(&text));
            error.downcast_ref::<Exit>().map_or(ExitCode::FAILURE, |exit| ExitCode::from(exit.code))
        }
    }
}
