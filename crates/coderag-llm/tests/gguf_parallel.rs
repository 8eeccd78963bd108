//! Several conversations at once in the embedded engine.
//!
//! llama.cpp rounds differently in batches of different sizes, so an answer may leave the one that
//! is given alone where two tokens are almost equally probable. A model that knows the answer, such as
//! Qwen here, hardly ever does that; the smallest one, which guesses, does so in every other answer.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod real_models;

use std::error::Error as _;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier};
use std::thread::{scope, spawn};

use coderag_core::{ChatModel, ChatRequest, ChatResponse, FinishReason, Message, Sampling};
use coderag_llm::{Error, GgufModel, GgufOptions};

use crate::real_models::{QWEN, SMOLLM, model_file, turn};

const CITIES: [&str; 8] =
    ["Oslo", "Bergen", "Malmö", "Turku", "Aarhus", "Riga", "Gdańsk", "Lübeck"];

fn load(name: &str, options: GgufOptions) -> Option<GgufModel> {
    model_file(name).map(|file| GgufModel::load(&file, options).unwrap())
}

/// One thread: on a busy machine llama.cpp's threads spend their time waiting for each other.
fn options(parallel: u32) -> GgufOptions {
    GgufOptions { context_tokens: 512, parallel, threads: 1, ..GgufOptions::default() }
}

fn question(text: &str, max_tokens: u32) -> ChatRequest {
    ChatRequest { max_tokens, ..ChatRequest::new(vec![Message::user(text)]) }
}

/// Questions that begin with the same long instructions, and a second set with others.
fn questions(database: &str, count: usize) -> Vec<ChatRequest> {
    let instructions = format!(
        "You write SQLite queries for a database of {database} with the tables \
         customer(id, name, city) and purchase(id, customer_id, amount, day). \
         Answer with one query and nothing else, in one line, without comments."
    );
    CITIES
        .iter()
        .cycle()
        .zip(1..=count)
        .map(|(city, number)| {
            let text = if number % 2 == 0 {
                format!("How many customers live in {city}?")
            } else {
                format!("List the names of the {number} customers in {city} that come first.")
            };
            ChatRequest {
                max_tokens: 40,
                ..ChatRequest::new(vec![Message::system(&instructions), Message::user(text)])
            }
        })
        .collect()
}

