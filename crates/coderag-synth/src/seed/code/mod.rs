//! Functions from local repositories, of those whose licence allows it.

mod documentation;
mod file;
mod function;
mod licence;
mod licence_text;
mod repository;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use coderag_core::{Digest, Progress, Unit};
use ignore::WalkBuilder;
use serde::{Deserialize, Serialize};

use self::file::SourceFile;
use self::licence::Allowed;
use self::repository::Repositories;
use crate::{CodeLanguage, Error, Result};

/// Which functions are taken from where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CodeSeedConfig {
    /// Folders of repositories. They are walked whatever is said about them further up; in them hidden
    /// files and what a `.gitignore` names are passed over.
    pub folders: Vec<PathBuf>,
    /// The languages whose functions are taken; SQL has none.
    pub languages: Vec<CodeLanguage>,
    /// The SPDX identifiers of the licences that may be used. Of `MIT OR GPL-3.0-only` one must be here,
    /// of `MIT AND ISC` both. Code whose licence cannot be told is never used.
    pub licences: Vec<String>,
    /// The fewest lines of a function without its documentation.
    pub least_lines: usize,
    /// The most lines of a function without its documentation.
    pub most_lines: usize,
    /// The most functions of one file, the first ones.
    pub per_file: usize,
    /// The most functions altogether; of more, as many are drawn by the hash of their code.
    pub most_functions: usize,
    /// Whether to pass over tests: files, folders and functions named or marked as such.
    pub skip_tests: bool,
}

impl Default for CodeSeedConfig {
    fn default() -> Self {
        let licences = [
            "MIT",
            "MIT-0",
            "Apache-2.0",
            "BSD-2-Clause",
            "BSD-3-Clause",
            "ISC",
            "0BSD",
            "Unlicense",
            "CC0-1.0",
            "Zlib",
            "BSL-1.0",
            "PSF-2.0",
            "Python-2.0",
        ];
        Self {
            folders: Vec::new(),
            languages: CodeLanguage::ALL
                .into_iter()
                .filter(|language| *language != CodeLanguage::Sql)
                .collect(),
            licences: licences.map(str::to_owned).to_vec(),
            least_lines: 3,
            most_lines: 60,
            per_file: 10,
            most_functions: 100_000,
            skip_tests: true,
        }
    }
}

/// A function to start from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CodeSeed {
    /// The language.
    pub language: CodeLanguage,
    /// The name of the repository's folder or of the Python distribution: `requests-2.32.3`.
    pub repository: String,
    /// The licence's SPDX expression: `MIT OR Apache-2.0`.
    pub licence: String,
    /// The file, from the repository's folder, with `/`.
    pub path: String,
    /// The line of the function's first character in the file, counted from 1.
    pub line: usize,
    /// The function's name.
    pub name: String,
    /// The function without its documentation, not indented.
    pub code: String,
    /// The documentation, without its marks and indentation.
    pub docstring: Option<String>,
}

/// What was found and what of it was not used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct CodeSeedSummary {
    /// The source files in the languages asked for.
    pub files: usize,
    /// The files not used, by reason.
    pub skipped_files: BTreeMap<&'static str, usize>,
    /// The functions in the files used.
    pub functions: usize,
    /// The functions not used, by reason.
    pub skipped_functions: BTreeMap<&'static str, usize>,
    /// The functions used, by licence.
    pub licences: BTreeMap<String, usize>,
    /// The functions used, by language.
    pub languages: BTreeMap<CodeLanguage, usize>,
    /// The functions used.
    pub used: usize,
}

/// Finds the functions that a configuration describes, in the order of their paths and lines. What cannot
/// be read is counted and passed over.
///
/// # Errors
/// [`Error::Setting`] for a folder that is none, a licence that SPDX does not list, a language without
/// functions and limits that contradict each other.
pub(crate) fn collect(
    config: &CodeSeedConfig,
    progress: &dyn Progress,
) -> Result<(Vec<CodeSeed>, CodeSeedSummary)> {
    let allowed = validate(config)?;
    let mut found = Found::default();
    let task = progress.task("reading code", None, Unit::Items);
    // A folder inside another would be walked twice.
    let mut met = HashSet::new();
    for root in &config.folders {
        let root = root.canonicalize().map_err(coderag_core::Error::io("open", root))?;
        let mut repositories = Repositories::new(&root);
        let (paths, unreadable) = source_files(&root);
        if unreadable > 0 {
            *found.summary.skipped_files.entry("unreadable").or_default() += unreadable;
        }
        for path in paths {
            let language = SourceFile::language(&path);
            let Some(language) = language.filter(|language| config.languages.contains(language))
            else {
                continue;
            };
            if !met.insert(path.clone()) {
                continue;
            }
            found.summary.files += 1;
            task.advance(1);
            let within = path.strip_prefix(&root).unwrap_or(&path);
            if config.skip_tests && file::is_test(within) {
                found.skip_file("a test");
                continue;
            }
            match SourceFile::read(&path, language, &mut repositories, &allowed) {
                Ok(file) => found.add(&file, config),
                Err(reason) => found.skip_file(reason),
            }
        }
    }
    Ok(found.finish())
}

