//! The `coderag` command: argument parsing, wiring and exit codes; the work is in the libraries.
//!
//! Data goes to standard output, logs and progress to standard error. The exit code is 0 when the
//! command did what was asked, 1 when it failed and 2 when it was called wrongly.

mod arguments;
mod commands;
mod device;
mod output;
mod progress;

use std::io::{ErrorKind, IsTerminal as _, stderr};
use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::{Arguments, Command, LogFormat};
use crate::commands::Session;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_logging(&arguments);
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output went away, as `head` does: nothing failed.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let session = Session::new(arguments)?;
    match &arguments.command {
        Command::Models { command } => commands::models::run(&session, command),
        Command::Embed(command) => commands::embed::run(&session, command),
        Command::Train(command) => commands::train::run(&session, command),
        Command::Index { command } => commands::index::run(&session, command),
        Command::Sql(command) => commands::sql::run(&session, command),
        Command::Synth(command) => commands::synth::run(&session, command),
        Command::Mine(command) => commands::mine::run(&session, command),
        Command::Eval { command } => commands::eval::run(&session, command),
    }
}

fn start_logging(arguments: &Arguments) {
    use tracing_subscriber::filter::{EnvFilter, LevelFilter};
    let level = match (arguments.quiet, arguments.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, 2) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    };
    // RUST_LOG wins over -v, as everywhere else.
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr().is_terminal())
        .with_writer(stderr);
    match arguments.log_format {
        LogFormat::Text => builder.without_time().with_target(arguments.verbose > 1).init(),
        LogFormat::Json => builder.json().init(),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    })
}
