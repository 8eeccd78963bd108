use std::ops::Range;

use crate::architecture::check_sequences;
use crate::{BertConfig, Result};

/// A token and its place in its sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) id: u32,
    pub(super) position: u32,
}

/// Sequences that go through the model in one call, one after the other without padding.
#[derive(Debug)]
pub(super) struct Batch {
    tokens: Vec<Token>,
    /// Which tokens each sequence has.
    sequences: Vec<Range<usize>>,
    groups: Vec<Group>,
}

/// Some sequences that a thread takes through the model together.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) sequences: Range<usize>,
    pub(super) tokens: Range<usize>,
    /// Its pairs of tokens: the last token of an odd number of them is one of its own.
    pub(super) pairs: Range<usize>,
}

/// A group has about this many tokens, so that all its states stay in the second-level cache.
const TOKENS_OF_A_GROUP: usize = 128;

impl Batch {
    /// # Errors
    /// [`Error::Sequence`] when the model cannot take a sequence.
    pub(super) fn new(sequences: &[&[u32]], config: &BertConfig) -> Result<Self> {
        let mut batch = Self { tokens: Vec::new(), sequences: Vec::new(), groups: Vec::new() };
        check_sequences(sequences, config.max_tokens(), config.vocab_size)?;
        for ids in sequences {
            let start = batch.tokens.len();
            let positions = config.positions(ids);
            let tokens = ids.iter().zip(positions).map(|(&id, position)| Token { id, position });
            batch.tokens.extend(tokens);
            batch.add(start..batch.tokens.len());
        }
        Ok(batch)
    }

    /// Adds a sequence to the last group, or to a new one.
    fn add(&mut self, tokens: Range<usize>) {
        let index = self.sequences.len();
        match self.groups.last_mut() {
            Some(group) if tokens.end - group.tokens.start <= TOKENS_OF_A_GROUP => {
                group.sequences.end = index + 1;
                group.tokens.end = tokens.end;
                group.pairs.end = group.pairs.start + group.tokens.len().div_ceil(2);
            }
            last => {
                let pair = last.map_or(0, |group| group.pairs.end);
                let pairs = pair..pair + tokens.len().div_ceil(2);
                let sequences = index..index + 1;
                self.groups.push(Group { sequences, tokens: tokens.clone(), pairs });
            }
        }
        self.sequences.push(tokens);
    }

    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    pub(super) fn sequences(&self) -> &[Range<usize>] {
        &self.sequences
    }

    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The tokens of a group's sequences, counted from the group's first.
    pub(super) fn sequences_of<'a>(
        &'a self,
        group: &'a Group,
    ) -> impl Iterator<Item = Range<usize>> + 'a {
        let first = group.tokens.start;
        let sequences = &self.sequences[group.sequences.clone()];
        sequences.iter().map(move |tokens| tokens.start - first..tokens.end - first)
    }

    /// How many tokens the largest group has.
    pub(super) fn largest_group(&self) -> usize {
        self.groups.iter().map(|group| group.tokens.len()).max().unwrap_or(0)
    }
}
