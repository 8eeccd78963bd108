//! Topics that the model names itself: for each language and area a list of tasks a programmer may have.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use coderag_core::{ChatRequest, ProgressTask, Sampling};
use serde::{Deserialize, Serialize};

use crate::asking::{Asker, Refusal};
use crate::prompt::{Prompt, values};
use crate::{CodeLanguage, Result};

/// How topics are found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopicSettings {
    /// The prompt's file, in the folder of the prompts.
    pub prompt: PathBuf,
    /// What topics are asked about: each area is asked about in each language.
    pub areas: Vec<String>,
    /// How many topics are asked for at once.
    pub topics_per_area: u32,
    /// How the model samples.
    pub sampling: Sampling,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            prompt: PathBuf::from("topics.md"),
            areas: Vec::new(),
            topics_per_area: 12,
            sampling: Sampling { temperature: 0.7, top_p: 0.95, ..Sampling::default() },
        }
    }
}

/// Something that code can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicSeed {
    pub(crate) language: CodeLanguage,
    pub(crate) area: String,
    pub(crate) topic: String,
}

/// What the areas themselves give, for a look at prompts without a model.
pub(crate) fn areas(settings: &TopicSettings, languages: &[CodeLanguage]) -> Vec<TopicSeed> {
    let seeds = requests(settings, languages);
    let seed = |(language, area): (CodeLanguage, &String)| TopicSeed {
        language,
        area: area.clone(),
        topic: area.clone(),
    };
    seeds.into_iter().map(seed).collect()
}

/// Asks for topics in all areas and languages; fewer when the model stops answering.
pub(crate) fn ask(
    settings: &TopicSettings,
    prompt: &Prompt,
    languages: &[CodeLanguage],
    asker: &Asker<'_>,
    threads: usize,
    progress: &dyn ProgressTask,
) -> Result<Vec<TopicSeed>> {
    let requests = requests(settings, languages);
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(vec![None; requests.len()]);
    let work = || -> Result<()> {
        while let Some((language, area)) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
            let values = values([
                ("language", language.to_string().into()),
                ("area", area.as_str().into()),
                ("count", settings.topics_per_area.into()),
            ]);
            let request = ChatRequest {
                messages: prompt.render(&values)?,
                sampling: settings.sampling,
                max_tokens: 40 * settings.topics_per_area,
                stop: Vec::new(),
            };
            match asker.ask(&request) {
                Ok(response) => {
                    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                    let index = requests.iter().position(|it| it == &(*language, *area));
                    if let Some(answer) = index.and_then(|index| answers.get_mut(index)) {
                        *answer = Some(response);
                    }
                    progress.advance(1);
                }
                Err(Refusal::Failed(reason)) => {
                    tracing::warn!("no topics of the area `{area}` in {language}: {reason}");
                }
                Err(Refusal::Stopped) => break,
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(payload) => std::panic::resume_unwind(payload),
        })
    })?;
    let answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut seen = HashSet::new();
    let mut topics = Vec::new();
    for ((language, area), answer) in requests.into_iter().zip(answers) {
        for topic in answer.iter().flat_map(|answer| items(&answer.text)) {
            if seen.insert((language, topic.to_lowercase())) {
                topics.push(TopicSeed { language, area: area.clone(), topic });
            }
        }
    }
    Ok(topics)
}

fn requests<'a>(
    settings: &'a TopicSettings,
    languages: &[CodeLanguage],
) -> Vec<(CodeLanguage, &'a String)> {
    let of_area = |area: &'a String| {
        languages.iter().map(move |language| (*language, area)).collect::<Vec<_>>()
    };
    settings.areas.iter().flat_map(of_area).collect()
}

/// The items of a numbered or bulleted list.
fn items(answer: &str) -> Vec<String> {
    answer.lines().filter_map(item).collect()
}

fn item(line: &str) -> Option<String> {
    let line = line.trim();
    let digits = line.len() - line.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
    let rest = if digits > 0 {
        line.get(digits..)?.strip_prefix(['.', ')', ':'])?
    } else {
        line.strip_prefix(['-', '*', '•'])?
    };
    let text = rest.trim().trim_matches(['*', '"', '`']).trim().trim_end_matches(['.', ':']);
    (text.split_whitespace().count() >= 2).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_all_kinds_are_read() {
        let answer = "Here are some:\n1. **Reverse a string**\n2) Sort a list.\n- Count words\n* x\n\n3: Merge two maps";
        assert_eq!(
            items(answer),
            ["Reverse a string", "Sort a list", "Count words", "Merge two maps"]
        );
    }
}
