//! The built program, run as a user runs it.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod adapters;
mod bad_input;
mod embed;
mod end_to_end;
mod evaluation;
mod program;
