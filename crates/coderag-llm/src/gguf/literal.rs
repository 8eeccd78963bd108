//! Keeps the text of a conversation from posing as the model's control tokens.
//!
//! A template marks turns with control tokens such as `<|im_end|>`. Where a user types one, or a
//! database holds one, it must reach the model as the characters it is made of. So every such text
//! in a conversation is replaced by a placeholder before the template runs, and put back afterwards
//! as a piece of its own that is tokenised without control tokens. A conversation that holds none,
//! which is nearly every one, is tokenised in one piece, exactly as the model was tuned.

use coderag_core::Message;

/// Begins and ends a placeholder. Both are private-use characters; where a conversation holds one
/// itself, it becomes a literal like a control token's text.
const OPEN: char = '\u{f0000}';
const CLOSE: char = '\u{f0001}';

/// A conversation whose dangerous parts are placeholders, and those parts.
#[derive(Debug)]
pub(super) struct Disarmed {
    pub(super) messages: Vec<Message>,
    literals: Vec<String>,
}

/// A part of a rendered conversation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'text> {
    /// Text in which control tokens count.
    Rendered(&'text str),
    /// Text that is nothing but characters.
    Literal(&'text str),
}

impl Disarmed {
    /// Replaces what looks like one of `control_tokens`.
    pub(super) fn new(messages: &[Message], control_tokens: &[String]) -> Self {
        let mut literals = Vec::new();
        let messages = messages
            .iter()
            .map(|message| Message {
                role: message.role,
                content: disarm(&message.content, control_tokens, &mut literals),
            })
            .collect();
        Self { messages, literals }
    }

    /// Splits what the template made of the conversation at the placeholders.
    pub(super) fn pieces<'text>(&'text self, rendered: &'text str) -> Vec<Piece<'text>> {
        let mut pieces = Vec::new();
        let mut rest = rendered;
        while let Some((before, literal, after)) = self.next_literal(rest) {
            pieces.push(Piece::Rendered(before));
            pieces.push(Piece::Literal(literal));
            rest = after;
        }
        pieces.push(Piece::Rendered(rest));
        pieces.retain(|piece| *piece != Piece::Rendered(""));
        pieces
    }

    fn next_literal<'text>(
        &'text self,
        text: &'text str,
    ) -> Option<(&'text str, &'text str, &'text str)> {
        let (before, rest) = text.split_once(OPEN)?;
        let (index, after) = rest.split_once(CLOSE)?;
        let literal = self.literals.get(index.parse::<usize>().ok()?)?;
        Some((before, literal, after))
    }
}

fn disarm(content: &str, control_tokens: &[String], literals: &mut Vec<String>) -> String {
    let (open, close) = (OPEN.to_string(), CLOSE.to_string());
    let dangerous: Vec<&str> = control_tokens
        .iter()
        .chain([&open, &close])
        .map(String::as_str)
        .filter(|token| content.contains(token))
        .collect();
    if dangerous.is_empty() {
        return content.to_owned();
    }
    let mut disarmed = String::new();
    let mut rest = content;
    while let Some(character) = rest.chars().next() {
        // The longest, as the tokeniser would take it.
        let token = dangerous
            .iter()
            .filter(|token| rest.starts_with(**token))
            .max_by_key(|token| token.len());
        let (taken, after) = rest.split_at(token.map_or(character.len_utf8(), |token| token.len()));
        match token {
            Some(_) => {
                disarmed.push_str(&format!("{OPEN}{}{CLOSE}", literals.len()));
                literals.push(taken.to_owned());
            }
            None => disarmed.push(character),
        }
        rest = after;
    }
    disarmed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn control_tokens() -> Vec<String> {
        ["<|im_end|>", "<|im_start|>", "<s>", "<s>>"].map(str::to_owned).to_vec()
    }

    #[test]
    fn ordinary_text_stays_one_piece() {
        let messages = [Message::user("a < b | c > d")];
        let disarmed = Disarmed::new(&messages, &control_tokens());
        assert_eq!(disarmed.messages, messages);
        let rendered = "<|im_start|>a < b | c > d<|im_end|>";
        assert_eq!(disarmed.pieces(rendered), [Piece::Rendered(rendered)]);
    }

    #[test]
    fn a_typed_control_token_becomes_a_literal() {
        let disarmed = Disarmed::new(&[Message::user("x<|im_end|><s>>y")], &control_tokens());
        let rendered = format!("<|im_start|>{}<|im_end|>", disarmed.messages[0].content);
        assert_eq!(
            disarmed.pieces(&rendered),
            [
                Piece::Rendered("<|im_start|>x"),
                Piece::Literal("<|im_end|>"),
                Piece::Literal("<s>>"),
                Piece::Rendered("y<|im_end|>"),
            ]
        );
    }

    #[test]
    fn a_typed_placeholder_stands_for_nothing() {
        let text = format!("<s>{OPEN}0{CLOSE}");
        let disarmed = Disarmed::new(&[Message::user(&text)], &control_tokens());
        let pieces = disarmed.pieces(&disarmed.messages[0].content);
        let back: String = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Rendered(text) | Piece::Literal(text) => *text,
            })
            .collect();
        assert_eq!(back, text);
    }

    proptest! {
        #[test]
        fn no_control_token_survives_and_nothing_is_lost(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "<|im_end|>", "<|im_", "end|>", "<s>", ">", "a", " ", "\u{f0000}", "\u{f0001}",
                    "0", "é",
                ]),
                0..20,
            ),
        ) {
            let text = parts.concat();
            let disarmed = Disarmed::new(&[Message::user(&text)], &control_tokens());
            let mut back = String::new();
            for piece in disarmed.pieces(&disarmed.messages[0].content) {
                match piece {
                    Piece::Literal(text) => back.push_str(text),
                    Piece::Rendered(text) => {
                        for token in control_tokens() {
                            prop_assert!(!text.contains(&token));
                        }
                        back.push_str(text);
                    }
                }
            }
            prop_assert_eq!(back, text);
        }
    }
}
