use std::fs;

use coderag_core::Silent;

use super::*;

/// A folder of repositories with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn collected(
    files: &[(&str, &str)],
    change: impl FnOnce(&mut CodeSeedConfig),
) -> (Vec<CodeSeed>, CodeSeedSummary) {
    let folder = folder(files);
    let mut config = CodeSeedConfig {
        folders: vec![folder.path().to_owned()],
        least_lines: 1,
        ..CodeSeedConfig::default()
    };
    change(&mut config);
    let (seeds, summary) = collect(&config, &Silent).unwrap();
    assert_eq!(summary.used, seeds.len());
    let skipped: usize = summary.skipped_functions.values().sum();
    assert_eq!(summary.functions, seeds.len() + skipped, "{summary:?}");
    (seeds, summary)
}

const CARGO: (&str, &str) = ("r/Cargo.toml", "[package]\nlicense = 'MIT OR Apache-2.0'");

/// The name, line, docstring and code of each function in a file.
fn functions(file: &str, source: &str) -> Vec<(String, usize, Option<String>, String)> {
    let (seeds, _) = collected(&[CARGO, (file, source)], |_| {});
    seeds.into_iter().map(|seed| (seed.name, seed.line, seed.docstring, seed.code)).collect()
}

fn expected(
    functions: &[(&str, usize, Option<&str>, &str)],
) -> Vec<(String, usize, Option<String>, String)> {
    let owned = |(name, line, docstring, code): &(&str, usize, Option<&str>, &str)| {
        ((*name).to_owned(), *line, docstring.map(str::to_owned), (*code).to_owned())
    };
    functions.iter().map(owned).collect()
}

#[test]
fn python_functions_and_methods_lose_docstring_and_indentation() {
    let source = r#"
import os

x = 1

@cache
def add(a, b):
    """Adds two numbers.

    Both may be negative.
    """

    # Simple.
    return a + b


class Set:
    """A set."""

    size = 0

    async def has(self, item):
        'Whether it is in.'
        def inner():
            return 1
        return item in self.items

    def bare(self): return 1


def halves():
    """Not a docstring alone"""; return 2
"#;
    assert_eq!(
        functions("r/a.py", source),
        expected(&[
            (
                "add",
                6,
                Some("Adds two numbers.\n\nBoth may be negative."),
                "@cache\ndef add(a, b):\n    # Simple.\n    return a + b"
            ),
            (
                "has",
                22,
                Some("Whether it is in."),
                "async def has(self, item):\n    def inner():\n        return 1\n    \
                 return item in self.items"
            ),
            ("bare", 28, None, "def bare(self): return 1"),
            ("halves", 31, None, "def halves():\n    \"\"\"Not a docstring alone\"\"\"; return 2"),
        ])
    );
}

#[test]
fn rust_functions_keep_their_attributes_and_lose_their_doc_comments() {
    let source = r#"//! A crate.

/// A stack.
struct Stack;

impl Stack {
    // Not documentation.
    /// The top.
    ///
    /// Of an empty one nothing.
    #[inline]
    #[must_use]
    pub fn top(&self) -> Option<&u8> {
        self.items.last()
    }

    /// Far away.

    fn size(&self) -> usize { self.items.len() }
}

/** In a block. */
fn block() -> u8 { 1 }

#[cfg(test)]
mod tests {
    fn fixture() -> u8 { 2 }

    #[test]
    fn works() { assert_eq!(fixture(), 2); }
}
"#;
    assert_eq!(
        functions("r/src/a.rs", source),
        expected(&[
            (
                "top",
                11,
                Some("The top.\n\nOf an empty one nothing."),
                "#[inline]\n#[must_use]\npub fn top(&self) -> Option<&u8> {\n    \
                 self.items.last()\n}"
            ),
            ("size", 19, None, "fn size(&self) -> usize { self.items.len() }"),
            ("block", 23, Some("In a block."), "fn block() -> u8 { 1 }"),
        ])
    );
}

