//! Which repository a file belongs to and what licence that states.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::Value as Json;
use spdx::Expression;
use toml::Table;

use super::file::SourceFile;
use super::licence::expression;
use super::licence_text::recognise;

/// A repository, a package in one, or an installed Python distribution.
pub(super) struct Repository {
    /// The name of its folder, or of the distribution with its version.
    pub(super) name: String,
    /// The folder that its paths start from.
    pub(super) folder: PathBuf,
    /// Its licence, if it can be told.
    pub(super) licence: Option<Expression>,
}

/// The repositories below a folder, each found once.
pub(super) struct Repositories {
    root: PathBuf,
    folders: HashMap<PathBuf, Rc<Folder>>,
}

/// What a folder says about licences.
enum Folder {
    /// Nothing: the folder above it is asked.
    Silent,
    /// It is a repository's.
    Repository(Rc<Repository>),
    /// It is one where Python distributions are installed, each with the list of its files.
    SitePackages(HashMap<PathBuf, Rc<Repository>>),
}

impl Repositories {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), folders: HashMap::new() }
    }

    /// The repository of a file: that of the nearest folder which states a licence, up to the root.
    pub(super) fn of(&mut self, file: &Path) -> Option<Rc<Repository>> {
        let mut folder = file;
        while folder != self.root {
            folder = folder.parent()?;
            match &*self.folder(folder) {
                Folder::Silent => {}
                Folder::Repository(repository) => return Some(Rc::clone(repository)),
                Folder::SitePackages(owners) => {
                    return owners.get(file.strip_prefix(folder).ok()?).map(Rc::clone);
                }
            }
        }
        None
    }

    fn folder(&mut self, folder: &Path) -> Rc<Folder> {
        if let Some(known) = self.folders.get(folder) {
            return Rc::clone(known);
        }
        let read = Rc::new(Folder::read(folder));
        self.folders.insert(folder.to_owned(), Rc::clone(&read));
        read
    }
}

impl Folder {
    fn read(folder: &Path) -> Self {
        let entries = entries(folder);
        let information: Vec<&PathBuf> = entries
            .iter()
            .filter(|path| path.extension().is_some_and(|end| end == "dist-info") && path.is_dir())
            .collect();
        if !information.is_empty() {
            let mut owners = HashMap::new();
            for information in information {
                let repository = Rc::new(distribution(folder, information));
                let files = recorded_files(information).into_iter();
                owners.extend(files.map(|file| (file, Rc::clone(&repository))));
            }
            return Self::SitePackages(owners);
        }
        let manifests = [
            read_text(&folder.join("Cargo.toml")).and_then(|text| cargo(&text)),
            read_text(&folder.join("package.json")).and_then(|text| npm(&text)),
            read_text(&folder.join("pyproject.toml")).and_then(|text| pyproject(&text)),
        ];
        let stated: Vec<String> = manifests.into_iter().flatten().collect();
        let texts = licence_files(&entries);
        if stated.is_empty() && texts.is_empty() {
            return Self::Silent;
        }
        let licence = all_of(stated).or_else(|| licence_of_files(&texts));
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
        Self::Repository(Rc::new(Repository {
            name: name.into_owned(),
            folder: folder.to_owned(),
            licence,
        }))
    }
}

