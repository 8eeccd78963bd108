//! Writes a model's directory again, with an adapter merged into its weights where one is given:
//! `export_model BASE OUTPUT [ADAPTER]`.
//!
//! `scripts/check_interop.py` loads what it writes in sentence-transformers.

use std::path::Path;

use coderag_encoder::lora::Adapter;
use coderag_encoder::{Error, ModelDirectory, ModelExport};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (base, output, adapter) = match &arguments[..] {
        [base, output] => (base, output, None),
        [base, output, adapter] => (base, output, Some(Adapter::read(Path::new(adapter))?)),
        _ => return Err("usage: export_model BASE OUTPUT [ADAPTER]".into()),
    };
    let base = Path::new(base);
    ModelExport {
        base,
        changed: Default::default(),
        adapter: adapter.as_ref(),
        max_tokens: ModelDirectory::open(base, None)?.max_tokens(),
    }
    .write(Path::new(output), |_| Ok::<_, Error>(()))?;
    Ok(())
}
