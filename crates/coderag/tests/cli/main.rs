//! The built program, run as a user runs it.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod adapters;
mod bad_input;
mod embed;
mod end_to_end;
mod evaluation;
mod mine;
#[allow(dead_code, reason = "written for the tests of coderag-llm")]
#[path = "../../../coderag-llm/tests/mock_server/mod.rs"]
mod mock_server;
mod program;
mod synth;
mod synth_inspect;
mod train;
