use std::path::Path;

/// How a file holds texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    /// Each line is a text, an empty line an empty text.
    Lines,
    /// Each line is a JSON object, one of whose fields is the text; blank lines are passed over.
    JsonLines,
    /// A header line, and a column that holds the texts.
    Csv,
    /// A column that holds the texts.
    Parquet,
}

impl TextFormat {
    /// The format that a file's name tells: `.txt`, `.jsonl`, `.json` (lines) or `.csv`, each also with
    /// `.gz`, or `.parquet`; lines for `-`, standard input.
    pub fn of(path: &Path) -> Option<Self> {
        if path == Path::new("-") {
            return Some(Self::Lines);
        }
        let name = path.file_name()?.to_str()?.to_lowercase();
        let (uncompressed, compressed) = match name.strip_suffix(".gz") {
            Some(uncompressed) => (uncompressed, true),
            None => (name.as_str(), false),
        };
        match uncompressed.rsplit_once('.')?.1 {
            "txt" => Some(Self::Lines),
            "jsonl" | "json" => Some(Self::JsonLines),
            "csv" => Some(Self::Csv),
            "parquet" if !compressed => Some(Self::Parquet),
            _ => None,
        }
    }
}
