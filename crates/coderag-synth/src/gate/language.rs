//! Is a text in the language that was asked for, and nothing but the answer?

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::LazyLock;

use regex::Regex;
use whatlang::{Lang, Script, detect, detect_script};

use crate::{Error, Result};

/// Tells texts in one natural language from those in others.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedLanguage {
    language: Lang,
    scripts: Vec<Script>,
}

impl ExpectedLanguage {
    /// The language of an ISO 639-3 code, such as `eng`.
    ///
    /// # Errors
    /// [`Error::Setting`] for a code of no language that can be told apart.
    pub(crate) fn new(code: &str) -> Result<Self> {
        let language = Lang::from_code(code).ok_or_else(|| Error::Setting {
            key: "gates.natural_language".to_owned(),
            problem: format!(
                "`{code}` is not the ISO 639-3 code of a language known here; English is `eng`"
            ),
        })?;
        let scripts = Script::all().iter().copied();
        let scripts = scripts.filter(|script| script.langs().contains(&language)).collect();
        Ok(Self { language, scripts })
    }

    /// Whether a text is in the language. Quoted names and values and code in backticks may be in any.
    ///
    /// The script is judged for any length: a language model that slips does so into another script. The
    /// language is judged where the text is long enough for whatlang to be sure of it. Where English is
    /// expected, a text of few of its most frequent words is refused sooner, if those of another language
    /// are in it.
    ///
    /// # Errors
    /// Why not, for people.
    pub(crate) fn check(&self, text: &str) -> std::result::Result<(), String> {
        /// The fewest letters by which whatlang tells languages apart.
        const LEAST_LETTERS: usize = 24;
        /// From here on it can be believed where it calls itself reliable and the frequent words agree.
        const SURE_LETTERS: usize = 50;
        /// From here on it is as good as always right.
        const MANY_LETTERS: usize = 150;
        let text = without_quoted(text);
        self.check_script(&text)?;
        let prose = without_identifiers(&text);
        let letters = prose.chars().filter(|letter| letter.is_alphabetic()).count();
        if letters < LEAST_LETTERS {
            return Ok(());
        }
        let Some(found) = detect(&prose).filter(|found| found.lang() != self.language) else {
            return Ok(());
        };
        let is_other = if self.language == Lang::Eng {
            let most = if letters < MANY_LETTERS { 0.04 } else { 0.15 };
            share_of_english_words(&prose) < most
                && (letters >= SURE_LETTERS && found.is_reliable()
                    || has_frequent_words(&prose, found.lang()))
        } else {
            letters >= MANY_LETTERS && found.is_reliable()
        };
        if is_other { Err(format!("the text is in {}", found.lang().eng_name())) } else { Ok(()) }
    }

    /// Whether the letters are those of the language's scripts, but for a tenth.
    fn check_script(&self, text: &str) -> std::result::Result<(), String> {
        /// One sign of Chinese, Japanese or Korean says as much as a short word.
        const SIGN: usize = 3;
        let (mut expected, mut others, mut first) = (0, 0, None);
        for letter in text.chars().filter(|letter| letter.is_alphabetic()) {
            let script = if letter.is_ascii() {
                Some(Script::Latin)
            } else {
                detect_script(letter.encode_utf8(&mut [0; 4]))
            };
            // Whose script whatlang does not know, such as `ª`, is no evidence.
            let Some(script) = script else { continue };
            let weight = match script {
                Script::Mandarin | Script::Hangul | Script::Hiragana | Script::Katakana => SIGN,
                _ => 1,
            };
            if self.scripts.contains(&script) {
                expected += weight;
            } else {
                others += weight;
                first.get_or_insert(script);
            }
        }
        match first {
            Some(script) if others * 9 > expected => {
                Err(format!("a part of the text is in the script {}", script.name()))
            }
            _ => Ok(()),
        }
    }
}

/// The text less what stands in backticks or quotes.
fn without_quoted(text: &str) -> Cow<'_, str> {
    static QUOTED: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r#"(?s)```.*?```|`[^`]*`|"[^"\n]*"|“[^”\n]*”|\B'[^'\n]*'\B"#).ok()
    });
    QUOTED.as_ref().map_or(Cow::Borrowed(text), |quoted| quoted.replace_all(text, " "))
}

/// The words of a text that are no names of code, lowercased.
fn without_identifiers(text: &str) -> String {
    let is_word = |word: &&str| {
        let word = word.trim_matches(|character: char| !character.is_alphanumeric());
        let mut letters = word.chars();
        letters.next();
        letters.all(|letter| letter.is_lowercase() || matches!(letter, '\'' | '’' | '-'))
    };
    text.split_whitespace().filter(is_word).collect::<Vec<_>>().join(" ").to_lowercase()
}

