//! Named evaluation sets that must not leak into training pairs.

mod ngrams;
mod vectors;

use std::path::PathBuf;

use coderag_core::{Digest, Embedder, Hasher, TextRole};
use coderag_corpus::TextSource;
use serde::{Deserialize, Serialize};

use self::ngrams::NgramIndex;
use self::vectors::Vectors;
use crate::{Error, Result};

/// What must not leak and when it has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContaminationConfig {
    /// The evaluation sets.
    pub sets: Vec<EvaluationSet>,
    /// The words in a row that a text may not share with one of an evaluation set; GPT-3's 13 (Brown et
    /// al., "Language models are few-shot learners", 2020, appendix C). An evaluation text of fewer words
    /// may not be contained as a whole; one of fewer than 5 may not be the whole text.
    pub ngram_words: usize,
    /// The least cosine similarity of embeddings that counts as a leak, -1 to 1.
    ///
    /// With all-MiniLM-L6-v2, of 231 pairs of Spider's development questions that people wrote for the same
    /// SQL 85 % are as similar as 0.80, 62 % as 0.85 and 30 % as 0.90; of 3,000 training questions on other
    /// databases 1.1 %, 0.6 % and 0.3 % are that similar to one of 518 development questions.
    pub least_similarity: f32,
}

impl Default for ContaminationConfig {
    fn default() -> Self {
        Self { sets: Vec::new(), ngram_words: 13, least_similarity: 0.85 }
    }
}

/// The texts of an evaluation, such as its questions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSet {
    /// The name that leaks are reported with.
    pub name: String,
    /// The files: lines, JSON lines, CSV or Parquet, as their names tell.
    pub files: Vec<PathBuf>,
    /// The field or column of the texts; lines have none.
    #[serde(default)]
    pub field: String,
}

/// A text that an evaluation set has too.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Leak {
    /// The evaluation set.
    pub(crate) set: String,
    /// The beginning of its text.
    pub(crate) text: String,
    /// How it was recognised.
    pub(crate) how: Recognised,
}

/// How a leak was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Recognised {
    /// By so many words in a row.
    Words(usize),
    /// By the cosine similarity of the embeddings.
    Similarity(f32),
}

/// For people: `Spider dev has the same 13 words in "How many ..."`.
impl std::fmt::Display for Leak {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { set, text, how } = self;
        match how {
            Recognised::Words(words) => {
                write!(formatter, "{set} has the same {words} words in \"{text}\"")
            }
            Recognised::Similarity(similarity) => {
                write!(
                    formatter,
                    "{set} has \"{text}\", whose embedding is similar to {similarity:.3}"
                )
            }
        }
    }
}

/// The evaluation sets, ready to compare with.
pub(crate) struct Contamination<'e> {
    names: Vec<String>,
    /// The texts, each with the number of its set.
    texts: Vec<(usize, String)>,
    ngrams: NgramIndex,
    embedded: Option<Embedded<'e>>,
    least_similarity: f32,
}

/// What takes texts for paraphrases of each other.
struct Embedded<'e> {
    embedder: &'e dyn Embedder,
    vectors: Vectors,
}

