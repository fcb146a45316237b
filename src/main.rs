//! The program `weylflow`: the command line, and where errors end.

use clap::Parser;
use std::io::Write;
use std::process::ExitCode;
use weylflow::cli::hint::hinted;
use weylflow::cli::{Cli, Exit};
use weylflow::report::escape::harmless;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.downcast_ref::<Exit>().map_or(1, |exit| exit.code);
            let word = if code == Exit::DOUBTFUL { "warning" } else { "error" };
            // With nowhere left to complain to, the exit code has to do.
            let text = format!("{word}: {}", hinted(error.as_ref()));
            let _ = writeln!(std::io::stderr(), "{}", harmless(&text));
            ExitCode::from(code)
        }
    }
}
