use crate::output::{GRETEL, PAIRS, REJECTED};

/// A data set of the folder, as the hub calls it.
pub(super) struct Config {
    /// Its name, and that of its folder.
    pub(super) name: &'static str,
    /// What its rows are.
    pub(super) about: &'static str,
    /// The columns with their types and what they hold.
    pub(super) columns: &'static [(&'static str, &'static str, &'static str)],
}

pub(super) const CONFIGS: [Config; 3] = [
    Config {
        name: PAIRS,
        about: "Rows for training.",
        columns: &[
            ("id", "text", "the task and the candidate's number"),
            ("task", "text", "the task's name"),
            ("anchor", "text", "what is searched with"),
            ("positive", "text", "what is to be found"),
            ("negatives", "list of texts", "empty; hard negatives can be mined"),
            ("language", "text", "the language of the code"),
            ("source", "text", "where the seed came from"),
            (
                "meta",
                "JSON",
                "what was chosen for the row, what the seed was, and what gates noticed",
            ),
        ],
    },
    Config {
        name: GRETEL,
        about: "The text-to-SQL rows in the columns of \
                [gretelai/synthetic_text_to_sql](https://huggingface.co/datasets/gretelai/synthetic_text_to_sql).",
        columns: &[
            ("id", "int32", "the row's number"),
            ("domain", "text", "what the schema is about"),
            ("domain_description", "text", "the same in a sentence"),
            ("sql_complexity", "text", "the class of the statement, found in its syntax"),
            ("sql_complexity_description", "text", "the same in a sentence"),
            ("sql_task_type", "text", "what the statement does, found in its syntax"),
            ("sql_task_type_description", "text", "the same in a sentence"),
            ("sql_prompt", "text", "the question"),
            ("sql_context", "text", "the schema, with some rows"),
            ("sql", "text", "the statement that answers it"),
            ("sql_explanation", "text", "the model's explanation"),
        ],
    },
    Config {
        name: REJECTED,
        about: "Candidates that a gate turned away; not for training.",
        columns: &[
            ("id", "text", "the task and the candidate's number"),
            ("task", "text", "the task's name"),
            ("gate", "text", "the gate that turned it away"),
            ("reason", "text", "why"),
            (
                "anchor",
                "text",
                "what would have been searched with; empty where the answer was no pair",
            ),
            ("positive", "text", "what was to be found; empty where the answer was no pair"),
            ("answer", "text", "the model's answer"),
            ("language", "text", "the language of the code"),
            ("source", "text", "where the seed came from"),
            ("meta", "JSON", "what was chosen for it, what the seed was, and what gates noticed"),
        ],
    },
];