/// One expression that asks for all of those stated; `None` when there are none, or one is no expression.
fn all_of(stated: Vec<String>) -> Option<Expression> {
    let mut parts: Vec<String> = Vec::new();
    for stated in stated {
        let part = expression(&stated)?.to_string();
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    match parts.as_slice() {
        [] => None,
        [part] => expression(part),
        parts => expression(&format!("({})", parts.join(") AND ("))),
    }
}

/// The licence of the texts in files, all of which must be known.
fn licence_of_files(files: &[&PathBuf]) -> Option<Expression> {
    let stated = files.iter().map(|file| recognise(&read_text(file)?));
    all_of(stated.collect::<Option<_>>()?)
}

/// The files and folders in a folder in the order of their names; none where it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

/// The files whose names are those of licences.
fn licence_files(entries: &[PathBuf]) -> Vec<&PathBuf> {
    let is_licence = |path: &&PathBuf| {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
        let name = name.to_lowercase();
        ["license", "licence", "copying", "unlicense"].iter().any(|start| name.starts_with(start))
            && SourceFile::language(path).is_none()
            && path.is_file()
    };
    entries.iter().filter(is_licence).collect()
}

/// The text of a small file.
fn read_text(path: &Path) -> Option<String> {
    const MOST_BYTES: u64 = 4 << 20;
    let length = fs::metadata(path).ok()?.len();
    let bytes = (length <= MOST_BYTES).then(|| fs::read(path).ok())??;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// What Cargo.toml states; `license-file` and a licence that cannot be told are stated as something that
/// is no expression.
fn cargo(text: &str) -> Option<String> {
    let manifest: Table = text.parse().ok()?;
    let workspace = || manifest.get("workspace")?.get("package");
    let package = manifest.get("package").or_else(workspace)?;
    match package.get("license") {
        Some(licence) => licence.as_str().map(str::to_owned),
        None => package.get("license-file")?.as_str().map(|file| format!("see {file}")),
    }
}

/// What package.json states, also in npm's old ways: an object, or a list of them to choose from.
fn npm(text: &str) -> Option<String> {
    fn one(licence: &Json) -> Option<String> {
        licence.as_str().or_else(|| licence.get("type")?.as_str()).map(str::to_owned)
    }
    let manifest: Json = serde_json::from_str(text).ok()?;
    if let Some(licence) = manifest.get("license") {
        return one(licence);
    }
    let licences: Vec<String> =
        manifest.get("licenses")?.as_array()?.iter().filter_map(one).collect();
    (!licences.is_empty()).then(|| licences.join(" OR "))
}

/// What pyproject.toml states: PEP 639's expression or text, the classifiers, or Poetry's.
fn pyproject(text: &str) -> Option<String> {
    let manifest: Table = text.parse().ok()?;
    let project = manifest.get("project");
    let poetry = || manifest.get("tool")?.get("poetry");
    let licence = project.and_then(|project| project.get("license"));
    if let Some(text) =
        licence.and_then(|licence| licence.as_str().or_else(|| licence.get("text")?.as_str()))
    {
        return Some(recognise(text).unwrap_or_else(|| text.to_owned()));
    }
    let classifiers = project.and_then(|project| project.get("classifiers")?.as_array());
    let classifiers = classifiers.into_iter().flatten().filter_map(|one| one.as_str());
    classified(classifiers)
        .or_else(|| poetry()?.get("license")?.as_str().map(str::to_owned))
        .or_else(|| licence.map(|_| "see its file".to_owned()))
}

/// The licences of Python's classifiers, all of them, such as `License :: OSI Approved :: MIT License`.
fn classified<'c>(classifiers: impl Iterator<Item = &'c str>) -> Option<String> {
    let licences = classifiers
        .filter_map(|classifier| classifier.trim().strip_prefix("License ::"))
        .map(|licence| licence.rsplit("::").next().unwrap_or_default().trim())
        // A group of licences, not one.
        .filter(|licence| *licence != "OSI Approved");
    let licences: Vec<String> = licences.map(str::to_owned).collect();
    if licences.is_empty() {
        return None;
    }
    Some(all_of(licences).map_or_else(|| "unknown classifiers".to_owned(), |all| all.to_string()))
}

/// An installed Python distribution (<https://packaging.python.org/specifications/core-metadata/>).
fn distribution(folder: &Path, information: &Path) -> Repository {
    let metadata = read_text(&information.join("METADATA")).unwrap_or_default();
    let headers = headers(&metadata);
    let values = |name: &str| {
        let name = name.to_owned();
        headers.iter().filter(move |(key, _)| *key == name).map(|(_, value)| value.as_str())
    };
    let texts = || {
        let mut entries = entries(information);
        entries.extend(self::entries(&information.join("licenses")));
        licence_of_files(&licence_files(&entries))
    };
    let licence = match values("License-Expression").next() {
        Some(stated) => expression(stated),
        None => values("License")
            .find_map(|stated| expression(stated).or_else(|| expression(&recognise(stated)?)))
            .or_else(|| expression(&classified(values("Classifier"))?))
            .or_else(texts),
    };
    let name = information.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Repository { name, folder: folder.to_owned(), licence }
}

/// The headers of a METADATA file up to its description, with continued lines joined.
fn headers(metadata: &str) -> Vec<(&str, String)> {
    let mut headers: Vec<(&str, String)> = Vec::new();
    for line in metadata.lines().take_while(|line| !line.is_empty()) {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = headers.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((key, value)) = line.split_once(':') {
            headers.push((key, value.trim().to_owned()));
        }
    }
    headers
}

/// The source files of a distribution, from the folder it is installed in: the first column of RECORD.
fn recorded_files(information: &Path) -> Vec<PathBuf> {
    let record = read_text(&information.join("RECORD")).unwrap_or_default();
    let path = |line: &str| match line.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().map(PathBuf::from),
        None => line.split(',').next().map(PathBuf::from),
    };
    let paths = record.lines().filter_map(path);
    paths.filter(|path| SourceFile::language(path).is_some()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository with one file in it, and what licence that file has.
    fn licence(files: &[(&str, &str)], file: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let repository = Repositories::new(folder.path()).of(&folder.path().join(file))?;
        Some(repository.licence.as_ref().map_or("unknown".to_owned(), ToString::to_string))
    }

    #[test]
    fn manifests_state_licences() {
        let classifier = "Classifier: License :: OSI Approved :: MIT License\n";
        for (name, content, expected) in [
            ("Cargo.toml", "[package]\nlicense = 'MIT/Apache-2.0'", "MIT OR Apache-2.0"),
            ("Cargo.toml", "[workspace.package]\nlicense = 'MIT'", "MIT"),
            ("Cargo.toml", "[package]\nlicense-file = 'TERMS'", "unknown"),
            ("package.json", r#"{"license": "ISC"}"#, "ISC"),
            ("package.json", r#"{"license": {"type": "MIT"}}"#, "MIT"),
            ("package.json", r#"{"licenses": [{"type": "MIT"}, {"type": "0BSD"}]}"#, "MIT OR 0BSD"),
            ("package.json", r#"{"license": "UNLICENSED"}"#, "unknown"),
            ("pyproject.toml", "[project]\nlicense = 'BSD-3-Clause'", "BSD-3-Clause"),
            ("pyproject.toml", "[project]\nlicense = {text = 'MIT License'}", "MIT"),
            ("pyproject.toml", "[project]\nlicense = {file = 'TERMS'}", "unknown"),
            (
                "pyproject.toml",
                "[project]\nclassifiers = ['License :: OSI Approved :: Apache Software License']",
                "Apache-2.0",
            ),
            ("pyproject.toml", "[tool.poetry]\nlicense = 'MIT'", "MIT"),
            ("a-1.0.dist-info/METADATA", "Name: a\nLicense-Expression: MIT OR ISC\n", "MIT OR ISC"),
            ("a-1.0.dist-info/METADATA", "License: BSD\n", "unknown"),
            ("a-1.0.dist-info/METADATA", &format!("License: x\n{classifier}"), "MIT"),
            ("a-1.0.dist-info/METADATA", &format!("Name: a\n\n{classifier}"), "unknown"),
        ] {
            let record = ("a-1.0.dist-info/RECORD", "a/b.py,sha256=x,1\n\"a/c,d.py\",,\n");
            let files = if name.ends_with("METADATA") {
                vec![(name, content), record]
            } else {
                vec![(name, content)]
            };
            assert_eq!(licence(&files, "a/b.py").as_deref(), Some(expected), "{name}: {content}");
        }
    }

    #[test]
    fn what_the_manifest_leaves_open_the_text_says() {
        let unlicense = "This is free and unencumbered software released into the public domain.";
        for manifest in
            ["[package]\nname = 'a'", "[package]\nlicense-file = 'LICENSE'", "no TOML ["]
        {
            let files = [("Cargo.toml", manifest), ("LICENSE", unlicense)];
            assert_eq!(licence(&files, "src/a.rs").as_deref(), Some("Unlicense"), "{manifest}");
        }
        let files = [("LICENCE.md", unlicense), ("COPYING", "Ask us.")];
        assert_eq!(licence(&files, "a.go").as_deref(), Some("unknown"));
        assert_eq!(licence(&[("license.py", unlicense)], "a.py"), None);
        assert_eq!(licence(&[], "a.py"), None);
    }

    #[test]
    fn the_nearest_statement_counts() {
        let files = [
            ("Cargo.toml", "[package]\nlicense = 'MIT'"),
            ("vendor/package.json", "{\"license\": \"GPL-3.0-only\"}"),
            ("vendor/free/package.json", "{\"type\": \"module\"}"),
            ("crates/a/Cargo.toml", "[package]\nlicense.workspace = true"),
        ];
        for (file, expected) in [
            ("src/a.rs", "MIT"),
            ("vendor/a.js", "GPL-3.0-only"),
            ("vendor/free/a.js", "GPL-3.0-only"),
            ("crates/a/src/a.rs", "MIT"),
        ] {
            assert_eq!(licence(&files, file).as_deref(), Some(expected), "{file}");
        }
    }

    #[test]
    fn files_in_site_packages_belong_to_their_distribution_or_to_none() {
        let files = [
            ("a-1.0.dist-info/METADATA", "License-Expression: MIT\n"),
            ("a-1.0.dist-info/RECORD", "a/b.py,sha256=x,1\n\"a/c,d.py\",,\na/vendor/e.py,,\n"),
            ("b-2.dist-info/METADATA", "License-Expression: ISC\n"),
            ("b-2.dist-info/RECORD", "b.py,,\n"),
            ("LICENSE", "This is free and unencumbered software released into the public domain."),
            ("a/vendor/LICENSE", "Ask us."),
        ];
        for (file, expected) in [
            ("a/b.py", Some("MIT")),
            ("a/c,d.py", Some("MIT")),
            ("b.py", Some("ISC")),
            ("other.py", None),
            ("a/vendor/e.py", Some("unknown")),
        ] {
            assert_eq!(licence(&files, file).as_deref(), expected, "{file}");
        }
    }
}