impl<'e> Contamination<'e> {
    /// Reads the evaluation sets and, with an embedder, embeds them.
    ///
    /// # Errors
    /// [`Error::Setting`] for a setting out of its range and a set without a text, [`Error::Corpus`] when
    /// a file cannot be read, [`Error::Core`] when the embedder fails.
    pub(crate) fn read(
        config: &ContaminationConfig,
        embedder: Option<&'e dyn Embedder>,
    ) -> Result<Self> {
        let refused = |key: &str, problem: &str| Error::Setting {
            key: format!("gates.contamination.{key}"),
            problem: problem.to_owned(),
        };
        if config.ngram_words == 0 {
            return Err(refused("ngram_words", "0 words are in every text"));
        }
        if !(-1.0..=1.0).contains(&config.least_similarity) {
            return Err(refused("least_similarity", "a cosine is from -1 to 1"));
        }
        let mut texts = Vec::new();
        for (number, set) in config.sets.iter().enumerate() {
            let before = texts.len();
            for file in &set.files {
                for text in TextSource::new(file, &set.field, None)?.open()? {
                    let text = text?;
                    if !text.trim().is_empty() {
                        texts.push((number, text));
                    }
                }
            }
            if texts.len() == before {
                let message = format!("the evaluation set {} has no text", set.name);
                return Err(refused("sets", &message));
            }
        }
        let ngrams =
            NgramIndex::new(config.ngram_words, texts.iter().map(|(_, text)| text.as_str()));
        let embedded = embedder
            .filter(|_| !texts.is_empty())
            .map(|embedder| {
                let texts: Vec<&str> = texts.iter().map(|(_, text)| text.as_str()).collect();
                let vectors = Vectors::new(embedder.embed(&texts, TextRole::Query)?);
                Ok::<_, Error>(Embedded { embedder, vectors })
            })
            .transpose()?;
        let names = config.sets.iter().map(|set| set.name.clone()).collect();
        Ok(Self { names, texts, ngrams, embedded, least_similarity: config.least_similarity })
    }

    /// The digest of all texts.
    pub(crate) fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        for (set, text) in &self.texts {
            hasher.update((*set as u64).to_le_bytes());
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
        hasher.finish()
    }

    /// How many texts each evaluation set has.
    pub(crate) fn summary(&self) -> serde_json::Value {
        let count = |set| self.texts.iter().filter(|(of, _)| *of == set).count();
        let sets = self.names.iter().enumerate().map(|(set, name)| (name.clone(), count(set)));
        serde_json::Value::Object(sets.map(|(name, count)| (name, count.into())).collect())
    }

    /// The first leak in texts, by words before by similarity; `None` when none of them leaks.
    ///
    /// # Errors
    /// [`Error::Core`] when the embedder fails.
    pub(crate) fn check(&self, texts: &[&str]) -> Result<Option<Leak>> {
        for text in texts {
            if let Some((number, words)) = self.ngrams.find(text) {
                return Ok(self.leak(number, Recognised::Words(words)));
            }
        }
        let Some(Embedded { embedder, vectors }) = &self.embedded else { return Ok(None) };
        let texts: Vec<&str> =
            texts.iter().filter(|text| !text.trim().is_empty()).copied().collect();
        if texts.is_empty() {
            return Ok(None);
        }
        let nearest = vectors.nearest(embedder.embed(&texts, TextRole::Query)?);
        let leaks = |(_, similarity): &(usize, f32)| *similarity >= self.least_similarity;
        let leak = nearest.into_iter().find(leaks);
        Ok(leak
            .and_then(|(number, similarity)| self.leak(number, Recognised::Similarity(similarity))))
    }