/// The share of the words that are among English's most frequent ones and, mostly, of no other language.
fn share_of_english_words(prose: &str) -> f64 {
    const WORDS: [&str; 61] = [
        "the", "of", "and", "to", "is", "are", "was", "were", "be", "been", "what", "which", "who",
        "whose", "how", "many", "much", "with", "from", "that", "this", "these", "those", "their",
        "its", "it", "by", "for", "each", "all", "every", "find", "show", "list", "give", "names",
        "name", "number", "return", "returns", "get", "have", "has", "had", "does", "not", "if",
        "when", "than", "using", "where", "you", "your", "can", "at", "there", "between", "into",
        "python", "string", "file",
    ];
    share(prose, &WORDS)
}

/// Whether a fifth of the words are among the most frequent of a language that the model may slip into.
fn has_frequent_words(prose: &str, language: Lang) -> bool {
    let words: &[&str] = match language {
        Lang::Deu => &[
            "der", "die", "das", "und", "ist", "sind", "von", "mit", "den", "dem", "ein", "eine",
            "wie", "viele", "welche", "für", "aller", "alle", "nicht", "im", "des", "zu", "auf",
            "gibt", "es",
        ],
        Lang::Fra => &[
            "le", "la", "les", "des", "de", "du", "et", "est", "sont", "un", "une", "quels",
            "quelle", "quel", "combien", "dans", "pour", "avec", "qui", "que", "sur", "par", "il",
        ],
        Lang::Spa => &[
            "el", "la", "los", "las", "de", "del", "y", "es", "son", "un", "una", "cuántos",
            "cuál", "cuáles", "qué", "en", "para", "con", "que", "por", "hay", "todos", "nombres",
        ],
        Lang::Ita => &[
            "il", "la", "gli", "le", "di", "del", "della", "è", "sono", "un", "una", "quanti",
            "quali", "che", "per", "con", "ci", "tutti", "dei", "nomi",
        ],
        Lang::Por => &[
            "os", "de", "da", "dos", "é", "são", "um", "uma", "quantos", "quais", "qual", "em",
            "para", "com", "que", "por", "há", "todos",
        ],
        Lang::Nld => &[
            "de", "het", "een", "en", "zijn", "van", "met", "hoeveel", "welke", "wat", "voor",
            "alle", "op", "die", "er", "niet",
        ],
        _ => return false,
    };
    share(prose, words) >= 0.2
}

fn share(prose: &str, words: &[&str]) -> f64 {
    let words: HashSet<&str> = words.iter().copied().collect();
    let all = || {
        let parts = prose.split(|character: char| !character.is_alphabetic());
        parts.filter(|word| !word.is_empty())
    };
    let known = all().filter(|word| words.contains(word)).count();
    known as f64 / all().count().max(1) as f64
}

/// Whether a text is the answer alone and has nothing of the conversation around it.
///
/// # Errors
/// The first words that belong to the conversation.
pub(crate) fn chat_leftover(text: &str) -> std::result::Result<(), String> {
    static PHRASES: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(concat!(
            r"(?i)",
            r"^\W*(?:sure|certainly|of course|absolutely)[!,.]",
            r"|^\W*(?:sure|certainly|okay|ok)[,:]? here(?: is| are|'s|’s)\b",
            r"|^\W*here(?: is| are|'s|’s) (?:the|a|an|your|my|some)\b[^\n.?]*:\s*(?:\n|$)",
            r"|\bas an? (?:ai|artificial intelligence|large language model)\b[^\n]{0,20}\b(?:model|assistant|i)\b",
            r"|\bas a (?:large )?language model\b",
            r"|^\W*(?:i'm|i’m|i am) (?:very )?sorry\b",
            r"|\bi (?:cannot|can't|can’t|am unable to) (?:assist|help|fulfill|fulfil|provide|comply)\b",
            r"|\bi apologi[sz]e\b",
            r"|\blet me know if\b",
            r"|\b(?:i )?hope (?:this|that|it) helps\b",
            r"|\bhappy to (?:help|assist)\b",
        ))
        .ok()
    });
    match PHRASES.as_ref().and_then(|phrases| phrases.find(text)) {
        Some(found) => Err(format!("`{}` belongs to a conversation", found.as_str().trim())),
        None => Ok(()),
    }
}

