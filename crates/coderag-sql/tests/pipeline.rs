//! From a question to rows, with a scripted model and a scripted retriever.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::ops::ControlFlow;
use std::sync::Mutex;

use coderag_core::{
    ChatModel, ChatRequest, ChatResponse, Document, FinishReason, Hit, Retriever, Role, Usage,
};
use coderag_sql::{
    Answer, DatabaseSchema, Error, GuardedDatabase, Result, SelectionSettings, Settings, TextToSql,
    Value,
};
use fixture::{Fixture, chain, quick};

/// Says what the test wrote for it, word by word, and keeps what it was asked.
struct Scripted {
    answer: String,
    finish_reason: FinishReason,
    asked: Mutex<Vec<ChatRequest>>,
}

impl Scripted {
    fn says(answer: &str) -> Self {
        let answer = answer.to_owned();
        Self { answer, finish_reason: FinishReason::Stop, asked: Mutex::default() }
    }
}

const USAGE: Usage = Usage { prompt_tokens: 70, cached_tokens: 30, completion_tokens: 9 };

impl ChatModel for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn chat_streaming(
        &self,
        request: &ChatRequest,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> coderag_core::Result<ChatResponse> {
        self.asked.lock().unwrap().push(request.clone());
        let mut text = String::new();
        let mut finish_reason = self.finish_reason;
        for piece in self.answer.split_inclusive(' ') {
            text.push_str(piece);
            if on_text(piece).is_break() {
                finish_reason = FinishReason::Cancelled;
                break;
            }
        }
        Ok(ChatResponse { text, finish_reason, usage: USAGE })
    }
}

/// Finds the documents of a database with the scores that the test gives to tables.
struct Scored(Vec<(Document, f32)>);

impl Scored {
    fn of(database: &GuardedDatabase, scores: &[(&str, f32)]) -> Self {
        let documents =
            coderag_corpus::sqlite::read_file(database.path(), Default::default()).unwrap();
        let scored = scores.iter().map(|(table, score)| {
            let named = |document: &&Document| document.meta["table"] == *table;
            (documents.iter().find(named).unwrap().clone(), *score)
        });
        Self(scored.collect())
    }
}

impl Retriever for Scored {
    fn retrieve(&self, _query: &str, limit: usize) -> coderag_core::Result<Vec<Hit>> {
        let hits = self
            .0
            .iter()
            .map(|(document, score)| Hit { score: *score, document: document.clone() });
        Ok(hits.take(limit).collect())
    }
}

fn ask(model: &Scripted, database: &GuardedDatabase, execute: bool) -> Result<Answer> {
    let schema = DatabaseSchema::read(database).unwrap();
    let settings = Settings { execute, ..Settings::default() };
    let pipeline = TextToSql { model, settings };
    let question = "How many breads are there?";
    let selection = schema.select(question, None, &pipeline.settings.selection)?;
    pipeline.answer(question, database, &selection, &mut |_| ControlFlow::Continue(()))
}

#[test]
fn a_question_becomes_rows() {
    let bakery = Fixture::bakery();
    let model = Scripted::says("```sql\nSELECT count(*) FROM cheap_bread;\n```");
    let answer = ask(&model, &bakery.open(), true).unwrap();
    assert_eq!(answer.question, "How many breads are there?");
    assert_eq!(answer.sql, "SELECT count(*) FROM cheap_bread");
    assert_eq!(answer.tables, ["bread"]);
    assert_eq!(answer.selected_tables, ["shop", "bread", "cheap_bread", "log", "recipe", "letter"]);
    assert_eq!(answer.usage, USAGE);
    assert_eq!(answer.result.as_ref().unwrap().rows, [[Value::Integer(2)]]);
    let json = serde_json::to_value(&answer).unwrap();
    assert_eq!(json["result"]["rows"], serde_json::json!([[2]]));

    let asked = model.asked.lock().unwrap();
    let [request] = asked.as_slice() else { panic!("{asked:?}") };
    let roles: Vec<Role> = request.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User]);
    assert_eq!(request.messages[1].content, "How many breads are there?");
    let schema = &request.messages[0].content;
    for part in ["CREATE TABLE shop", "REFERENCES shop (id)", "Corner", "2.75", "CREATE VIEW"] {
        assert!(schema.contains(part), "{part}: {schema}");
    }
    assert_eq!((request.max_tokens, request.sampling.temperature), (512, 0.0));
}

#[test]
fn without_execution_the_statement_is_only_checked() {
    let bakery = Fixture::bakery();
    let answer = ask(&Scripted::says("SELECT name FROM shop"), &bakery.open(), false).unwrap();
    assert_eq!((answer.tables.as_slice(), answer.result), (["shop".to_owned()].as_slice(), None));
    for execute in [false, true] {
        let model = Scripted::says("SELECT nam FROM shop");
        let error = ask(&model, &bakery.open(), execute).unwrap_err();
        assert_eq!(error.sql(), Some("SELECT nam FROM shop"));
        assert_eq!(chain(&error), "the model's SQL cannot be used: no such column: nam");
        let model = Scripted::says("```sql\nDELETE FROM bread;\n```");
        let error = ask(&model, &bakery.open(), execute).unwrap_err();
        assert_eq!(
            chain(&error),
            "the model's SQL cannot be used: refused DELETE from `bread`: only a SELECT may run on \
             this database"
        );
    }
}

