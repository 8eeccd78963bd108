//! Reading examples and storing them.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Float32Builder, Int64Array, LargeStringArray, ListBuilder,
    NullArray, RecordBatch, StringArray, StringBuilder, StringViewArray,
};
use arrow::datatypes::Int32Type;
use coderag_core::{Digest, Silent};
use coderag_train::data::{
    BadRows, Columns, Example, OnBadRow, Repeats, Rows, Source, Store, for_each_example,
};
use coderag_train::{Error, Result};
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

fn read(path: &Path, columns: &Columns) -> Result<(Vec<Example>, BadRows)> {
    let (mut examples, mut bad_rows) = (Vec::new(), BadRows::default());
    for_each_example(path, columns, &mut bad_rows, |example| {
        examples.push(example);
        Ok(())
    })?;
    Ok((examples, bad_rows))
}

fn write(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn read_lines(lines: &str, columns: &Columns) -> (Vec<Example>, BadRows) {
    let folder = tempfile::tempdir().unwrap();
    read(&write(&folder, "rows.jsonl", lines), columns).unwrap()
}

fn write_parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn problem(line: &Value, columns: &Columns) -> String {
    let (examples, bad_rows) = read_lines(&line.to_string(), columns);
    assert_eq!((examples.len(), bad_rows.total), (0, 1), "{line}");
    bad_rows.first[0].problem.clone()
}

fn pair(anchor: &str, positive: &str, negatives: &[&str]) -> Example {
    Example {
        anchor: anchor.to_owned(),
        positive: positive.to_owned(),
        negatives: negatives.iter().map(|&text| text.to_owned()).collect(),
        scores: None,
    }
}

#[test]
fn pairs_triplets_and_lists_of_negatives_are_read() {
    let lines = concat!(
        "\u{feff}{\"id\": \"1\", \"task\": \"t\", \"anchor\": \"a\", \"positive\": \"p\", \"meta\": {\"x\": [1]}}\r\n",
        "\r\n",
        "{\"anchor\": \"a\", \"positive\": \"p\", \"negative\": \"n\"}\n",
        "{\"negative_2\": \"m\", \"anchor\": \"a\", \"positive\": \"p\", \"negative_1\": \"n\", \"negative_3\": null}\n",
        "{\"anchor\": \"a\", \"positive\": \"p\", \"negatives\": [\"n\", \"m\"], \"scores\": \"ignored\"}\n",
        "{\"anchor\": \"a\", \"positive\": \"p\", \"negatives\": []}",
    );
    let (examples, bad_rows) = read_lines(lines, &Columns::default());
    assert_eq!(bad_rows, BadRows::default());
    let expected: [&[&str]; 5] = [&[], &["n"], &["n", "m"], &["n", "m"], &[]];
    assert_eq!(examples, expected.map(|negatives| pair("a", "p", negatives)));
}

#[test]
fn columns_are_named_by_the_configuration() {
    let columns = Columns {
        anchor: "query".to_owned(),
        positive: "doc".to_owned(),
        negatives: Some("hard".to_owned()),
        scores: Some("teacher".to_owned()),
    };
    let line =
        json!({"query": "q", "doc": "d", "hard": ["n"], "negative": "x", "teacher": [2, -0.5]});
    let (examples, _) = read_lines(&line.to_string(), &columns);
    let scores = Some(vec![2.0, -0.5]);
    assert_eq!(examples, [Example { scores, ..pair("q", "d", &["n"]) }]);
    assert_eq!(problem(&json!({"query": "q", "doc": "d"}), &columns), "there is no `hard`");
    let scored = |teacher: Value| {
        problem(&json!({"query": "q", "doc": "d", "hard": "n", "teacher": teacher}), &columns)
    };
    assert!(scored(json!([1])).starts_with("`teacher` has 1 scores, expected 2"));
    assert_eq!(scored(json!([1, "2"])), "`teacher[1]` is a text, expected a number");
    assert_eq!(scored(json!([1, 1e39])), "`teacher[1]` is not a finite number");
    assert_eq!(scored(json!(7)), "`teacher` is a number, expected a list of numbers");
}

#[test]
fn bad_rows_are_counted_and_named() {
    let plain = Columns::default();
    let of = |line: Value| problem(&line, &plain);
    assert_eq!(of(json!(["a"])), "the line is a list, expected an object");
    assert_eq!(of(json!({"anchor": "a"})), "there is no `positive`");
    assert_eq!(of(json!({"anchor": "", "positive": "p"})), "`anchor` is empty");
    assert_eq!(of(json!({"anchor": "a", "positive": " \t\u{1}\n"})), "`positive` is blank");
    assert_eq!(of(json!({"anchor": 3, "positive": "p"})), "`anchor` is a number, expected a text");
    assert_eq!(of(json!({"anchor": null, "positive": "p"})), "`anchor` is null, expected a text");
    assert_eq!(of(json!({"anchor": "a\u{0}b", "positive": "p"})), "`anchor` has a NUL character");
    let with =
        |negatives: Value| of(json!({"anchor": "a", "positive": "p q", "negatives": negatives}));
    assert_eq!(with(json!(["n", null])), "`negatives[1]` is null, expected a text");
    assert_eq!(with(json!(["n", " "])), "`negatives[1]` is blank");
    assert_eq!(with(json!({})), "`negatives` is an object, expected a text");
    assert_eq!(with(json!(["n", "p  q\n"])), "negative 2 has the text of `positive`");
    assert_eq!(with(json!("a")), "negative 1 has the text of `anchor`");
    // A text may be its own positive: dropout makes two views of it (Gao et al., SimCSE, 2021).
    assert_eq!(read_lines(r#"{"anchor": "a", "positive": "a"}"#, &plain).1.total, 0);

    let folder = tempfile::tempdir().unwrap();
    let lines = b"{\"anchor\": \"a\", \"positive\": \"p\"}\nnot json\n\n{\"anchor\": \"\xff\", \"positive\": \"p\"}\n{\"anchor\"";
    let path = write(&folder, "rows.jsonl", lines);
    let (examples, bad_rows) = read(&path, &plain).unwrap();
    assert_eq!((examples.len(), bad_rows.total), (1, 3));
    let message = bad_rows.to_string();
    let start = format!("3 bad rows; the first: {}: line 2: not valid JSON: ", path.display());
    assert!(message.starts_with(&start), "{message}");
    let numbers: Vec<u64> = bad_rows.first.iter().map(|bad| bad.number).collect();
    assert_eq!(numbers, [2, 4, 5]);
}

#[test]
fn files_that_are_not_examples_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let plain = Columns::default();
    let refusal = |path: &Path| {
        let error = read(path, &plain).unwrap_err();
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        format!("{error}{}", source.unwrap_or_default())
    };
    let message = refusal(&write(&folder, "rows.csv", "anchor,positive\n"));
    assert!(message.contains("rows.csv is not a file of examples"), "{message}");
    let message = refusal(&folder.path().join("absent.jsonl"));
    assert!(message.contains("cannot open") && message.contains("absent.jsonl"), "{message}");
    let message = refusal(&write(&folder, "rows.parquet", "not Parquet"));
    assert!(message.contains("cannot read the Parquet file"), "{message}");
    let mut packed = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let lines = "{\"anchor\": \"a\", \"positive\": \"p\"}\n".repeat(10_000);
    packed.write_all(lines.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    let message = refusal(&write(&folder, "cut.jsonl.gz", &packed[..packed.len() / 2]));
    assert!(message.contains("cannot read") && message.contains("cut.jsonl.gz"), "{message}");
    let whole = write(&folder, "rows.jsonl.gz", packed);
    assert_eq!(read(&whole, &plain).unwrap().0.len(), 10_000);

    let path = folder.path().join("other.parquet");
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["q"]));
    write_parquet(&path, vec![("query", texts.clone()), ("doc", texts.clone())]);
    let message = refusal(&path);
    assert!(
        message.contains("has no column `anchor`, only `query`, `doc`; say which"),
        "{message}"
    );
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    write_parquet(&path, vec![("anchor", texts.clone()), ("positive", numbers.clone())]);
    let message = refusal(&path);
    assert!(message.ends_with("`positive` has the type Int64, expected text"), "{message}");
    write_parquet(
        &path,
        vec![("anchor", texts.clone()), ("positive", texts), ("negative_1", numbers)],
    );
    let message = refusal(&path);
    assert!(message.ends_with("Int64, expected text or a list of texts"), "{message}");
}

#[test]
fn every_kind_of_text_column_of_parquet_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    let mut empty = ListBuilder::new(arrow::array::NullBuilder::new());
    empty.append(true);
    empty.append(true);
    let dictionary: DictionaryArray<Int32Type> = ["n", "n"].into_iter().collect();
    write_parquet(
        &path,
        vec![
            ("negative_2", Arc::new(StringViewArray::from(vec![Some("m"), None])) as ArrayRef),
            ("other", Arc::new(Int64Array::from(vec![1, 2]))),
            ("positive", Arc::new(LargeStringArray::from(vec!["p", "p"]))),
            ("negatives", Arc::new(empty.finish())),
            ("anchor", Arc::new(StringArray::from(vec!["a", "b"]))),
            ("negative_1", Arc::new(dictionary)),
            ("negative_3", Arc::new(NullArray::new(2))),
        ],
    );
    let (examples, bad_rows) = read(&path, &Columns::default()).unwrap();
    assert_eq!(bad_rows.total, 0);
    assert_eq!(examples, [pair("a", "p", &["n", "m"]), pair("b", "p", &["n"])]);
}

