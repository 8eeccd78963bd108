//! How fast this machine multiplies and adds when all operands stay in registers: the ceiling of
//! `scripts/benchmark_embedding`'s profile.
//!
//! ```text
//! arithmetic_peak THREADS
//! ```
//!
//! After `{"ready": true}` each line read, `{"order": "peak", "calls": 8}`, is answered with the fastest
//! of so many calls in 10^9 operations a second, multiplications and additions counted apart: f32
//! (`vfmadd`), bf16 (`vdpbf16ps`) and int8 (`vpdpbusd`), each where the CPU has its AVX-512 instruction.

use std::error::Error;
use std::io::{BufRead as _, Write as _, stdin, stdout};
use std::thread;
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What a line of standard input asks for.
#[derive(Deserialize)]
#[serde(tag = "order", rename_all = "lowercase")]
enum Order {
    Peak { calls: usize },
}

/// Some tens of milliseconds.
const STEPS: usize = 8_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let threads = std::env::args().nth(1).ok_or("usage: arithmetic_peak THREADS")?.parse()?;
    let mut stdout = stdout().lock();
    writeln!(stdout, "{}", json!({ "ready": true }))?;
    stdout.flush()?;
    for line in stdin().lock().lines() {
        let Order::Peak { calls } = serde_json::from_str(&line?)?;
        let mut rates = Map::new();
        for (name, loop_of) in loops() {
            let best = (0..calls).map(|_| rate(threads, loop_of)).fold(0.0, f64::max);
            rates.insert(name.to_owned(), json!(best));
        }
        writeln!(stdout, "{}", Value::from(rates))?;
        stdout.flush()?;
    }
    Ok(())
}

/// 10^9 operations a second over all threads.
fn rate(threads: usize, loop_of: Loop) -> f64 {
    let start = Instant::now();
    let operations: usize = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| loop_of(STEPS))).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).sum()
    });
    operations as f64 / start.elapsed().as_secs_f64() / 1e9
}

/// Does so many steps and returns its number of operations.
type Loop = fn(usize) -> usize;

/// The loops that this machine can run, by number format.
fn loops() -> Vec<(&'static str, Loop)> {
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
    let mut loops: Vec<(&'static str, Loop)> = Vec::new();
    #[cfg(target_arch = "x86_64")]
    #[allow(unsafe_code)]
    {
        // SAFETY: each is called only where the CPU has what it is compiled for.
        if is_x86_feature_detected!("avx512f") {
            loops.push(("f32", |steps| unsafe { avx512::f32_products(steps) }));
        }
        // SAFETY: as above.
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16") {
            loops.push(("bf16", |steps| unsafe { avx512::bf16_products(steps) }));
        }
        // SAFETY: as above.
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
            loops.push(("int8", |steps| unsafe { avx512::int8_products(steps) }));
        }
    }
    loops
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    /// Sums in flight: more than latency times throughput of any of the instructions.
    const SUMS: usize = 16;

    #[target_feature(enable = "avx512f")]
    pub(super) fn f32_products(steps: usize) -> usize {
        let mut sums = [_mm512_setzero_ps(); SUMS];
        let factor = black_box(_mm512_set1_ps(1e-3));
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(factor, factor, *sum);
            }
        }
        black_box(sums);
        steps * SUMS * 16 * 2
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn bf16_products(steps: usize) -> usize {
        let mut sums = [_mm512_setzero_ps(); SUMS];
        let factor = _mm512_set1_ps(1e-3);
        let factor = black_box(_mm512_cvtne2ps_pbh(factor, factor));
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, factor, factor);
            }
        }
        black_box(sums);
        steps * SUMS * 32 * 2
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn int8_products(steps: usize) -> usize {
        let mut sums = [_mm512_setzero_si512(); SUMS];
        let factor = black_box(_mm512_set1_epi8(1));
        for _ in 0..steps {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, factor, factor);
            }
        }
        black_box(sums);
        steps * SUMS * 64 * 2
    }
}
