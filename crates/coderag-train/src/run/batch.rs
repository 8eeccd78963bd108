use coderag_encoder::{ModelDirectory, Prompt};

use crate::Result;
use crate::config::Prompts;
use crate::data::Example;
use crate::loss::LossBatch;

/// Turns texts of both sides into sequences of tokens.
#[derive(Debug)]
pub(super) struct Tokenizer<'a> {
    model: &'a ModelDirectory,
    anchor: Prompt,
    document: Prompt,
}

impl<'a> Tokenizer<'a> {
    pub(super) fn new(model: &'a ModelDirectory, prompts: &Prompts) -> Self {
        let prompt = |name: &Option<String>| name.clone().map_or(Prompt::None, Prompt::Named);
        Self { model, anchor: prompt(&prompts.anchor), document: prompt(&prompts.document) }
    }

    pub(super) fn anchors(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>> {
        Ok(self.model.tokenize(texts, &self.anchor)?)
    }

    pub(super) fn documents(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>> {
        Ok(self.model.tokenize(texts, &self.document)?)
    }
}

/// The texts of a batch as a model takes them, and what a loss needs to know of them.
#[derive(Debug)]
pub(super) struct TokenizedBatch {
    /// The anchors', then the positives', then the negatives'.
    sequences: Vec<Vec<u32>>,
    pub(super) loss_batch: LossBatch,
}

impl TokenizedBatch {
    pub(super) fn new(examples: &[Example], tokenizer: &Tokenizer<'_>) -> Result<Self> {
        let anchors: Vec<&str> = examples.iter().map(|example| &*example.anchor).collect();
        let positives = examples.iter().map(|example| &*example.positive);
        let negatives = examples.iter().flat_map(|example| &example.negatives);
        let documents: Vec<&str> = positives.chain(negatives.map(String::as_str)).collect();
        let owners = examples.iter().enumerate();
        let owners = owners.flat_map(|(pair, example)| example.negatives.iter().map(move |_| pair));

        let texts = [&*anchors, &*documents].concat();
        let mut loss_batch =
            LossBatch::new(examples.len(), owners.collect())?.with_texts(&texts)?;
        if let Some(scores) = teacher_scores(examples) {
            loss_batch = loss_batch.with_teacher_scores(scores)?;
        }
        let mut sequences = tokenizer.anchors(&anchors)?;
        sequences.extend(tokenizer.documents(&documents)?);
        Ok(Self { sequences, loss_batch })
    }

    pub(super) fn sequences(&self) -> Vec<&[u32]> {
        self.sequences.iter().map(Vec::as_slice).collect()
    }

    /// How many tokens there are, without padding.
    pub(super) fn tokens(&self) -> u64 {
        self.sequences.iter().map(|sequence| sequence.len() as u64).sum()
    }
}

/// The teacher's scores of the documents in their order, where every example has them.
fn teacher_scores(examples: &[Example]) -> Option<Vec<f32>> {
    let scores: Vec<&[f32]> =
        examples.iter().map(|example| example.scores.as_deref()).collect::<Option<_>>()?;
    let positives = scores.iter().filter_map(|scores| scores.first());
    let negatives = scores.iter().flat_map(|scores| scores.iter().skip(1));
    Some(positives.chain(negatives).copied().collect())
}
