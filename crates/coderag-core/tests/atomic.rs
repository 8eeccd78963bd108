//! What is left on disk after success, failure and a killed writer.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use coderag_core::atomic::{AtomicFolder, write_file};
use coderag_core::{Error, Result};

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn write(path: &Path, content: &str) -> Result<()> {
    write_file(path, |file| file.write_all(content.as_bytes()).map_err(Error::io("write", path)))
}

fn build(path: &Path, content: &str) -> AtomicFolder {
    let folder = AtomicFolder::begin(path).unwrap();
    fs::create_dir(folder.path().join("inner")).unwrap();
    fs::write(folder.path().join("inner/data"), content).unwrap();
    folder
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/data.json");
    write(&path, "old").unwrap();
    let failed = write_file(&path, |file| {
        file.write_all(b"half").unwrap();
        Err::<(), _>(Error::InvalidDigest("no".into()))
    });
    assert!(failed.is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(names(path.parent().unwrap()), ["data.json"]);
    write(&path, "new").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
}

#[test]
fn artifacts_have_ordinary_permissions() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    fs::write(&plain, "").unwrap();
    write(&folder.path().join("file"), "").unwrap();
    fs::create_dir(folder.path().join("plain-folder")).unwrap();
    build(&folder.path().join("folder"), "").commit().unwrap();
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
    assert_eq!(mode("file"), mode("plain"));
    assert_eq!(mode("folder"), mode("plain-folder"));
}

#[test]
fn a_folder_is_replaced_whole_and_only_on_commit() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("index");
    build(&path, "first").commit().unwrap();
    drop(build(&path, "abandoned"));
    assert_eq!(fs::read_to_string(path.join("inner/data")).unwrap(), "first");
    build(&path, "second").commit().unwrap();
    assert_eq!(fs::read_to_string(path.join("inner/data")).unwrap(), "second");
    assert_eq!(names(parent.path()), ["index"]);
}

#[test]
fn the_next_writer_removes_what_a_killed_one_left_and_spares_a_live_one() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("index");
    // What kill -9 leaves: temporary siblings that nobody holds locked.
    fs::create_dir(parent.path().join(".index.partial-killed")).unwrap();
    fs::write(parent.path().join(".index.partial-killed/data"), "half").unwrap();
    fs::write(parent.path().join(".index.partial-killed2"), "half").unwrap();
    fs::create_dir(parent.path().join(".other.partial-x")).unwrap();
    let live = build(&path, "live");
    build(&path, "second").commit().unwrap();
    live.commit().unwrap();
    assert_eq!(fs::read_to_string(path.join("inner/data")).unwrap(), "live");
    assert_eq!(names(parent.path()), [".other.partial-x", "index"]);
}

#[test]
fn a_file_cannot_stand_where_a_folder_is_needed() {
    let parent = tempfile::tempdir().unwrap();
    fs::write(parent.path().join("file"), "").unwrap();
    let message = AtomicFolder::begin(&parent.path().join("file/index")).unwrap_err().to_string();
    assert!(message.contains("file"), "{message}");
}