#[test]
fn javascript_functions_are_found_in_every_form() {
    let source = r#"
/**
 * Adds.
 * @param a one
 */
export function add(a, b) { return a + b; }

// A remark.
const twice = (a) => 2 * a;

class Set {
  /** The size. */
  get size() {
    return this.items.length;
  }
}

module.exports.half = function (a) { return a / 2; };
export default function () { return 1; }
"#;
    assert_eq!(
        functions("r/a.mjs", source),
        expected(&[
            ("add", 6, Some("Adds.\n@param a one"), "function add(a, b) { return a + b; }"),
            ("twice", 9, None, "const twice = (a) => 2 * a;"),
            ("size", 13, Some("The size."), "get size() {\n  return this.items.length;\n}"),
            ("half", 18, None, "module.exports.half = function (a) { return a / 2; };"),
        ])
    );
}

#[test]
fn go_and_java_functions_have_their_comments() {
    let go = "package a\n\nvar x = 1 // not of Add\nfunc Zero() int { return 0 }\n\n// Add adds.\n\
              // It cannot fail.\n//go:noinline\nfunc Add(a, b int) int {\n\treturn a + b\n}\n\n\
              func (s *Set) Len() int { return len(s.items) }\n";
    assert_eq!(
        functions("r/a.go", go),
        expected(&[
            ("Zero", 4, None, "func Zero() int { return 0 }"),
            (
                "Add",
                9,
                Some("Add adds.\nIt cannot fail."),
                "func Add(a, b int) int {\n\treturn a + b\n}"
            ),
            ("Len", 13, None, "func (s *Set) Len() int { return len(s.items) }"),
        ])
    );
    let java = "class A {\n    /**\n     * Adds.\n     */\n    @Override\n    public int add(int a) {\n        \
                return a + 1;\n    }\n    @Test\n    void checks() { run(); }\n    abstract int none();\n    \
                enum E { X; int f() { return 3; } }\n}\n";
    assert_eq!(
        functions("r/A.java", java),
        expected(&[
            ("add", 5, Some("Adds."), "@Override\npublic int add(int a) {\n    return a + 1;\n}"),
            ("f", 12, None, "int f() { return 3; }"),
        ])
    );
}

