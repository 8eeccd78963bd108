use coderag_eval::report::Definitions;

/// What the words of the report mean.
pub(super) fn definitions() -> Definitions {
    Definitions(WORDS.to_vec())
}

const WORDS: [(&str, &str); 18] = [
    ("Candidate", "One attempt of a task to make a row of a seed: a topic, a function, a schema."),
    ("Yield", "The share of the candidates that the model answered which became rows."),
    (
        "Reached",
        "The candidates that no earlier gate turned away. The parts of an answer are led through the gates of \
         language and of syntax in turn, and the first part that fails decides.",
    ),
    (
        "Not met",
        "Candidates of the task never come to that gate: it is switched off, or is about SQL or code alone.",
    ),
    ("Answer", "The gate that wants an answer that has all its parts and was not cut off."),
    (
        "Language",
        "The gate that wants texts in the set language, and not about the conversation itself.",
    ),
    (
        "Syntax",
        "The gate that wants code that parses and is more than a placeholder. Code is not run.",
    ),
    ("Length", "The gate that wants neither side too short or too long."),
    ("Execution", "The gate that wants SQL that runs on databases of the schema."),
    ("Contamination", "The gate that turns away what is in an evaluation set."),
    (
        "Consistency",
        "The gate that has the model answer the question again: the results must be the same.",
    ),
    ("Label", "The gate at which the model says how well both sides belong together: 0, 1 or 2."),
    (
        "Exact duplicate, near duplicate",
        "The gates that compare with the earlier rows of the task.",
    ),
    ("Empty result", "The SQL of the row returned nothing on the databases that it ran on."),
    ("Scrubbed", "Secrets or personal data were replaced by placeholders."),
    ("Sql flaws", "Something about the SQL is poor style, or its order of rows is left to chance."),
    ("Second opinion", "The label of the first prompt did not pass; that of a second prompt did."),
    ("Measured complexity", "The level that the SQL itself has, whatever was asked for."),
];