/// Whether a text holds nothing of the prompt's template or of the model's control tokens.
///
/// # Errors
/// What it holds.
pub(crate) fn prompt_leak(text: &str) -> std::result::Result<(), String> {
    static MARKS: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(concat!(
            r"<\|[A-Za-z_]+\|>|\[/?INST\]|<</?SYS>>",
            r"|\{\{-?\s*[A-Za-z_][\w.]*(?:\s*\|[^{}\n]*)?\s*-?\}\}",
            r"|\{%-?\s*(?:if|for|set|endif|endfor|include|macro)\b",
            r"|(?m)^\s*\#{2,3} (?:Instruction|Response|Input|Output)s?:?\s*$",
        ))
        .ok()
    });
    match MARKS.as_ref().and_then(|marks| marks.find(text)) {
        Some(found) => Err(format!("`{}` is a part of the prompt", found.as_str().trim())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn english(text: &str) -> std::result::Result<(), String> {
        ExpectedLanguage::new("eng").unwrap().check(text)
    }

    #[test]
    fn english_with_names_of_code_passes() {
        for text in [
            "How many singers do we have?",
            "python check if a variable is iterable",
            "numpy array transpose axis",
            "json dumps datetime",
            "Show the `naïve_größe` of each café in \"北京\" or 'Привет мир'.",
            "What is the T_ID of each Emp whose Ctry = DE?",
            "Computes α and β, the angles of the triangle.",
            "",
            "x",
            "df.groupby(level=0).agg({'a': 'sum'})",
        ] {
            assert_eq!(english(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn other_languages_are_named() {
        for (text, expected) in [
            ("有多少歌手？", "a part of the text is in the script Mandarin"),
            ("返回 the list", "a part of the text is in the script Mandarin"),
            (
                "Сколько певцов живёт в каждом городе?",
                "a part of the text is in the script Cyrillic",
            ),
            ("歌手は何人いますか", "a part of the text is in the script"),
            ("가수는 몇 명입니까?", "a part of the text is in the script Hangul"),
            (
                "Wie viele Sänger gibt es in jeder Stadt und wie alt sind sie?",
                "the text is in German",
            ),
            ("Combien de chanteurs y a-t-il dans chaque ville du pays ?", "the text is in French"),
            (
                "¿Cuántos cantantes hay en cada ciudad y cuáles son sus nombres?",
                "the text is in Spanish",
            ),
            (
                "Quanti cantanti ci sono in ogni città e quali sono i loro nomi?",
                "the text is in Italian",
            ),
            (
                "Quantos cantores há em cada cidade e quais são os nomes deles?",
                "the text is in Portuguese",
            ),
        ] {
            let found = english(text).unwrap_err();
            assert!(found.starts_with(expected), "{text}: {found}");
        }
    }

    #[test]
    fn another_language_can_be_expected() {
        let chinese = ExpectedLanguage::new("cmn").unwrap();
        assert_eq!(chinese.check("有多少歌手？"), Ok(()));
        assert!(chinese.check("How many singers are there?").is_err());
        assert_eq!(
            ExpectedLanguage::new("en").unwrap_err().to_string(),
            "the setting `gates.natural_language` is wrong: `en` is not the ISO 639-3 code of a language known here; \
             English is `eng`"
        );
    }

    #[test]
    fn leftovers_of_a_conversation_are_found() {
        for text in [
            "Sure! How many singers are there?",
            "Sure, here is the question you asked for",
            "Certainly, here's a function",
            "Here is the SQL query:\nSELECT 1",
            "As an AI language model, I have no opinion",
            "I'm sorry, but I cannot do that.",
            "def f(): return 1\n\nI hope this helps!",
            "How many? Let me know if you need more.",
        ] {
            assert!(chat_leftover(text).is_err(), "{text}");
        }
        for text in [
            "Make sure the file exists.",
            "Of the courses, which are free?",
            "How certainly is it known?",
            "Here is where the table ends.",
            "Is it an AI company?",
        ] {
            assert_eq!(chat_leftover(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn parts_of_the_prompt_are_found() {
        for text in [
            "<|im_start|>assistant",
            "How many <|endoftext|>",
            "Write about {{ topic }}",
            "{{ schema | indent(2) }}",
            "{% if x %}a{% endif %}",
            "[INST] Do it [/INST]",
            "### Response:\nSELECT 1",
        ] {
            assert!(prompt_leak(text).is_err(), "{text}");
        }
        for text in ["format!(\"{{}}\", 1)", "a <| b |> c", "x = {{1, 2}, {3}}", "## Output of it"]
        {
            assert_eq!(prompt_leak(text), Ok(()), "{text}");
        }
    }
}
