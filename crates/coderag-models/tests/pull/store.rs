use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use coderag_core::{Digest, Progress, ProgressTask, Silent, Unit};
use coderag_models::{Error, FileState, ModelKind, Registry, Source, resolve};

use crate::hub::Log;
use crate::mock_hub::{COMMIT, Faults, MockHub};
use crate::{Workplace, model, weights};

const FILES: &[(&str, &[u8])] = &[("config.json", b"{}"), ("model.safetensors", b"0123456789")];

fn workplace() -> Workplace {
    // Nothing listens on port 1.
    Workplace::new("http://127.0.0.1:1")
}

#[test]
fn sources_are_tried_in_order_and_all_reasons_are_given() {
    let workplace = workplace();
    let hub = Source::Hub { repository: "owner/tiny".into(), revision: "main".into() };
    let absent = Source::Local { path: workplace.path().join("absent") };
    let good = workplace.local("good", FILES);
    let mut tiny = model(FILES, vec![hub, absent]);
    let log = Log::default();
    let _guard = log.listen();
    let error = workplace.store().pull(&tiny, &Silent).unwrap_err();
    let message = error.to_string();
    let lines: Vec<_> = message.lines().collect();
    assert_eq!(lines[0], "cannot pull the model `tiny`:");
    assert!(lines[1].starts_with("  from the hub repository owner/tiny at main: cannot read http"));
    assert!(lines[2].contains("absent: cannot open") && lines[2].contains("No such file"));
    let Error::NoSourceWorked { failures, .. } = error else { panic!("{error}") };
    assert_eq!(failures.len(), 2);

    tiny.sources.push(good);
    let folder = workplace.store().pull(&tiny, &Silent).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), b"0123456789");
    assert!(log.text().contains("WARN") && log.text().contains("cannot pull `tiny` from the hub"));
}

#[test]
fn verify_finds_what_is_missing_cut_or_changed_and_pull_mends_it() {
    let workplace = workplace();
    let store = workplace.store();
    let tiny = model(FILES, vec![workplace.local("source", FILES)]);
    assert!(matches!(store.verify(&tiny, &Silent), Err(Error::NotInstalled { .. })));
    let folder = store.pull(&tiny, &Silent).unwrap();
    let states = || {
        let report = store.verify(&tiny, &Silent).unwrap();
        report.files.into_iter().map(|file| file.state).collect::<Vec<_>>()
    };
    assert_eq!(states(), [FileState::Ok, FileState::Ok]);

    let file = folder.join("model.safetensors");
    fs::write(&file, b"0123456788").unwrap();
    let [expected, found] = [Digest::of("0123456789"), Digest::of("0123456788")];
    assert_eq!(states(), [FileState::Ok, FileState::WrongHash { expected, found }]);
    store.pull(&tiny, &Silent).unwrap();
    assert_eq!(states(), [FileState::Ok, FileState::Ok]);

    fs::write(&file, b"01234").unwrap();
    assert_eq!(store.installed(&tiny).unwrap(), None);
    assert_eq!(states(), [FileState::Ok, FileState::WrongSize { expected: 10, found: 5 }]);
    fs::remove_file(&file).unwrap();
    assert_eq!(states(), [FileState::Ok, FileState::Missing]);
    store.pull(&tiny, &Silent).unwrap();
    assert_eq!(states(), [FileState::Ok, FileState::Ok]);
    // The local source was copied, not linked: mending never touched it.
    let source = workplace.path().join("source/model.safetensors");
    assert_eq!(fs::read(source).unwrap(), b"0123456789");
}

#[test]
fn a_report_reads_well_as_json() {
    let workplace = workplace();
    let tiny = model(FILES, vec![workplace.local("source", FILES)]);
    let folder = workplace.store().pull(&tiny, &Silent).unwrap();
    fs::write(folder.join("config.json"), b"").unwrap();
    let report = workplace.store().verify(&tiny, &Silent).unwrap();
    assert_eq!(
        serde_json::to_string(&report).unwrap(),
        "{\"files\":[{\"path\":\"config.json\",\"state\":\"wrong_size\",\"expected\":2,\"found\":0},\
         {\"path\":\"model.safetensors\",\"state\":\"ok\"}]}"
    );
}

#[test]
fn a_folder_with_files_of_the_user_is_never_replaced() {
    let workplace = workplace();
    let store = workplace.store();
    let tiny = model(FILES, vec![workplace.local("source", FILES)]);
    let folder = store.path(&tiny);
    fs::create_dir_all(folder.join("notes")).unwrap();
    fs::write(folder.join("notes/mine.txt"), b"mine").unwrap();
    for _ in 0..2 {
        let error = store.pull(&tiny, &Silent).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains(&format!("the folder {} holds `notes/mine.txt`", folder.display()))
        );
        assert_eq!(fs::read(folder.join("notes/mine.txt")).unwrap(), b"mine");
    }
    fs::remove_dir_all(folder.join("notes")).unwrap();
    store.pull(&tiny, &Silent).unwrap();

    // The same for a file added to an installed model that has to be pulled again.
    fs::write(folder.join("mine.txt"), b"mine").unwrap();
    store.pull(&tiny, &Silent).unwrap();
    fs::remove_file(folder.join("config.json")).unwrap();
    assert!(matches!(store.pull(&tiny, &Silent), Err(Error::Occupied { .. })));
    assert_eq!(fs::read(folder.join("mine.txt")).unwrap(), b"mine");
}

