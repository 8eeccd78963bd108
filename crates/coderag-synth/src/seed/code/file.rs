//! A source file: whether it may be used, and what is in it.

use std::fs;
use std::path::Path;
use std::rc::Rc;

use tree_sitter::Tree;

use super::function::{Function, functions};
use super::licence::{Allowed, expression};
use super::licence_text::recognise;
use super::repository::{Repositories, Repository};
use super::{CodeSeed, CodeSeedConfig};
use crate::CodeLanguage;
use crate::gate::syntax;
use crate::syntax_tree::{MOST_BYTES, parse};

/// A file whose functions may be used.
pub(super) struct SourceFile {
    language: CodeLanguage,
    repository: Rc<Repository>,
    /// The SPDX expression that allows it.
    licence: String,
    /// From the repository's folder, with `/`.
    path: String,
    source: String,
    tree: Tree,
}

impl SourceFile {
    /// The language that a file's name tells.
    pub(super) fn language(path: &Path) -> Option<CodeLanguage> {
        match path.extension()?.to_str()? {
            "py" => Some(CodeLanguage::Python),
            "rs" => Some(CodeLanguage::Rust),
            "js" | "mjs" | "cjs" | "jsx" => Some(CodeLanguage::JavaScript),
            "go" => Some(CodeLanguage::Go),
            "java" => Some(CodeLanguage::Java),
            _ => None,
        }
    }

    /// Reads a file, or says why it is not used.
    pub(super) fn read(
        path: &Path,
        language: CodeLanguage,
        repositories: &mut Repositories,
        allowed: &Allowed,
    ) -> Result<Self, &'static str> {
        let repository = repositories.of(path).ok_or("no licence is stated")?;
        let length = fs::metadata(path).map_err(|_| "unreadable")?.len();
        if length > MOST_BYTES as u64 {
            return Err("too long");
        }
        let bytes = fs::read(path).map_err(|_| "unreadable")?;
        let source = String::from_utf8(bytes).map_err(|_| "not UTF-8")?;
        let licence = licence(&source, &repository, allowed)?;
        if is_generated(path, &source) {
            return Err("generated or minified");
        }
        let tree = parse(language, &source).ok_or("too hard to parse")?;
        let relative = path.strip_prefix(&repository.folder).unwrap_or(path);
        let parts = relative.components().map(|part| part.as_os_str().to_string_lossy());
        let path = parts.collect::<Vec<_>>().join("/");
        Ok(Self { language, repository, licence, path, source, tree })
    }

    /// The functions in it, in order.
    pub(super) fn functions(&self) -> Vec<Function<'_>> {
        functions(self.language, self.tree.root_node(), &self.source)
    }

    /// The seed that a function of this file makes, or why it makes none.
    pub(super) fn seed(
        &self,
        function: &Function<'_>,
        config: &CodeSeedConfig,
    ) -> Result<CodeSeed, &'static str> {
        if config.skip_tests && function.is_test {
            return Err("a test");
        }
        if function.has_error() {
            return Err("a syntax error");
        }
        let (code, docstring) = function.without_documentation(self.language, &self.source);
        let lines = code.lines().count();
        if lines < config.least_lines {
            return Err("fewer lines than asked for");
        }
        if lines > config.most_lines {
            return Err("more lines than asked for");
        }
        syntax::check(self.language, &code).map_err(|_| "not valid alone")?;
        syntax::placeholder(self.language, &code).map_err(|_| "not implemented")?;
        Ok(CodeSeed {
            language: self.language,
            repository: self.repository.name.clone(),
            licence: self.licence.clone(),
            path: self.path.clone(),
            line: function.line(),
            name: function.name.to_owned(),
            code,
            docstring,
        })
    }
}

/// The licence of a file: its own header's, and the repository's where the header has no identifier.
fn licence(
    source: &str,
    repository: &Repository,
    allowed: &Allowed,
) -> Result<String, &'static str> {
    const UNKNOWN: &str = "the licence is unknown";
    const REFUSED: &str = "the licence is not allowed";
    let header = head(source);
    let permitted = |stated: &str| {
        let licence = expression(stated).ok_or(UNKNOWN)?;
        if allowed.permits(&licence) { Ok(licence.to_string()) } else { Err(REFUSED) }
    };
    if let Some((_, rest)) = header.split_once("SPDX-License-Identifier:") {
        let line = rest.lines().next().unwrap_or_default();
        let end = line.find("*/").or_else(|| line.find("-->")).unwrap_or(line.len());
        return permitted(line.get(..end).unwrap_or_default());
    }
    // A file that was taken from elsewhere says so at its top.
    if let Some(stated) = recognise(header) {
        permitted(&stated)?;
    }
    let licence = repository.licence.as_ref().ok_or(UNKNOWN)?;
    if allowed.permits(licence) { Ok(licence.to_string()) } else { Err(REFUSED) }
}

