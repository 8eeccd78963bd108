//! `coderag embed` on a model that is small enough to be in the project.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use coderag_core::Embeddings;
use coderag_index::quantization::{Numbers, Quantization, Quantizer, Ranges};
use coderag_index::vector_file;
use serde::Deserialize;
use serde_json::Value;

use crate::program::{Run, command, finish, project, run};

const DIMENSIONS: usize = 32;

/// A temporary folder, in which all files of a test are.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    fn names(&self) -> Vec<String> {
        names(self.0.path())
    }

    /// `coderag embed` in chunks of ten texts, which sees the folder as its own.
    fn command(&self, arguments: &[&str]) -> Command {
        let model = model();
        let mut all = vec!["embed", "--model", model.to_str().unwrap(), "--chunk-rows", "10"];
        all.extend(arguments);
        let mut command = command(&all);
        command.current_dir(self.0.path());
        command
    }

    fn embed(&self, arguments: &[&str]) -> Run {
        finish(self.command(arguments))
    }

    fn embed_well(&self, arguments: &[&str]) -> Run {
        let run = self.embed(arguments);
        assert_eq!(run.code, 0, "{arguments:?}\n{run}");
        run
    }

    fn refusal(&self, arguments: &[&str]) -> String {
        let run = self.embed(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{arguments:?}\n{run}");
        run.stderr
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn model() -> PathBuf {
    project().join("crates/coderag-encoder/tests/fixtures/small-bert")
}

/// Different texts of different lengths.
fn texts(count: usize) -> Vec<String> {
    let words = ["table", "orders", "index", "prices", "question", "customers"];
    (0..count)
        .map(|number| {
            let words = (0..number % 13).map(|word| words[(number / 3 + word * 5) % words.len()]);
            words.chain([number.to_string().as_str()]).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

fn lines(texts: &[String]) -> String {
    texts.iter().map(|text| format!("{text}\n")).collect()
}

fn json_lines(texts: &[String]) -> String {
    texts.iter().map(|text| format!("{}\n", serde_json::json!({ "text": text }))).collect()
}

fn csv(texts: &[String]) -> String {
    let rows = texts.iter().enumerate().map(|(row, text)| format!("{row},\"{text}\"\n"));
    ["id,text\n".to_owned()].into_iter().chain(rows).collect()
}

/// The shape and the bytes of the numbers of a NumPy array.
fn array(path: &Path) -> (String, Vec<u8>) {
    let bytes = fs::read(path).unwrap();
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8(bytes[10..start].to_vec()).unwrap();
    (header.trim_end().to_owned(), bytes[start..].to_vec())
}

fn floats(path: &Path) -> Vec<f32> {
    let batches = vector_file::read(path).unwrap();
    batches.flat_map(|batch| batch.unwrap().as_slice().to_vec()).collect()
}

fn printed(lines: &str) -> (Vec<String>, Vec<f32>) {
    let mut texts = Vec::new();
    let mut values = Vec::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        texts.push(line["text"].as_str().unwrap().to_owned());
        let embedding = line["embedding"].as_array().unwrap();
        values.extend(embedding.iter().map(|value| value.as_f64().unwrap() as f32));
    }
    (texts, values)
}

fn assert_near(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 5e-6, "{what}: {found} {expected}");
    }
}

#[test]
fn every_input_gives_the_same_vectors_in_every_output() {
    let folder = Folder::new();
    let texts = texts(35);
    folder.write("a.txt", lines(&texts));
    folder.write("a.jsonl", json_lines(&texts));
    folder.write("a.csv", csv(&texts));
    folder.embed_well(&["--input", "a.txt", "--output", "a.parquet"]);
    folder.embed_well(&["--input", "a.txt", "--output", "a.npy"]);
    let expected = floats(&folder.path("a.npy"));
    assert_eq!(expected.len(), 35 * DIMENSIONS);
    // Vectors of another text are far away.
    let difference: f32 = expected[..DIMENSIONS]
        .iter()
        .zip(&expected[DIMENSIONS..])
        .map(|(a, b)| (a - b).abs())
        .sum();
    assert!(difference > 0.01, "{difference}");
    for input in ["a.txt", "a.jsonl", "a.csv", "a.parquet"] {
        for output in ["v.npy", "v.parquet", "v.jsonl", "-"] {
            let run = folder.embed_well(&["--input", input, "--output", output]);
            let what = format!("{input} to {output}");
            let values = match output {
                "-" | "v.jsonl" => {
                    let lines = match output {
                        "-" => run.stdout,
                        _ => fs::read_to_string(folder.path(output)).unwrap(),
                    };
                    let (found, values) = printed(&lines);
                    assert_eq!(found, texts, "{what}");
                    values
                }
                _ => floats(&folder.path(output)),
            };
            // Standard output is not cut into chunks of ten.
            assert_near(&values, &expected, &what);
            if output != "-" {
                assert_eq!(values, expected, "{what}");
            }
        }
    }
    // The texts of a table go on as an input.
    let again = folder.embed_well(&["--input", "v.parquet", "--output", "-"]);
    assert_eq!(printed(&again.stdout).0, texts);
    for (format, content) in
        [("txt", lines(&texts)), ("jsonl", json_lines(&texts)), ("csv", csv(&texts))]
    {
        folder.write("input", content);
        let mut command =
            folder.command(&["--input", "-", "--input-format", format, "--output", "-"]);
        command.stdin(fs::File::open(folder.path("input")).unwrap());
        let (found, values) = printed(&finish(command).stdout);
        assert_eq!(found, texts, "{format}");
        assert_near(&values, &expected, format);
    }
    assert!(folder.names().iter().all(|name| !name.contains("partial")), "{:?}", folder.names());
}

/// A run that was given texts and waits for more, once it has written two chunks.
fn unfinished(folder: &Folder, texts: &[String], arguments: &[&str]) -> Child {
    let mut child = folder.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(lines(texts).as_bytes()).unwrap();
    let state = folder.path("v.npy.partial/state.json");
    let started = Instant::now();
    while read_chunks(&state) < 2 {
        assert!(started.elapsed() < Duration::from_secs(60), "no two chunks");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.stdin = Some(input);
    child
}

fn read_chunks(state: &Path) -> usize {
    let Ok(state) = fs::read(state) else { return 0 };
    let state: Value = serde_json::from_slice(&state).unwrap();
    state["chunks"].as_array().unwrap().len()
}

#[test]
fn a_killed_run_goes_on_where_it_was() {
    let folder = Folder::new();
    let texts = texts(47);
    folder.write("a.txt", lines(&texts));
    folder.embed_well(&["--input", "a.txt", "--output", "whole.npy"]);
    let whole = fs::read(folder.path("whole.npy")).unwrap();
    let row = 4 * DIMENSIONS;
    let start = whole.len() - 47 * row;
    for exchanged in [false, true] {
        let mut killed = unfinished(&folder, &texts[..25], &["--input", "-", "--output", "v.npy"]);
        let second = folder.refusal(&["--input", "a.txt", "--output", "v.npy"]);
        assert!(second.contains("another run is writing"), "{second}");
        killed.kill().unwrap();
        killed.wait().unwrap();
        let chunk = |index| folder.path(&format!("v.npy.partial/0000000{index}.parquet"));
        if exchanged {
            fs::rename(chunk(0), chunk(9)).unwrap();
            fs::rename(chunk(1), chunk(0)).unwrap();
            fs::rename(chunk(9), chunk(1)).unwrap();
        }
        let resumed = folder.embed_well(&["--input", "a.txt", "--output", "v.npy"]);
        assert!(resumed.stderr.contains("after the first 20 texts"), "{resumed}");
        let found = fs::read(folder.path("v.npy")).unwrap();
        if exchanged {
            // The chunks were taken as they were: none of their texts was embedded again.
            assert_eq!(found[start..][..10 * row], whole[start + 10 * row..][..10 * row]);
            assert_eq!(found[start + 10 * row..][..10 * row], whole[start..][..10 * row]);
            assert_eq!(found[start + 20 * row..], whole[start + 20 * row..]);
        } else {
            assert_eq!(found, whole);
        }
        assert!(!folder.path("v.npy.partial").exists());
    }
}

#[test]
fn an_interrupted_run_goes_on_only_as_it_began() {
    let folder = Folder::new();
    let texts = texts(30);
    let mut killed = unfinished(&folder, &texts[..25], &["--input", "-", "--output", "v.npy"]);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let input = |name: &str, texts: &[String]| folder.write(name, lines(texts));
    input("a.txt", &texts);
    let mut changed = texts.clone();
    changed[13].push('x');
    input("changed.txt", &changed);
    input("short.txt", &texts[..19]);
    let go_on = ["--input", "a.txt", "--output", "v.npy"];
    let with = |more: &[&'static str]| folder.refusal(&[&go_on, more].concat());
    for (refusal, expected) in [
        (with(&["--normalize"]), "`normalize` was null and is true"),
        (with(&["--no-normalize"]), "`normalize` was null and is false"),
        (with(&["--truncate-dim", "8"]), "`dimensions` was 32 and is 8"),
        (with(&["--prompt-name", "query"]), "`prompt` was \"default\" and is {\"name\":\"query\"}"),
        (with(&["--prompt", "x"]), "`prompt` was \"default\" and is {\"text\":\"x\"}"),
        (with(&["--precision", "bf16"]), "`precision` was \"f32\" and is \"bf16\""),
        (
            folder.refusal(&["--input", "changed.txt", "--output", "v.npy"]),
            "text 11 to text 20 were different",
        ),
        (
            folder.refusal(&["--input", "short.txt", "--output", "v.npy"]),
            "text 11 to text 20 were different",
        ),
    ] {
        assert!(refusal.contains(expected) && refusal.contains("--restart"), "{refusal}");
    }
    // Another model, by one bit of its weights.
    let other = folder.path("model");
    for folder in ["", "1_Pooling", "2_Normalize"] {
        fs::create_dir(other.join(folder)).unwrap();
        for name in names(&model().join(folder)) {
            let from = model().join(folder).join(&name);
            if from.is_file() {
                fs::copy(from, other.join(folder).join(name)).unwrap();
            }
        }
    }
    let weights = other.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    let mut all = vec!["embed", "--model", other.to_str().unwrap()];
    let output = folder.path("v.npy").to_str().unwrap().to_owned();
    let input = folder.path("a.txt").to_str().unwrap().to_owned();
    all.extend(["--input", &input, "--output", &output]);
    let refused = run(&all);
    assert!(refused.code == 1 && refused.stderr.contains("`model` was"), "{refused}");
    // What was refused did no harm.
    assert!(folder.embed_well(&go_on).stderr.contains("after the first 20 texts"));
    let right = fs::read(folder.path("v.npy")).unwrap();

    let mut killed = unfinished(&folder, &changed[..25], &["--input", "-", "--output", "v.npy"]);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let restarted = folder.embed_well(&[&go_on, &["--restart"][..]].concat());
    assert!(!restarted.stderr.contains("going on"), "{restarted}");
    assert_eq!(fs::read(folder.path("v.npy")).unwrap(), right);
}

#[test]
fn no_texts_give_no_vectors() {
    let folder = Folder::new();
    folder.write("a.txt", "");
    folder.write("a.csv", "text\n");
    folder.write("a.jsonl", "\n\n");
    for input in ["a.txt", "a.csv", "a.jsonl"] {
        for (quantization, shape) in [
            ("float32", "'descr': '<f4', 'fortran_order': False, 'shape': (0, 32"),
            ("int8", "'descr': '|i1', 'fortran_order': False, 'shape': (0, 32"),
            ("ubinary", "'descr': '|u1', 'fortran_order': False, 'shape': (0, 4"),
        ] {
            folder.embed_well(&["--input", input, "--output", "v.npy", "--quantize", quantization]);
            let (header, numbers) = array(&folder.path("v.npy"));
            assert!(header.contains(shape) && numbers.is_empty(), "{header}");
        }
        folder.embed_well(&["--input", input, "--output", "v.parquet"]);
        assert_eq!(floats(&folder.path("v.parquet")), Vec::<f32>::new());
        folder.embed_well(&["--input", input, "--output", "v.jsonl"]);
        assert_eq!(fs::read(folder.path("v.jsonl")).unwrap(), b"");
        assert_eq!(folder.embed_well(&["--input", input, "--output", "-"]).stdout, "");
    }
}

#[test]
fn a_bad_row_is_named_and_what_was_embedded_is_kept() {
    let folder = Folder::new();
    let texts = texts(30);
    let mut content = json_lines(&texts[..24]);
    content.push_str("{\"txet\": 1}\n");
    folder.write("a.jsonl", &content);
    let refusal = folder.refusal(&["--input", "a.jsonl", "--output", "v.npy"]);
    assert!(refusal.contains("a.jsonl: line 25: there is no field `text`"), "{refusal}");
    assert!(refusal.contains("the first 20 texts are kept in v.npy.partial"), "{refusal}");
    folder.write("a.jsonl", json_lines(&texts));
    let resumed = folder.embed_well(&["--input", "a.jsonl", "--output", "v.npy"]);
    assert!(resumed.stderr.contains("after the first 20 texts"), "{resumed}");
    assert_eq!(floats(&folder.path("v.npy")).len(), 30 * DIMENSIONS);
    // Nothing is left of a run that embedded nothing.
    folder.write("b.jsonl", "{}");
    for arguments in [
        &["--input", "b.jsonl", "--output", "w.npy"][..],
        &["--input", "absent.jsonl", "--output", "w.npy"],
        &["--input", "a.jsonl", "--field", "q", "--output", "w.npy"],
        &["--input", "a.jsonl", "--prompt-name", "none", "--output", "w.npy"],
        &["--input", "a.jsonl", "--calibration", "a.npy", "--output", "w.npy"],
        &[
            "--input",
            "a.jsonl",
            "--quantize",
            "int8",
            "--calibration",
            "a.npy",
            "--output",
            "w.npy",
        ],
    ] {
        let refusal = folder.refusal(arguments);
        assert!(refusal.lines().count() == 1 && refusal.starts_with("error: "), "{refusal}");
    }
    assert_eq!(folder.names(), ["a.jsonl", "b.jsonl", "v.npy"]);
    fs::create_dir(folder.path("w.npy")).unwrap();
    let refusal = folder.refusal(&["--input", "a.jsonl", "--output", "w.npy"]);
    assert!(refusal.contains("w.npy is a folder"), "{refusal}");
}

#[test]
fn a_disk_that_fills_up_costs_no_finished_chunk() {
    let folder = Folder::new();
    let texts = texts(400);
    folder.write("a.txt", lines(&texts));
    folder.embed_well(&["--input", "a.txt", "--output", "whole.npy"]);
    let limited = |blocks: usize, output: &str| {
        let program = folder.command(&["--input", "a.txt", "--output", output]);
        let mut shell = Command::new("sh");
        // A file beyond the limit is refused, as on a full disk, instead of killing the program.
        shell.args(["-c", "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"", &blocks.to_string()]);
        shell.arg(program.get_program()).args(program.get_args()).current_dir(folder.path(""));
        finish(shell)
    };
    // Room for chunks and their state, and none for the array of 50 kB.
    let refused = limited(60, "v.npy");
    assert_eq!(refused.code, 1, "{refused}");
    assert!(refused.stderr.contains("cannot write v.npy"), "{refused}");
    assert!(refused.stderr.contains("the first 400 texts are kept in v.npy.partial"), "{refused}");
    assert!(!folder.path("v.npy").exists());
    let resumed = folder.embed_well(&["--input", "a.txt", "--output", "v.npy"]);
    assert!(resumed.stderr.contains("after the first 400 texts"), "{resumed}");
    assert_eq!(
        fs::read(folder.path("v.npy")).unwrap(),
        fs::read(folder.path("whole.npy")).unwrap()
    );
    // No room for a chunk.
    let refused = limited(1, "w.npy");
    assert_eq!(refused.code, 1, "{refused}");
    assert!(refused.stderr.contains("w.npy.partial/00000000.parquet"), "{refused}");
    assert_eq!(folder.names(), ["a.txt", "v.npy", "whole.npy"]);
}

#[test]
fn standard_output_that_takes_no_more_is_an_error_and_one_that_is_closed_is_not() {
    let folder = Folder::new();
    folder.write("a.txt", lines(&texts(50)));
    let mut command = folder.command(&["--input", "a.txt", "--output", "-"]);
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = command.stdout(full).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(1));
    let mut child = folder
        .command(&["--input", "a.txt", "--output", "-"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

/// sentence-transformers' vectors; see scripts/reference_embed.py.
#[derive(Deserialize)]
struct Reference {
    texts: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    options: Vec<String>,
    vectors: Vec<Vec<f32>>,
}

#[test]
fn vectors_are_cut_and_normalised_as_by_sentence_transformers() {
    let folder = Folder::new();
    let reference: Reference =
        serde_json::from_str(include_str!("fixtures/small-bert.json")).unwrap();
    folder.write("a.txt", lines(&reference.texts));
    for case in &reference.cases {
        let mut arguments = vec!["--input", "a.txt", "--output", "-"];
        arguments.extend(case.options.iter().map(String::as_str));
        let (_, values) = printed(&folder.embed_well(&arguments).stdout);
        assert_near(&values, &case.vectors.concat(), &format!("{:?}", case.options));
    }
    assert_eq!(run(&["embed", "--normalize", "--no-normalize"]).code, 2);
}

#[test]
fn quantised_vectors_are_those_of_the_floats() {
    let folder = Folder::new();
    folder.write("a.txt", lines(&texts(120)));
    folder.write("sample.txt", lines(&texts(60)));
    folder.embed_well(&["--input", "a.txt", "--output", "a.npy"]);
    folder.embed_well(&["--input", "sample.txt", "--output", "sample.npy"]);
    folder.embed_well(&["--input", "sample.txt", "--output", "sample.parquet"]);
    let embeddings = Embeddings::new(DIMENSIONS, floats(&folder.path("a.npy"))).unwrap();
    let own = Ranges::of_file(&folder.path("a.npy")).unwrap();
    let sample = Ranges::of_file(&folder.path("sample.npy")).unwrap();
    assert_ne!(own, sample);
    assert_eq!(sample, Ranges::of_file(&folder.path("sample.parquet")).unwrap());
    for (name, quantization) in [
        ("int8", Quantization::Int8),
        ("uint8", Quantization::Uint8),
        ("binary", Quantization::Binary),
        ("ubinary", Quantization::Ubinary),
    ] {
        let options = ["--input", "a.txt", "--quantize", name];
        let expected = |ranges| {
            let quantizer = Quantizer::new(quantization, DIMENSIONS, Some(ranges)).unwrap();
            let (bytes, values): (Vec<u8>, Vec<f32>) =
                match quantizer.quantize(&embeddings).unwrap().numbers() {
                    Numbers::Int8(values) => {
                        values.iter().map(|value| (*value as u8, f32::from(*value))).unzip()
                    }
                    Numbers::Uint8(values) => {
                        values.iter().map(|value| (*value, f32::from(*value))).unzip()
                    }
                    Numbers::Float32(_) => panic!("floats"),
                };
            (bytes, values)
        };
        let (bytes, values) = expected(&own);
        folder.embed_well(&[&options[..], &["--output", "v.npy"]].concat());
        assert_eq!(array(&folder.path("v.npy")).1, bytes, "{name}");
        folder.embed_well(&[&options[..], &["--output", "v.jsonl"]].concat());
        let lines = fs::read_to_string(folder.path("v.jsonl")).unwrap();
        assert_eq!(printed(&lines).1, values, "{name}");
        assert!(!lines.contains(".0"), "whole numbers");
        if quantization.needs_ranges() {
            let (bytes, _) = expected(&sample);
            for sample in ["sample.npy", "sample.parquet"] {
                let calibrated = ["--calibration", sample, "--output", "v.npy"];
                folder.embed_well(&[&options[..], &calibrated].concat());
                assert_eq!(array(&folder.path("v.npy")).1, bytes, "{name}");
            }
            let calibrated = ["--calibration", "sample.npy", "--output", "-"];
            let run = folder.embed_well(&[&options[..], &calibrated].concat());
            assert_eq!(printed(&run.stdout).0.len(), 120);
            let refusal = folder.refusal(&[&options[..], &["--output", "-"]].concat());
            assert!(refusal.contains("--calibration"), "{refusal}");
            let narrow =
                ["--truncate-dim", "8", "--calibration", "sample.npy", "--output", "v.npy"];
            let refusal = folder.refusal(&[&options[..], &narrow].concat());
            assert!(refusal.contains("have 32 dimensions, those to quantise have 8"), "{refusal}");
        }
    }
    // One vector gives no ranges.
    folder.write("one.txt", "orders\n");
    let one = ["--input", "one.txt", "--quantize", "int8", "--output", "one.npy"];
    let refusal = folder.refusal(&one);
    assert!(refusal.contains("one vector") && refusal.contains("--calibration"), "{refusal}");
    folder.embed_well(&[&one[..], &["--calibration", "sample.npy"]].concat());
    assert!(array(&folder.path("one.npy")).0.contains("(1, 32"));
}

#[test]
fn a_card_has_the_vectors_of_the_processor() {
    let folder = Folder::new();
    folder.write("texts.txt", lines(&texts(40)));
    let arguments =
        |device, output| ["--device", device, "--input", "texts.txt", "--output", output];
    folder.embed_well(&arguments("cpu", "processor.npy"));
    let mut on_card = folder.command(&arguments("cuda:0", "card.npy"));
    on_card.env("LD_LIBRARY_PATH", coderag_software_card::libraries().unwrap());
    on_card.env("CODERAG_CACHE", folder.path("cache"));
    let done = finish(on_card);
    assert_eq!(done.code, 0, "{done}");
    let [card, processor] = ["card.npy", "processor.npy"].map(|it| floats(&folder.path(it)));
    assert_near(&card, &processor, "the card's vectors");
}
