//! `--adapter` in the commands that embed, on the encoder's small model.

use std::fs;

use crate::program::{demo_database, project, run, run_well};

fn fixture(name: &str) -> String {
    let fixtures = project().join("crates/coderag-encoder/tests/fixtures");
    fixtures.join(name).to_str().unwrap().to_owned()
}

#[test]
fn an_adapter_changes_vectors_and_an_index_is_searched_with_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (model, adapter, other) =
        (fixture("small-bert"), fixture("lora/names"), fixture("lora/pattern"));
    fs::write(path("texts.txt"), "find the table\nselect the order\n").unwrap();
    let embed = |arguments: &[&str]| {
        let input = path("texts.txt");
        let usual = ["embed", "--model", &model, "--input", &input, "--output", "-"];
        run_well(&[&usual, arguments].concat()).stdout
    };
    let adapted = embed(&["--adapter", &adapter]);
    assert_eq!(adapted.lines().count(), 2);
    assert_ne!(adapted, embed(&[]));
    assert_ne!(adapted, embed(&["--adapter", &other]));
    assert_eq!(adapted, embed(&["--adapter", &adapter]));

    let (demo, index) = (demo_database(folder.path()), path("index"));
    run_well(&[
        "index",
        "build",
        "--corpus",
        &demo,
        "--model",
        &model,
        "--adapter",
        &adapter,
        "--output",
        &index,
    ]);
    run_well(&["index", "search", "--index", &index, "order", "--adapter", &adapter]);
    for wrong in [&[][..], &["--adapter", &other]] {
        let refused = run(&[&["index", "search", "--index", &index, "order"], wrong].concat());
        assert_eq!(refused.code, 1, "{refused}");
        assert!(refused.stderr.contains("the adapter that it was built with"), "{refused}");
    }

    let refused =
        run(&["embed", "--model", &model, "--adapter", &model, "--input", "-", "--output", "-"]);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(refused.stderr.contains("adapter_config.json` is missing"), "{refused}");
}