/// A row of a file: texts that may be missing or blank.
#[derive(Clone, Debug)]
struct RawRow {
    anchor: Option<String>,
    positive: Option<String>,
    negatives: Option<Vec<Option<String>>>,
    scores: Option<Vec<f32>>,
}

fn raw_row() -> impl Strategy<Value = RawRow> {
    let text = || prop::option::weighted(0.95, "[a-c \u{0}\u{e9}\n]{0,4}|\\PC{1,20}");
    let negatives = prop::option::of(prop::collection::vec(text(), 0..4));
    let scores = prop::option::weighted(0.9, prop::collection::vec(-1e3_f32..1e3, 1..4));
    (text(), text(), negatives, scores).prop_map(|(anchor, positive, negatives, scores)| RawRow {
        anchor,
        positive,
        negatives,
        scores,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn parquet_and_json_lines_agree_and_the_store_gives_back_what_was_read(
        rows in prop::collection::vec(raw_row(), 0..40),
        with_scores in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let lines: String = rows
            .iter()
            .map(|row| {
                let (anchor, positive) = (&row.anchor, &row.positive);
                let (negatives, scores) = (&row.negatives, &row.scores);
                let line = json!({
                    "anchor": anchor, "positive": positive, "negatives": negatives, "scores": scores,
                });
                format!("{line}\n")
            })
            .collect();
        let lines = write(&folder, "rows.jsonl", lines);

        let texts = |text: fn(&RawRow) -> Option<&str>| -> ArrayRef {
            Arc::new(rows.iter().map(text).collect::<StringArray>())
        };
        let mut negatives = ListBuilder::new(StringBuilder::new());
        let mut scores = ListBuilder::new(Float32Builder::new());
        for row in &rows {
            negatives.append_option(row.negatives.clone());
            scores.append_option(row.scores.clone().map(|scores| scores.into_iter().map(Some)));
        }
        let parquet = folder.path().join("rows.parquet");
        write_parquet(
            &parquet,
            vec![
                ("anchor", texts(|row| row.anchor.as_deref())),
                ("positive", texts(|row| row.positive.as_deref())),
                ("negatives", Arc::new(negatives.finish())),
                ("scores", Arc::new(scores.finish())),
            ],
        );

        let scores = with_scores.then(|| "scores".to_owned());
        let columns = Columns { scores, ..Columns::default() };
        let (examples, bad_rows) = read(&parquet, &columns).unwrap();
        let (from_lines, bad_lines) = read(&lines, &columns).unwrap();
        prop_assert_eq!(&from_lines, &examples);
        let problems = |bad_rows: &BadRows| -> Vec<(u64, String)> {
            bad_rows.first.iter().map(|bad| (bad.number, bad.problem.clone())).collect()
        };
        prop_assert_eq!(problems(&bad_lines), problems(&bad_rows));
        prop_assert_eq!(bad_lines.total, bad_rows.total);
        prop_assert_eq!(examples.len() as u64 + bad_rows.total, rows.len() as u64);

        let sources = [Source { columns, ..Source::of_file(&lines) }];
        match Store::build(&folder.path().join("store"), &sources, OnBadRow::Skip, &Silent) {
            Ok(store) => {
                prop_assert_eq!(store.rows(), examples.len());
                for row in (0..store.rows()).rev() {
                    prop_assert_eq!(&store.example(row).unwrap(), &examples[row]);
                    let longest = examples[row].texts().map(|text| text.chars().count()).max();
                    prop_assert_eq!(Some(store.characters(row) as usize), longest);
                }
                prop_assert!(store.example(store.rows()).is_err());
            }
            Err(Error::NoRows { .. }) => prop_assert!(examples.is_empty()),
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}

fn lines(rows: &[(&str, &str)]) -> String {
    let line = |(anchor, positive): &(&str, &str)| {
        format!("{}\n", json!({"anchor": anchor, "positive": positive}))
    };
    rows.iter().map(line).collect()
}

fn build(folder: &TempDir, sources: &[Source], on_bad_row: OnBadRow) -> Result<Store> {
    Store::build(&folder.path().join("store"), sources, on_bad_row, &Silent)
}

#[test]
fn a_store_records_what_it_was_made_from() {
    let folder = tempfile::tempdir().unwrap();
    let first = write(&folder, "first.jsonl", lines(&[("a", "p"), ("b", "q")]) + "{}\n");
    let second = write(&folder, "second.jsonl", lines(&[("a ", " p"), ("same", "same")]));
    let third = write(
        &folder,
        "third.jsonl",
        r#"{"anchor": "b", "positive": "q\u00e9r", "negatives": ["xy", "z"]}"#,
    );
    let sources = [
        Source { files: vec![first.clone(), second], ..Source::of_file(&first) },
        Source::of_file(&third),
    ];
    let store = build(&folder, &sources, OnBadRow::Skip).unwrap();
    let manifest = store.manifest();
    let expected = Repeats { anchors: 2, positives: 1, pairs: 1, positive_is_anchor: 1 };
    assert_eq!(manifest.repeats, expected);
    assert_eq!((manifest.rows(), manifest.bad_rows.total), (5, 1));
    let [plain, hard] = &manifest.sources[..] else { panic!("two sources") };
    assert_eq!((plain.rows, plain.fewest_negatives, plain.most_negatives), (4, 0, 0));
    assert_eq!((hard.rows, hard.fewest_negatives, hard.most_negatives), (1, 2, 2));
    assert_eq!((hard.negatives.texts, hard.negatives.shortest, hard.negatives.longest), (2, 1, 2));
    assert_eq!(hard.positives.longest, 3);
    let file = &plain.files[0];
    assert_eq!((file.rows, file.bad_rows, &file.path), (2, 1, &first));
    assert_eq!(file.sha256, Digest::of_file(&first).unwrap());
    assert_eq!(Rows::sources(&store), [4, 1]);
    let sources: Vec<usize> = (0..5).map(|row| store.source_of(row)).collect();
    assert_eq!(sources, [0, 0, 0, 0, 1]);
    let names: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("store"))
        .collect();
    assert_eq!(names, ["store"]);
}

#[test]
fn bad_rows_end_the_run_unless_they_are_to_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, "rows.jsonl", lines(&[("a", "p")]) + &"{}\n".repeat(7));
    let sources = [Source::of_file(&path)];
    let message = build(&folder, &sources, OnBadRow::Fail).unwrap_err().to_string();
    assert!(message.starts_with("7 bad rows; the first: "), "{message}");
    assert_eq!(message.matches("there is no `anchor`").count(), 5);
    assert!(message.ends_with("or leave them out with `on_bad_row = \"skip\"`"), "{message}");
    assert!(!folder.path().join("store").exists());
    assert_eq!(build(&folder, &sources, OnBadRow::Skip).unwrap().rows(), 1);

    let empty = write(&folder, "empty.jsonl", "{}\n");
    let message =
        build(&folder, &[Source::of_file(&empty)], OnBadRow::Skip).unwrap_err().to_string();
    assert!(message.contains("has no examples (1 bad row: "), "{message}");
    // The earlier store is still there.
    assert_eq!(Store::open(&folder.path().join("store")).unwrap().rows(), 1);
    let twice = [sources[0].clone(), sources[0].clone()];
    let message = build(&folder, &twice, OnBadRow::Skip).unwrap_err().to_string();
    assert!(message.contains("two have the name"), "{message}");
    let message = build(&folder, &[], OnBadRow::Skip).unwrap_err().to_string();
    assert!(message.contains("name at least one file"), "{message}");
}

#[test]
fn a_run_goes_on_with_the_same_inputs_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, "rows.jsonl", lines(&[("a", "p"), ("b", "q")]));
    let sources = [Source { name: "rows".to_owned(), ..Source::of_file(&path) }];
    build(&folder, &sources, OnBadRow::Fail).unwrap();
    let resume = |sources: &[Source]| Store::resume(&folder.path().join("store"), sources);
    assert_eq!(resume(&sources).unwrap().example(1).unwrap(), pair("b", "q", &[]));

    let moved = folder.path().join("moved.jsonl");
    fs::rename(&path, &moved).unwrap();
    let error = resume(&sources).unwrap_err().to_string();
    assert!(error.contains("cannot open") && error.contains("rows.jsonl"), "{error}");
    let elsewhere = [Source { files: vec![moved.clone()], ..sources[0].clone() }];
    assert_eq!(resume(&elsewhere).unwrap().rows(), 2);
    let weighted = [Source { weight: Some(2.0), ..elsewhere[0].clone() }];
    assert_eq!(resume(&weighted).unwrap().rows(), 2);

    let refusal = |source: Source| resume(&[source]).unwrap_err().to_string();
    let renamed = Source { name: "other".to_owned(), ..elsewhere[0].clone() };
    assert!(refusal(renamed).contains("the source `rows` is now `other`"));
    let columns = Columns { anchor: "query".to_owned(), ..Columns::default() };
    assert!(refusal(Source { columns, ..elsewhere[0].clone() }).contains("has other columns"));
    let files = vec![moved.clone(), moved.clone()];
    assert!(refusal(Source { files, ..elsewhere[0].clone() }).contains("had 1 files, now 2"));
    assert!(resume(&[]).unwrap_err().to_string().contains("it had 1 sources, now it has 0"));
    fs::write(&moved, lines(&[("a", "p"), ("b", "Q")])).unwrap();
    let message = refusal(elsewhere[0].clone());
    assert!(message.contains("moved.jsonl has changed since the run began"), "{message}");
}