#[test]
fn answers_without_an_end_or_a_statement_are_errors_that_keep_the_answer() {
    let bakery = Fixture::bakery();
    let error = ask(&Scripted::says("I do not know."), &bakery.open(), true).unwrap_err();
    assert_eq!(error.answer(), Some("I do not know."));
    let mut model = Scripted::says("SELECT count(*)");
    model.finish_reason = FinishReason::Length;
    let error = ask(&model, &bakery.open(), true).unwrap_err();
    assert_eq!(error.answer(), Some("SELECT count(*)"));
    assert_eq!(
        error.to_string(),
        "the model's answer was cut off after 9 tokens; raise max_tokens"
    );
    let schema = DatabaseSchema::read(&bakery.open()).unwrap();
    let model = Scripted::says("SELECT count(*) FROM shop");
    let pipeline = TextToSql { model: &model, settings: Settings::default() };
    let selection = schema.select("How many?", None, &pipeline.settings.selection).unwrap();
    let mut heard = String::new();
    let error = pipeline
        .answer("How many?", &bakery.open(), &selection, &mut |piece| {
            heard.push_str(piece);
            ControlFlow::Break(())
        })
        .unwrap_err();
    assert!(matches!(error, Error::Cancelled));
    assert_eq!(heard, "SELECT ");
}

const CHAIN: &str = "
CREATE TABLE a (id INTEGER PRIMARY KEY);
CREATE TABLE b (id INTEGER PRIMARY KEY, a_id INTEGER REFERENCES A);
CREATE TABLE c (id INTEGER PRIMARY KEY, b_id INTEGER, FOREIGN KEY (b_id) REFERENCES b (id));
CREATE TABLE d (id INTEGER PRIMARY KEY, d_id INTEGER REFERENCES d, gone_id INTEGER REFERENCES gone);
CREATE TABLE e (id INTEGER PRIMARY KEY);
";

fn selected(
    scores: &[(&str, f32)],
    settings: &SelectionSettings,
) -> std::result::Result<Vec<String>, Error> {
    let fixture = Fixture::of(CHAIN);
    let database = fixture.open();
    let schema = DatabaseSchema::read(&database).unwrap();
    let retriever = Scored::of(&database, scores);
    schema.select("?", Some(&retriever), settings).map(|selection| selection.names())
}

#[test]
fn relevant_tables_bring_the_tables_that_they_refer_to() {
    let settings = SelectionSettings { minimum_score: 0.5, ..SelectionSettings::default() };
    let names = |scores: &[(&str, f32)]| selected(scores, &settings).unwrap();
    assert_eq!(names(&[("c", 0.9), ("e", 0.4)]), ["a", "b", "c"]);
    assert_eq!(names(&[("e", 0.9), ("d", 0.5)]), ["d", "e"]);
    let one = SelectionSettings { max_tables: 2, ..settings.clone() };
    assert_eq!(selected(&[("c", 0.9)], &one).unwrap(), ["b", "c"]);
    assert_eq!(selected(&[("e", 0.9), ("c", 0.8), ("d", 0.7)], &one).unwrap(), ["c", "e"]);
    let short = SelectionSettings { max_characters: 1, ..settings };
    assert_eq!(selected(&[("c", 0.9), ("e", 0.8)], &short).unwrap(), ["c"]);
}

#[test]
fn when_nothing_is_relevant_it_says_so() {
    let fixture = Fixture::of(CHAIN);
    let database = fixture.open();
    let schema = DatabaseSchema::read(&database).unwrap();
    let retriever = Scored::of(&database, &[("c", 0.15), ("e", 0.1)]);
    let ask = |retriever: &Scored| {
        schema.select("?", Some(retriever), &SelectionSettings::default()).unwrap_err().to_string()
    };
    assert_eq!(
        ask(&retriever),
        "nothing in the database bakery is relevant to the question: the best table, c, scores \
         0.150, and 0.200 is needed"
    );
    // The tables of another database count for nothing, whatever their scores.
    let mut foreign = Scored::of(&database, &[("c", 0.9)]);
    foreign.0[0].0.meta.insert("database".to_owned(), "pharmacy".into());
    assert_eq!(
        ask(&foreign),
        "nothing in the database bakery is relevant to the question: none of its tables was found"
    );
    // Unless its document stands for this database's table, too.
    let same = serde_json::json!([{ "id": "x", "title": "bakery.e" }]);
    foreign.0[0].0.meta.insert("same_text".to_owned(), same);
    let selection = schema.select("?", Some(&foreign), &SelectionSettings::default()).unwrap();
    assert_eq!(selection.names(), ["e"]);
}

#[test]
fn a_large_database_needs_an_index() {
    let script: String = (0..31).map(|table| format!("CREATE TABLE t{table} (a);")).collect();
    let fixture = Fixture::of(&script);
    let database = fixture.open();
    let schema = DatabaseSchema::read(&database).unwrap();
    let error = schema.select("?", None, &SelectionSettings::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the database bakery has 31 tables, and only up to 30 go into a prompt whole; give an index \
         that holds its tables"
    );
    let more = SelectionSettings { whole_database_tables: 31, ..SelectionSettings::default() };
    assert_eq!(schema.select("?", None, &more).unwrap().tables.len(), 31);
}

#[test]
fn an_empty_database_and_a_locked_one_have_no_schema() {
    let fixture = Fixture::of("VACUUM");
    let error = DatabaseSchema::read(&fixture.open()).unwrap_err();
    assert_eq!(error.to_string(), "the database bakery has no tables");
    let fixture = Fixture::bakery();
    let database = fixture.open_with(&quick());
    let writer = rusqlite::Connection::open(&fixture.path).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = DatabaseSchema::read(&database).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error:?}");
}
