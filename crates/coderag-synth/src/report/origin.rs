use coderag_eval::report::figures::Bytes;
use coderag_eval::report::markup::{Count, Escaped};

use super::requests::Values;
use super::table::{Column, Table};
use crate::output::Manifest;

/// What the run was made from, and the files that it made.
pub(super) fn origin(manifest: &Manifest) -> String {
    let run = &manifest.run;
    let code = |text: &str| format!("<code>{}</code>", Escaped(text));
    let prompts = Table {
        label: "Prompts",
        columns: &[Column::Text("prompt"), Column::Digest("SHA-256")],
        rows: run
            .prompts
            .iter()
            .map(|(path, digest)| vec![code(path), code(&digest.to_string())])
            .collect(),
    };
    let files = Table {
        label: "Files",
        columns: &[
            Column::Text("file"),
            Column::Number("rows"),
            Column::Number("size"),
            Column::Digest("SHA-256"),
        ],
        rows: manifest
            .files
            .iter()
            .map(|file| {
                vec![
                    code(&file.path),
                    Count(file.rows as usize).to_string(),
                    Bytes(file.bytes).to_string(),
                    code(&file.sha256.to_string()),
                ]
            })
            .collect(),
    };
    let seeds = Values { label: "Seeds", value: &manifest.seeds }.to_string();
    let sets = Values { label: "Evaluation sets", value: &manifest.evaluation_sets }.to_string();
    // Only a number beyond TOML's 64 bits, which no file of settings can have, is refused.
    let settings = toml::to_string(&run.config).unwrap_or_else(|error| format!("# {error}\n"));
    let part = |title: &str, content: &str, otherwise: &str| match content {
        "" => format!("<h3 class=\"below\">{title}</h3>\n<p>{otherwise}</p>\n"),
        content => format!("<h3 class=\"below\">{title}</h3>\n{content}"),
    };
    [
        part("Prompts", &prompts.to_string(), ""),
        part("Seeds", &seeds, "There were none."),
        part("Texts of evaluation sets", &sets, "The rows were compared with no evaluation set."),
        part("Files", &files.to_string(), ""),
        format!(
            "<details>\n<summary>Settings</summary>\n<pre><code>{}</code></pre>\n</details>\n",
            Escaped(&settings)
        ),
    ]
    .concat()
}