#[test]
fn a_model_that_the_registry_changed_is_pulled_anew() {
    let workplace = workplace();
    let store = workplace.store();
    let old = model(FILES, vec![workplace.local("source", FILES)]);
    store.pull(&old, &Silent).unwrap();
    let newer: &[(&str, &[u8])] = &[("config.json", b"{}"), ("model.safetensors", b"9876543210")];
    let new = model(newer, vec![workplace.local("newer", newer)]);
    assert_eq!(store.installed(&new).unwrap(), None);
    let folder = store.pull(&new, &Silent).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), b"9876543210");
}

#[test]
fn a_path_or_a_name_resolves_and_anything_else_says_what_to_do() {
    let workplace = workplace();
    let store = workplace.store();
    let registry_path = workplace.path().join("models.toml");
    let entry = |name: &str, kind: ModelKind| {
        format!(
            "[[model]]\nname = \"{name}\"\nkind = \"{kind}\"\narchitecture = \"a\"\nlicence = \"MIT\"\n\
             files = [{{ path = \"weights.bin\" }}]\n[[model.source]]\nhub = \"owner/{name}-hub\"\n\
             [[model.source]]\nlocal = \"source\"\n"
        )
    };
    let text = entry("an-encoder", ModelKind::Encoder) + &entry("a-writer", ModelKind::Generator);
    fs::write(&registry_path, text).unwrap();
    workplace.local("source", &[("weights.bin", b"w")]);
    let registry = Registry::load(&registry_path).unwrap();
    let find = |name: &str| resolve(&registry, &store, name);

    assert_eq!(find(registry_path.to_str().unwrap()).unwrap(), registry_path);
    let source = workplace.path().join("source");
    assert_eq!(find(source.to_str().unwrap()).unwrap(), source);
    let message = find("a-writer").unwrap_err().to_string();
    assert_eq!(message, "the model `a-writer` is not installed; run: coderag models pull a-writer");
    for model in registry.models() {
        store.pull(model, &Silent).unwrap();
    }
    let models = workplace.settings.store.clone();
    assert_eq!(find("a-writer").unwrap(), models.join("a-writer/weights.bin"));
    assert_eq!(find("an-encoder").unwrap(), models.join("an-encoder"));
    assert_eq!(find("owner/an-encoder-hub").unwrap(), models.join("an-encoder"));
    let message = find("an-encodr").unwrap_err().to_string();
    assert!(message.starts_with("`an-encodr` is neither an existing file or folder nor a model"));
    assert!(message.contains("did you mean `an-encoder`?"), "{message}");
    assert!(find("/no/such/path").is_err());
}

#[test]
fn two_pulls_at_once_download_once_and_the_second_says_that_it_waits() {
    let hub = MockHub::start();
    let content = weights(2_000_000, 8);
    hub.serve("model.safetensors", &content, true);
    // Broken once, so that the first pull is still busy when the second comes.
    hub.faults(Faults { cut_after: Some(1_000_000), ..Faults::default() });
    let workplace = Workplace::new(&hub.endpoint);
    let source = Source::Hub { repository: "owner/tiny".into(), revision: COMMIT.into() };
    let tiny = model(&[("model.safetensors", &content)], vec![source]);
    let log = Log::default();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| workplace.store().pull(&tiny, &Silent));
        hub.wait_for_download();
        let second = scope.spawn(|| {
            let _guard = log.listen();
            workplace.store().pull(&tiny, &Silent)
        });
        let folders = [first, second].map(|thread| thread.join().unwrap().unwrap());
        assert_eq!(folders[0], folders[1]);
        assert_eq!(fs::read(folders[0].join("model.safetensors")).unwrap(), content);
    });
    assert!(log.text().contains("another process is pulling `tiny`"), "{}", log.text());
    assert_eq!(hub.ranges().len(), 2, "one download in two pieces");
}

/// Counts what the tasks report.
#[derive(Default)]
struct Counter {
    labels: Mutex<Vec<(String, Option<u64>)>>,
    bytes: std::sync::Arc<AtomicU64>,
}

struct CounterTask(std::sync::Arc<AtomicU64>);

impl Progress for Counter {
    fn task(&self, label: &str, total: Option<u64>, unit: Unit) -> Box<dyn ProgressTask> {
        assert_eq!(unit, Unit::Bytes);
        self.labels.lock().unwrap().push((label.to_owned(), total));
        Box::new(CounterTask(self.bytes.clone()))
    }
}

impl ProgressTask for CounterTask {
    fn advance(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }
}

#[test]
fn progress_counts_every_byte() {
    let hub = MockHub::start();
    let content = weights(700_000, 9);
    hub.serve("model.safetensors", &content, true);
    let workplace = Workplace::new(&hub.endpoint);
    let source = Source::Hub { repository: "owner/tiny".into(), revision: COMMIT.into() };
    let tiny = model(&[("model.safetensors", &content)], vec![source]);
    let counter = Counter::default();
    workplace.store().pull(&tiny, &counter).unwrap();
    assert_eq!(*counter.labels.lock().unwrap(), [("model.safetensors".into(), Some(700_000))]);
    assert_eq!(counter.bytes.load(Ordering::Relaxed), 700_000);
    workplace.store().verify(&tiny, &counter).unwrap();
    assert_eq!(counter.bytes.load(Ordering::Relaxed), 1_400_000);
}

#[test]
fn an_unwritable_store_is_an_error_that_names_it() {
    let workplace = workplace();
    fs::create_dir_all(workplace.settings.store.parent().unwrap()).unwrap();
    fs::write(&workplace.settings.store, b"a file in the way").unwrap();
    let tiny = model(FILES, vec![workplace.local("source", FILES)]);
    let error = workplace.store().pull(&tiny, &Silent).unwrap_err().to_string();
    assert!(error.contains("cannot create the folder"), "{error}");
    let parent: &Path = &workplace.settings.store;
    assert!(error.contains(parent.to_str().unwrap()), "{error}");
}
