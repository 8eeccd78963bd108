use std::fmt::{self, Display};

use coderag_eval::report::figures::{Bytes, Number};
use coderag_eval::report::markup::{Count, Escaped};

use super::RunSummary;
use crate::data::{InputFile, Manifest};

/// What a run was trained and measured on.
pub(super) struct DataTable<'r>(pub(super) &'r RunSummary);

impl Display for DataTable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.0;
        writeln!(
            formatter,
            "<div class=\"wide\" role=\"region\" aria-label=\"Files\" tabindex=\"0\">\n<table>\n<thead><tr>\
             <th scope=\"col\">stage</th><th scope=\"col\">source</th><th scope=\"col\">file</th>\
             <th scope=\"col\" class=\"number\">examples</th>\
             <th scope=\"col\" class=\"number\">bad rows</th>\
             <th scope=\"col\" class=\"number\">size</th><th scope=\"col\">SHA-256</th></tr></thead>\n<tbody>"
        )?;
        for (stage, manifest) in summary.config.stages.iter().zip(&summary.manifests) {
            for source in &manifest.sources {
                for file in &source.files {
                    write_file(formatter, &stage.name, &source.name, file)?;
                }
            }
        }
        let source = summary.config.evaluation.as_ref().map(|settings| &settings.source.name);
        for file in &summary.development_files {
            write_file(formatter, "development set", source.map_or("", |name| name), file)?;
        }
        writeln!(formatter, "</tbody>\n</table>\n</div>")?;
        for (stage, manifest) in summary.config.stages.iter().zip(&summary.manifests) {
            write_facts(formatter, &stage.name, manifest)?;
        }
        Ok(())
    }
}

fn write_file(
    formatter: &mut fmt::Formatter<'_>,
    stage: &str,
    source: &str,
    file: &InputFile,
) -> fmt::Result {
    writeln!(
        formatter,
        "<tr><td>{}</td><td>{}</td><td class=\"file\"><code>{}</code></td><td class=\"number\">{}</td>\
         <td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"digest\"><code>{}</code></td></tr>",
        Escaped(stage),
        Escaped(source),
        Escaped(&file.path.display().to_string()),
        Count(file.rows as usize),
        Count(file.bad_rows as usize),
        Bytes(file.bytes),
        file.sha256
    )
}

/// What else there is to say of a stage's examples.
fn write_facts(
    formatter: &mut fmt::Formatter<'_>,
    stage: &str,
    manifest: &Manifest,
) -> fmt::Result {
    let repeats = &manifest.repeats;
    writeln!(formatter, "<h3 class=\"stage-title\">{}</h3>\n<ul class=\"notes\">", Escaped(stage))?;
    for source in &manifest.sources {
        let (fewest, most) = (source.fewest_negatives, source.most_negatives);
        let negatives = match (fewest, most) {
            (_, 0) => "no negatives".to_owned(),
            (fewest, most) if fewest == most => format!("{fewest} negatives each"),
            (fewest, most) => format!("{fewest} to {most} negatives each"),
        };
        writeln!(
            formatter,
            "<li>{}: {} examples, {negatives}; characters on average {} of an anchor, {} of a positive</li>",
            Escaped(&source.name),
            Count(source.rows as usize),
            Number(source.anchors.mean.round()),
            Number(source.positives.mean.round())
        )?;
    }
    writeln!(
        formatter,
        "<li>Repeated texts: {} anchors, {} positives, {} pairs; {} positives are their own anchor</li>",
        Count(repeats.anchors as usize),
        Count(repeats.positives as usize),
        Count(repeats.pairs as usize),
        Count(repeats.positive_is_anchor as usize)
    )?;
    if manifest.bad_rows.total > 0 {
        writeln!(formatter, "<li>Left out: {}</li>", Escaped(&manifest.bad_rows.to_string()))?;
    }
    writeln!(formatter, "</ul>")
}