    fn leak(&self, number: usize, how: Recognised) -> Option<Leak> {
        const CHARACTERS: usize = 120;
        let (set, text) = self.texts.get(number)?;
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = words.chars().take(CHARACTERS).collect();
        Some(Leak { set: self.names.get(*set)?.clone(), text, how })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use coderag_core::Embeddings;

    use super::*;

    /// Embeds a text as how often it has each letter.
    struct Letters;

    impl Embedder for Letters {
        fn fingerprint(&self) -> Digest {
            Digest::of("letters")
        }

        fn dimensions(&self) -> usize {
            26
        }

        fn embed(&self, texts: &[&str], _: TextRole) -> coderag_core::Result<Embeddings> {
            let count = |text: &&str| {
                (b'a'..=b'z')
                    .map(|letter| text.bytes().filter(|byte| *byte == letter).count() as f32)
                    .collect::<Vec<_>>()
            };
            Embeddings::new(26, texts.iter().flat_map(count).collect())
        }
    }

    const LONG: &str = "List the names of all of the stations whose mean temperature was above fifty \
        degrees in May of any year that is known";

    fn config(folder: &tempfile::TempDir) -> ContaminationConfig {
        let questions = folder.path().join("a.jsonl");
        let line = |text: &str| format!("{}\n", serde_json::json!({ "question": text }));
        fs::write(&questions, ["How many singers do we have?", " ", LONG].map(line).concat())
            .unwrap();
        let lines = folder.path().join("b.txt");
        fs::write(&lines, "sort a list\n").unwrap();
        let set = |name: &str, file, field: &str| EvaluationSet {
            name: name.to_owned(),
            files: vec![file],
            field: field.to_owned(),
        };
        ContaminationConfig {
            sets: vec![set("questions", questions, "question"), set("queries", lines, "")],
            ..ContaminationConfig::default()
        }
    }

    #[test]
    fn shared_words_are_a_leak_with_set_and_text() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder);
        let contamination = Contamination::read(&config, None).unwrap();
        let check = |text: &str| {
            contamination
                .check(&["other", text])
                .unwrap()
                .map(|leak| (leak.set.clone(), leak.to_string()))
        };
        let short = "questions has the same 6 words in \"How many singers do we have?\"";
        for text in ["how many SINGERS do we have", "Say, how many singers do we have today?"] {
            assert_eq!(check(text), Some(("questions".to_owned(), short.to_owned())), "{text}");
        }
        let part =
            "Which are stations whose mean temperature was above fifty degrees in May of any year?";
        assert!(
            check(part)
                .unwrap()
                .1
                .starts_with("questions has the same 13 words in \"List the names")
        );
        assert_eq!(check("Sort a list!").unwrap().0, "queries");
        for text in [
            "How many singers do they have?",
            "the stations whose mean temperature was above fifty degrees in May",
            "how to sort a list in python",
            "",
        ] {
            assert_eq!(check(text), None, "{text}");
        }
    }

    #[test]
    fn similar_embeddings_are_a_leak_only_above_the_threshold() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(&folder);
        let shuffled = "have we do singers many how";
        let plain = Contamination::read(&config, None).unwrap();
        assert_eq!(plain.check(&[shuffled]).unwrap(), None);
        let embedded = Contamination::read(&config, Some(&Letters)).unwrap();
        let leak = embedded.check(&["zzz", shuffled]).unwrap().unwrap();
        assert_eq!(leak.text, "How many singers do we have?");
        let Recognised::Similarity(similarity) = leak.how else { panic!("{leak:?}") };
        assert!((0.95..=1.0).contains(&similarity), "{similarity}");
        assert_eq!(embedded.check(&["zzz", "", "xxyyzz qqjj"]).unwrap(), None);
        assert_eq!(embedded.check(&[""]).unwrap(), None);
        assert_eq!(embedded.summary(), serde_json::json!({ "questions": 2, "queries": 1 }));
        config.least_similarity = 1.0;
        let strict = Contamination::read(&config, Some(&Letters)).unwrap();
        assert_eq!(strict.check(&["have we do singer many how"]).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_checked_against_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = |change: &dyn Fn(&mut ContaminationConfig)| {
            let mut config = config(&folder);
            change(&mut config);
            Contamination::read(&config, None).err().unwrap().to_string()
        };
        assert!(refusal(&|config| config.ngram_words = 0).contains("contamination.ngram_words`"));
        assert!(
            refusal(&|config| config.least_similarity = 1.5)
                .contains("contamination.least_similarity`")
        );
        assert_eq!(
            refusal(&|config| config.sets[0].files.clear()),
            "the setting `gates.contamination.sets` is wrong: the evaluation set questions has no text"
        );
        assert!(refusal(&|config| config.sets[0].field = "q".to_owned()).contains("line 1"));
        let none = ContaminationConfig::default();
        let contamination = Contamination::read(&none, Some(&Letters)).unwrap();
        assert_eq!(contamination.check(&["anything"]).unwrap(), None);
    }
}
