use std::fs;
use std::path::{Path, PathBuf};

use coderag_core::{Embeddings, Silent};
use coderag_train::data::{OnBadRow, Source};
use coderag_train::mining::{Mined, MiningSettings, Pairs, mine};
use serde_json::json;

/// Pairs in a file, and what embeds their texts.
pub(crate) struct Collection<'a> {
    folder: tempfile::TempDir,
    pub(crate) vector: &'a dyn Fn(&str) -> Vec<f32>,
}

impl<'a> Collection<'a> {
    pub(crate) fn new(pairs: &[(&str, &str)], vector: &'a dyn Fn(&str) -> Vec<f32>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lines = pairs.iter().map(|(anchor, positive)| {
            format!("{}\n", json!({ "anchor": anchor, "positive": positive }))
        });
        fs::write(folder.path().join("pairs.jsonl"), lines.collect::<String>()).unwrap();
        Self { folder, vector }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The pairs, and the corpus as further documents.
    pub(crate) fn pairs(&self, corpus: &[&str]) -> Pairs {
        let sources = [Source::of_file(Path::new(&self.path("pairs.jsonl")))];
        let mut pairs = Pairs::read(&sources, OnBadRow::Fail, &Silent).unwrap();
        for text in corpus {
            pairs.add_document((*text).to_owned()).unwrap();
        }
        pairs
    }

    pub(crate) fn vectors(&self, texts: &[String]) -> Embeddings {
        let values: Vec<f32> = texts.iter().flat_map(|text| (self.vector)(text)).collect();
        let dimensions = values.len() / texts.len();
        let mut vectors = Embeddings::new(dimensions, values).unwrap();
        vectors.normalize();
        vectors
    }

    pub(crate) fn mine(&self, pairs: &Pairs, settings: &MiningSettings) -> Mined {
        let (anchors, documents) = (self.vectors(pairs.anchors()), self.vectors(pairs.documents()));
        mine(pairs, &anchors, &documents, settings, &Silent).unwrap()
    }
}

/// The negatives of an anchor as texts.
pub(crate) fn negatives<'a>(pairs: &'a Pairs, mined: &Mined, anchor: &str) -> Vec<&'a str> {
    let number = pairs.anchors().iter().position(|text| text == anchor).unwrap();
    let text = |document: u32| pairs.documents()[document as usize].as_str();
    mined.negatives(number).iter().map(|negative| text(negative.document)).collect()
}
