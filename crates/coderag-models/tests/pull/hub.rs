use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use coderag_core::{Digest, Silent};
use coderag_models::{Error, Model, Source, Token};
use hf_hub::{Cache, Repo, RepoType};

use crate::mock_hub::{COMMIT, Faults, MockHub};
use crate::{Workplace, child, model, tree, unpinned, weights};

const CONFIG: &[u8] = b"{\"pooling_mode_mean_tokens\": true}";
const WEIGHTS: &str = "model.safetensors";

fn hub_source() -> Source {
    Source::Hub { repository: "owner/tiny".into(), revision: COMMIT.into() }
}

/// A hub with a model of one large and one small file, and a store that uses it.
fn setup() -> (MockHub, Workplace, Model, Vec<u8>) {
    let hub = MockHub::start();
    let weights = weights(300_000, 1);
    hub.serve(WEIGHTS, &weights, true);
    hub.serve("1_Pooling/config.json", CONFIG, false);
    let workplace = Workplace::new(&hub.endpoint);
    let model =
        model(&[(WEIGHTS, &weights), ("1_Pooling/config.json", CONFIG)], vec![hub_source()]);
    (hub, workplace, model, weights)
}

fn blobs(workplace: &Workplace) -> PathBuf {
    workplace.settings.hub_cache.join("models--owner--tiny/blobs")
}

fn message(error: &Error) -> String {
    error.to_string()
}

#[test]
fn files_arrive_through_redirects_and_the_hub_cache() {
    let (hub, workplace, model, weights) = setup();
    let store = workplace.store();
    assert_eq!(store.installed(&model).unwrap(), None);
    let folder = store.pull(&model, &Silent).unwrap();
    assert_eq!(tree(&folder), ["1_Pooling/config.json", "coderag-model.json", "model.safetensors"]);
    assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), weights);
    assert_eq!(fs::read(folder.join("1_Pooling/config.json")).unwrap(), CONFIG);
    assert_eq!(store.installed(&model).unwrap(), Some(folder.clone()));
    assert!(store.verify(&model, &Silent).unwrap().is_ok());

    // Another program finds the files in the hub's cache, and they take no second place on disk.
    let repo = Repo::with_revision("owner/tiny".into(), RepoType::Model, COMMIT.into());
    let cache = Cache::new(workplace.settings.hub_cache.clone()).repo(repo);
    for file in [WEIGHTS, "1_Pooling/config.json"] {
        let cached = cache.get(file).unwrap();
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        assert_eq!(inode(&cached), inode(&folder.join(file)));
    }

    let requests = hub.requests().len();
    assert_eq!(store.pull(&model, &Silent).unwrap(), folder);
    assert_eq!(hub.requests().len(), requests, "an installed model needs no network");
}

#[test]
fn a_cut_connection_is_continued_where_it_broke() {
    let (hub, workplace, model, weights) = setup();
    hub.faults(Faults { cut_after: Some(100_000), ..Faults::default() });
    let folder = workplace.store().pull(&model, &Silent).unwrap();
    assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), weights);
    assert_eq!(hub.ranges(), [None, Some("bytes=100000-".to_owned())]);
}

#[test]
fn a_server_without_ranges_makes_the_download_start_over() {
    let (hub, workplace, model, weights) = setup();
    let faults = Faults { cut_after: Some(100_000), ignores_ranges: true, ..Faults::default() };
    hub.faults(faults);
    let folder = workplace.store().pull(&model, &Silent).unwrap();
    assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), weights);
    assert_eq!(hub.ranges().len(), 2);
}

#[test]
fn a_complete_part_is_not_downloaded_again_and_a_wrong_one_is() {
    for (left, downloads) in
        [(weights(300_000, 1), 0), (weights(300_000, 9), 1), (weights(400_000, 1), 1)]
    {
        let (hub, workplace, model, weights) = setup();
        let blobs = blobs(&workplace);
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(format!("{}.part", Digest::of(&weights))), left).unwrap();
        let folder = workplace.store().pull(&model, &Silent).unwrap();
        assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), weights);
        assert_eq!(hub.ranges().len(), downloads);
    }
}

#[test]
fn a_busy_hub_is_asked_again() {
    let (hub, workplace, model, _) = setup();
    hub.faults(Faults { status: Some((2, 503)), ..Faults::default() });
    workplace.store().pull(&model, &Silent).unwrap();
    hub.faults(Faults { status: Some((99, 503)), ..Faults::default() });
    let other = Workplace::new(&hub.endpoint);
    let before = hub.requests().len();
    let error = other.store().pull(&model, &Silent).unwrap_err();
    assert!(message(&error).contains("answered 503"), "{error}");
    assert_eq!(hub.requests().len() - before, 5);
}

#[test]
fn a_missing_file_is_an_error_that_names_it() {
    let (hub, workplace, mut model, _) = setup();
    model.files[1].path = "no-such.json".into();
    let error = workplace.store().pull(&model, &Silent).unwrap_err();
    let expected =
        format!("{}/owner/tiny/resolve/{COMMIT}/no-such.json answered 404", hub.endpoint);
    assert!(message(&error).contains(&expected), "{error}");
    assert_eq!(workplace.store().installed(&model).unwrap(), None);
}

