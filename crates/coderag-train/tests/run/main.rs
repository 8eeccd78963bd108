//! Whole runs.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod equivalence;
mod failures;
mod folder;
mod parity;
mod resumption;
mod stages;
