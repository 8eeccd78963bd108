use anyhow::Result;
use coderag_core::{ChatModel, Progress as _, Unit};
use coderag_llm::{Endpoint, EndpointConfig, GgufModel, GgufOptions};

use crate::arguments::LanguageModelArguments;
use crate::commands::Session;

/// The model that the flags name: an endpoint's, or one that runs in this process.
pub(crate) fn open(
    session: &Session,
    arguments: &LanguageModelArguments,
) -> Result<Box<dyn ChatModel>> {
    if let Some(base_url) = &arguments.endpoint {
        let config = EndpointConfig {
            base_url: base_url.clone(),
            model: arguments.model.clone(),
            api_key_variable: arguments.api_key_variable.clone(),
            ..EndpointConfig::default()
        };
        return Ok(Box::new(Endpoint::new(config)?));
    }
    let _task = session.progress.task("loading the language model", None, Unit::Items);
    let path = session.locate(&arguments.model)?;
    let threads = u32::try_from(session.threads)?;
    let options = GgufOptions { threads, ..GgufOptions::default() };
    Ok(Box::new(GgufModel::load(&path, options)?))
}