/// The beginning of a file, where its header is.
fn head(source: &str) -> &str {
    const BYTES: usize = 4096;
    source.get(..source.floor_char_boundary(BYTES)).unwrap_or(source)
}

/// Whether a program wrote the file, or packed it for another program to read.
fn is_generated(path: &Path, source: &str) -> bool {
    /// The characters of a line that no person writes.
    const LONG_LINE: usize = 1_000;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let head = head(source).to_lowercase();
    let marks = [
        "@generated",
        "do not edit",
        "code generated by",
        "automatically generated",
        "auto-generated",
        "autogenerated",
    ];
    [".min.", ".bundle.", "-min."].iter().any(|part| name.contains(part))
        || marks.iter().any(|mark| head.contains(mark))
        || source.lines().any(|line| line.len() > LONG_LINE)
}

/// Whether a path, from the folder that is walked, is one of tests.
pub(super) fn is_test(path: &Path) -> bool {
    let folders = path.parent().into_iter().flat_map(Path::components);
    let is_folder_of_tests = |name: &str| {
        matches!(name, "test" | "tests" | "testing" | "testdata" | "__tests__" | "spec" | "specs")
    };
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = name.split('.').next().unwrap_or_default();
    folders.filter_map(|folder| folder.as_os_str().to_str()).any(is_folder_of_tests)
        || [".test.", ".spec."].iter().any(|part| name.contains(part))
        || matches!(stem, "conftest" | "test" | "tests")
        || stem.starts_with("test_")
        || ["_test", "_tests", "Test", "Tests"].iter().any(|end| stem.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_known_by_their_paths() {
        for path in [
            "a/tests/b.py",
            "test/a.js",
            "src/test_a.py",
            "a_test.go",
            "a/SetTest.java",
            "a.spec.js",
            "src/tests.rs",
            "conftest.py",
            "__tests__/a.js",
        ] {
            assert!(is_test(Path::new(path)), "{path}");
        }
        for path in ["a/contest.py", "latest/a.py", "src/attest.rs", "Testament.java", "a.py"] {
            assert!(!is_test(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn generated_and_minified_files_are_known() {
        let long = "x".repeat(1_001);
        for (name, source) in [
            ("a.js", "// @generated\nx()"),
            ("a.go", "// Code generated by protoc. DO NOT EDIT.\npackage a"),
            ("jquery.min.js", "x()"),
            ("a.js", long.as_str()),
        ] {
            assert!(is_generated(Path::new(name), source), "{name}: {source}");
        }
        assert!(!is_generated(Path::new("a.py"), "# Generates tables.\nx = 1\n"));
    }

    #[test]
    fn a_header_counts_before_the_repository() {
        let names = ["MIT", "ISC"].map(str::to_owned);
        let allowed = Allowed::new(&names).ok().unwrap();
        let repository = |licence: &str| Repository {
            name: "a".to_owned(),
            folder: "a".into(),
            licence: expression(licence),
        };
        let lgpl = "# This library is free software under the GNU Lesser General Public License.";
        for (source, licence_of_all, expected) in [
            ("x()", "MIT", Ok("MIT")),
            ("x()", "?", Err("the licence is unknown")),
            ("x()", "GPL-2.0-only", Err("the licence is not allowed")),
            ("// SPDX-License-Identifier: ISC\nx()", "GPL-2.0-only", Ok("ISC")),
            ("/* SPDX-License-Identifier: ISC OR MIT */", "?", Ok("ISC OR MIT")),
            ("# SPDX-License-Identifier: MPL-2.0", "MIT", Err("the licence is not allowed")),
            ("# SPDX-License-Identifier: mine", "MIT", Err("the licence is unknown")),
            (lgpl, "MIT", Err("the licence is not allowed")),
        ] {
            let found = licence(source, &repository(licence_of_all), &allowed);
            assert_eq!(found.as_deref(), expected.as_ref().copied(), "{source}");
        }
    }
}
