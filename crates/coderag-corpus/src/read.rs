use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use coderag_core::{Digest, Document};
use serde_json::{Value, json};

use crate::sqlite::{self, SampleRows};
use crate::{Error, Result, columns, ddl, documents, gretel, meta};

/// Reads a source by its extension, or by its content where that is a SQLite database: `.sql`,
/// `.ddl`, `.csv`, `.jsonl`, `.json` (each also with `.gz`), `.parquet` (in gretel's columns or a
/// [`documents`] file), `.sqlite`, `.sqlite3`, `.db`. A folder stands for all of those in it and in
/// its folders, in the order of their paths; hidden and other files are passed over.
///
/// # Errors
/// [`Error::UnknownFormat`], [`Error::EmptyFolder`] and whatever the reader of the format returns.
pub fn read_documents(path: &Path) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    for (file, format) in sources(path)? {
        documents.extend(read_file(&file, format)?);
    }
    Ok(documents)
}

/// A file with its format, or all files of a folder that have one, in the order of their paths.
pub(crate) fn sources(path: &Path) -> Result<Vec<(PathBuf, Format)>> {
    if !path.is_dir() {
        let format = format(path)?.ok_or_else(|| Error::UnknownFormat { path: path.to_owned() })?;
        return Ok(vec![(path.to_owned(), format)]);
    }
    let mut files = Vec::new();
    list(path, &mut files)?;
    files.sort();
    let mut sources = Vec::new();
    for file in files {
        if let Some(format) = format(&file)? {
            sources.push((file, format));
        }
    }
    if sources.is_empty() {
        return Err(Error::EmptyFolder { path: path.to_owned() });
    }
    Ok(sources)
}

/// Reads several sources into one corpus. Documents with the same text collapse into the first,
/// which lists the others under [`meta::SAME_TEXT`]; documents with the same id and different
/// texts are told apart by `#2`, `#3` and so on, in the order of the sources.
///
/// # Errors
/// As [`read_documents`].
pub fn read_all(paths: &[impl AsRef<Path>]) -> Result<Vec<Document>> {
    let mut corpus: Vec<Document> = Vec::new();
    let mut positions: HashMap<Digest, usize> = HashMap::new();
    let mut ids = HashSet::new();
    for path in paths {
        for mut document in read_documents(path.as_ref())? {
            let first = positions.get(&document.sha256).and_then(|first| corpus.get_mut(*first));
            if let Some(first) = first {
                collapse(first, &document);
                continue;
            }
            let mut number = 1;
            let id = document.id.clone();
            while !ids.insert(document.id.clone()) {
                number += 1;
                document.id = format!("{id}#{number}");
            }
            positions.insert(document.sha256, corpus.len());
            corpus.push(document);
        }
    }
    Ok(corpus)
}

fn collapse(first: &mut Document, other: &Document) {
    if first.id == other.id && first.title == other.title {
        return;
    }
    let entry = json!({ "id": other.id, "title": other.title });
    let same = first.meta.entry(meta::SAME_TEXT).or_insert_with(|| json!([]));
    if let Value::Array(same) = same
        && !same.contains(&entry)
    {
        same.push(entry);
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Format {
    Ddl,
    Csv,
    JsonLines,
    Parquet,
    Sqlite,
}

fn format(path: &Path) -> Result<Option<Format>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let (name, compressed) = match name.strip_suffix(".gz") {
        Some(name) => (name, true),
        None => (name.as_str(), false),
    };
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    Ok(match extension {
        "sql" | "ddl" => Some(Format::Ddl),
        "csv" => Some(Format::Csv),
        "jsonl" | "json" => Some(Format::JsonLines),
        "parquet" if !compressed => Some(Format::Parquet),
        "sqlite" | "sqlite3" | "db" if !compressed => Some(Format::Sqlite),
        _ => is_sqlite(path)?.then_some(Format::Sqlite),
    })
}

/// Whether a file begins as every SQLite database does.
fn is_sqlite(path: &Path) -> Result<bool> {
    const MAGIC: &[u8] = b"SQLite format 3\0";
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut start = Vec::new();
    file.take(MAGIC.len() as u64).read_to_end(&mut start).map_err(Error::io("read", path))?;
    Ok(start == MAGIC)
}

fn read_file(path: &Path, format: Format) -> Result<Vec<Document>> {
    match format {
        Format::Ddl => ddl::read_file(path),
        Format::Csv => gretel::read_csv(path),
        Format::JsonLines => gretel::read_json_lines(path),
        Format::Sqlite => sqlite::read_file(path, SampleRows::default()),
        Format::Parquet => {
            let ours = documents::is_file(&columns::column_names(path)?);
            if ours { documents::read(path) } else { gretel::read_parquet(path) }
        }
    }
}

/// The files in a folder and its folders; links to folders are not followed, so none is its own.
fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let refused = || Error::io("list", folder);
    for entry in std::fs::read_dir(folder).map_err(refused())? {
        let entry = entry.map_err(refused())?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entry.file_type().map_err(refused())?.is_dir() {
            list(&path, files)?;
        } else if path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}
