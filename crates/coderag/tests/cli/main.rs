//! The built program, run as a user runs it.

mod bad_input;
mod end_to_end;
mod program;