#[test]
fn a_dead_endpoint_is_an_error_at_once() {
    // The port was free a moment ago, so nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_, mut workplace, model, _) = setup();
    workplace.settings.endpoint = format!("http://{port}");
    let start = Instant::now();
    let error = workplace.store().pull(&model, &Silent).unwrap_err();
    assert!(message(&error).contains("Connection refused"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(2), "it was asked again");
    workplace.settings.endpoint = "huggingface".into();
    let error = workplace.store().pull(&model, &Silent).unwrap_err();
    assert!(message(&error).contains("`huggingface` is not an address of a model hub"), "{error}");
}

#[test]
fn a_page_that_is_no_hub_is_refused() {
    let (_, mut workplace, model, _) = setup();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    workplace.settings.endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nETag: \"../../x\"\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let error = workplace.store().pull(&model, &Silent).unwrap_err();
    assert!(message(&error).contains("did not answer as a model hub does"), "{error}");
}

#[test]
fn the_token_goes_to_the_endpoint_only_and_into_no_message() {
    let (hub, mut workplace, model, weights) = setup();
    hub.faults(Faults { token: Some("hf_sesame"), ..Faults::default() });
    let log = Log::default();
    let _guard = log.listen();

    let error = workplace.store().pull(&model, &Silent).unwrap_err();
    assert!(message(&error).contains("answered 401") && message(&error).contains("HF_TOKEN"));
    assert_eq!(hub.requests().len(), 1, "a refusal is not tried again");
    workplace.settings.token = Some(Token::new("hf_wrong"));
    let error = workplace.store().pull(&model, &Silent).unwrap_err();
    assert!(message(&error).contains("answered 401") && !message(&error).contains("hf_wrong"));

    workplace.settings.token = Some(Token::new("hf_sesame"));
    let folder = workplace.store().pull(&model, &Silent).unwrap();
    assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), weights);
    let requests = hub.requests();
    let (storage, endpoint): (Vec<_>, Vec<_>) = requests.iter().skip(2).partition(|r| r.storage);
    let has_token =
        |request: &&&crate::mock_hub::Request| request.headers.contains_key("authorization");
    assert_eq!(endpoint.iter().filter(has_token).count(), endpoint.len());
    assert!(!storage.is_empty() && storage.iter().filter(has_token).count() == 0);

    let text = log.text();
    assert!(text.contains("pulling `tiny` from the hub repository owner/tiny"), "{text}");
    for secret in ["hf_sesame", "hf_wrong"] {
        assert!(!text.contains(secret) && !format!("{:?}", workplace.settings).contains(secret));
        for file in tree(workplace.path()) {
            let content = fs::read(workplace.path().join(&file)).unwrap();
            assert!(!String::from_utf8_lossy(&content).contains(secret), "{file}");
        }
    }
}

#[test]
fn a_wrong_hash_is_an_error_and_keeps_the_old_model() {
    let (hub, workplace, new, weights) = setup();
    let old_files: [(&str, &[u8]); 2] = [(WEIGHTS, b"old"), ("1_Pooling/config.json", b"{}")];
    let old = model(&old_files, vec![workplace.local("old", &old_files)]);
    let folder = workplace.store().pull(&old, &Silent).unwrap();
    let before = fs::read(folder.join("coderag-model.json")).unwrap();

    // Announced: refused before anything is downloaded.
    let forged = crate::weights(weights.len(), 2);
    hub.serve(WEIGHTS, &forged, true);
    let error = workplace.store().pull(&new, &Silent).unwrap_err();
    let [expected, found] = [&weights, &forged].map(|bytes| Digest::of(bytes).to_string());
    assert!(message(&error).contains(&expected) && message(&error).contains(&found), "{error}");
    assert!(hub.ranges().is_empty());

    // Not announced: refused after the download, which is thrown away.
    hub.serve_announced(WEIGHTS, &forged, Digest::of(&weights), true);
    let error = workplace.store().pull(&new, &Silent).unwrap_err();
    assert!(message(&error).contains(&found), "{error}");
    assert_eq!(hub.ranges().len(), 1);
    assert_eq!(tree(&blobs(&workplace)), [format!("{expected}.lock")]);

    // Wrong in size.
    hub.serve(WEIGHTS, &weights[1..], true);
    let error = workplace.store().pull(&unpinned_hash(&new), &Silent).unwrap_err();
    assert!(message(&error).contains("has 299999 bytes, but 300000 are expected"), "{error}");

    assert_eq!(fs::read(folder.join("coderag-model.json")).unwrap(), before);
    assert!(workplace.store().verify(&old, &Silent).unwrap().is_ok());
    hub.serve(WEIGHTS, &weights, true);
    workplace.store().pull(&new, &Silent).unwrap();
    assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), weights);
}

fn unpinned_hash(model: &Model) -> Model {
    let mut model = model.clone();
    model.files.iter_mut().for_each(|file| file.sha256 = None);
    model
}

