//! `coderag eval`, one file a kind of prediction.

mod generate;
mod retrieval;
mod sql;

use anyhow::Result;

use crate::arguments::EvalCommand;
use crate::commands::Session;

pub(crate) fn run(session: &Session, command: &EvalCommand) -> Result<()> {
    match command {
        EvalCommand::Sql(arguments) => sql::run(session, arguments),
        EvalCommand::Retrieval(arguments) => retrieval::run(session, arguments),
    }
}