/// Asks everything at once, a thread each.
fn ask_together(model: &GgufModel, requests: &[ChatRequest]) -> Vec<ChatResponse> {
    scope(|scope| {
        let threads: Vec<_> =
            requests.iter().map(|request| scope.spawn(|| model.chat(request).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn conversations_together_are_answered_as_alone() {
    let _turn = turn();
    let (Some(alone), Some(together)) = (load(QWEN, options(1)), load(QWEN, options(4))) else {
        return;
    };
    // Twice as many as there are places.
    let requests = questions("a bookshop", 8);
    let expected: Vec<_> = requests.iter().map(|request| alone.chat(request).unwrap()).collect();
    let responses = ask_together(&together, &requests);
    let mut same = 0;
    for ((response, expected), city) in responses.iter().zip(&expected).zip(CITIES) {
        assert_eq!(response.usage.prompt_tokens, expected.usage.prompt_tokens);
        assert!(response.text.contains(city), "another conversation's answer: {}", response.text);
        if response.text == expected.text {
            assert_eq!(response.finish_reason, expected.finish_reason);
            assert_eq!(response.usage.completion_tokens, expected.usage.completion_tokens);
            same += 1;
        } else {
            println!("{:?} alone, {:?} together", expected.text, response.text);
        }
    }
    assert!(same >= 7, "{same} of {} answers are the same", requests.len());
}

#[test]
fn a_conversation_that_is_alone_gets_the_same_bits_whatever_else_could_have_run() {
    let _turn = turn();
    let (Some(one), Some(many)) = (load(SMOLLM, options(1)), load(SMOLLM, options(6))) else {
        return;
    };
    for seed in 0..3 {
        let sampling = Sampling { temperature: 0.8, top_p: 0.95, seed };
        let request = ChatRequest { sampling, ..question("Invent a name for a boat.", 30) };
        let expected = one.chat(&request).unwrap();
        assert_eq!(many.chat(&request).unwrap().text, expected.text);
        assert_eq!(many.chat(&request).unwrap().text, expected.text);
    }
}

#[test]
fn a_common_beginning_is_evaluated_once_even_when_all_come_at_once() {
    let _turn = turn();
    let Some(model) = load(SMOLLM, options(4)) else { return };
    let requests = questions("a bookshop", 8);
    let responses = ask_together(&model, &requests);
    let usages: Vec<_> = responses.iter().map(|response| response.usage).collect();
    let fresh = usages.iter().filter(|usage| usage.cached_tokens < 40).count();
    assert_eq!(fresh, 1, "{usages:?}");
    assert!(usages.iter().all(|usage| usage.cached_tokens < usage.prompt_tokens), "{usages:?}");
}

#[test]
fn beginnings_survive_other_conversations() {
    let _turn = turn();
    let Some(model) = load(SMOLLM, options(2)) else { return };
    let (books, ships) = (questions("a bookshop", 10), questions("ships and harbours", 10));
    model.chat(&books[0]).unwrap();
    assert!(model.chat(&books[1]).unwrap().usage.cached_tokens >= 40);
    // Far more than there are places.
    for request in &ships {
        model.chat(request).unwrap();
    }
    let usage = model.chat(&books[2]).unwrap().usage;
    assert!(usage.cached_tokens >= 40, "{usage:?}");
}

#[test]
fn a_conversation_that_goes_on_finds_its_beginning() {
    let _turn = turn();
    let Some(model) = load(SMOLLM, options(3)) else { return };
    let request = &questions("a bookshop", 1)[0];
    let response = model.chat(request).unwrap();
    model.chat(&question("What is the opposite of hot?", 8)).unwrap();
    let mut messages = request.messages.clone();
    messages.push(Message::assistant(&response.text));
    messages.push(Message::user("And in Bergen?"));
    let usage = model.chat(&ChatRequest { messages, ..request.clone() }).unwrap().usage;
    assert!(usage.cached_tokens >= response.usage.prompt_tokens, "{usage:?}");
}

/// What closed conversations have left must make room, and an evaluation takes fewer tokens than
/// several conversations have.
#[test]
fn long_conversations_find_room_and_take_several_evaluations() {
    let _turn = turn();
    let tight = GgufOptions { context_tokens: 256, batch_tokens: 48, ..options(3) };
    let Some(model) = load(SMOLLM, tight) else { return };
    let long = |number: usize| {
        let words = "stone river cloud ".repeat(60);
        question(&format!("Text {number}: {words}. What is it about?"), 200)
    };
    let requests: Vec<ChatRequest> = (0..9).map(long).collect();
    for _ in 0..2 {
        for response in ask_together(&model, &requests) {
            let usage = response.usage;
            assert!(usage.prompt_tokens > 200, "{usage:?}");
            assert!(usage.completion_tokens > 0);
            assert!(usage.prompt_tokens + usage.completion_tokens <= 256, "{usage:?}");
        }
    }
}

#[test]
fn more_places_than_tokens_in_a_batch_work() {
    let _turn = turn();
    let Some(model) = load(SMOLLM, GgufOptions { batch_tokens: 1, ..options(3) }) else { return };
    let requests: Vec<ChatRequest> =
        (0..6).map(|number| question(&format!("Count from {number}."), 6)).collect();
    for response in ask_together(&model, &requests) {
        assert!(response.usage.completion_tokens > 0);
    }
}

#[test]
fn one_that_breaks_off_or_panics_leaves_the_others() {
    let _turn = turn();
    let Some(model) = load(SMOLLM, options(3)) else { return };
    let story = question("Write a long story about a ship.", 40);
    let expected = model.chat(&story).unwrap().text;
    let together = Barrier::new(3);
    scope(|scope| {
        let whole = scope.spawn(|| {
            together.wait();
            model.chat(&story).unwrap()
        });
        let cancelled = scope.spawn(|| {
            together.wait();
            let mut pieces = Vec::new();
            let response = model
                .chat_streaming(&story, &mut |piece| {
                    pieces.push(piece.to_owned());
                    if pieces.len() == 3 {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                })
                .unwrap();
            (pieces, response)
        });
        let panicked = scope.spawn(|| {
            together.wait();
            catch_unwind(AssertUnwindSafe(|| {
                model.chat_streaming(&story, &mut |_| panic!("the receiver's own fault"))
            }))
        });
        let whole = whole.join().unwrap();
        assert_eq!(whole.usage.completion_tokens, 40);
        let (pieces, response) = cancelled.join().unwrap();
        assert_eq!(pieces.len(), 3);
        assert_eq!(response.text, pieces.concat());
        assert_eq!(response.finish_reason, FinishReason::Cancelled);
        assert!(response.usage.completion_tokens >= 3);
        assert!(panicked.join().unwrap().is_err());
    });
    assert_eq!(model.chat(&story).unwrap().text, expected);
}

#[test]
fn each_conversation_has_its_own_stop_strings_limit_and_seed() {
    let _turn = turn();
    let Some(model) = load(SMOLLM, options(4)) else { return };
    let story = question("Write three sentences about the sea.", 30);
    let sampled = |seed| ChatRequest {
        sampling: Sampling { temperature: 1.0, top_p: 0.9, seed },
        ..story.clone()
    };
    let requests = [
        ChatRequest { stop: vec!["e".to_owned()], ..story.clone() },
        ChatRequest { max_tokens: 0, ..story.clone() },
        ChatRequest { max_tokens: 7, ..story.clone() },
        sampled(1),
        sampled(2),
    ];
    let responses = ask_together(&model, &requests);
    assert!(!responses[0].text.contains('e'), "{}", responses[0].text);
    assert_eq!(responses[0].finish_reason, FinishReason::Stop);
    for (response, limit) in responses[1..3].iter().zip([0, 7]) {
        assert_eq!(response.usage.completion_tokens, limit);
        assert_eq!(response.finish_reason, FinishReason::Length);
    }
    assert_ne!(responses[3].text, responses[4].text);
}

#[test]
fn one_that_does_not_fit_is_refused_and_the_others_are_answered() {
    let _turn = turn();
    let Some(model) = load(SMOLLM, GgufOptions { context_tokens: 128, ..options(2) }) else {
        return;
    };
    scope(|scope| {
        let long = scope.spawn(|| model.chat(&question(&"long ".repeat(500), 8)));
        let short = scope.spawn(|| model.chat(&question("What is the opposite of hot?", 8)));
        let error = long.join().unwrap().unwrap_err();
        let cause = error.source().and_then(|source| source.downcast_ref());
        // The limit is one conversation's, not what several have together.
        let Some(Error::PromptTooLong { context_tokens: 128, .. }) = cause else {
            panic!("{error:?}")
        };
        assert!(!short.join().unwrap().unwrap().text.is_empty());
    });
}

#[test]
fn a_model_that_is_given_away_answers_what_was_asked_before() {
    let _turn = turn();
    let Some(model) = load(SMOLLM, options(2)) else { return };
    let model = Arc::new(model);
    let threads: Vec<_> = (0..8)
        .map(|number| {
            let model = model.clone();
            spawn(move || model.chat(&question(&format!("Count from {number}."), 12)).unwrap())
        })
        .collect();
    drop(model);
    for thread in threads {
        assert!(thread.join().unwrap().usage.completion_tokens > 0);
    }
}

#[test]
fn a_number_of_places_that_cannot_work_is_refused() {
    let Some(file) = model_file(SMOLLM) else { return };
    for parallel in [0, 129] {
        let error = GgufModel::load(&file, options(parallel)).unwrap_err();
        assert!(matches!(error, Error::Option { key: "parallel", .. }), "{error}");
    }
}
