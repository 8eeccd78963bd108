use std::ops::ControlFlow;

use coderag_core::{ChatModel, ChatRequest, FinishReason, Usage};
use serde::Serialize;

use crate::{Error, GuardedDatabase, QueryResult, Result, Selection, Settings, extract, prompt};

/// Answers questions in words from one database at a time.
pub struct TextToSql<'m> {
    /// The language model that writes the SQL.
    pub model: &'m dyn ChatModel,
    /// Everything that can be set. The limits are those of the database given to
    /// [`TextToSql::answer`], which was opened with them.
    pub settings: Settings,
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The question.
    pub question: String,
    /// The statement that the model wrote.
    pub sql: String,
    /// The stored tables that the statement reads.
    pub tables: Vec<String>,
    /// The tables that the model was shown.
    pub selected_tables: Vec<String>,
    /// The rows, where the statement was run.
    pub result: Option<QueryResult>,
    /// What the model took.
    pub usage: Usage,
}

impl TextToSql<'_> {
    /// Asks the model about the selected tables, takes the statement out of its answer and checks it
    /// or, if the settings say so, runs it. `on_text` receives the model's answer as it is written
    /// and may break it off.
    ///
    /// # Errors
    /// Those of the model and of [`extract`]; [`Error::CutOff`] and
    /// [`Error::Cancelled`] when the answer has no end; [`Error::Generated`], with the statement,
    /// when the database refuses it.
    pub fn answer(
        &self,
        question: &str,
        database: &GuardedDatabase,
        selection: &Selection<'_>,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer> {
        let selected_tables = selection.names();
        tracing::debug!(tables = ?selected_tables, "tables selected");
        let request = ChatRequest {
            messages: prompt(question, selection),
            sampling: self.settings.sampling,
            max_tokens: self.settings.max_tokens,
            stop: Vec::new(),
        };
        let response = self.model.chat_streaming(&request, on_text)?;
        match response.finish_reason {
            FinishReason::Stop => {}
            FinishReason::Cancelled => return Err(Error::Cancelled),
            FinishReason::Length => {
                return Err(Error::CutOff {
                    tokens: response.usage.completion_tokens,
                    answer: response.text,
                });
            }
        }
        let sql = extract(&response.text)?;
        let outcome = if self.settings.execute {
            database.execute(&sql).map(|result| (result.tables.clone(), Some(result)))
        } else {
            database.check(&sql).map(|prepared| (prepared.tables, None))
        };
        match outcome {
            Ok((tables, result)) => Ok(Answer {
                question: question.to_owned(),
                sql,
                tables,
                selected_tables,
                result,
                usage: response.usage,
            }),
            Err(source) => Err(Error::Generated { sql, source: Box::new(source) }),
        }
    }
}