#[test]
fn an_unpinned_file_is_checked_against_what_the_hub_announces_and_then_what_was_pulled() {
    let (hub, workplace, model, weights) = setup();
    let model = unpinned(model);
    hub.serve_announced(WEIGHTS, &crate::weights(weights.len(), 2), Digest::of(&weights), true);
    let error = workplace.store().pull(&model, &Silent).unwrap_err();
    assert!(message(&error).contains("has the SHA-256"), "{error}");

    hub.serve(WEIGHTS, &weights, true);
    let folder = workplace.store().pull(&model, &Silent).unwrap();
    assert!(workplace.store().verify(&model, &Silent).unwrap().is_ok());
    // A small file's identifier is no SHA-256, so only the record knows its content.
    fs::write(folder.join("1_Pooling/config.json"), CONFIG.to_ascii_uppercase()).unwrap();
    assert!(!workplace.store().verify(&model, &Silent).unwrap().is_ok());
}

#[test]
fn offline_means_the_cache_only() {
    let (hub, mut workplace, mut model, weights) = setup();
    workplace.settings.offline = true;
    let error = workplace.store().pull(&model, &Silent).unwrap_err();
    assert!(message(&error).contains("HF_HUB_OFFLINE is set and `model.safetensors`"), "{error}");
    let local = workplace.local("mine", &[(WEIGHTS, &weights), ("1_Pooling/config.json", CONFIG)]);
    model.sources.push(local);
    let folder = workplace.store().pull(&model, &Silent).unwrap();
    assert!(hub.requests().is_empty());
    assert!(fs::read_to_string(folder.join("coderag-model.json")).unwrap().contains("/mine\""));

    // What another program left in the hub's cache is found without a reference to the commit.
    model.sources.pop();
    fs::remove_dir_all(&folder).unwrap();
    workplace.settings.offline = false;
    workplace.store().pull(&model, &Silent).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    fs::remove_dir_all(blobs(&workplace).parent().unwrap().join("refs")).unwrap();
    let requests = hub.requests().len();
    workplace.settings.offline = true;
    workplace.store().pull(&model, &Silent).unwrap();
    assert_eq!(hub.requests().len(), requests);
}

#[test]
fn a_damaged_hub_cache_is_mended() {
    let (hub, workplace, model, weights) = setup();
    let folder = workplace.store().pull(&model, &Silent).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    fs::write(blobs(&workplace).join(Digest::of(&weights).to_string()), b"rotten").unwrap();
    workplace.store().pull(&model, &Silent).unwrap();
    assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), weights);
    assert_eq!(hub.ranges().len(), 2);
}

#[test]
fn a_killed_pull_keeps_the_old_model_and_is_continued() {
    let (hub, workplace, _, weights) = setup();
    let cache = workplace.path().join("killed");
    let registry = |name: &str, source: &str, content: &[u8]| {
        let path = workplace.path().join(name);
        let text = format!(
            "[[model]]\nname = \"tiny\"\nkind = \"encoder\"\narchitecture = \"bert\"\n\
             licence = \"MIT\"\nfiles = [{{ path = \"{WEIGHTS}\", sha256 = \"{}\" }}]\n\
             [[model.source]]\n{source}\n",
            Digest::of(content)
        );
        fs::write(&path, text).unwrap();
        path
    };
    workplace.local("old", &[(WEIGHTS, b"old")]);
    let old = registry("old.toml", "local = \"old\"", b"old");
    let new = registry("new.toml", "hub = \"owner/tiny\"", &weights);
    child::run(&mut child::pull_command(&old, &cache)).unwrap();
    let installed = cache.join("models/tiny").join(WEIGHTS);
    assert_eq!(fs::read(&installed).unwrap(), b"old");

    hub.faults(Faults { stall_after: Some(120_000), ..Faults::default() });
    let pull = || {
        let mut command = child::pull_command(&new, &cache);
        command.env("HF_ENDPOINT", &hub.endpoint);
        command
    };
    let mut process = pull().spawn().unwrap();
    hub.wait_for_download();
    let part = cache
        .join("huggingface/hub/models--owner--tiny/blobs")
        .join(format!("{}.part", Digest::of(&weights)));
    let start = Instant::now();
    while fs::metadata(&part).map_or(0, |part| part.len()) < 120_000 {
        assert!(start.elapsed() < Duration::from_secs(30), "the download did not get going");
        std::thread::sleep(Duration::from_millis(5));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(fs::read(&installed).unwrap(), b"old");
    child::run(&mut child::pull_command(&old, &cache)).unwrap();

    hub.faults(Faults::default());
    child::run(&mut pull()).unwrap();
    assert_eq!(fs::read(&installed).unwrap(), weights);
    assert_eq!(hub.ranges(), [None, Some("bytes=120000-".to_owned())]);
    assert_eq!(
        tree(&cache.join("models")),
        [".locks/tiny.lock", "tiny/coderag-model.json", "tiny/model.safetensors"]
    );
}

/// Everything that is logged on this thread.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
