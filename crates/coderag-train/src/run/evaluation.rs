use coderag_core::{Embeddings, Progress, Unit};

use super::batch::Tokenizer;
use crate::evaluation::{DevelopmentSet, Scores};
use crate::trainee::{Trainee, values_of};
use crate::{Error, Result};

/// How many texts are tokenised and embedded in one call.
const TEXTS_AT_ONCE: usize = 256;

/// Turns texts of one side into sequences of tokens.
type Tokenize<'t> = dyn Fn(&[&str]) -> Result<Vec<Vec<u32>>> + 't;

/// Measures a model as it is now.
pub(super) fn measure<T: Trainee>(
    trainee: &T,
    tokenizer: &Tokenizer<'_>,
    set: &DevelopmentSet,
    progress: &dyn Progress,
) -> Result<Scores> {
    let total = (set.queries().len() + set.documents().len()) as u64;
    let task = progress.task("evaluating", Some(total), Unit::Items);
    let embed = |texts: &[String], tokenize: &Tokenize<'_>| {
        let mut vectors = Vec::new();
        for texts in texts.chunks(TEXTS_AT_ONCE) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let sequences = tokenize(&texts)?;
            let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
            vectors.extend(values_of(trainee.embed(&sequences, None)?)?);
            task.advance(texts.len() as u64);
        }
        let dimensions = vectors.len() / texts.len().max(1);
        Ok::<_, Error>(Embeddings::new(dimensions.max(1), vectors)?)
    };
    let queries = embed(set.queries(), &|texts| tokenizer.anchors(texts))?;
    let documents = embed(set.documents(), &|texts| tokenizer.documents(texts))?;
    set.score(&queries, &documents)
}
