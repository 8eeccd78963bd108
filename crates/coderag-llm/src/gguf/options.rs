use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How a model file is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GgufOptions {
    /// The most tokens that a conversation and its answer may have together; it is cut to what the
    /// model was trained on. It decides how much memory the model takes: room for as many tokens for
    /// each conversation, and where there are several, for the beginnings that they share.
    pub context_tokens: u32,
    /// How many conversations are answered at once. llama.cpp computes 16 tokens together faster
    /// than fewer, so 16 or 32 give the most answers in an hour, and 2 to 12 hardly more than 1.
    pub parallel: u32,
    /// How many threads compute; by default one for each processor this process may use.
    pub threads: u32,
    /// How many tokens are evaluated at once when conversations are read; at least `parallel`.
    pub batch_tokens: u32,
}

impl Default for GgufOptions {
    fn default() -> Self {
        let threads = available_parallelism().map_or(1, usize::from);
        Self {
            context_tokens: 8192,
            parallel: 1,
            threads: u32::try_from(threads).unwrap_or(u32::MAX),
            batch_tokens: 512,
        }
    }
}

impl GgufOptions {
    /// Refuses values that llama.cpp would answer with an abort.
    pub(super) fn check(&self) -> Result<()> {
        let check = |key, value: u32, most: u32| {
            if (1..=most).contains(&value) {
                return Ok(());
            }
            Err(Error::Option { key, problem: format!("{value} is not between 1 and {most}") })
        };
        check("context_tokens", self.context_tokens, 1 << 24)?;
        // llama.cpp has 256 sequences at most, of which some are for shared beginnings.
        check("parallel", self.parallel, 128)?;
        check("threads", self.threads, 512)?;
        check("batch_tokens", self.batch_tokens, 1 << 16)
    }
}