#[test]
fn a_damaged_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, "rows.jsonl", lines(&[("a", "p"), ("b", "q")]));
    let store = folder.path().join("store");
    let refusal = |file: &str, damage: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        build(&folder, &[Source::of_file(&path)], OnBadRow::Fail).unwrap();
        // A new file, because the old one may be mapped.
        let content = fs::read(store.join(file)).unwrap();
        fs::remove_file(store.join(file)).unwrap();
        fs::write(store.join(file), damage(content)).unwrap();
        match Store::open(&store).and_then(|store| store.example(1)) {
            Ok(example) => panic!("{file}: {example:?}"),
            Err(error) => error.to_string(),
        }
    };
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 2].to_vec();
    for file in ["texts.bin", "fingerprints.bin", "rows.bin"] {
        let message = refusal(file, &cut);
        assert!(message.contains(&format!("`{file}` has")), "{message}");
        assert!(message.ends_with("begin the run anew with `--restart`"), "{message}");
    }
    assert!(refusal("examples.json", &cut).contains("`examples.json`: EOF"));
    let version = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        text.replace("\"format_version\": 1", "\"format_version\": 9").into_bytes()
    };
    assert!(refusal("examples.json", &version).contains("format version 9, this version reads 1"));
    let at = |position: usize| {
        move |mut bytes: Vec<u8>| {
            bytes[position] = 0xff;
            bytes
        }
    };
    // Where the second row's record and fingerprints begin, and how many texts it has.
    for position in [24, 25, 32] {
        assert!(refusal("rows.bin", &at(position)).contains("row 1 of `rows.bin` is out of place"));
    }
    assert!(refusal("rows.bin", &at(44)).contains("another number of texts than `rows.bin`"));
    // The second record: its scores, a length, and a text that is no longer UTF-8.
    for position in [14, 18, 26] {
        assert!(refusal("texts.bin", &at(position)).contains("row 1 cannot be read"));
    }
}
