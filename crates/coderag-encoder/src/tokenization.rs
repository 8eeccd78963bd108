use std::borrow::Cow;
use std::panic::catch_unwind;
use std::path::Path;

use tokenizers::normalizers::{Lowercase, Sequence};
use tokenizers::{Encoding, PostProcessor, Tokenizer, TruncationParams};

use crate::{Error, Result};

/// A `tokenizer.json`, set up as sentence-transformers does: special tokens added, cut at the model's
/// length limit, not padded.
#[derive(Debug)]
pub(crate) struct Tokenization {
    tokenizer: Tokenizer,
    /// What an empty text becomes where no special tokens are added.
    padding: Option<u32>,
}

impl Tokenization {
    /// Reads a tokenizer for a model of `vocab_size` tokens; a sequence has at most `max_tokens`, special
    /// tokens included.
    pub(crate) fn load(
        path: &Path,
        vocab_size: usize,
        max_tokens: usize,
        lower_case: bool,
        padding_token: Option<&str>,
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
        let padding = padding_token.and_then(|token| tokenizer.token_to_id(token));
        if special == 0 && padding.is_none() {
            return Err(invalid(
                "it adds no special tokens and has no padding token, so an empty text is nothing"
                    .into(),
            ));
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
        Ok(Self { tokenizer, padding })
    }

    /// The token ids of each text, at least one.
    pub(crate) fn encode<'a>(
        &self,
        texts: impl Iterator<Item = Cow<'a, str>>,
    ) -> Result<Vec<Vec<u32>>> {
        let encodings =
            self.tokenizer.encode_batch_fast(texts.collect(), true).map_err(Error::Tokenization)?;
        let ids = |encoding: &Encoding| match encoding.get_ids() {
            [] => self.padding.into_iter().collect(),
            ids => ids.to_vec(),
        };
        Ok(encodings.iter().map(ids).collect())
    }
}