fn validate(config: &CodeSeedConfig) -> Result<Allowed> {
    let refused = |key: &str, problem: String| {
        Err(Error::Setting { key: format!("seeds.code.{key}"), problem })
    };
    if let Some(folder) = config.folders.iter().find(|folder| !folder.is_dir()) {
        return refused("folders", format!("{} is not a folder", folder.display()));
    }
    if config.languages.contains(&CodeLanguage::Sql) {
        return refused("languages", "SQL has no functions to take".to_owned());
    }
    if config.least_lines > config.most_lines {
        let (least, most) = (config.least_lines, config.most_lines);
        return refused("least_lines", format!("{least} is more than most_lines, {most}"));
    }
    Allowed::new(&config.licences)
        .or_else(|licence| refused("licences", format!("SPDX lists no licence `{licence}`")))
}

/// The files below a folder in the order of their names, and how many entries could not be read.
fn source_files(root: &Path) -> (Vec<PathBuf>, usize) {
    let walk = WalkBuilder::new(root)
        .parents(false)
        .require_git(false)
        .git_global(false)
        .sort_by_file_name(Ord::cmp)
        .build();
    let mut unreadable = 0;
    let mut files = Vec::new();
    for entry in walk {
        match entry {
            Ok(entry) if entry.file_type().is_some_and(|kind| kind.is_file()) => {
                files.push(entry.into_path());
            }
            Ok(_) => {}
            Err(_) => unreadable += 1,
        }
    }
    (files, unreadable)
}

/// What was found so far.
#[derive(Default)]
struct Found {
    /// By the hash of their code, all white space in it alike. SHA-256 is as good as random, so the
    /// functions of the lowest hashes are a fair sample of all.
    seeds: BTreeMap<Digest, CodeSeed>,
    met: HashSet<Digest>,
    summary: CodeSeedSummary,
}

impl Found {
    fn skip_file(&mut self, reason: &'static str) {
        *self.summary.skipped_files.entry(reason).or_default() += 1;
    }

    fn add(&mut self, file: &SourceFile, config: &CodeSeedConfig) {
        let mut taken = 0;
        for function in file.functions() {
            self.summary.functions += 1;
            if taken >= config.per_file {
                self.skip_function("more in one file than asked for");
                continue;
            }
            match file.seed(&function, config) {
                Ok(seed) => {
                    let words: Vec<&str> = seed.code.split_whitespace().collect();
                    let hash = Digest::of(words.join(" "));
                    if !self.met.insert(hash) {
                        self.skip_function("a duplicate");
                        continue;
                    }
                    taken += 1;
                    self.seeds.insert(hash, seed);
                    if self.seeds.len() > config.most_functions {
                        self.seeds.pop_last();
                        self.skip_function("more altogether than asked for");
                    }
                }
                Err(reason) => self.skip_function(reason),
            }
        }
    }

    fn skip_function(&mut self, reason: &'static str) {
        *self.summary.skipped_functions.entry(reason).or_default() += 1;
    }

    fn finish(self) -> (Vec<CodeSeed>, CodeSeedSummary) {
        let Self { seeds, mut summary, .. } = self;
        let mut seeds: Vec<CodeSeed> = seeds.into_values().collect();
        seeds.sort_by(|left, right| {
            let place = |seed: &CodeSeed| (seed.line, seed.language);
            left.repository
                .cmp(&right.repository)
                .then_with(|| left.path.cmp(&right.path))
                .then_with(|| place(left).cmp(&place(right)))
                .then_with(|| left.code.cmp(&right.code))
        });
        for seed in &seeds {
            *summary.licences.entry(seed.licence.clone()).or_default() += 1;
            *summary.languages.entry(seed.language).or_default() += 1;
        }
        summary.used = seeds.len();
        (seeds, summary)
    }
}

#[cfg(test)]
mod tests;
