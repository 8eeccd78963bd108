//! Reads a PEFT adapter's folder and writes it again: `rewrite_adapter FROM TO`.
//!
//! `scripts/check_adapter_round_trip.py` loads what it writes in PEFT.

use std::path::Path;

use coderag_encoder::lora::Adapter;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = &arguments[..] else {
        return Err("usage: rewrite_adapter FROM TO".into());
    };
    Adapter::read(Path::new(from))?.write(Path::new(to))?;
    Ok(())
}
