use std::fmt;
use std::sync::Arc;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::token::LlamaToken;

use super::literal::Piece;
use crate::{Error, Result};

/// A model's tokeniser.
pub(super) struct Tokens {
    model: Arc<LlamaModel>,
    /// The texts of the control tokens.
    control: Vec<String>,
}

impl Tokens {
    pub(super) fn new(model: Arc<LlamaModel>) -> Self {
        let vocabulary = model.vocab();
        let control = vocabulary
            .tokens()
            .filter(|&token| vocabulary.is_control(token))
            .map(|token| text(&model, token))
            .filter(|text| !text.is_empty())
            .collect();
        Self { model, control }
    }

    pub(super) fn control(&self) -> &[String] {
        &self.control
    }

    /// The text of the token that begins a sequence; empty where the model has none.
    pub(super) fn bos_text(&self) -> String {
        text(&self.model, self.model.vocab().bos())
    }

    /// The text of the token that ends a sequence; empty where the model has none.
    pub(super) fn eos_text(&self) -> String {
        text(&self.model, self.model.vocab().eos())
    }

    /// The tokens of a rendered conversation. Where the model wants a token at the beginning of a
    /// sequence and the template has not written it, it is added.
    pub(super) fn of_pieces(&self, pieces: &[Piece<'_>]) -> Result<Vec<LlamaToken>> {
        let vocabulary = self.model.vocab();
        let mut tokens = Vec::new();
        for piece in pieces {
            let (text, parse_control) = match piece {
                Piece::Rendered(text) => (text, true),
                Piece::Literal(text) => (text, false),
            };
            // llama.cpp counts bytes in 32 bits.
            if i32::try_from(text.len()).is_err() {
                let reason = format!("a text of {} bytes is too long", text.len());
                return Err(Error::Engine { action: "tokenise the conversation", reason });
            }
            vocabulary.tokenize_into(text.as_bytes(), &mut tokens, false, parse_control);
        }
        let bos = vocabulary.bos();
        if vocabulary.should_add_bos() && bos.0 >= 0 && tokens.first() != Some(&bos) {
            tokens.insert(0, bos);
        }
        Ok(tokens)
    }

    /// The bytes that a token adds to the answer; none for a control token.
    pub(super) fn bytes(&self, token: LlamaToken) -> Vec<u8> {
        self.model.vocab().token_to_piece(token, false, None)
    }

    /// Whether a token ends the model's turn.
    pub(super) fn ends_turn(&self, token: LlamaToken) -> bool {
        self.model.vocab().is_eog(token)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tokens").field("control", &self.control).finish_non_exhaustive()
    }
}

/// A token's text in the vocabulary. llama.cpp marks a missing token with a negative number.
fn text(model: &LlamaModel, token: LlamaToken) -> String {
    if token.0 < 0 {
        return String::new();
    }
    model.vocab().text(token).map_or_else(String::new, |text| text.to_string_lossy().into_owned())
}