#[test]
fn every_file_and_function_not_used_is_counted() {
    let files = [
        CARGO,
        ("r/.gitignore", "ignored.py\n"),
        ("r/ignored.py", "def f():\n    return 1\n"),
        (
            "r/good.py",
            "def a():\n    return 1\n\ndef b():\n    return  1\n\ndef a():\n  return 1\n",
        ),
        ("r/bad.py", "def c():\n    return 1 +* 2\n"),
        ("r/empty.py", "def d():\n    pass\n"),
        ("r/tests/e.py", "def e():\n    return 5\n"),
        ("r/long.py", "def g():\n    return [\n        1,\n        2,\n    ]\n"),
        ("r/made.py", "# @generated\ndef h():\n    return 7\n"),
        ("r/notes.txt", "def i(): return 8"),
        ("free/LICENSE", "Ask us."),
        ("free/j.py", "def j():\n    return 9\n"),
        ("gnu/package.json", "{\"license\": \"GPL-3.0-only\"}"),
        ("gnu/k.js", "function k() { return 10; }"),
        ("l.py", "def l():\n    return 11\n"),
    ];
    let folder = folder(&files);
    fs::write(folder.path().join("r/latin.py"), b"# \xe9\ndef m():\n    return 12\n").unwrap();
    let config = CodeSeedConfig {
        folders: vec![folder.path().to_owned(), folder.path().join("r")],
        least_lines: 2,
        most_lines: 4,
        ..CodeSeedConfig::default()
    };
    let (seeds, summary) = collect(&config, &Silent).unwrap();
    let names: Vec<&str> = seeds.iter().map(|seed| seed.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!((seeds[0].repository.as_str(), seeds[0].path.as_str()), ("r", "good.py"));
    assert_eq!(seeds[0].licence, "MIT OR Apache-2.0");
    assert_eq!(
        summary.skipped_files,
        BTreeMap::from([
            ("a test", 1),
            ("generated or minified", 1),
            ("no licence is stated", 1),
            ("not UTF-8", 1),
            ("the licence is not allowed", 1),
            ("the licence is unknown", 1),
        ])
    );
    assert_eq!((summary.files, summary.functions, summary.used), (10, 6, 2));
    assert_eq!(
        summary.skipped_functions,
        BTreeMap::from([
            ("a duplicate", 1),
            ("a syntax error", 1),
            ("more lines than asked for", 1),
            ("not implemented", 1),
        ])
    );
    assert_eq!(summary.licences, BTreeMap::from([("MIT OR Apache-2.0".to_owned(), 2)]));
    assert!(serde_json::to_string(&summary).unwrap().contains("\"python\":2"));
    assert_eq!(collect(&config, &Silent).unwrap(), (seeds, summary));
}

#[test]
fn limits_take_the_first_of_a_file_and_a_fixed_sample_of_all() {
    let source: String = (0..20).map(|n| format!("def f{n}():\n    return {n}\n\n")).collect();
    let files = [CARGO, ("r/a.py", source.as_str())];
    let names = |change: fn(&mut CodeSeedConfig)| -> Vec<String> {
        collected(&files, change).0.into_iter().map(|seed| seed.name).collect()
    };
    assert_eq!(names(|config| config.per_file = 2), ["f0", "f1"]);
    let all = names(|config| config.per_file = 20);
    assert_eq!(all.len(), 20);
    let some = names(|config| (config.per_file, config.most_functions) = (20, 5));
    assert_eq!(some.len(), 5);
    assert_ne!(some, all[..5]);
    let positions: Vec<_> =
        some.iter().map(|name| all.iter().position(|other| other == name)).collect();
    assert!(positions.is_sorted() && positions.iter().all(Option::is_some), "{some:?}");
}

#[test]
fn a_folder_that_is_hidden_or_ignored_is_still_walked() {
    let files = [
        (".gitignore", "*\n"),
        (".cargo/r/Cargo.toml", "[package]\nlicense = 'MIT'"),
        (".cargo/r/a.rs", "fn f() -> u8 { 1 }"),
        (".cargo/r/.hidden/a.rs", "fn g() -> u8 { 1 }"),
    ];
    let folder = folder(&files);
    let config = CodeSeedConfig {
        folders: vec![folder.path().join(".cargo")],
        least_lines: 1,
        ..CodeSeedConfig::default()
    };
    let (seeds, _) = collect(&config, &Silent).unwrap();
    assert_eq!(seeds.iter().map(|seed| seed.name.as_str()).collect::<Vec<_>>(), ["f"]);
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    let refusal = |change: fn(&mut CodeSeedConfig)| {
        let mut config = CodeSeedConfig::default();
        change(&mut config);
        collect(&config, &Silent).unwrap_err().to_string()
    };
    assert_eq!(
        refusal(|config| config.licences = vec!["GPLv9".to_owned()]),
        "the setting `seeds.code.licences` is wrong: SPDX lists no licence `GPLv9`"
    );
    assert_eq!(
        refusal(|config| config.languages.push(CodeLanguage::Sql)),
        "the setting `seeds.code.languages` is wrong: SQL has no functions to take"
    );
    assert_eq!(
        refusal(|config| config.least_lines = 100),
        "the setting `seeds.code.least_lines` is wrong: 100 is more than most_lines, 60"
    );
    assert!(refusal(|config| config.folders = vec!["no such".into()]).ends_with("is not a folder"));
    assert!(Allowed::new(&CodeSeedConfig::default().licences).is_ok());
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(200))]

    /// Whatever stands in a file, what is taken of it is valid code alone.
    #[test]
    fn every_seed_passes_the_syntax_gate(
        pieces in proptest::collection::vec(
            proptest::sample::select(vec![
                "def f(x):\n", "    \"\"\"Doc.\"\"\"\n", "    return x\n", "    '''\n", "class A:\n",
                "    def g(self): return 1\n", "        y = 2\n", "\n", "# note\n", "@d\n", "é = 1\n",
                "    x = \"\"\"\n  a\n\"\"\"\n", "\r\n", "if x:\n", "\t", ";",
            ]),
            0..25,
        ),
    ) {
        let source = pieces.concat();
        let (seeds, _) = collected(&[CARGO, ("r/a.py", &source)], |_| {});
        for seed in seeds {
            proptest::prop_assert_eq!(
                crate::gate::syntax::check(CodeLanguage::Python, &seed.code), Ok(())
            );
            let first = source.lines().nth(seed.line - 1).unwrap();
            proptest::prop_assert_eq!(seed.code.lines().next().unwrap(), first.trim());
        }
    }
}
