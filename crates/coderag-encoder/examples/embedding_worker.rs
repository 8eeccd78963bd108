//! The engine's side of `scripts/benchmark_embedding`: a process that loads a model and a file of texts,
//! and then does what it is told over standard input.
//!
//! ```text
//! embedding_worker MODEL_DIRECTORY TEXTS.jsonl EVERY PRECISION THREADS
//! ```
//!
//! Of the texts (the field `text` of each line) every EVERY-th is taken. The first line written is
//! `{"ready": true, ...}`; after it each line read is one order, and each line written its answer:
//!
//! - `{"order": "encode"}` embeds all texts, tokenisation included, and answers with the seconds it took,
//!   the seconds of the engine's stages (summed over threads), and how long tokenising the same texts
//!   once more takes by itself.
//! - `{"order": "query", "text": "...", "calls": 40}` embeds one text again and again and answers with
//!   the seconds of each call.
//! - `{"order": "vectors", "path": "..."}` writes the vectors of the last `encode` as little-endian f32,
//!   `[texts, dimensions]`.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _, stdin, stdout};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coderag_core::{Embeddings, Silent};
use coderag_encoder::engine::EngineOptions;
use coderag_encoder::{CpuEncoder, EncodeOptions, Prompt};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What a line of the file of texts holds.
#[derive(Deserialize)]
struct Line {
    text: String,
}

/// What a line of standard input asks for.
#[derive(Deserialize)]
#[serde(tag = "order", rename_all = "lowercase")]
enum Order {
    Encode,
    Query { text: String, calls: usize },
    Vectors { path: PathBuf },
}

/// Texts that are embedded before anything is timed.
const WARMING_TEXTS: usize = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, texts, every, precision, threads] = arguments.as_slice() else {
        return Err("usage: embedding_worker MODEL TEXTS.jsonl EVERY PRECISION THREADS".into());
    };
    let options = EngineOptions {
        precision: precision.parse()?,
        threads: Some(threads.parse()?),
        ..EngineOptions::default()
    };
    let encoder = CpuEncoder::load(Path::new(model), &options)?;
    let lines = read_texts(Path::new(texts), every.parse()?)?;
    let texts: Vec<&str> = lines.iter().map(String::as_str).collect();
    encode(&encoder, texts.get(..WARMING_TEXTS).unwrap_or(&texts))?;

    let mut stdout = stdout().lock();
    let mut answer = move |answer: Value| -> Result<(), Box<dyn Error>> {
        writeln!(stdout, "{answer}")?;
        Ok(stdout.flush()?)
    };
    answer(json!({
        "ready": true,
        "texts": texts.len(),
        "cpu": encoder.engine().cpu().to_string(),
        "max_tokens": encoder.max_tokens(),
    }))?;
    let mut vectors = None;
    for line in stdin().lock().lines() {
        answer(match serde_json::from_str(&line?)? {
            Order::Encode => {
                let (embeddings, timing) = timed_encoding(&encoder, &texts)?;
                vectors = Some(embeddings);
                timing
            }
            Order::Query { text, calls } => timed_queries(&encoder, &text, calls)?,
            Order::Vectors { path } => {
                let vectors = vectors.as_ref().ok_or("nothing has been encoded yet")?;
                write_vectors(&path, vectors)?
            }
        })?;
    }
    Ok(())
}

fn read_texts(path: &Path, every: usize) -> Result<Vec<String>, Box<dyn Error>> {
    let file = BufReader::new(File::open(path)?);
    file.lines()
        .step_by(every.max(1))
        .map(|line| Ok(serde_json::from_str::<Line>(&line?)?.text))
        .collect()
}

fn encode(encoder: &CpuEncoder, texts: &[&str]) -> coderag_encoder::Result<Embeddings> {
    encoder.encode(texts, &EncodeOptions::default(), &Silent)
}

fn timed_encoding(
    encoder: &CpuEncoder,
    texts: &[&str],
) -> Result<(Embeddings, Value), Box<dyn Error>> {
    /// As many as [`CpuEncoder::encode`] tokenises at once.
    const TEXTS_AT_ONCE: usize = 512;
    let before = encoder.engine().profile();
    let start = Instant::now();
    let embeddings = encode(encoder, texts)?;
    let seconds = start.elapsed().as_secs_f64();
    let stages: Map<String, Value> = before
        .iter()
        .zip(encoder.engine().profile())
        .map(|((_, before), (stage, after))| {
            let name = format!("{stage:?}").to_lowercase();
            (name, json!(after.saturating_sub(*before).as_secs_f64()))
        })
        .collect();

    let mut tokenization = Duration::ZERO;
    let mut tokens = 0;
    for texts in texts.chunks(TEXTS_AT_ONCE) {
        let start = Instant::now();
        let sequences = encoder.tokenize(texts, &Prompt::Default)?;
        tokenization += start.elapsed();
        tokens += sequences.iter().map(Vec::len).sum::<usize>();
    }
    let timing = json!({
        "seconds": seconds,
        "tokens": tokens,
        "tokenization_seconds": tokenization.as_secs_f64(),
        "stage_seconds": stages,
    });
    Ok((embeddings, timing))
}

fn timed_queries(encoder: &CpuEncoder, text: &str, calls: usize) -> Result<Value, Box<dyn Error>> {
    let mut seconds = Vec::with_capacity(calls);
    for _ in 0..calls {
        let start = Instant::now();
        encode(encoder, &[text])?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    let tokens: usize = encoder.tokenize(&[text], &Prompt::Default)?.iter().map(Vec::len).sum();
    Ok(json!({ "seconds": seconds, "tokens": tokens }))
}

fn write_vectors(path: &Path, vectors: &Embeddings) -> Result<Value, Box<dyn Error>> {
    let mut file = BufWriter::new(File::create(path)?);
    for value in vectors.as_slice() {
        file.write_all(&value.to_le_bytes())?;
    }
    file.flush()?;
    Ok(json!({ "dimensions": vectors.dimensions() }))
}
