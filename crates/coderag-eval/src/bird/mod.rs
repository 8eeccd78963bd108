//! BIRD's three metrics on SQLite databases, as <https://github.com/bird-bench/mini_dev> computes them
//! (Li et al. 2023, <https://arxiv.org/abs/2305.03111>): execution accuracy as equality of sets of rows,
//! Soft-F1, and the reward-based valid efficiency score.

mod files;
mod metrics;
mod scoring;

pub use files::{BirdQuestion, Difficulty, read_questions};
pub use metrics::{reward, sets_equal, soft_f1};
pub use scoring::{BirdLevel, BirdOptions, BirdScore, BirdSummary, Timings, score};
