use anyhow::{Result, bail};
use coderag_models::{FileState, Model};
use serde::Serialize;

use crate::arguments::ModelsCommand;
use crate::commands::Session;
use crate::output;

pub(crate) fn run(session: &Session, command: &ModelsCommand) -> Result<()> {
    match command {
        ModelsCommand::List { json } => list(session, *json),
        ModelsCommand::Pull { names } => pull(session, names),
        ModelsCommand::Path { name } => output::line(session.locate(name)?.display()),
        ModelsCommand::Verify { names } => verify(session, names),
    }
}

/// A model as `coderag models list --json` prints it.
#[derive(Serialize)]
struct ListedModel<'a> {
    name: &'a str,
    kind: String,
    architecture: &'a str,
    licence: &'a str,
    size: Option<u64>,
    sources: Vec<String>,
    path: Option<String>,
}

fn list(session: &Session, json: bool) -> Result<()> {
    let mut listed = Vec::new();
    for model in session.registry.models() {
        let path = session.store.installed(model)?.map(|path| path.display().to_string());
        listed.push(ListedModel {
            name: &model.name,
            kind: model.kind.to_string(),
            architecture: &model.architecture,
            licence: &model.licence,
            size: model.size(),
            sources: model.sources.iter().map(ToString::to_string).collect(),
            path,
        });
    }
    if json {
        return output::json(&listed);
    }
    let header =
        ["name", "kind", "architecture", "licence", "size", "installed"].map(str::to_owned);
    let rows: Vec<Vec<String>> = listed
        .into_iter()
        .map(|model| {
            vec![
                model.name.to_owned(),
                model.kind,
                model.architecture.to_owned(),
                model.licence.to_owned(),
                model
                    .size
                    .map_or_else(String::new, |bytes| indicatif::DecimalBytes(bytes).to_string()),
                if model.path.is_some() { "yes" } else { "" }.to_owned(),
            ]
        })
        .collect();
    output::table(&header, &rows, &[4])
}

fn named<'s>(session: &'s Session, names: &[String]) -> Result<Vec<&'s Model>> {
    Ok(names.iter().map(|name| session.registry.get(name)).collect::<Result<_, _>>()?)
}

fn pull(session: &Session, names: &[String]) -> Result<()> {
    // All names are looked up first: a typing error should not come after a long download.
    for model in named(session, names)? {
        let path = session.store.pull(model, &session.progress)?;
        output::line(path.display())?;
    }
    Ok(())
}

fn verify(session: &Session, names: &[String]) -> Result<()> {
    let mut damaged = Vec::new();
    for model in named(session, names)? {
        let report = session.store.verify(model, &session.progress)?;
        for file in &report.files {
            let state = match file.state {
                FileState::Ok => "ok".to_owned(),
                FileState::Missing => "missing".to_owned(),
                FileState::WrongSize { expected, found } => {
                    format!("{found} bytes instead of {expected}")
                }
                FileState::WrongHash { expected, found } => {
                    format!("SHA-256 {found} instead of {expected}")
                }
            };
            output::line(format_args!("{}/{}: {state}", model.name, file.path))?;
        }
        if !report.is_ok() {
            damaged.push(model.name.as_str());
        }
    }
    if !damaged.is_empty() {
        bail!("damaged: {names}; run: coderag models pull {names}", names = damaged.join(" "));
    }
    Ok(())
}
