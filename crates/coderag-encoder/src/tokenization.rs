use std::borrow::Cow;
use std::panic::catch_unwind;
use std::path::Path;

use tokenizers::normalizers::{Lowercase, Sequence};
use tokenizers::{PostProcessor, Tokenizer, TruncationParams};

use crate::{Error, Result};

/// A `tokenizer.json`, set up as sentence-transformers does: special tokens added, cut at the model's
/// length limit, not padded.
#[derive(Debug)]
pub(crate) struct Tokenization(Tokenizer);

impl Tokenization {
    /// Reads a tokenizer for a model of `vocab_size` tokens; a sequence has at most `max_tokens`, special
    /// tokens included.
    pub(crate) fn load(
        path: &Path,
        vocab_size: usize,
        max_tokens: usize,
        lower_case: bool,
    ) -> Result<Self> {
        let invalid = |problem| Error::Invalid { path: path.to_owned(), problem };
        let unreadable = |source| Error::Tokenizer { path: path.to_owned(), source };
        let bytes = std::fs::read(path).map_err(coderag_core::Error::io("read", path))?;
        // tokenizers 0.23 panics on some damaged files instead of returning its error.
        let mut tokenizer = catch_unwind(|| Tokenizer::from_bytes(bytes))
            .unwrap_or_else(|_| Err("the file is damaged".into()))
            .map_err(unreadable)?;
        let special =
            tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        if special == 0 {
            return Err(invalid("it adds no special tokens, so an empty text has none".into()));
        }
        if max_tokens <= special {
            return Err(invalid(format!(
                "it adds {special} special tokens, which leaves no room within max_seq_length {max_tokens}"
            )));
        }
        if lower_case {
            let mut normalizers = vec![Lowercase.into()];
            normalizers.extend(tokenizer.get_normalizer().cloned());
            tokenizer.with_normalizer(Some(Sequence::new(normalizers))).map_err(unreadable)?;
        }
        let truncation = TruncationParams { max_length: max_tokens, ..Default::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(unreadable)?;
        tokenizer.with_padding(None);
        let vocabulary = tokenizer.get_vocab(true).into_values();
        // The special tokens' ids are written down apart from the vocabulary.
        let empty = tokenizer.encode("", true).map_err(unreadable)?;
        let ids = vocabulary.chain(empty.get_ids().iter().copied());
        if let Some(largest) = ids.max().filter(|&id| id as usize >= vocab_size) {
            return Err(invalid(format!(
                "token {largest} is outside the vocab_size {vocab_size} of config.json"
            )));
        }
        Ok(Self(tokenizer))
    }

    /// The token ids of each text, each at least the special tokens.
    pub(crate) fn encode<'a>(
        &self,
        texts: impl Iterator<Item = Cow<'a, str>>,
    ) -> Result<Vec<Vec<u32>>> {
        let encodings =
            self.0.encode_batch_fast(texts.collect(), true).map_err(Error::Tokenization)?;
        Ok(encodings.iter().map(|encoding| encoding.get_ids().to_vec()).collect())
    }
}
