//! Times the search for hard negatives, without reading and embedding texts. See scripts/benchmark_mining.py.
//!
//! ```text
//! cargo run --release -p coderag-train --example mining_speed -- FOLDER DIMENSIONS NEGATIVES
//! ```
//!
//! `FOLDER` holds `anchors.f32` and `documents.f32`, vectors of length 1 in little-endian 32-bit floats; the
//! positive of an anchor is the document of its place. Writes the numbers of the negatives of each anchor to
//! `negatives.u32`, 4294967295 for none, and prints the seconds of the search.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use coderag_core::{Embeddings, Silent};
use coderag_train::data::{OnBadRow, Source};
use coderag_train::mining::{MiningSettings, Pairs, mine};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, dimensions, negatives] = &arguments[..] else {
        return Err("which folder, how many dimensions and negatives?".into());
    };
    let folder = Path::new(folder);
    let read = |name: &str| -> Result<Embeddings, Box<dyn Error>> {
        let bytes = std::fs::read(folder.join(name))?;
        let values = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Ok(Embeddings::new(dimensions.parse()?, values)?)
    };
    let (anchors, documents) = (read("anchors.f32")?, read("documents.f32")?);
    let mut lines = String::new();
    for number in 0..anchors.len() {
        writeln!(lines, "{{\"anchor\":\"a{number}\",\"positive\":\"d{number}\"}}")?;
    }
    let path = folder.join("pairs.jsonl");
    std::fs::write(&path, lines)?;
    let mut pairs = Pairs::read(&[Source::of_file(&path)], OnBadRow::Fail, &Silent)?;
    for number in anchors.len()..documents.len() {
        pairs.add_document(format!("d{number}"))?;
    }
    let settings = MiningSettings { negatives: negatives.parse()?, ..MiningSettings::default() };
    let started = Instant::now();
    let mined = mine(&pairs, &anchors, &documents, &settings, &Silent)?;
    println!("{:.3}", started.elapsed().as_secs_f64());
    let mut bytes = Vec::new();
    for anchor in 0..anchors.len() {
        let found = mined.negatives(anchor).iter().map(|negative| negative.document);
        let found = found.chain(std::iter::repeat(u32::MAX)).take(settings.negatives);
        bytes.extend(found.flat_map(u32::to_le_bytes));
    }
    std::fs::write(folder.join("negatives.u32"), bytes)?;
    Ok(())
}
